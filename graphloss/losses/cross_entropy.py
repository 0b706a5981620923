"""Cross entropy with labels or a distribution: of log-probabilities, of logits, of probabilities that are data."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses.labels import Labels, along, held, labels
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


def cross_entropy(
    logits: Tensor,
    label: Tensor,
    axis: int,
    weight: Tensor | None = None,
    ignore_index: int | None = -100,
    smoothing: float = 0.0,
) -> Rows:
    """(1−ε)·w[y]·(−lsm[y]) + (ε/C)·Σ_c w_c·(−lsm_c) per row, lsm = log_softmax(logits) along `axis`.

    Each row counts for w[y] in a mean, whatever ε is.
    """
    log_p = ops.log_softmax(logits, axis=axis)
    y = labels(label, ignore_index)
    hard = nll_of(log_p, y, axis, weight)
    if smoothing == 0:
        return hard
    spread = log_p if weight is None else log_p * along(held(weight), log_p.type.rank, axis)
    uniform = -ops.reduce_mean(spread, axis=(axis,))
    return Rows(hard.loss * (1 - smoothing) + y.kept(uniform) * smoothing, hard.weight)


def soft_cross_entropy(
    logits: Tensor,
    target: Tensor,
    axis: int,
    weight: Tensor | None = None,
    smoothing: float = 0.0,
    keepdims: bool = False,
) -> Tensor:
    """−Σ_c w_c·q_c·lsm_c per row, q = target·(1−ε) + ε/C; differentiable in target and weight too."""
    log_p = ops.log_softmax(logits, axis=axis)
    if smoothing != 0:
        classes = ops.size((logits.type.shape[axis],), target.type.dtype)
        target = target * (1 - smoothing) + smoothing / classes
    terms = target * log_p
    if weight is not None:
        terms = terms * along(weight, log_p.type.rank, axis)
    return -ops.reduce_sum(terms, axis=(axis,), keepdims=keepdims)


def cross_entropy_of_probabilities(p: Tensor, label: Tensor, axis: int, ignore_index: int | None = -100) -> Rows:
    """−t(log p[y]) per row, t maps ±∞ to ±1e20; the gradient is −1/p[y] throughout."""
    y = labels(label, ignore_index)
    # picked before the logarithm: one logarithm per row, and none of a probability that does not matter
    loss = y.kept(-ops.clamped_log(ops.pick(ops.check_range(p, 0, 1), y.index, axis=axis)))
    return Rows(loss, lambda: y.weights(None, p.type.dtype))


def soft_cross_entropy_of_probabilities(p: Tensor, target: Tensor, axis: int, keepdims: bool = False) -> Tensor:
    """−Σ_c q_c·t(log p_c) per row, t as above."""
    p = ops.check_range(p, 0, 1)
    return -ops.reduce_sum(target * ops.clamped_log(p), axis=(axis,), keepdims=keepdims)
