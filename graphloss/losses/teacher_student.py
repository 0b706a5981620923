"""Click prediction with a teacher: one cross entropy with the click, one with the teacher's score."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor, cast


def teacher_student(x: Tensor, label: Tensor, lower: float, upper: float) -> Tensor:
    """bce(x, click) + bce(x, score), both read from one label; no gradient where x ≤ lower or x ≥ upper.

    label < −1: no click and no score. [−1, 0): click, no score. [0, 1): no click, the score is label. From 1 on:
    click, the score is label − 1. The bounds do not change the value.
    """
    inside = ops.logical_and(x > lower, x < upper)
    z = ops.where(inside, x, ops.detach(x))
    clicked = label >= 1.0
    click = ops.logical_or(clicked, ops.logical_and(label >= -1.0, label < 0.0))
    score = label - cast(clicked, label.type.dtype)
    of_score = ops.where(label < 0.0, 0.0, ops.bce_with_logits(z, score))
    return ops.bce_with_logits(z, cast(click, x.type.dtype)) + of_score
