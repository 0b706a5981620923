"""Binary cross entropy, of probabilities that are data and of logits."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses.reduction import Rows


def binary_cross_entropy(p: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    """−w·[y·L(p) + (1−y)·L(1−p)], L = max(log, −100)."""
    loss = ops.binary_cross_entropy(ops.check_range(p, 0, 1), ops.check_range(y, 0, 1))
    return loss if weight is None else loss * weight


def binary_cross_entropy_with_logits(
    z: Tensor, y: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None
) -> Tensor:
    """w·[p·y·softplus(−z) + (1−y)·softplus(z)], with all digits where the result is tiny."""
    return _with_logits(z, ops.check_range(y, 0, 1), weight, pos_weight)


def _with_logits(z: Tensor, y: Tensor, weight: Tensor | None = None, pos_weight: Tensor | None = None) -> Tensor:
    if pos_weight is None:
        loss = ops.bce_with_logits(z, y)
    else:
        loss = pos_weight * y * ops.softplus(-z) + (1 - y) * ops.softplus(z)
    return loss if weight is None else loss * weight


def binary_cross_entropy_shifted(p: Tensor, y: Tensor, epsilon: float, pos_weight: Tensor | None = None) -> Tensor:
    """−[w·y·log(p + ε) + (1−y)·log(1 − p + ε)]: finite at both ends without a bound."""
    p, y = ops.check_range(p, 0, 1), ops.check_range(y, 0, 1)
    positive = y if pos_weight is None else y * pos_weight
    return -(positive * ops.log(p + epsilon) + (1 - y) * ops.log(1 - p + epsilon))


def sigmoid_cross_entropy(z: Tensor, y: Tensor, ignore_index: int) -> Rows:
    """As above without weights; elements whose label, cut to an integer, is ignore_index are 0.

    An element counts in a divisor unless its label is within 1e-6 of ignore_index: Fluid counts so.
    """
    keep = cast(y, "int64") != ignore_index
    loss = _with_logits(z, ops.check_range(y, 0, 1, keep))

    def counted() -> Tensor:
        return cast(ops.abs(y - float(ignore_index)) > 1e-6, z.type.dtype)

    return Rows(ops.where(keep, loss, 0.0), counted)
