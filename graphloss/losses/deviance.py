"""Deviances of positive numbers and counts: Gamma, Tweedie of any power."""

from __future__ import annotations

import math

from graphloss import ops
from graphloss.errors import AttrError
from graphloss.ir.tensor import Tensor
from graphloss.losses import arguments, checks
from graphloss.losses.reduction import reduced

__all__ = ["gamma_deviance_loss", "tweedie_deviance_loss"]


@checks.located
def gamma_deviance_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """2·(log(μ/y) + y/μ − 1) for a mean μ = input and y = target, both above 0: the deviance of the Gamma distribution.

    Args:
        input: the mean μ, any shape; with a log link, the exponential of the linear prediction.
        target: y, of that shape and dtype. At y = 0 the deviance is infinite.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" an array of the input's shape. The mean of no element is NaN.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: McCullagh, Nelder, "Generalized Linear Models", 1989.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     m, y = (gl.dygraph.to_variable(np.array([a])) for a in (2.0, 1.0))
        ...     round(float(gl.losses.gamma_deviance_loss(m, y).numpy()), 6)  # 2·(log 2 − ½)
        0.386294
    """
    mean, y = arguments.pair(input, target, "gamma_deviance_loss")
    return reduced(deviance(mean, y, 2.0), reduction)


@checks.located
def tweedie_deviance_loss(input: Tensor, target: Tensor, power: float = 1.5, reduction: str = "mean") -> Tensor:
    """2·(y^(2−p)/((1−p)(2−p)) − y·μ^(1−p)/(1−p) + μ^(2−p)/(2−p)), μ = input, y = target: the Tweedie deviance.

    p = 0 is the squared error, p = 1 the Poisson deviance 2·(y·log(y/μ) − y + μ), p = 2 the Gamma deviance; between 1
    and 2 sums of a random number of Gamma variables, with many exact zeros; p < 0 takes y^(2−p) of max(y, 0).

    Arguments, result and errors as in `gamma_deviance_loss`, with power: p ≤ 0 or p ≥ 1. The mean must be above 0
    (any number at p = 0), the target 0 or more (above 0 from p = 2 on, any number for p ≤ 0).

    Source: Jørgensen, "Exponential Dispersion Models", 1987; scikit-learn, `mean_tweedie_deviance`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     m, y = (gl.dygraph.to_variable(np.array(a)) for a in ([4.0, 1.0], [0.0, 4.0]))
        ...     gl.losses.tweedie_deviance_loss(m, y, 1.5, reduction="none").numpy().tolist()
        [8.0, 4.0]
    """
    where = "tweedie_deviance_loss"
    mean, y = arguments.pair(input, target, where)
    p = arguments.number(power, "power", where)
    if 0.0 < p < 1.0:
        raise AttrError(f"{where}: there is no Tweedie distribution of this power", expected="<= 0 or >= 1", got=power)
    return reduced(ops.square(y - mean) if p == 0.0 else deviance(mean, y, p), reduction)


def deviance(mean: Tensor, y: Tensor, power: float) -> Tensor:
    """The Tweedie deviance, of numbers that are checked: the mean, and the target for powers from 1 on, 0 or more."""
    mean = ops.check_range(mean, 0, math.inf)
    return ops.tweedie_deviance(mean, ops.check_range(y, 0, math.inf) if power >= 1 else y, power)
