"""Softmax losses of cosines with a margin on the right class: ArcFace and CosFace."""

from __future__ import annotations

import math
from collections.abc import Callable

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses import arguments, checks
from graphloss.losses.labels import labels

__all__ = ["arcface_loss", "cosface_loss"]


@checks.located
def arcface_loss(
    cosine: Tensor,
    target: Tensor,
    margin: float = 0.5,
    scale: float = 64.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Cross entropy of s·c, where the right class has s·cos(θ + m) in place of s·cos θ, c = cos θ.

    Beyond θ = π − m, where cos(θ + m) would rise again, it is cos θ − m·sin m. Computed as c·cos m − √(1−c²)·sin m; at
    c = ±1, where the root has no slope, the root's part of the gradient is 0.

    Args:
        cosine: (C,) or (N, C, …): cosines of the embeddings and the class centers.
        target: class labels of the shape without C.
        margin: m in radians, in [0, π/2].
        scale: s > 0.
        ignore_index: label of rows that count for nothing.
        reduction: "none", "mean" (over the rows that are not ignored; of none NaN) or "sum".

    Returns:
        0-d, or for "none" an array of the target's shape.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        ShapeError, DtypeError, AttrError: at the call.

    Source: Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     c, y = gl.dygraph.to_variable(np.array([[0.0, 0.0]])), gl.dygraph.to_variable(np.array([0]))
        ...     round(float(gl.losses.arcface_loss(c, y, margin=np.pi / 2, scale=1.0).numpy()), 6)  # log(1 + e)
        1.313262
    """
    where = "arcface_loss"
    m = arguments.number(margin, "margin", where, 0.0, math.pi / 2)

    def moved(c: Tensor) -> Tensor:
        squared_sine = (1.0 - c) * (1.0 + c)
        sine = ops.where(squared_sine > 0.0, ops.sqrt(squared_sine), 0.0)
        return ops.where(c > -math.cos(m), c * math.cos(m) - sine * math.sin(m), c - m * math.sin(m))

    return _margin_softmax(cosine, target, moved, scale, ignore_index, reduction, where)


@checks.located
def cosface_loss(
    cosine: Tensor,
    target: Tensor,
    margin: float = 0.35,
    scale: float = 64.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Cross entropy of s·c, where the right class has s·(c − m) in place of s·c.

    Arguments, result and errors as in `arcface_loss`, but margin: m ≥ 0, taken off the cosine.

    Source: Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     c, y = gl.dygraph.to_variable(np.array([[0.0, 0.0]])), gl.dygraph.to_variable(np.array([0]))
        ...     round(float(gl.losses.cosface_loss(c, y, margin=1.0, scale=1.0).numpy()), 6)  # log(1 + e)
        1.313262
    """
    m = arguments.number(margin, "margin", "cosface_loss", 0.0)
    return _margin_softmax(cosine, target, lambda c: c - m, scale, ignore_index, reduction, "cosface_loss")


def _margin_softmax(
    cosine: Tensor, target: Tensor, moved: Callable[[Tensor], Tensor], scale: float, ignore_index: int,
    reduction: str, where: str,
) -> Tensor:  # fmt: skip
    c, target, axis = arguments.class_scores(cosine, target, where)
    s = arguments.number(scale, "scale", where, 0.0, low_open=True)
    y = labels(target, ignore_index)
    classes = ops.iota(tuple(n if a == axis else 1 for a, n in enumerate(c.type.shape)), axis)
    right = ops.equal(classes, ops.unsqueeze(y.index, (axis,)))
    # the margin once per row, not per element
    own = ops.unsqueeze(moved(ops.pick(c, y.index, axis)), (axis,))
    log_p = ops.log_softmax(s * ops.where(right, own, c), axis)
    return arguments.kept_rows(-ops.pick(log_p, y.index, axis), y, reduction)
