"""Losses of embeddings: two vectors that should be near or far, an anchor between two others, batches of pairs."""

from __future__ import annotations

from collections.abc import Callable

from graphloss import ops
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses.cross_entropy import soft_cross_entropy
from graphloss.losses.divergence import kl_div_shifted
from graphloss.losses.hinge import positive_part

Distance = Callable[[Tensor, Tensor], Tensor]


def cosine_embedding(cos: Tensor, y: Tensor, margin: float, at_zero: bool) -> Tensor:
    """1 − cos where y = 1, max(0, cos − margin) where y = −1, else 0."""
    apart = ops.where(y == -1.0, positive_part(cos - margin, at_zero), 0.0)
    return ops.where(y == 1.0, 1.0 - cos, apart)


def triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float, distance: Distance, swap: bool
) -> Tensor:
    """max(0, margin + d(a, p) − d(a, n)); with `swap` d(p, n) takes the place of d(a, n) where it is smaller."""
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative), tie="half")
    return positive_part(margin + near - far, at_zero=True)


def squared_triplet(anchor: Tensor, positive: Tensor, negative: Tensor, axes: tuple[int, ...], margin: float) -> Tensor:
    """max(0, Σ[(p − a)² − (n − a)²] + margin) over `axes`; gradient 0 where the slack is 0."""
    gap = ops.square(positive - anchor) - ops.square(negative - anchor)
    return positive_part((ops.reduce_sum(gap, axes) if axes else gap) + margin, at_zero=False)


def npair(anchor: Tensor, positive: Tensor, labels: Tensor, l2: float) -> Tensor:
    """The mean cross entropy of the rows of anchor·positiveᵀ, plus ¼·l2·(mean ‖a‖² + mean ‖p‖²): a 0-d value.

    The target of row i is spread equally over the columns whose label is that of i.
    """
    same = ops.equal(ops.unsqueeze(labels, (1,)), ops.unsqueeze(labels, (0,)))
    target = cast(same, anchor.type.dtype)
    target = target / ops.reduce_sum(target, (1,), True)
    rows = soft_cross_entropy(ops.matmul(anchor, positive, False, True), target, 1)
    sizes = [ops.reduce_mean(ops.reduce_sum(ops.square(x), (1,))) for x in (anchor, positive)]
    return ops.reduce_mean(rows) + 0.25 * l2 * (sizes[0] + sizes[1])


def smoothed_pairs(x1: Tensor, x2: Tensor, smoothing: float) -> Tensor:
    """Σ_j KL(t_i ‖ softmax_j(−‖x1_i − x2_j‖²)) per row i: t is 1 − s on the diagonal, s/(N − 1) elsewhere."""
    n = x1.type.shape[0]
    d = ops.reduce_sum(ops.square(ops.unsqueeze(x1, (1,)) - ops.unsqueeze(x2, (0,))), (2,))
    here = ops.equal(ops.iota((n, 1), 0), ops.iota((1, n), 1))
    others = smoothing / ops.maximum(ops.size((n,), x1.type.dtype) - 1.0, 1.0)
    target = ops.where(here, 1.0 - smoothing, others)
    return ops.reduce_sum(kl_div_shifted(ops.log_softmax(-d, 1), target, 1e-12), (1,))
