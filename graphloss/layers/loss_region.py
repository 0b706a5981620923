"""Fluid's losses of whole distributions and regions: Kullback-Leibler divergence, dice."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import ShapeError
from graphloss.ir.tensor import Tensor, cast
from graphloss.layers.helper import as_vector, layer_function
from graphloss.layers.loss import class_labels
from graphloss.losses import checks
from graphloss.losses.dice import dice
from graphloss.losses.divergence import kl_div_positive
from graphloss.losses.labels import held
from graphloss.losses.reduction import REDUCTIONS, batch_mean, check_reduction, reduced

__all__ = ["dice_loss", "kldiv_loss"]


@layer_function
def kldiv_loss(x: Tensor, target: Tensor, reduction: str = "mean", name: str | None = None) -> Tensor:
    """y·(log y − x) of log-probabilities x; 0, with gradient 0, wherever y ≤ 0. The target gets no gradient.

    Args:
        x: any shape.
        target: y, of x's shape and dtype.
        reduction: "mean" (over all elements), "batchmean" (the sum over the first dimension), "sum" or "none".

    Returns:
        [1], or for "none" an array of x's shape.

    Raises:
        AttrError: unknown reduction. ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.kldiv_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[-1.0, -1.0]], [[1.0, 0.0]]))
        ...     gl.layers.kldiv_loss(x, y, "batchmean").numpy().tolist()
        [1.0]
    """
    where = "kldiv_loss"
    check_reduction(reduction, (*REDUCTIONS, "batchmean"))
    p, y = checks.tensor(x, "x", where), checks.tensor(target, "target", where)
    checks.require_float(p, where, "x")
    checks.require_same_dtype(p, y, where)
    checks.require_same_shape(p, y, where)
    loss = kl_div_positive(p, held(y))
    if reduction == "none":
        return loss
    return as_vector(batch_mean(loss, p) if reduction == "batchmean" else reduced(loss, reduction))


@layer_function
def dice_loss(input: Tensor, label: Tensor, epsilon: float = 1e-5, name: str | None = None) -> Tensor:
    """The mean over the batch of 1 − 2·Σ p·t / (Σ p + Σ t + ε), the sums over all axes but the batch.

    Args:
        input: probabilities p, [N, …, C].
        label: class numbers [N, …, 1], of which t is the one-hot form; where C is 1 it is t itself. Gets no gradient.
        epsilon: ε; a sample where p and t are all 0 has the loss 1.

    Returns:
        [1].

    Raises:
        LabelError (in the run): a class outside [0, C). ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Milletari, Navab and Ahmadi, V-Net, 2016; paddle.fluid.layers.dice_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[[0.8], [0.2]]], [[[1], [0]]]))
        ...     gl.layers.dice_loss(p, y).numpy().round(4).tolist()
        [0.2]
    """
    where = "dice_loss"
    p, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    checks.require_float(p, where)
    if p.type.rank < 2:
        raise ShapeError(f"{where}: the input needs a batch and a class axis", "[N, …, C]", checks.shape_text(p))
    axis = p.type.rank - 1
    classes = p.type.shape[axis]
    if classes == 1:
        checks.require_same_shape(p, y, where, "label")
        t = cast(y, p.type.dtype)
    else:
        t = ops.one_hot(class_labels(p, y, axis, where), classes, dtype=p.type.dtype)
    return as_vector(ops.reduce_mean(dice(p, held(t), float(epsilon))))
