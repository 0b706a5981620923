"""A row that a mask leaves out contributes exactly 0 to value and gradients, whatever it holds and however the loss of
a row is composed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphloss import losses, ops
from graphloss.ir.tensor import Tensor
from graphloss.losses import similarity
from tests.losses.runners import RUNNERS, Runner, compiled

# The loss of each row, of scores x, other scores z and labels y.
ROWS = {
    "logsumexp": lambda x, z, y: ops.logsumexp(x, 1),
    "cosine": lambda x, z, y: similarity.cosine(x, z, 1),
    "cosine of bounded norms": lambda x, z, y: similarity.cosine_of_bounded_norms(x, z, 1, 1e-6),
    "distance": lambda x, z, y: similarity.pairwise_distance(x, z, 3, 1e-6),
    "focal": lambda x, z, y: losses.softmax_focal_loss(x, y, reduction="none"),
    "focal, root": lambda x, z, y: losses.softmax_focal_loss(x, y, gamma=0.5, reduction="none"),
    "deviation": lambda x, z, y: ops.sqrt(
        ops.reduce_mean(ops.square(x - ops.reduce_mean(x, (1,), True)), (1,))
    ),
    "divergence": lambda x, z, y: ops.reduce_sum(
        ops.softmax(x) * (ops.log(ops.softmax(x)) - ops.log(ops.softmax(z))), (1,)
    ),
    "positive beside negatives": lambda x, z, y: ops.logsumexp(
        ops.concat([ops.reduce_sum(x * z, (1,), True), x], 1), 1
    ),
    "slices": lambda x, z, y: x[:, 0] * x[:, 1] + ops.logsumexp(x[:, 2:], 1),
    "transposed": lambda x, z, y: ops.logsumexp(ops.transpose(x, (1, 0)), 0),
    "behind a product": lambda x, z, y: ops.reduce_sum(
        ops.matmul(ops.sqrt(ops.square(x)), ops.fill((5, 2), 0.5, "float64")), (1,)
    ),
    "bounded": lambda x, z, y: ops.logsumexp(ops.minimum(x, z, tie="half") + x, 1),
    "two ways": lambda x, z, y: ops.where(z[:, 0] > 0.0, ops.logsumexp(x, 1), ops.reduce_sum(ops.sqrt(x * x), (1,))),
}  # fmt: skip


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
def test_a_row_left_out_is_exactly_zero(run: Runner, row: str, poison: float, rng: np.random.Generator) -> None:
    def mean(x: Tensor, z: Tensor, y: Tensor, keep: Tensor) -> Tensor:
        kept = ops.where(keep, ROWS[row](x, z, y), 0.0)
        return ops.reduce_sum(kept, None) / ops.reduce_sum(ops.cast(keep, "float64"), None)

    x, z = rng.normal(size=(2, 4, 5))
    feeds = {"x": x, "z": z, "y": np.array([0, 1, 2, 4]), "keep": np.array([True, False, True, True])}
    want, wanted = run(mean, feeds, ("x", "z"))
    x[1, 1] = poison
    with np.errstate(all="ignore"):
        value, grads = run(mean, feeds, ("x", "z"))
    np.testing.assert_array_equal(value, want)
    for got, harmless in zip(grads, wanted, strict=True):
        np.testing.assert_array_equal(got[1], 0)
        np.testing.assert_array_equal(got, harmless)


def test_a_label_gathered_by_its_position(rng: np.random.Generator) -> None:
    """The compiler sees the pick; eager scatters the gradient, and knows nothing of rows then."""

    def total(x: Tensor, y: Tensor, keep: Tensor) -> Tensor:
        places = ops.concat([ops.unsqueeze(ops.iota((4,)), 1), ops.unsqueeze(y, 1)], 1)
        return ops.reduce_sum(ops.where(keep, -ops.log(ops.gather_nd(ops.softmax(x), places)), 0.0), None)

    x, y, keep = rng.normal(size=(4, 5)), np.array([0, 1, 2, 4]), np.array([True, False, True, True])
    x[1] = math.nan
    value, (grad,) = compiled(total, {"x": x, "y": y, "keep": keep}, ("x",))
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    np.testing.assert_allclose(value, -log_p[np.arange(4), y][keep].sum())
    np.testing.assert_allclose(grad, np.where(keep[:, None], np.exp(log_p) - np.eye(5)[y], 0))
