"""Distances of two softmax distributions: knowledge distillation with a temperature, Jensen-Shannon."""

from __future__ import annotations

import math

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses import arguments, checks
from graphloss.losses.cross_entropy import nll_of
from graphloss.losses.labels import held, labels
from graphloss.losses.reduction import Rows, reduced, reduced_rows

__all__ = ["distillation_loss", "jensen_shannon_loss"]


@checks.located
def distillation_loss(
    logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor | None = None,
    temperature: float = 2.0,
    alpha: float = 0.5,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """α·T²·KL(softmax(t/T) ‖ softmax(z/T)) + (1−α)·(−log softmax(z)_y) per row, t the teacher's logits.

    T² keeps the size of the gradient whatever the temperature is. Without labels only the first term is there, with
    weight 1. The teacher gets no gradient.

    Args:
        logits, teacher_logits: z and t: (C,), (N, C) or (N, C, d1, …), of one dtype.
        target: class labels of the shape without C, or None.
        temperature: T > 0.
        alpha: weight of the teacher, in [0, 1].
        ignore_index: label of rows that count for nothing, in either term.
        reduction: "none", "mean" (over the rows that are not ignored; of none NaN) or "sum".

    Returns:
        0-d, or for "none" an array of the logits' shape without C.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        ShapeError, DtypeError, AttrError: at the call.

    Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     z, t = (gl.dygraph.to_variable(np.array([a])) for a in ([0.0, 0.0], [np.log(9), 0.0]))
        ...     round(float(gl.losses.distillation_loss(z, t, temperature=1.0).numpy()), 6)
        0.368064
    """
    where = "distillation_loss"
    x, t = arguments.pair(logits, teacher_logits, where, ("logits", "teacher_logits"))
    heat = arguments.number(temperature, "temperature", where, 0.0, low_open=True)
    share = arguments.number(alpha, "alpha", where, 0.0, 1.0)
    axis = min(x.type.rank - 1, 1)
    checks.axis_in_range(axis, x.type.rank, where)
    log_t = ops.log_softmax(held(t) * (1.0 / heat), axis)
    log_s = ops.log_softmax(x * (1.0 / heat), axis)
    # a class that the teacher gives probability 0 counts for nothing, even where the student does so too
    terms = ops.where(log_t == -math.inf, 0.0, ops.exp(log_t) * (log_t - log_s))
    soft = ops.reduce_sum(terms, (axis,)) * (heat * heat)
    if target is None:
        return reduced(soft, reduction)
    x, target, axis = arguments.class_scores(x, target, where)
    y = labels(target, ignore_index)
    hard = nll_of(ops.log_softmax(x, axis), y, axis, None)
    return reduced_rows(Rows(share * y.kept(soft) + (1.0 - share) * hard.loss, hard.weight), reduction, "nan")


@checks.located
def jensen_shannon_loss(logits: Tensor, other_logits: Tensor, axis: int = -1, reduction: str = "mean") -> Tensor:
    """½·KL(p ‖ m) + ½·KL(q ‖ m) per row, m = (p + q)/2, with p and q the softmax of two rows of logits.

    Symmetric, from 0 to log 2. For probabilities pass their logarithms (−∞ for 0), whose softmax they are. Computed
    as ½·Σ p·(log 2 − softplus(log q − log p)) + ½·Σ q·(log 2 − softplus(log p − log q)); no logarithm of m.

    Args:
        logits, other_logits: any shape of rank 1 or more, of one dtype; both get a gradient.
        axis: where the classes are.
        reduction: "none", "mean" or "sum", over rows.

    Returns:
        0-d, or for "none" an array of the logits' shape without `axis`.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: Lin, "Divergence Measures Based on the Shannon Entropy", 1991.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p, q = (gl.dygraph.to_variable(np.array([a])) for a in ([1e4, 0.0], [0.0, 1e4]))
        ...     round(float(gl.losses.jensen_shannon_loss(p, q).numpy()), 6)  # log 2: nothing in common
        0.693147
    """
    where = "jensen_shannon_loss"
    x, z = arguments.pair(logits, other_logits, where, ("logits", "other_logits"))
    axis = checks.axis_in_range(axis, x.type.rank, where)
    log_p, log_q = ops.log_softmax(x, axis), ops.log_softmax(z, axis)
    terms = _to_the_mean(log_p, log_q) + _to_the_mean(log_q, log_p)
    return reduced(0.5 * ops.reduce_sum(terms, (axis,)), reduction)


def _to_the_mean(log_p: Tensor, log_q: Tensor) -> Tensor:
    """p·log(2p/(p + q)); 0 where p is 0."""
    return ops.where(log_p == -math.inf, 0.0, ops.exp(log_p) * (math.log(2) - ops.softplus(log_q - log_p)))
