"""Eager arrays: making them, what they tell, conversion, indexing, set_value, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import graphloss as gl
from graphloss.dygraph import VarBase, to_variable
from graphloss.errors import ArgumentTypeError, DtypeError, ShapeError, UnsupportedError


@pytest.fixture(autouse=True)
def _eager() -> Iterator[None]:
    with gl.dygraph.guard():
        yield


def var(*values: float) -> VarBase:
    return to_variable(np.array(values))


def test_properties() -> None:
    v = to_variable(np.zeros((2, 3), np.float32), name="v")
    assert (v.shape, v.dtype, v.name, v.ndim, v.stop_gradient, v.is_leaf) == ([2, 3], "float32", "v", 2, True, True)
    assert str(v.type) == "f32[2, 3]"
    assert var(1.0).name == "generated_var_0"
    assert repr(var(1.0)).splitlines() == ["VarBase(f64[1], stop_gradient=True)", "[1.]"]


def test_the_array_is_copied_both_ways() -> None:
    a = np.ones(2)
    v = to_variable(a)
    a[0] = 7
    v.numpy()[1] = 9
    np.testing.assert_array_equal(v.numpy(), [1, 1])


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3).T, np.arange(4.0)[::-1], np.arange(3.0).astype(">f8"), np.float32(2.0)]
)
def test_any_layout_is_taken(array: np.ndarray) -> None:  # type: ignore[type-arg]
    v = to_variable(array)
    np.testing.assert_array_equal(v.numpy(), array)
    np.testing.assert_array_equal((v + v).numpy(), 2 * array)


def test_a_varbase_comes_back_as_it_is() -> None:
    v = var(1.0)
    assert to_variable(v) is v


@pytest.mark.parametrize("value", [[1.0], 1.0, "x", None])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ArgumentTypeError, match="NumPy array"):
        to_variable(value)


def test_unknown_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match="complex128"):
        to_variable(np.zeros(2, complex))


def test_truth_and_numbers() -> None:
    assert bool(var(0.5))
    assert not var(-1.0)
    assert not var(0.0)
    assert float(var(2.5)) == 2.5
    assert int(to_variable(np.array([7]))) == 7
    assert var(3.0).item() == 3.0
    assert to_variable(np.array(True))
    for many in (bool, float, int):
        with pytest.raises(ShapeError, match="one number"):
            many(var(1.0, 2.0))


def test_comparison_gives_arrays_and_branches_work() -> None:
    x = var(1.0, 2.0)
    np.testing.assert_array_equal((x > 1.5).numpy(), [False, True])
    np.testing.assert_array_equal((x == x).numpy(), [True, True])
    assert (x[0] < x[1]) and not (x[0] > x[1])


def test_indexing_and_iteration() -> None:
    a = np.arange(24.0).reshape(2, 3, 4)
    v = to_variable(a)
    for key in (
        0,
        -1,
        slice(1),
        (0, 1),
        (slice(None), 2),
        (..., slice(None, None, 2)),
        (1, slice(None, None, -1)),
        None,
    ):
        np.testing.assert_array_equal(v[key].numpy(), a[key])
    assert len(v) == 2
    np.testing.assert_array_equal([float(x) for x in var(1.0, 2.0)], [1, 2])
    np.testing.assert_array_equal(np.asarray(var(1.0)), [1])
    with pytest.raises(TypeError, match="0-d"):
        len(to_variable(np.array(1.0)))


def test_set_value() -> None:
    v = var(1.0, 2.0)
    v.set_value(np.array([3.0, 4.0]))
    np.testing.assert_array_equal(v.numpy(), [3, 4])
    v.set_value(var(5.0, 6.0))
    np.testing.assert_array_equal(v.numpy(), [5, 6])
    with pytest.raises(ShapeError, match="set_value"):
        v.set_value(np.zeros(3))
    with pytest.raises(DtypeError, match="set_value"):
        v.set_value(np.zeros(2, np.float32))
    with pytest.raises(ArgumentTypeError, match="set_value"):
        v.set_value([1.0, 2.0])


def test_what_was_computed_before_set_value_stays() -> None:
    v = var(3.0)
    v.stop_gradient = False
    y = v * v
    v.set_value(np.array([100.0]))
    y.backward()
    np.testing.assert_array_equal(v.gradient(), [6])


def test_operands_of_two_modes_do_not_mix() -> None:
    with gl.program_guard(gl.Program()):
        x = gl.data("x", [1])
    with pytest.raises(UnsupportedError, match="no value in eager mode"):
        _ = x + 1.0
    with pytest.raises(TypeError):
        _ = var(1.0) + "1"


def test_errors_name_op_and_place() -> None:
    with pytest.raises(ShapeError) as caught:
        _ = var(1.0, 2.0) + var(1.0, 2.0, 3.0)
    text = str(caught.value)
    assert "op: add(" in text
    assert "f64[2]" in text
    assert "test_varbase.py:" in text


def test_operators_with_numbers() -> None:
    x = var(7.0, -7.0)
    a = x.numpy()
    for got, want in (
        (2 - x, 2 - a), (x / 2, a / 2), (2 / x, 2 / a), (x // 2, a // 2), (x % 3, a % 3), (-x, -a), (x**2, a**2),
        (2.0 * x + 1, 2 * a + 1), (x >= 7, a >= 7), (x != 7, a != 7),
    ):  # fmt: skip
        np.testing.assert_array_equal(got.numpy(), want)
    m = to_variable(np.arange(6.0).reshape(2, 3))
    product = m @ gl.layers.transpose(m, [1, 0])
    np.testing.assert_array_equal(product.numpy(), m.numpy() @ m.numpy().T)
