"""Rows with several right classes: margins between them and the others, and one binary decision per class."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses.binary import binary_cross_entropy_with_logits
from graphloss.losses.hinge import positive_part


def multilabel_margin(x: Tensor, label: Tensor) -> Tensor:
    """(1/C)·Σ_{j in list} Σ_{i not in list} max(0, 1 − x[y_j] + x[i]) along the last axis.

    `label` has x's shape; a row lists its classes from the front, and the first −1 ends the list. A class listed twice
    counts twice. What follows the −1 is not used, but every number must be −1 or a class.
    """
    axis = x.type.rank - 1
    c = x.type.shape[axis]
    y = cast(label, "int64")
    absent = y == -1
    position = ops.iota(tuple(n if a == axis else 1 for a, n in enumerate(x.type.shape)), axis)
    end = ops.reduce_min(ops.where(absent, position, ops.size((c,))), (axis,), True)
    listed = position < end
    y = ops.check_index(ops.where(absent, 0, y), c)
    # from here on pairs: axis `axis` runs over the list, the new last axis over the classes
    square = (*x.type.shape, c)
    classes = ops.iota((*(1 for _ in range(axis + 1)), c), axis + 1)
    here = ops.unsqueeze(listed, (axis + 1,))
    named = ops.logical_and(here, ops.equal(ops.unsqueeze(y, (axis + 1,)), classes))
    right = ops.reduce_any(named, (axis,), True)
    scores = ops.unsqueeze(x, (axis,))
    own = ops.pick(ops.broadcast_to(scores, square), y, axis + 1)
    slack = scores - ops.unsqueeze(own, (axis + 1,)) + 1.0
    counted = ops.logical_and(here, ops.logical_not(right))
    cost = ops.where(counted, positive_part(slack, at_zero=False), 0.0)
    return ops.reduce_sum(cost, (axis, axis + 1)) / ops.size((c,), x.type.dtype)


def multilabel_soft_margin(x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """The mean over the last axis of w·[y·softplus(−x) + (1−y)·softplus(x)]."""
    return ops.reduce_mean(binary_cross_entropy_with_logits(x, y, weight), axis=(x.type.rank - 1,))
