"""Small graphs for tests of rules and passes: built from Python, compared, evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from graphloss import dtypes
from graphloss.ir import dims
from graphloss.ir.builder import GraphBuilder, Value
from graphloss.ir.graph import Graph
from graphloss.ir.opdef import get
from graphloss.ir.tensor import Tensor, using
from graphloss.ir.types import TensorType
from graphloss.ops import registry
from graphloss.rewrite.pattern import COMMUTATIVE

assert registry


def type_of(text: str) -> TensorType:
    """The type that prints as `text`."""
    short, shape = text.rstrip("]").split("[")
    return TensorType(dtypes.LONG[short], tuple(dims.parse(d) for d in shape.split(",") if d.strip()))


def build(
    feeds: Mapping[str, str], fn: Callable[..., Tensor | Sequence[Tensor]], wrt: Sequence[str] = (),
    no_grad: Sequence[str] = ()
) -> Graph:
    """The graph that fetches what `fn` returns, and the gradient of the first of it with respect to the feeds `wrt`."""
    empty = Graph("test", tuple(feeds), (), (), {n: type_of(t) for n, t in feeds.items()})
    builder = GraphBuilder(empty)
    with using(builder):
        out = fn(**{n: builder.value(n) for n in feeds})
        values = list(out) if isinstance(out, (tuple, list)) else [out]
        if wrt:
            operands = [values[0], *(builder.value(n) for n in wrt)]
            attrs = {"n_targets": 1, "n_wrt": len(wrt), "no_grad": tuple(no_grad)}
            values += builder.apply(get("grad"), operands, attrs)
    names = [v.name for v in values if isinstance(v, Value)]
    return builder.finish(fetches=tuple(names))


def shape_of(graph: Graph) -> list[object]:
    """The graph apart from the names of computed values: what two equal graphs share."""
    number: dict[str, object] = {n: n for n in (*graph.feeds, *graph.states)}
    needed = graph.needed()
    # order of first use from the fetches, so that the order of independent ops does not count
    rows: list[object] = []

    def visit(name: str) -> object:
        stack = [name]
        while stack:
            top = stack[-1]
            if top in number:
                stack.pop()
                continue
            op = graph.definition[top]
            missing = [n for n in op.inputs if n not in number]
            if missing:
                stack.extend(reversed(missing))
                continue
            attrs = tuple((k, str(v)) for k, v in op.attrs)
            inputs = [number[n] for n in op.inputs]
            if op.type in COMMUTATIVE:
                inputs.sort(key=str)
            row = (op.type, tuple(inputs), attrs, tuple(str(graph.types[o]) for o in op.outputs))
            found = next((i for i, r in enumerate(rows) if r == row), None)
            if found is None:
                rows.append(row)
                found = len(rows) - 1
            for i, o in enumerate(op.outputs):
                number[o] = (found, i)
            stack.pop()
        return number[name]

    assert needed is not None
    fetched = [visit(n) for n in graph.fetches]
    return [*rows, fetched]


def arrays_for(graph: Graph, seed: int, scale: float = 2.0, dtype: str = "float64") -> dict[str, np.ndarray]:
    """Random feeds: floats positive and negative, indices below 3; every symbol is 5, N is 4."""
    rng = np.random.default_rng(seed)
    found = {}
    for name in graph.feeds:
        t = graph.types[name]
        shape = tuple(d if isinstance(d, int) else {"N": 4, "C": 5}.get(str(d), 5) for d in t.shape)
        if dtypes.is_float(t.dtype):
            found[name] = (rng.normal(size=shape) * scale).astype(dtype)
        elif t.dtype == "bool":
            found[name] = rng.random(shape) > 0.5
        else:
            found[name] = rng.integers(0, 3, shape).astype(t.dtype)
    return found
