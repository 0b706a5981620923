"""A row that a mask leaves out contributes exactly 0 to value and gradients, whatever it holds and however the loss of
a row is composed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from graphloss import losses, ops
from graphloss.ir.tensor import Tensor
from graphloss.losses import similarity
from tests.losses.runners import RUNNERS, Array, Runner, as_written

Row = Callable[[Tensor, Tensor, Tensor], Tensor]

# The loss of each row, of scores x, other scores z and labels y.
ROWS: dict[str, Row] = {
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
    "through a reshape": lambda x, z, y: ops.reduce_sum(
        ops.reshape(ops.log_softmax(ops.reshape(x, (4, 1, 5))), (4, 5)) * z, (1,)
    ),
    "a running sum": lambda x, z, y: ops.cumsum(ops.log_softmax(x), 1)[:, 2] * z[:, 0],
    "by its position": lambda x, z, y: -ops.log(ops.gather_nd(ops.softmax(x), _places(y))),
}  # fmt: skip

# These are left to data: the compiler sees no rows in them, or would read the whole matrix once more.
HIDDEN: dict[str, Row] = {
    "from all rows": lambda x, z, y: ops.gather(
        ops.logsumexp(ops.gather(x, 3 - ops.iota((4,))), 1), 3 - ops.iota((4,))
    ),
    "flat": lambda x, z, y: ops.gather(ops.reshape(ops.log_softmax(x), (20,)), ops.iota((4,)) * 5 + y),
    "features": lambda x, z, y: -ops.pick(ops.log_softmax(ops.matmul(x, ops.transpose(z) @ z)), y),
    "two layers": lambda x, z, y: -ops.pick(
        ops.log_softmax(ops.matmul(ops.tanh(ops.matmul(x, z, transpose_y=True)), z)), y
    ),
    "features, by position": lambda x, z, y: -ops.gather_nd(
        ops.log_softmax(ops.matmul(x, ops.transpose(z) @ z)), _places(y)
    ),
    "some elements": lambda x, z, y: ops.reduce_sum(
        ops.where(z > ops.reduce_max(z, 1, True) - 0.5, ops.log_softmax(x), 0.0), (1,)
    ),
}  # fmt: skip


def _places(y: Tensor) -> Tensor:
    return ops.concat([ops.unsqueeze(ops.iota((4,)), 1), ops.unsqueeze(y, 1)], 1)


AS_WRITTEN: dict[str, Runner] = {"eager": RUNNERS["eager"], "as written": as_written}
CASES = [
    pytest.param(run, row, id=f"{name}-{key}")
    for runs, rows in (({**RUNNERS, **AS_WRITTEN}, ROWS), (AS_WRITTEN, HIDDEN))
    for name, run in runs.items() for key, row in rows.items()
]  # fmt: skip


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("run", "row"), CASES)
def test_a_row_left_out_is_exactly_zero(run: Runner, row: Row, poison: float, rng: np.random.Generator) -> None:
    def mean(x: Tensor, z: Tensor, y: Tensor, keep: Tensor) -> Tensor:
        kept = ops.where(keep, row(x, z, y), 0.0)
        return ops.reduce_sum(kept, None) / ops.reduce_sum(ops.cast(keep, "float64"), None)

    x, z = rng.normal(size=(2, 4, 5))
    feeds = {"x": x, "z": z, "y": np.array([0, 1, 2, 4]), "keep": np.array([True, False, True, True])}
    want, wanted = run(mean, feeds, ("x", "z"))
    x[1, 1] = poison
    with np.errstate(all="ignore"):
        value, grads = run(mean, feeds, ("x", "z"))
    np.testing.assert_array_equal(value, want)
    np.testing.assert_array_equal(grads[0][1], 0)
    for got, harmless in zip(grads, wanted, strict=True):
        np.testing.assert_array_equal(got, harmless)


@pytest.mark.parametrize("run", AS_WRITTEN.values(), ids=AS_WRITTEN)
@pytest.mark.parametrize("transpose_x", [False, True])
@pytest.mark.parametrize("transpose_y", [False, True])
@pytest.mark.parametrize("columns", [False, True])
def test_a_product_under_a_mask(
    run: Runner, transpose_x: bool, transpose_y: bool, columns: bool, rng: np.random.Generator
) -> None:
    """A row of x, or a column of y, whose products a mask leaves out may hold NaN."""

    def total(x: Tensor, y: Tensor, keep: Tensor) -> Tensor:
        product = ops.square(ops.matmul(ops.tanh(x), ops.tanh(y), transpose_x=transpose_x, transpose_y=transpose_y))
        return ops.reduce_sum(ops.where(ops.unsqueeze(keep, 0 if columns else 1), product, 0.0), None)

    x, y, keep = rng.normal(size=(4, 3)), rng.normal(size=(3, 4)), np.array([True, False, True, True])

    def stored(x: Array, y: Array) -> dict[str, Array]:
        return {"x": x.T.copy() if transpose_x else x, "y": y.T.copy() if transpose_y else y, "keep": keep}

    want, wanted = run(total, stored(x, y), ("x", "y"))
    if columns:
        y[:, 1] = math.nan
    else:
        x[1] = math.nan
    value, grads = run(total, stored(x, y), ("x", "y"))
    np.testing.assert_array_equal(value, want)
    for got, harmless in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(got, harmless, rtol=1e-14)
