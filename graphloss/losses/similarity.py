"""How near two vectors are: norms of their difference, the cosine of their angle, and vectors of norm 1."""

from __future__ import annotations

import math

from graphloss import ops
from graphloss.ir.tensor import Tensor


def norm(x: Tensor, p: float, axis: int, keepdims: bool = False) -> Tensor:
    """‖x‖_p along `axis`, p = 0 (how many are not 0) to ∞; the gradient at the zero vector is 0.

    For p = ∞ the gradient goes to the largest coordinate, shared equally by equal ones.
    """
    size = ops.abs(x)
    if p == math.inf:
        return ops.reduce_max(size, (axis,), keepdims, tie="share")
    if p == 1:
        return ops.reduce_sum(size, (axis,), keepdims)
    if p == 0:
        return ops.reduce_sum(ops.where(size == 0.0, 0.0, ops.ones_like(size)), (axis,), keepdims)
    if p == 2:
        total = ops.reduce_sum(ops.square(x), (axis,), keepdims)
        return ops.where(total == 0.0, 0.0, ops.sqrt(total))
    # for p < 1 the derivative of |x|^p at 0 is infinite: a coordinate 0 has none
    powers = ops.pow(size, _number(p, x)) if p >= 1 else ops.where(size == 0.0, 0.0, ops.pow(size, _number(p, x)))
    total = ops.reduce_sum(powers, (axis,), keepdims)
    return ops.where(total == 0.0, 0.0, ops.pow(total, _number(1 / p, x)))


def pairwise_distance(x: Tensor, y: Tensor, p: float, epsilon: float, keepdims: bool = False) -> Tensor:
    """‖x − y + ε‖_p along the last axis; ε is added to each signed difference."""
    d = x - y
    if epsilon != 0:
        d = d + epsilon
    return norm(d, p, d.type.rank - 1, keepdims)


def normalized(x: Tensor, p: float, axis: int, epsilon: float) -> Tensor:
    """x / max(‖x‖_p, ε) along `axis`."""
    return x / ops.clamp_min(norm(x, p, axis, keepdims=True), epsilon)


def cosine(x: Tensor, y: Tensor, axis: int) -> Tensor:
    """x·y / (‖x‖‖y‖); 0, with gradient 0, where one of them is the zero vector."""
    nx, ny = norm(x, 2, axis), norm(y, 2, axis)
    zero = ops.logical_or(nx == 0.0, ny == 0.0)
    return ops.where(zero, 0.0, ops.reduce_sum(x * y, (axis,)) / nx / ny)


def cosine_of_bounded_norms(x: Tensor, y: Tensor, axis: int, epsilon: float) -> Tensor:
    """x·y / (max(‖x‖, ε)·max(‖y‖, ε)); the gradient takes no notice of the bounds."""
    xy = ops.reduce_sum(x * y, (axis,))
    return xy / _at_least(norm(x, 2, axis), epsilon) / _at_least(norm(y, 2, axis), epsilon)


def cosine_of_shifted_squares(x: Tensor, y: Tensor, axis: int, epsilon: float) -> Tensor:
    """x·y / √((x·x + ε)(y·y + ε)), without the product that could overflow."""
    xx, yy = ops.reduce_sum(ops.square(x), (axis,)), ops.reduce_sum(ops.square(y), (axis,))
    return ops.reduce_sum(x * y, (axis,)) / ops.sqrt(xx + epsilon) / ops.sqrt(yy + epsilon)


def cosine_of_bounded_product(x: Tensor, y: Tensor, axis: int, epsilon: float) -> Tensor:
    """x·y / max(‖x‖‖y‖, ε)."""
    product = norm(x, 2, axis) * norm(y, 2, axis)
    return ops.reduce_sum(x * y, (axis,)) / ops.maximum(product, epsilon, tie="first")


def _at_least(n: Tensor, epsilon: float) -> Tensor:
    return n + ops.detach(ops.where(n < epsilon, epsilon - n, 0.0))


def _number(value: float, like: Tensor) -> Tensor:
    return ops.fill((), value, like.type.dtype)
