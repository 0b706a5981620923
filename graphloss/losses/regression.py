"""Regression losses: quantile (pinball), expectile, log-cosh, relative and logarithmic errors."""

from __future__ import annotations

import math

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses import arguments, checks
from graphloss.losses.reduction import reduced

__all__ = ["expectile_loss", "log_cosh_loss", "mape_loss", "msle_loss", "quantile_loss"]


@checks.located
def quantile_loss(input: Tensor, target: Tensor, quantile: float = 0.5, reduction: str = "mean") -> Tensor:
    """max(τ·d, (τ−1)·d) with d = target − input: least at the τ-quantile. τ = ½ is half the absolute error.

    At d = 0 the slope is the mean of both sides.

    Args:
        input, target: any shape, of one float dtype.
        quantile: τ in (0, 1).
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" an array of the input's shape. The mean of no element is NaN.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: Koenker, Bassett, "Regression Quantiles", 1978.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([1.0, 1.0], [3.0, -1.0]))
        ...     gl.losses.quantile_loss(x, y, 0.75, reduction="none").numpy().tolist()
        [1.5, 0.5]
    """
    where = "quantile_loss"
    x, y = arguments.pair(input, target, where)
    tau = arguments.number(quantile, "quantile", where, 0.0, 1.0, low_open=True, high_open=True)
    d = y - x
    return reduced(ops.maximum(tau * d, (tau - 1.0) * d), reduction)


@checks.located
def expectile_loss(input: Tensor, target: Tensor, expectile: float = 0.5, reduction: str = "mean") -> Tensor:
    """τ·d² where d = target − input is positive, else (1−τ)·d²: least at the τ-expectile. τ = ½ is half the square.

    Arguments, result and errors as in `quantile_loss`, with expectile: τ in (0, 1).

    Source: Newey, Powell, "Asymmetric Least Squares Estimation and Testing", 1987.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([1.0, 1.0], [3.0, -1.0]))
        ...     gl.losses.expectile_loss(x, y, 0.75, reduction="none").numpy().tolist()
        [3.0, 1.0]
    """
    where = "expectile_loss"
    x, y = arguments.pair(input, target, where)
    tau = arguments.number(expectile, "expectile", where, 0.0, 1.0, low_open=True, high_open=True)
    d = y - x
    side = ops.where(d < 0.0, ops.fill((), 1.0 - tau, x.type.dtype), tau)
    return reduced(side * ops.square(d), reduction)


@checks.located
def log_cosh_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """log cosh(input − target): d²/2 near 0, |d| − log 2 far out, and smooth throughout; no overflow.

    Arguments, result and errors as in `quantile_loss`.

    Source: Green, "Bayesian Reconstructions from Emission Tomography Data Using a Modified EM Algorithm", 1990.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([1.0, 1e4], [0.0, 0.0]))
        ...     gl.losses.log_cosh_loss(x, y, reduction="none").numpy().round(6).tolist()
        [0.433781, 9999.306853]
    """
    x, y = arguments.pair(input, target, "log_cosh_loss")
    return reduced(ops.log_cosh(x - y), reduction)


@checks.located
def mape_loss(input: Tensor, target: Tensor, epsilon: float = 1e-7, reduction: str = "mean") -> Tensor:
    """|input − target| / max(|target|, ε): the absolute percentage error, as a fraction (1 is 100 %).

    Arguments, result and errors as in `quantile_loss`, with epsilon: ε > 0, the least divisor.

    Source: Makridakis, "Accuracy measures: theoretical and practical concerns", 1993.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([1.0, 3.0], [2.0, -4.0]))
        ...     gl.losses.mape_loss(x, y, reduction="none").numpy().tolist()
        [0.5, 1.75]
    """
    x, y = arguments.pair(input, target, "mape_loss")
    least = arguments.number(epsilon, "epsilon", "mape_loss", 0.0, low_open=True)
    return reduced(ops.abs(x - y) / ops.clamp_min(ops.abs(y), least), reduction)


@checks.located
def msle_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(log(1 + input) − log(1 + target))²: the squared error of the logarithms.

    Arguments, result and errors as in `quantile_loss`. Both must be above −1: at −1 the loss is infinite, below NaN.

    Source: scikit-learn, `mean_squared_log_error`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array([a])) for a in (np.e - 1, 0.0))
        ...     round(float(gl.losses.msle_loss(x, y).numpy()), 6)
        1.0
    """
    x, y = arguments.pair(input, target, "msle_loss")
    x, y = (ops.check_range(v, -1, math.inf) for v in (x, y))
    return reduced(ops.square(ops.log1p(x) - ops.log1p(y)), reduction)
