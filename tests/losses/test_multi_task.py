"""Weighted sums of losses: as many kernels as there are tensors to walk over, and the sums of the gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphloss import layers, losses
from graphloss.gluon import loss as gluon
from graphloss.nn import functional as F
from tests.losses.beyond import tensor_kernels
from tests.losses.runners import RUNNERS

Build = Callable[..., Any]
ROW, LABEL = ("float32", (None, 10)), ("int64", (None,))

# The losses of one sum with their factors, its inputs, those with a gradient, the kernels that walk over a tensor.
SUMS: dict[str, tuple[list[tuple[float, Build]], dict[str, Any], tuple[str, ...], int]] = {
    "regressions of one prediction": (
        [(1.0, lambda x, y, t: F.mse_loss(x, y)), (0.5, lambda x, y, t: F.l1_loss(x, y)),
         (0.1, lambda x, y, t: F.huber_loss(x, t))],
        {"x": ROW, "y": ROW, "t": ROW}, ("x",), 1),
    "a classifier with a z-loss and a margin": (
        [(1.0, lambda x, y: F.cross_entropy(x, y, reduction="sum")), (0.1, lambda x, y: losses.z_loss(x)),
         (0.3, lambda x, y: F.multi_margin_loss(x, y))],
        {"x": ROW, "y": LABEL}, ("x",), 1),
    "three libraries": (
        [(1.0, lambda x, y: layers.reduce_mean(layers.square_error_cost(x, y))), (0.5, lambda x, y: F.l1_loss(x, y)),
         (2.0, lambda x, y: layers.mean(gluon.LogisticLoss()(x, y)))],
        {"x": ROW, "y": ROW}, ("x",), 1),
    "a detector: classes and boxes": (
        [(1.0, lambda x, y, b, t: F.cross_entropy(x, y)), (0.5, lambda x, y, b, t: F.smooth_l1_loss(b, t))],
        {"x": ROW, "y": LABEL, "b": ("float32", (None, 4)), "t": ("float32", (None, 4))}, ("x", "b"), 2),
}  # fmt: skip


def total(parts: list[tuple[float, Build]]) -> Build:
    def build(**inputs: Any) -> Any:
        found = 0.0
        for factor, loss in parts:
            found = found + factor * loss(**inputs)
        return found

    return build


@pytest.mark.parametrize("name", SUMS)
def test_as_many_kernels_as_tensors(name: str) -> None:
    parts, inputs, by, kernels = SUMS[name]
    assert tensor_kernels(total(parts), inputs, by) == kernels


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", SUMS)
def test_sum_of_values_and_gradients(name: str, runner: str, rng: np.random.Generator) -> None:
    parts, inputs, by, _ = SUMS[name]
    arrays = {
        n: rng.normal(size=(6, *shape[1:])) if dtype == "float32" else rng.integers(0, 10, 6)
        for n, (dtype, shape) in inputs.items()
    }
    value, grads = RUNNERS[runner](total(parts), arrays, by)
    each = [(factor, *RUNNERS[runner](loss, arrays, by)) for factor, loss in parts]
    np.testing.assert_allclose(value, sum(f * v for f, v, _ in each), rtol=1e-12)
    for i in range(len(by)):
        np.testing.assert_allclose(grads[i], sum(f * g[i] for f, _, g in each), rtol=1e-11, atol=1e-14)
