"""Each rule of the IR, broken once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphloss.errors import VerifyError
from graphloss.ir.dims import Equation, symbol
from graphloss.ir.graph import Graph, Op
from graphloss.ir.location import Location
from graphloss.ir.parser import parse_graph
from graphloss.ir.types import TensorType
from graphloss.ir.verify import verify

GOOD = parse_graph(
    """
    program @g {
      feed %x : f32[N, 4]
      feed %y : f32[M, 4]
      state %w : f32[4]
      where N == M "broadcast"
      %sum = add(%x, %y) : f32[N, 4]
      %mean = reduce_mean(%sum) {axes=[0], keepdims=false} : f32[4]
      write %w = %mean
      write %fresh = %sum
      fetch %mean, %x
    }
    """
)


def swapped(graph: Graph, index: int, **changes: object) -> Graph:
    ops = list(graph.ops)
    ops[index] = replace(ops[index], loc=Location("m.py", 7), **changes)  # type: ignore[arg-type]
    return graph.replace(ops=tuple(ops))


def typed(graph: Graph, **types: TensorType) -> Graph:
    return graph.replace(types={**graph.types, **types})


F4 = TensorType("float32", (4,))
SUM = "op: %sum = add(%x, %y) : f32[N, 4]"
MEAN = "op: %mean = reduce_mean(%sum) {axes=[0], keepdims=false} : f32[4]"


def test_a_right_graph_passes() -> None:
    verify(GOOD)
    verify(typed(GOOD, sum=TensorType("float32", (symbol("M"), 4))))  # N and M are equal
    verify(Graph("empty", (), (), (), {}))


@pytest.mark.parametrize(
    ("bad", "lines"),
    [
        (GOOD.replace(feeds=("x", "x", "y")), ["value %x is defined twice"]),
        (GOOD.replace(states=("w", "x")), ["value %x is defined twice"]),
        (typed(GOOD, old=F4), ["a type belongs to no value", "got %old"]),
        (GOOD.replace(types={n: t for n, t in GOOD.types.items() if n != "w"}), ["value %w has no type"]),
        (GOOD.replace(fetches=("z",)), ["fetch %z is not defined"]),
        (GOOD.replace(writes=(("w", "z"),)), ["value %z, written to %w, is not defined"]),
        (GOOD.replace(writes=(("w", "mean"), ("w", "mean"))), ["state %w is written twice"]),
        (GOOD.replace(writes=(("w", "x"),)), ["a write changes the type of %w", "expected f32[4], got f32[N, 4]"]),
        (
            GOOD.replace(ops=GOOD.ops[::-1]),
            ["value %sum is read before it is defined", MEAN],
        ),
        (
            swapped(GOOD, 1, outputs=("sum",)),
            [
                "value %sum is defined twice",
                MEAN.replace("%mean =", "%sum =").replace("f32[4]", "f32[N, 4]"),
                "at: m.py:7",
            ],
        ),
        (
            swapped(GOOD, 0, role="sideways"),
            [
                "unknown role of an op",
                "expected forward, backward, optimize, got sideways",
                SUM + " @sideways",
                "at: m.py:7",
            ],
        ),
        (
            typed(GOOD, mean=TensorType("float64", (4,))),
            ["a type does not follow from the op", "expected f32[4], got f64[4]", MEAN.replace("f32", "f64")],
        ),
        (
            typed(GOOD, mean=TensorType("float32", (5,))),
            ["a type does not follow from the op", "expected f32[4], got f32[5]", MEAN.replace("f32[4]", "f32[5]")],
        ),
        (
            GOOD.replace(equations=()),
            ["an op needs an equation that the graph does not state", "expected where N == M", SUM],
        ),
        (
            swapped(GOOD, 1, attrs=(("keepdims", False), ("axes", (0,)))),
            [
                "attributes are not complete and in declared order",
                "expected {axes=[0], keepdims=false}, got {keepdims=false, axes=[0]}",
                "op: %mean = reduce_mean(%sum) {keepdims=false, axes=[0]} : f32[4]",
                "at: m.py:7",
            ],
        ),
        (
            swapped(GOOD, 0, type="addd"),
            ["there is no op named 'addd'", SUM.replace("add", "addd"), "at: m.py:7", "hint: did you mean 'add'?"],
        ),
        (
            swapped(GOOD, 1, outputs=("mean", "more")).replace(types={**GOOD.types, "more": F4}),
            [
                "an op has another number of outputs",
                "expected 1, got 2",
                MEAN.replace("%mean =", "%mean, %more =") + ", f32[4]",
                "at: m.py:7",
            ],
        ),
    ],
)
def test_each_rule(bad: Graph, lines: list[str]) -> None:
    with pytest.raises(VerifyError) as caught:
        verify(bad)
    assert str(caught.value).split("\n  ") == lines


def test_a_type_rule_that_fails_is_told_the_op() -> None:
    bad = typed(GOOD, y=TensorType("float32", (symbol("M"), 3)))
    with pytest.raises(VerifyError) as caught:
        verify(bad)
    assert "do not broadcast" in str(caught.value)
    assert SUM in str(caught.value)


def test_an_equation_that_cannot_be_solved_is_stated_once() -> None:
    a, b = symbol("a"), symbol("b")
    graph = parse_graph(
        """
        program @g {
          feed %x : f32[2*a]
          feed %y : f32[3*b]
          where 2*a == 3*b
          %s = add(%x, %y) : f32[2*a]
          %t = add(%x, %y) : f32[2*a]
        }
        """
    )
    verify(graph)
    assert graph.equations[0].left == graph.types["x"].shape[0]
    verify(graph.replace(equations=(Equation(graph.equations[0].right, graph.equations[0].left, ""),)))
    assert {a, b} == {symbol("a"), symbol("b")}


def test_ops_without_outputs_in_types_are_named() -> None:
    bad = GOOD.replace(ops=(*GOOD.ops, Op("exp", ("w",), ("late",))))
    with pytest.raises(VerifyError, match="value %late has no type"):
        verify(bad)
