"""The driver: fixed point, names, locations, limits, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graphloss import ops
from graphloss.errors import UnsupportedError, VerifyError
from graphloss.ir.graph import Graph
from graphloss.ir.location import Location
from graphloss.ops.evaluate import evaluate
from graphloss.passes.pipelines import optimise
from graphloss.rewrite.driver import rewrite
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Rule
from graphloss.rewrite.trace import Trace
from tests.rules.graphs import build

X = {"x": "f32[N, C]"}
LOG_EXP = Rule(
    name="log-of-exp", formula="log(exp(x)) -> x", why="test", numerics="exact", before=lambda x: op.log(op.exp(x)),
    after=lambda x: x,
)  # fmt: skip
TWICE = Rule(
    name="twice", formula="x + x -> 2·x", why="test", numerics="exact", before=lambda x: op.add(x, x),
    after=lambda x: 2.0 * x,
)  # fmt: skip
HALVES = Rule(
    name="halves", formula="2·x -> x + x", why="test", numerics="reassociates", before=lambda x: op.mul(2.0, x),
    after=lambda x: x + x,
)  # fmt: skip


def types(graph: Graph) -> list[str]:
    return [o.type for o in graph.ops]


def test_what_a_rule_builds_is_rewritten_too() -> None:
    def nested(x):  # type: ignore[no-untyped-def]
        for _ in range(5):
            x = ops.log(ops.exp(x))
        return ops.abs(x)

    graph = build(X, nested)
    assert [o.inputs for o in rewrite(graph, [LOG_EXP]).ops if o.type == "abs"] == [("x",)]


def test_the_new_value_takes_over_the_name() -> None:
    graph = build(X, lambda x: x + x)
    after = rewrite(graph, [TWICE])
    assert after.fetches == graph.fetches
    assert after.definition[after.fetches[0]].type == "mul"


def test_a_fetch_of_what_vanished_is_what_replaced_it() -> None:
    graph = build(X, lambda x: op.log(op.exp(x)))
    after = rewrite(graph, [LOG_EXP])
    assert after.fetches == ("x",)


def test_other_users_keep_the_intermediate() -> None:
    graph = build(X, lambda x: (op.log(op.exp(x)), op.exp(x)))
    after = rewrite(graph, [LOG_EXP])
    assert after.fetches[0] == "x"
    assert after.definition[after.fetches[1]].type == "exp"


def test_new_ops_have_the_place_of_what_they_replace() -> None:
    graph = build(X, lambda x: x + x)
    here = Location("model.py", 7)
    graph = graph.replace(ops=tuple(replace(o, loc=here, role="backward", scope="/loss") for o in graph.ops))
    trace = Trace()
    after = rewrite(graph, [TWICE], trace, "test")
    made = after.definition[after.fetches[0]]
    assert (made.loc, made.role, made.scope) == (here, "backward", "/loss")
    (record,) = trace
    assert (record.pass_name, record.rule, record.loc) == ("test", "twice", here)
    assert str(record) == "test: twice: add -> fill, mul  (model.py:7)"


def test_rules_that_undo_each_other_are_named() -> None:
    with pytest.raises(UnsupportedError) as caught:
        rewrite(build(X, lambda x: x + x), [TWICE, HALVES])
    assert str(caught.value) == (
        "rewriting does not end: the rules halves, twice undo each other\n"
        "  op: add\n"
        "  hint: leave one of these rules out of the pipeline"
    )


def test_a_rule_may_not_change_a_type() -> None:
    wrong = Rule(
        name="wrong", formula="exp(x) -> Σ x", why="test", numerics="exact", before=lambda x: op.exp(x),
        after=lambda x: op.reduce_sum(x, axes=(1,)),
    )  # fmt: skip
    with pytest.raises(VerifyError) as caught:
        rewrite(build(X, lambda x: op.exp(x)), [wrong])
    assert str(caught.value) == ("rule wrong changes the type of a value\n  expected f32[N, C], got f32[N]\n  op: exp")


def test_pinned_values_are_opaque() -> None:
    graph = build(X, lambda x: op.log(op.exp(x)))
    inner = graph.ops[0].outputs[0]
    assert types(rewrite(graph, [LOG_EXP], pinned={inner})) == ["exp", "log"]


def test_equal_ops_become_one() -> None:
    graph = build(X, lambda x: op.exp(x) + op.exp(x))
    assert types(rewrite(graph, ())) == ["exp", "add"]


def test_zero_and_minus_zero_are_two_constants() -> None:
    graph = build(X, lambda x: (x + 0.0) * (x + -0.0))
    assert types(rewrite(graph, ())).count("fill") == 2


def test_rules_are_checked_when_they_are_made() -> None:
    with pytest.raises(ValueError, match="numerics must be one of"):
        Rule(name="r", formula="f", why="w", numerics="sloppy", before=lambda x: op.exp(x), after=lambda x: x)
    with pytest.raises(ValueError, match="give before and after, or roots and rewrite"):
        Rule(name="r", formula="f", why="w", numerics="exact", before=lambda x: op.exp(x))


def test_a_long_chain_is_iterative_and_near_linear() -> None:
    """No recursion over the graph; twice the ops take about twice the steps (counted, not timed)."""

    def chain(n: int) -> Graph:
        def body(x):  # type: ignore[no-untyped-def]
            for i in range(n):
                x = ops.sigmoid(x * 0.5) if i % 2 else ops.exp(-x)
            return x

        return build(X, body, wrt=["x"])

    steps = []
    for n in (500, 1000):
        graph, trace = chain(n), Trace()
        after = optimise(graph, trace=trace)
        steps.append((len(after.ops), len(trace)))
        assert len(after.ops) < 20 * n
    assert steps[1][0] < 2.2 * steps[0][0]
    assert steps[1][1] < 2.2 * steps[0][1]
    values = evaluate(optimise(chain(40)), {"x": np.ones((2, 2), np.float32)})
    assert all(np.isfinite(v).all() for v in values.values())


def test_arrays_of_zeros_of_both_signs_stay_two() -> None:
    def both(x):  # type: ignore[no-untyped-def]
        return ops.literal(np.array([0.0, 1.0])), ops.literal(np.array([-0.0, 1.0])), ops.abs(x)

    graph = optimise(build(X, both))
    values = evaluate(graph, {"x": np.ones((1, 1), np.float32)})
    assert [bool(np.signbit(values[n][0])) for n in graph.fetches[:2]] == [False, True]
