"""Losses of probabilities that have underflowed to 0: the gradient by the logits is finite, and exact, where the
compiler sees the logits and where nothing is rewritten."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphloss as gl
from graphloss import layers, ops
from graphloss.ir.tensor import Tensor
from tests.losses.runners import RUNNERS, Array, Runner, as_written

N, C = 24, 4
# where e^x is 0, where it has lost digits, and where 1/e^x overflows
LOGITS = {
    "float32": [1e4, -1e4, 0.0, -95.0, 104.0, -88.0, 1.0],
    "float64": [1e4, -1e4, 0.0, -740.0, 745.2, -708.5, 1.0],
}

BOTH_DTYPES = pytest.mark.parametrize("dtype", LOGITS)
EACH = pytest.mark.parametrize("run", {**RUNNERS, "as written": as_written}.values(), ids=[*RUNNERS, "as written"])


def fluid(p: Tensor, y: Tensor) -> Tensor:
    return layers.cross_entropy(p, ops.unsqueeze(y, 1))


def certain(y: Tensor, x: Tensor) -> Tensor:
    return ops.one_hot(y, C, dtype=x.type.dtype)


def two_uses(x: Tensor, y: Tensor) -> Tensor:
    p = ops.softmax(x)
    return fluid(p, y) + ops.reduce_sum(ops.square(p - certain(y, x)), 1, True)


def two_labels(x: Tensor, y: Tensor) -> Tensor:
    p = ops.softmax(x)
    return fluid(p, y) + fluid(p, 3 - y)


def smooth(x: Tensor, y: Tensor) -> Tensor:
    target = layers.label_smooth(certain(y, x), epsilon=0.1, dtype=x.type.dtype)
    return layers.cross_entropy(ops.softmax(x), target, soft_label=True)


def at_places(x: Tensor, y: Tensor) -> Tensor:
    places = ops.concat([ops.unsqueeze(ops.iota((N,)), 1), ops.unsqueeze(y, 1)], 1)
    return -ops.clamped_log(ops.gather_nd(ops.softmax(x), places))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    p: Array = e / e.sum(1, keepdims=True)
    return p


def residual(x: Array, y: Array) -> Array:
    r: Array = softmax(x) - np.eye(C)[y]
    return r


def through_softmax(x: Array, g: Array) -> Array:
    p = softmax(x)
    r: Array = p * (g - (g * p).sum(1, keepdims=True))
    return r


def sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(0, -x))


# The loss, and its gradient by x in float64.
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Array, Array], Array]]] = {
    "cross entropy": (lambda x, y: fluid(ops.softmax(x), y), residual),
    "soft labels": (smooth, lambda x, y: softmax(x) - 0.9 * np.eye(C)[y] - 0.1 / C),
    "mean": (lambda x, y: layers.mean(fluid(ops.softmax(x), y)), lambda x, y: residual(x, y) / N),
    "gather_nd": (at_places, residual),
    "along axis 0": (
        lambda x, y: -ops.clamped_log(ops.pick(ops.softmax(ops.transpose(x, (1, 0)), 0), y, 0)), residual
    ),
    "a label each way": (two_labels, lambda x, y: residual(x, y) + residual(x, 3 - y)),
    "beside another use": (
        two_uses, lambda x, y: residual(x, y) + through_softmax(x, 2 * residual(x, y))
    ),
    "weighted": (
        lambda x, y: -ops.clamped_log(ops.pick(ops.softmax(x) * 0.5, y) / 2.0), residual
    ),
    "a power": (
        lambda x, y: ops.pow(ops.pick(ops.softmax(x), y), ops.fill((), 0.3, x.type.dtype)),
        lambda x, y: -0.3 * residual(x, y) * np.take_along_axis(softmax(x), y[:, None], 1) ** 0.3,
    ),
    "a root": (
        lambda x, y: ops.sqrt(ops.pick(ops.softmax(x), y)),
        lambda x, y: -0.5 * residual(x, y) * np.take_along_axis(softmax(x), y[:, None], 1) ** 0.5,
    ),
    "sigmoid": (lambda x, y: -ops.clamped_log(ops.sigmoid(x)), lambda x, y: -sigmoid(-x)),
    "exponential": (
        lambda x, y: -ops.clamped_log(ops.exp(ops.minimum(x, 1.0, tie="first"))), lambda x, y: -1.0 * (x <= 1)
    ),
}  # fmt: skip


@EACH
@BOTH_DTYPES
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_saturated_loss(name: str, dtype: str, run: Runner) -> None:
    rng = np.random.default_rng(7)
    loss, exact = LOSSES[name]
    x, y = rng.choice(LOGITS[dtype], (N, C)).astype(dtype), rng.integers(0, C, N)
    value, (grad,) = run(loss, {"x": x, "y": y}, ("x",))
    assert np.isfinite(value).all()
    np.testing.assert_allclose(grad, exact(x.astype(float), y), rtol=1e-5, atol=1e-6)


@BOTH_DTYPES
def test_the_second_derivative_of_a_saturated_loss(dtype: str) -> None:
    """∂/∂x Σ v·(p − e_y) = p·(v − Σ p·v), in eager mode."""
    rng = np.random.default_rng(7)
    x, y, v = rng.choice(LOGITS[dtype], (N, C)).astype(dtype), rng.integers(0, C, N), rng.normal(size=(N, C))
    with gl.dygraph.guard():
        scores, weights = gl.dygraph.to_variable(x), gl.dygraph.to_variable(v.astype(dtype))
        scores.stop_gradient = False
        (g,) = gl.dygraph.grad(fluid(ops.softmax(scores), gl.dygraph.to_variable(y)), scores, create_graph=True)
        (h,) = gl.dygraph.grad(ops.reduce_sum(g * weights), scores)
        assert h is not None
        np.testing.assert_allclose(h.numpy(), through_softmax(x.astype(float), v), rtol=1e-5, atol=1e-6)


def test_a_logarithm_behind_a_long_way() -> None:
    """Far from the exponential the quotient is formed; no chain is too long."""
    with gl.dygraph.guard():
        x = gl.dygraph.to_variable(np.array([0.5, -2.0]))
        x.stop_gradient = False
        p = total = ops.exp(x)
        for _ in range(2000):
            p = ops.reshape(p, (2,))
            total = total + ops.log(p)
        total.backward()
        np.testing.assert_allclose(x.gradient(), np.exp([0.5, -2.0]) + 2000)
