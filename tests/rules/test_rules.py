"""Every rule: it fires where its examples say, gives the graph they say, the same numbers, and stays where they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphloss.ir.graph import Graph
from graphloss.ir.tensor import Tensor
from graphloss.ops.evaluate import evaluate
from graphloss.passes import algebra, refine, stabilise
from graphloss.rewrite.driver import rewrite
from graphloss.rewrite.rule import Example, Rule
from graphloss.rewrite.trace import Trace
from tests.rules.graphs import arrays_for, build, shape_of

SETS = {"stabilise": stabilise.RULES, "algebra": algebra.RULES, "refine": refine.RULES}
# the normal forms belong to both, and are tried in the first
ALL = [("stabilise", r) for r in stabilise.RULES] + [
    (group, r) for group in ("algebra", "refine") for r in SETS[group] if r not in stabilise.RULES
]
FIRES = [pytest.param(g, r, e, id=f"{r.name}-{i}") for g, r in ALL for i, e in enumerate(r.fires)]
STAYS = [pytest.param(g, r, e, id=f"{r.name}-{i}") for g, r in ALL for i, e in enumerate(r.stays)]


@pytest.mark.parametrize(("group", "rule"), [pytest.param(g, r, id=r.name) for g, r in ALL])
def test_a_rule_is_documented(group: str, rule: Rule) -> None:
    assert rule.formula
    assert rule.why
    assert rule.fires, "a rule without an example where it fires"
    assert rule.stays, "a rule without an example where it stays"


def test_names_are_unique() -> None:
    names = [r.name for _, r in ALL]
    assert len(names) == len(set(names))


def made(example: Example, fn: Callable[..., Tensor]) -> Graph:
    """In float64: what is compared is algebra, not rounding."""
    return build({n: t.replace("f32", "f64") for n, t in example.feeds.items()}, fn)


def agree(a: np.ndarray, b: np.ndarray) -> None:
    finite = np.isfinite(a)
    np.testing.assert_allclose(b[finite], a[finite], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("group", "rule", "example"), FIRES)
def test_fires(group: str, rule: Rule, example: Example) -> None:
    trace = Trace()
    before = made(example, example.build)
    after = rewrite(before, SETS[group], trace, group)
    assert rule.name in trace.rules(), f"fired: {trace.rules()}"
    assert example.after is not None
    wanted = rewrite(made(example, example.after), [r for r in SETS[group] if r is not rule], name=group)
    assert shape_of(after) == shape_of(wanted)
    assert [after.types[n] for n in after.fetches] == [before.types[n] for n in before.fetches]
    for seed in range(3):
        feeds = arrays_for(before, seed)
        agree(evaluate(before, feeds)[before.fetches[0]], evaluate(after, feeds)[after.fetches[0]])


@pytest.mark.parametrize(("group", "rule", "example"), FIRES)
def test_fires_while_the_intermediates_are_fetched(group: str, rule: Rule, example: Example) -> None:
    """Who else uses a value changes nothing, and what else is fetched is still delivered."""
    alone, trace = Trace(), Trace()
    before = made(example, example.build)
    after = rewrite(before, SETS[group], alone)
    others = tuple(o for op in before.ops for o in op.outputs)
    every = before.replace(fetches=(*before.fetches, *others))
    kept = rewrite(every, SETS[group], trace)
    assert shape_of(kept.replace(fetches=kept.fetches[:1])) == shape_of(after)
    feeds = arrays_for(before, 7)
    values, wanted = evaluate(kept, feeds), evaluate(before, feeds)
    for name, delivered in zip(every.fetches, kept.fetches, strict=True):
        agree(wanted[name], values[delivered])


@pytest.mark.parametrize(("group", "rule", "example"), STAYS)
def test_stays(group: str, rule: Rule, example: Example) -> None:
    trace = Trace()
    before = made(example, example.build)
    rewrite(before, (rule,), trace)
    assert rule.name not in trace.rules()
