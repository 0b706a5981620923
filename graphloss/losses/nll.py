"""Negative log-likelihood of class labels, given log-probabilities."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses.labels import Labels, held, labels
from graphloss.losses.reduction import Rows


def nll(log_p: Tensor, label: Tensor, axis: int, weight: Tensor | None, ignore_index: int | None) -> Rows:
    """−w[y]·log_p[y] along `axis`; `label` has the shape of `log_p` without `axis`.

    A label that is neither ignore_index nor in [0, C) is an error of the run.
    """
    return nll_of(log_p, labels(label, ignore_index), axis, weight)


def nll_of(log_p: Tensor, y: Labels, axis: int, weight: Tensor | None) -> Rows:
    """As `nll`, for labels already split."""
    dtype = log_p.type.dtype
    loss = -ops.pick(log_p, y.index, axis=axis)
    if weight is None:
        return Rows(y.kept(loss), lambda: y.weights(None, dtype))
    weights = y.weights(held(weight), dtype)
    return Rows(y.kept(weights * loss), lambda: weights)


def soft_nll(log_p: Tensor, target: Tensor, axis: int, keepdims: bool = False) -> Tensor:
    """−Σ_c target_c·log_p_c along `axis`."""
    return -ops.reduce_sum(target * log_p, axis=(axis,), keepdims=keepdims)
