"""Patterns: captures, numbers, attributes, operands in any order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from graphloss.ir.tensor import Tensor
from graphloss.rewrite.driver import Rewriter
from graphloss.rewrite.pattern import AttrCapture, Pattern, compile_pattern, match_op, op
from tests.rules.graphs import build

XY = {"x": "f32[N, C]", "y": "f32[N, C]"}


def matches(before: Callable[..., Tensor], graph_of: Callable[..., Tensor]) -> list[dict[str, object]]:
    """All bindings of the pattern at the last op of the graph."""
    graph = build(XY, graph_of)
    view = Rewriter(graph, ())
    view.run()
    return list(match_op(compile_pattern(before).root, view.ops[-1], view, {}))


def test_captures_bind_values_and_attributes() -> None:
    found = matches(lambda a, *, axis: op.log(op.softmax(a, axis=axis)), lambda x, y: op.log(op.softmax(x, axis=1)))
    assert found == [{"a": "x", "axis": 1}]


def test_one_capture_twice_is_one_value() -> None:
    assert matches(lambda a: op.mul(a, a), lambda x, y: x * x)
    assert not matches(lambda a: op.mul(a, a), lambda x, y: x * y)


def test_commutative_operands_match_in_both_orders() -> None:
    pattern = lambda a, b: op.add(op.exp(a), b)  # noqa: E731  # patterns are lambdas everywhere
    assert matches(pattern, lambda x, y: op.exp(x) + y) == [{"a": "x", "b": "y"}]
    assert matches(pattern, lambda x, y: y + op.exp(x)) == [{"a": "x", "b": "y"}]
    assert not matches(lambda a, b: op.sub(op.exp(a), b), lambda x, y: y - op.exp(x))


def test_an_order_that_fails_later_is_given_up() -> None:
    """x·y + x: the first operand must be tried in both orders before the second can match."""
    found = matches(lambda a, b: op.add(op.mul(b, a), a), lambda x, y: x * y + x)
    assert found == [{"b": "y", "a": "x"}]


def test_numbers() -> None:
    assert matches(lambda a: 1.0 - a, lambda x, y: 1.0 - x)
    assert not matches(lambda a: 1.0 - a, lambda x, y: 2.0 - x)
    assert matches(lambda a: 1.0 - a, lambda x,
        y: op.broadcast_to(op.fill(shape=(), dtype="float32", value=1.0), shape=x.type.shape) - x)


def test_the_sign_of_zero_counts() -> None:
    assert matches(lambda a: a + 0.0, lambda x, y: x + 0.0)
    assert not matches(lambda a: a + 0.0, lambda x, y: x + -0.0)


def test_a_number_is_captured_as_an_attribute() -> None:
    def before(a: Tensor, *, c: AttrCapture) -> Tensor:
        return op.mul(a, op.number(c))

    assert matches(before, lambda x, y: x * 2.5) == [{"a": "x", "c": 2.5}]
    assert not matches(before, lambda x, y: x * y)


def test_a_bare_capture_is_no_pattern() -> None:
    with pytest.raises(TypeError, match="a pattern must be an op"):
        compile_pattern(lambda a: a)


def test_patterns_and_values_do_not_mix() -> None:
    class Other(Tensor):
        __slots__ = ()

        @property
        def type(self) -> object:  # type: ignore[override]
            return Pattern().type

    with pytest.raises(TypeError, match="an operand is no pattern"):
        compile_pattern(lambda a: op.add(a, Other()))
