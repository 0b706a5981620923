"""Logistic losses of scores: of a score and its sign, of the difference of two scores, of one score against many."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses.labels import labels


def soft_margin(x: Tensor, y: Tensor) -> Tensor:
    """log(1 + e^(−y·x)), as softplus: no overflow."""
    return ops.softplus(-(y * x))


def rank(left: Tensor, right: Tensor, p: Tensor) -> Tensor:
    """log(1 + e^d) − p·d, d = left − right: the cross entropy of "left before right", of probability p."""
    return ops.bce_with_logits(left - right, ops.check_range(p, 0, 1))


def bayesian_ranking(x: Tensor, label: Tensor, axis: int) -> Tensor:
    """(1/(C−1))·Σ_{j≠y} log(1 + e^(x_j − x_y)) along `axis`; 0 for a single class."""
    y = labels(label, None).index
    c = x.type.shape[axis]
    classes = ops.iota(tuple(n if a == axis else 1 for a, n in enumerate(x.type.shape)), axis)
    margin = x - ops.unsqueeze(ops.pick(x, y, axis), (axis,))
    others = ops.where(ops.equal(classes, ops.unsqueeze(y, (axis,))), 0.0, ops.softplus(margin))
    count = ops.maximum(ops.size((c,), x.type.dtype) - 1.0, 1.0)
    return ops.reduce_sum(others, (axis,)) / count
