"""Losses that stop at a margin: max(0, margin − something)."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses.labels import held, labels


def positive_part(slack: Tensor, at_zero: bool) -> Tensor:
    """max(0, slack); `at_zero` says whether the gradient passes where slack is exactly 0 (the dialects differ)."""
    return ops.clamp_min(slack, 0.0) if at_zero else ops.relu(slack)


def hinge(x: Tensor, y: Tensor, margin: float) -> Tensor:
    """max(0, margin − y·x) for y = ±1; gradient 0 where the slack is 0."""
    return positive_part(margin - x * y, at_zero=False)


def margin_ranking(x1: Tensor, x2: Tensor, y: Tensor, margin: float, at_zero: bool) -> Tensor:
    """max(0, −y·(x1 − x2) + margin): y = 1 wants x1 the larger, y = −1 x2."""
    return positive_part(margin - y * (x1 - x2), at_zero)


def hinge_embedding(x: Tensor, y: Tensor, margin: float) -> Tensor:
    """x where y = 1, max(0, margin − x) where y = −1; for any other y the sum of both."""
    near = ops.where(y == -1.0, 0.0, x)
    far = ops.where(y == 1.0, 0.0, positive_part(margin - x, at_zero=True))
    return near + far


def multi_margin(x: Tensor, label: Tensor, axis: int, p: int, margin: float, weight: Tensor | None) -> Tensor:
    """w[y]·(1/C)·Σ_{i≠y} max(0, margin − x[y] + x[i])^p per row, p = 1 or 2; gradient 0 where the slack is 0."""
    rows = labels(label, None)
    y = rows.index
    classes = ops.iota(tuple(n if a == axis else 1 for a, n in enumerate(x.type.shape)), axis)
    slack = x - ops.unsqueeze(ops.pick(x, y, axis), (axis,)) + margin
    cost = positive_part(slack, at_zero=False)
    if p == 2:
        cost = ops.square(cost)
    others = ops.where(ops.equal(classes, ops.unsqueeze(y, (axis,))), 0.0, cost)
    loss = ops.reduce_mean(others, axis=(axis,))
    return loss if weight is None else rows.weights(held(weight), x.type.dtype) * loss
