"""Losses of a difference d = x − y: squared, absolute, smooth L1, Huber."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """(x − y)²."""
    return ops.square(x - y)


def absolute_error(x: Tensor, y: Tensor) -> Tensor:
    """|x − y|, with slope 0 at 0."""
    return ops.abs(x - y)


def smooth_l1(d: Tensor, beta: float) -> Tensor:
    """d²/(2β) where |d| < β, else |d| − β/2: slope 1 far out; β = 0 is |d|."""
    size = ops.abs(d)
    if beta == 0:
        return size
    return ops.where(size < beta, ops.square(d) * (0.5 / beta), size - 0.5 * beta)


def huber(d: Tensor, delta: float) -> Tensor:
    """d²/2 where |d| ≤ δ, else δ(|d| − δ/2): slope δ far out."""
    size = ops.abs(d)
    return ops.where(size <= delta, 0.5 * ops.square(d), delta * (size - 0.5 * delta))
