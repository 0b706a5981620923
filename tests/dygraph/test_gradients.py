"""Gradients in eager mode: accumulation, history, no_grad, `grad`, second order, select-awareness, memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

import graphloss as gl
from graphloss import layers
from graphloss.dygraph import VarBase, grad, no_grad, to_variable
from graphloss.errors import ArgumentTypeError, ShapeError, UnsupportedError


@pytest.fixture(autouse=True)
def _eager() -> Iterator[None]:
    with gl.dygraph.guard():
        yield


def leaf(*values: float) -> VarBase:
    v = to_variable(np.array(values))
    v.stop_gradient = False
    return v


def test_gradient_of_a_sum_of_elements() -> None:
    x = leaf(1.0, 2.0, 3.0)
    (x * x).backward()
    np.testing.assert_array_equal(x.gradient(), [2, 4, 6])


def test_gradients_accumulate_until_cleared() -> None:
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (3 * x).backward()
    np.testing.assert_array_equal(x.gradient(), [9, 9])
    x.clear_gradient()
    assert x.gradient() is None
    (x * x).backward()
    np.testing.assert_array_equal(x.gradient(), [2, 4])


def test_a_value_used_twice() -> None:
    x = leaf(2.0)
    y = x * x
    (y * y + y).backward()
    np.testing.assert_array_equal(x.gradient(), [4 * 8 + 4])
    np.testing.assert_array_equal(y.gradient(), [9])


def test_stop_gradient() -> None:
    x, c = leaf(2.0), to_variable(np.array([5.0]))
    y = x * c
    assert not y.stop_gradient
    y.backward()
    assert c.gradient() is None
    np.testing.assert_array_equal(x.gradient(), [5])
    z = c * c
    assert z.stop_gradient
    z.backward()
    assert c.gradient() is None


def test_stop_gradient_of_a_value_between() -> None:
    x = leaf(2.0)
    y = x * 3
    y.stop_gradient = True
    (x * y).backward()
    np.testing.assert_array_equal(x.gradient(), [6])


def test_detach() -> None:
    x = leaf(2.0)
    d = (x * x).detach()
    assert d.stop_gradient
    (x * d).backward()
    np.testing.assert_array_equal(x.gradient(), [4])


def test_the_same_value_live_and_detached() -> None:
    x = leaf(3.0)
    (x * x.detach()).backward()
    np.testing.assert_array_equal(x.gradient(), [3])


def test_history_serves_once() -> None:
    x = leaf(2.0)
    y = x * x
    y.backward()
    with pytest.raises(UnsupportedError, match="history is gone"):
        y.backward()
    z = x * x
    z.backward(retain_graph=True)
    z.backward()
    np.testing.assert_array_equal(x.gradient(), [12])


def test_backward_of_a_leaf() -> None:
    x = leaf(2.0, 3.0)
    x.backward()
    np.testing.assert_array_equal(x.gradient(), [1, 1])


def test_no_grad_as_context_and_decorator() -> None:
    x = leaf(2.0)
    with no_grad():
        assert (x * x).stop_gradient
    assert not (x * x).stop_gradient

    @no_grad
    def square(v: VarBase) -> VarBase:
        return v * v

    @no_grad()
    def cube(v: VarBase) -> VarBase:
        return v * v * v

    for f in (square, cube):
        assert f(x).stop_gradient
        assert f(x).stop_gradient
    assert not (x * x).stop_gradient


def test_grad_leaves_gradients_alone() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = x * w
    gx, gw = grad([y], [x, w])
    np.testing.assert_array_equal(gx.numpy(), [3, 4])
    np.testing.assert_array_equal(gw.numpy(), [1, 2])
    assert x.gradient() is None
    assert gx.stop_gradient


def test_grad_by_a_value_between_and_with_weights() -> None:
    x = leaf(1.0, 2.0)
    y = x * x
    (g,) = grad(y * y, y, grad_outputs=to_variable(np.array([10.0, 1.0])))
    np.testing.assert_array_equal(g.numpy(), [20, 8])


def test_second_and_third_derivative() -> None:
    x = leaf(1.5)
    (first,) = grad(x**4.0, x, create_graph=True)
    (second,) = grad(first, x, create_graph=True)
    (third,) = grad(second, x)
    np.testing.assert_allclose([first.item(), second.item(), third.item()], [4 * 1.5**3, 12 * 1.5**2, 24 * 1.5])


def test_second_order_through_a_loss() -> None:
    """The gradient of |∂CE/∂x|² against differences in float64."""
    rng = np.random.default_rng(7)
    a, labels = rng.normal(size=(3, 4)), to_variable(np.array([1, 0, 3]))

    def penalty(values: np.ndarray) -> tuple[VarBase, VarBase]:  # type: ignore[type-arg]
        x = to_variable(values)
        x.stop_gradient = False
        (g,) = grad(gl.nn.functional.cross_entropy(x, labels), x, create_graph=True)
        return layers.reduce_sum(g * g), x

    total, x = penalty(a)
    total.backward()
    h = 1e-6
    for i in np.ndindex(a.shape):
        up, down = a.copy(), a.copy()
        up[i] += h
        down[i] -= h
        numeric = (penalty(up)[0].item() - penalty(down)[0].item()) / (2 * h)
        np.testing.assert_allclose(x.gradient()[i], numeric, rtol=1e-5, atol=1e-9)


def test_unused_inputs() -> None:
    x, other = leaf(1.0), leaf(2.0)
    y = x * x
    assert grad(y, [x, other], allow_unused=True, retain_graph=True)[1] is None
    with pytest.raises(UnsupportedError, match="no output depends"):
        grad(y, [other])


def test_no_grad_vars() -> None:
    x = leaf(3.0)
    y = x * x
    (g,) = grad(y * x, x, no_grad_vars=y)
    np.testing.assert_array_equal(g.numpy(), [9])


def test_arguments_of_grad() -> None:
    x = leaf(1.0)
    with pytest.raises(ArgumentTypeError, match="inputs"):
        grad(x * x, [np.ones(1)])
    with pytest.raises(ShapeError, match="number"):
        grad(x * x, x, grad_outputs=[])
    with pytest.raises(ShapeError, match="shape"):
        grad(x * x, x, grad_outputs=leaf(1.0, 2.0))
    with pytest.raises(UnsupportedError, match="only_inputs"):
        grad(x * x, x, only_inputs=False)


def test_untaken_branch_contributes_exactly_zero() -> None:
    x = leaf(0.0, 4.0)
    layers.reduce_sum(layers.where(x > 0.0, gl.layers.sqrt(x), x)).backward()
    np.testing.assert_array_equal(x.gradient(), [1, 0.25])


def test_integer_results_carry_no_gradient() -> None:
    x = leaf(1.0, 3.0)
    assert layers.argmax(x).stop_gradient
    assert (x > 2.0).stop_gradient
    assert layers.cast(x, "int64").stop_gradient


def test_unused_history_is_freed_without_a_collection() -> None:
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0)
        y = x * 2
        z = y * 3
        watch = weakref.ref(y)
        del y
        assert watch() is None  # the history holds the value, not the handle
        record = weakref.ref(z)
        del z
        assert record() is None
    finally:
        gc.enable()


def test_a_long_chain_needs_no_recursion() -> None:
    x = leaf(1.0)
    y = x
    for _ in range(3000):
        y = y * 1.0
    y.backward()
    np.testing.assert_array_equal(x.gradient(), [1])
