"""From losses per element or row to the number a dialect returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from graphloss import ops
from graphloss.errors import AttrError
from graphloss.ir.tensor import Tensor

REDUCTIONS: Final = ("none", "mean", "sum")
EMPTY_MEANS: Final = ("nan", "zero", "error")


@dataclass(frozen=True, slots=True)
class Rows:
    """Losses per row, weighted, 0 where ignored; `weight` gives what each row counts for in the divisor of a mean."""

    loss: Tensor
    weight: Callable[[], Tensor]


def check_reduction(reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> str:
    """`reduction` if it is one of `allowed`, else AttrError."""
    if reduction not in allowed:
        raise AttrError("unknown reduction", expected=" | ".join(allowed), got=repr(reduction))
    return reduction


def check_empty_mean(empty_mean: str) -> str:
    """`empty_mean` if there is such a choice, else AttrError."""
    if empty_mean not in EMPTY_MEANS:
        raise AttrError("unknown empty_mean", expected=" | ".join(EMPTY_MEANS), got=repr(empty_mean))
    return empty_mean


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """`loss` as it is, its mean over all elements (NaN of none) or its sum; scalars are 0-d."""
    check_reduction(reduction)
    if reduction == "none":
        return loss
    return ops.reduce_mean(loss) if reduction == "mean" else ops.reduce_sum(loss)


def reduced_rows(rows: Rows, reduction: str, empty_mean: str) -> Tensor:
    """As `reduced`, but a mean divides by the rows' weights: Σ loss / Σ weight.

    Where the weights add up to 0 the mean is NaN ("nan"), 0 with gradient 0 ("zero"), or an error of the run ("error").
    """
    check_empty_mean(empty_mean)
    if check_reduction(reduction) != "mean":
        return reduced(rows.loss, reduction)
    return divided(ops.reduce_sum(rows.loss), rows, empty_mean)


def divided(total: Tensor, rows: Rows, empty_mean: str) -> Tensor:
    """total / Σ weight, and what `empty_mean` says where the weights add up to 0."""
    count = ops.reduce_sum(rows.weight())
    if empty_mean == "zero":
        empty = count == 0.0
        return ops.where(empty, 0.0, total / ops.where(empty, 1.0, count))
    return total / (ops.require_nonzero(count) if empty_mean == "error" else count)


def weighted_mean(loss: Tensor, weight: Tensor) -> Tensor:
    """Σ weight·loss / Σ weight, both over all elements."""
    return ops.reduce_sum(weight * loss) / ops.reduce_sum(weight)


def mean_except(loss: Tensor, axis: int) -> Tensor:
    """The mean over all axes but one, which stays: a number per sample."""
    rank = loss.type.rank
    axes = tuple(a for a in range(rank) if a != axis % max(rank, 1))
    return ops.reduce_mean(loss, axis=axes) if axes else loss


def batch_mean(loss: Tensor, like: Tensor) -> Tensor:
    """The sum of all elements over the first dimension of `like` (over 1 if it has none)."""
    total = ops.reduce_sum(loss)
    return total / ops.size(like.type.shape[:1], loss.type.dtype) if like.type.rank else total
