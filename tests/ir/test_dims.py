"""Dimensions: what is simplified, and what equations let one know."""

from __future__ import annotations

from graphloss.ir import dims


def test_common_factors_leave_a_floor_division() -> None:
    n = dims.symbol("n")
    assert dims.floordiv(dims.mul(16, n), 48) == dims.floordiv(n, 3)
    assert dims.floordiv(dims.mul(6, n), 3) == dims.mul(2, n)
    for size in range(20):
        assert dims.evaluate(dims.floordiv(dims.add(dims.mul(4, n), 2), 6), {"n": size}) == (4 * size + 2) // 6


def test_a_recorded_equation_is_known_even_if_it_cannot_be_solved() -> None:
    a, b = (dims.floordiv(dims.symbol(s), 3) for s in "ab")
    equations = dims.Equations()
    assert not equations.same(a, b)
    equations.equal(a, b, "an op")
    assert equations.same(a, b) and equations.same(b, a)
