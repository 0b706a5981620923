"""Focal losses: cross entropy, weighed down where the answer is right already."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses import arguments, checks
from graphloss.losses.labels import held, labels
from graphloss.losses.reduction import reduced

__all__ = ["sigmoid_focal_loss", "softmax_focal_loss"]


@checks.located
def sigmoid_focal_loss(
    input: Tensor, target: Tensor, alpha: float | None = 0.25, gamma: float = 2.0, reduction: str = "mean"
) -> Tensor:
    """α·t·(1−p)^γ·(−log p) + (1−α)·(1−t)·p^γ·(−log(1−p)) per element, with p = σ(input).

    The logarithms are softplus and 1 − p is σ(−input): no logarithm of 0 at any logit, and no digit is lost.

    Args:
        input: logits, any shape.
        target: t of that shape, 0 or 1; in between, the mean of both losses.
        alpha: weight of the positives in [0, 1]; None weighs both 1.
        gamma: γ ≥ 0; 0 is the binary cross entropy.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" an array of the input's shape. The mean of no element is NaN.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: Lin, Goyal, Girshick, He, Dollár, "Focal Loss for Dense Object Detection", 2017.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     z, t = (gl.dygraph.to_variable(np.array(a)) for a in ([0.0, 1e4], [1.0, 1.0]))
        ...     gl.losses.sigmoid_focal_loss(z, t, alpha=None, reduction="none").numpy().round(6).tolist()
        [0.173287, 0.0]
    """
    where = "sigmoid_focal_loss"
    z, t = arguments.scores_and_mask(input, target, where)
    power = arguments.number(gamma, "gamma", where, 0.0)
    hit, miss = t * focal_of_logit(z, power), (1.0 - t) * focal_of_logit(-z, power)
    if alpha is not None:
        a = arguments.number(alpha, "alpha", where, 0.0, 1.0)
        hit, miss = a * hit, (1.0 - a) * miss
    return reduced(hit + miss, reduction)


@checks.located
def softmax_focal_loss(
    logits: Tensor,
    target: Tensor,
    alpha: Tensor | None = None,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """−α[y]·(1−p_y)^γ·log p_y per row, p = softmax(logits); the mean is over the rows that are not ignored.

    Args:
        logits: (C,), (N, C) or (N, C, d1, …).
        target: class labels of the shape without C.
        alpha: (C,), a weight per class that gets no gradient; it does not enter the divisor of the mean.
        gamma: γ ≥ 0; 0 is the cross entropy.
        ignore_index: label of rows that count for nothing.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" an array of the target's shape. The mean of no row is NaN.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        ShapeError, DtypeError, AttrError: at the call.

    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017, with a softmax in place of the sigmoid.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     z, y = gl.dygraph.to_variable(np.zeros((1, 4))), gl.dygraph.to_variable(np.array([2]))
        ...     round(float(gl.losses.softmax_focal_loss(z, y).numpy()), 6)  # (3/4)² log 4
        0.779791
    """
    where = "softmax_focal_loss"
    x, target, axis = arguments.class_scores(logits, target, where)
    power = arguments.number(gamma, "gamma", where, 0.0)
    weight = checks.class_weight(alpha, x, axis, where)
    y = labels(target, ignore_index)
    log_p = ops.pick(ops.log_softmax(x, axis), y.index, axis)
    loss = _weighed(-log_p, -ops.expm1(log_p), power)
    if weight is not None:
        loss = y.weights(held(weight), x.type.dtype) * loss
    return arguments.kept_rows(loss, y, reduction)


def focal_of_class(z: Tensor, positive: Tensor, gamma: float, alpha: float) -> Tensor:
    """α times the focal loss of the logit z where `positive`, else 1 − α times that of −z."""
    scale = ops.where(positive, alpha, ops.fill((), 1.0 - alpha, z.type.dtype))
    return scale * focal_of_logit(ops.where(positive, z, -z), gamma)


def focal_of_logit(z: Tensor, gamma: float) -> Tensor:
    """−(1−p)^γ·log p, p = σ(z): what an answer costs that gives the truth the logit z."""
    return _weighed(ops.softplus(-z), ops.sigmoid(-z), gamma)


def _weighed(loss: Tensor, wrong: Tensor, power: float) -> Tensor:
    """wrong^γ·loss, `wrong` the probability of what the loss is against."""
    if power == 0:
        return loss
    weighed = ops.pow(wrong, ops.fill((), power, loss.type.dtype)) * loss
    # where the answer is certainly right, loss and slope are 0, but for γ < 1 the power's own slope is infinite
    return weighed if power >= 1 else ops.where(wrong == 0.0, 0.0, weighed)
