"""Holds a rule to its examples: it fires where it says, the numbers stay, and it stays where it says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphloss import dtypes
from graphloss.errors import ArgumentTypeError, VerifyError
from graphloss.ir import dims
from graphloss.ir.builder import GraphBuilder, Value
from graphloss.ir.graph import Graph
from graphloss.ir.opdef import Array
from graphloss.ir.tensor import Tensor, using
from graphloss.ir.types import TensorType
from graphloss.ops.evaluate import evaluate
from graphloss.rewrite.driver import rewrite
from graphloss.rewrite.rule import Example, Rule
from graphloss.rewrite.trace import Trace

_SEEDS = range(3)


def check(rule: Rule, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Holds `rule` to its examples.

    It is alone there: what it needs other rules for, its examples spell out. Where it fires, the graph before, the
    graph after, and what `after` builds give the same numbers in float64, wherever the first are finite, on random
    feeds. Symbols of the types are free names; labels are 0 to 2.

    Args:
        rule: the rule.
        rtol: how far a number may be off, of itself.
        atol: and besides.

    Raises:
        VerifyError: it does not keep what its examples say, or has none of one kind.
        ArgumentTypeError: `rule` is no Rule.

    Example:
        >>> from graphloss.rules import Example, Rule, check, op
        >>> check(Rule(
        ...     name="log-of-root", formula="log(√x) -> log(x)/2", why="no root", numerics="more_accurate",
        ...     before=lambda x: op.log(op.sqrt(x)), after=lambda x: 0.5 * op.log(x),
        ...     fires=(Example({"x": "f32[N]"}, lambda x: op.log(op.sqrt(x)), lambda x: 0.5 * op.log(x)),),
        ...     stays=(Example({"x": "f32[N]"}, lambda x: op.log(op.square(x))),),
        ... ))
    """
    if not isinstance(rule, Rule):
        raise ArgumentTypeError("check takes a rule", expected="Rule", got=type(rule).__name__)
    if not rule.fires or not rule.stays:
        raise VerifyError(f"rule {rule.name} has no example where it {'stays' if rule.fires else 'fires'}")
    for number, example in enumerate(rule.fires):
        before = _graph(example, example.build)
        after, fired = _rewritten(before, rule)
        if not fired:
            raise VerifyError(f"rule {rule.name} does not fire in example {number}")
        for seed in _SEEDS:
            feeds = _feeds(before, seed)
            want = _value(before, feeds)
            _agree(rule, number, "the rewritten graph", _value(after, feeds), want, rtol, atol)
            if example.after is not None:
                told = _value(_graph(example, example.after), feeds)
                _agree(rule, number, "`after` of the example", told, want, rtol, atol)
    for number, example in enumerate(rule.stays):
        if _rewritten(_graph(example, example.build), rule)[1]:
            raise VerifyError(f"rule {rule.name} fires in example {number} of where it stays")


def _rewritten(graph: Graph, rule: Rule) -> tuple[Graph, bool]:
    trace = Trace()
    after = rewrite(graph, (rule,), trace, "check")
    return after, rule.name in trace.rules()


def _graph(example: Example, build: Callable[..., Tensor]) -> Graph:
    feeds = {name: _type(text.replace("f32", "f64")) for name, text in example.feeds.items()}
    builder = GraphBuilder(Graph("example", tuple(feeds), (), (), feeds))
    with using(builder):
        out = build(**{name: builder.value(name) for name in feeds})
    assert isinstance(out, Value)
    return builder.finish(fetches=(out.name,))


def _type(text: str) -> TensorType:
    short, _, shape = text.rstrip("]").partition("[")
    if short not in dtypes.LONG:
        raise VerifyError("an example's feeds are types as text prints them", "f32[N, C]", text)
    return TensorType(dtypes.LONG[short], tuple(dims.parse(d) for d in shape.split(",") if d.strip()))


def _feeds(graph: Graph, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    sizes: dict[str, int] = {}
    found: dict[str, Array] = {}
    for name in graph.feeds:
        t = graph.types[name]
        shape = tuple(d if isinstance(d, int) else sizes.setdefault(str(d), 4 + len(sizes)) for d in t.shape)
        if dtypes.is_float(t.dtype):
            found[name] = np.asarray(rng.normal(size=shape) * 2, t.dtype)
        elif t.dtype == "bool":
            found[name] = np.asarray(rng.random(shape) > 0.5)
        else:
            found[name] = np.asarray(rng.integers(0, 3, shape), t.dtype)
    return found


def _value(graph: Graph, feeds: dict[str, Array]) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(graph, feeds)[graph.fetches[0]])


def _agree(rule: Rule, number: int, what: str, got: Array, want: Array, rtol: float, atol: float) -> None:
    finite = np.isfinite(want)
    if got.shape != want.shape or not np.allclose(got[finite], want[finite], rtol, atol):
        raise VerifyError(f"rule {rule.name}: in example {number}, {what} has other numbers", want, got)
