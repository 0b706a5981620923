"""Losses of numbers under PyTorch's names: squared, absolute, smooth L1, Huber."""

from __future__ import annotations

import warnings

from graphloss import dtypes
from graphloss.errors import AttrError
from graphloss.ir.location import user_stacklevel
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import checks, distance
from graphloss.losses.reduction import check_reduction, reduced, weighted_mean
from graphloss.nn.arguments import reduction_of

__all__ = ["huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"]


@checks.located
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x − y)², averaged over all elements.

    Args:
        input: x, any shape.
        target: y, of that shape; another that broadcasts is taken with a warning.
        size_average, reduce: old forms of `reduction`.
        reduction: "none", "mean" or "sum".
        weight: of x's shape; "mean" is then Σ w(x−y)² / Σ w.

    Returns:
        0-d, or for "none" an array of x's shape.

    Raises:
        AttrError: unknown reduction. ShapeError: shapes do not broadcast.

    Source:
        torch.nn.functional.mse_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([2.5, 0.5], [3.0, -0.5]))
        ...     float(gl.nn.functional.mse_loss(x, y).numpy())
        0.625
    """
    reduction = reduction_of(size_average, reduce, reduction)
    x, y = _pair(input, target, "mse_loss")
    return _weighted(distance.squared_error(x, y), weight, reduction, "mse_loss")


@checks.located
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x − y|, with slope 0 at 0; arguments as in `mse_loss`.

    Source:
        torch.nn.functional.l1_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([2.5, 0.5], [3.0, -0.5]))
        ...     float(gl.nn.functional.l1_loss(x, y).numpy())
        0.75
    """
    reduction = reduction_of(size_average, reduce, reduction)
    x, y = _pair(input, target, "l1_loss")
    return _weighted(distance.absolute_error(x, y), weight, reduction, "l1_loss")


@checks.located
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d²/(2β) where |d| < β, else |d| − β/2, with d = x − y; β = 0 is the L1 loss.

    Arguments as in `mse_loss`. Raises AttrError where β < 0.

    Source:
        Girshick, Fast R-CNN, 2015; torch.nn.functional.smooth_l1_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.5, 3.0], [0.0, 0.0]))
        ...     gl.nn.functional.smooth_l1_loss(x, y, reduction="none").numpy().tolist()
        [0.125, 2.5]
    """
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    if beta < 0:
        raise AttrError("smooth_l1_loss: beta must not be negative", got=beta)
    x, y = _pair(input, target, "smooth_l1_loss")
    return reduced(distance.smooth_l1(x - y, float(beta)), reduction)


@checks.located
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d²/2 where |d| ≤ δ, else δ(|d| − δ/2), with d = x − y.

    Arguments as in `mse_loss`, but with `weight` the mean is that of w·loss over all elements. Raises AttrError
    unless δ > 0.

    Source:
        Huber, Robust estimation of a location parameter, 1964; torch.nn.functional.huber_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.5, 3.0], [0.0, 0.0]))
        ...     gl.nn.functional.huber_loss(x, y, reduction="none", delta=2.0).numpy().tolist()
        [0.125, 4.0]
    """
    check_reduction(reduction)
    if not delta > 0:
        raise AttrError("huber_loss: delta must be positive", got=delta)
    x, y = _pair(input, target, "huber_loss")
    loss = distance.huber(x - y, float(delta))
    w = _element_weight(weight, loss, "huber_loss")
    return reduced(loss if w is None else w * loss, reduction)


def _pair(input: object, target: object, where: str) -> tuple[Tensor, Tensor]:
    """Two operands of a difference, of one dtype; PyTorch broadcasts them, with a warning."""
    x, y = checks.tensor(input, "input", where), checks.tensor(target, "target", where)
    if not checks.same_shape(x, y):
        warnings.warn(
            f"{where}: target {checks.shape_text(y)} is broadcast against input {checks.shape_text(x)}",
            UserWarning,
            stacklevel=user_stacklevel(),
        )
    dtype = dtypes.promote(x.type.dtype, y.type.dtype)
    return cast(x, dtype), cast(y, dtype)


def _weighted(loss: Tensor, weight: object, reduction: str, where: str) -> Tensor:
    w = _element_weight(weight, loss, where)
    if w is None:
        return reduced(loss, reduction)
    return weighted_mean(loss, w) if check_reduction(reduction) == "mean" else reduced(w * loss, reduction)


def _element_weight(weight: object, loss: Tensor, where: str) -> Tensor | None:
    w = checks.optional_tensor(weight, "weight", where)
    if w is not None:
        checks.require_same_shape(loss, w, where, "weight")
    return w
