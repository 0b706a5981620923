"""Dice loss: one minus twice the overlap of prediction and target, over the sum of their areas."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor


def dice(p: Tensor, t: Tensor, epsilon: float) -> Tensor:
    """1 − 2·Σ p·t / (Σ p + Σ t + ε) per sample, sums over all axes but the first; 1 where both are empty."""
    p, t = ops.check_range(p, 0, 1), ops.check_range(t, 0, 1)
    axes = tuple(range(1, p.type.rank))
    overlap, areas = p * t, p + t
    if axes:
        overlap, areas = ops.reduce_sum(overlap, axes), ops.reduce_sum(areas, axes)
    return 1.0 - 2.0 * overlap / (areas + epsilon)
