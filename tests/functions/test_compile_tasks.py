"""`compile`: a sum of the losses of several tasks is a few kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphloss as gl

F, L = gl.nn.functional, gl.layers
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4))
LABEL = np.array([1, 0, 3, 2, 2])


def reference_ce(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    lse = np.log(np.exp(x).sum(axis=1, keepdims=True))
    n = np.arange(len(y))
    return float(np.mean(lse[:, 0] - x[n, y])), (np.exp(x - lse) - np.eye(x.shape[1])[y]) / len(y)


def kernels(f: Any, *args: np.ndarray) -> int:
    """How many kernels read or write a tensor of two axes."""
    f(*args)
    return sum(any(len(b.shape) > 1 and b.role != "partial" for b in k.buffers) for k in f.explain().kernels)


def test_tasks_on_different_inputs_take_one_kernel_each() -> None:
    boxes, targets = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))

    @gl.compile
    def both(logits: Any, label: Any, box: Any, target: Any) -> Any:
        return F.cross_entropy(logits, label, reduction="sum") + 2.0 * F.smooth_l1_loss(box, target)

    args = (X, LABEL, boxes, targets)
    f = both.value_and_grad(wrt=("logits", "box"))
    value, (g, gb) = f(*args)
    d = boxes - targets
    near = np.abs(d) < 1
    want, grad = reference_ce(X, LABEL)
    np.testing.assert_allclose(value, 5 * want + 2 * np.mean(np.where(near, d * d / 2, np.abs(d) - 0.5)), rtol=1e-12)
    np.testing.assert_allclose(g, 5 * grad, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(gb, 2 * np.where(near, d, np.sign(d)) / d.size, rtol=1e-12)
    assert kernels(f, *args) == 2


@pytest.mark.parametrize(
    ("loss", "args"),
    [
        (lambda x, y: F.cross_entropy(x, y, reduction="sum") + 1e-4 * gl.losses.z_loss(x, reduction="sum"), (X, LABEL)),
        (lambda x, y: F.mse_loss(x, y) + 0.5 * F.l1_loss(x, y) - F.smooth_l1_loss(x, y) * 0.1, (X, Y)),
        (lambda x, y: F.cross_entropy(x, y, reduction="sum") * 2.0 + L.reduce_sum(L.square(x)) * 0.01, (X, LABEL)),
        (lambda x, y: F.binary_cross_entropy_with_logits(x, y) + F.mse_loss(L.sigmoid(x), y), (X, Y > 0.0)),
    ],
    ids=["ce and z-loss", "three distances", "ce and decay", "bce and brier"],
)  # fmt: skip
def test_tasks_on_one_input_take_one_kernel(loss: Callable[..., Any], args: tuple[np.ndarray, ...]) -> None:
    x, y = args[0], args[1].astype(np.float64) if args[1].dtype == bool else args[1]
    f = gl.compile(loss)
    assert kernels(f.value_and_grad(), x, y) == 1
    assert kernels(f.value_grad_hessian_diag(), x, y) == 1
