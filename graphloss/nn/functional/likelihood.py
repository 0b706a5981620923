"""PyTorch's functional losses of distributions: Kullback-Leibler, Poisson, Gaussian."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks, divergence, likelihood
from graphloss.losses.reduction import REDUCTIONS, batch_mean, check_reduction, reduced
from graphloss.nn.arguments import numbers, reduction_of

__all__ = ["gaussian_nll_loss", "kl_div", "poisson_nll_loss"]


@checks.located
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """y·(log y − x) of log-probabilities x; with log_target e^y·(y − x).

    The term and its gradients are 0 where the target probability is 0, even where x is −∞; NaN where it is negative.
    The divergence of distributions is "batchmean"; the default "mean" divides by the number of classes too.

    Args:
        input: x, any shape.
        target: y, of that shape or broadcasting with it.
        size_average, reduce: old forms of `reduction`.
        reduction: "none", "mean" (over all elements), "batchmean" (the sum over the first dimension of x) or "sum".
        log_target: y is a logarithm too.

    Returns:
        0-d, or for "none" an array of the shape of x and y together.

    Raises:
        AttrError: unknown reduction. ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Kullback and Leibler, On information and sufficiency, 1951; torch.nn.functional.kl_div.

    Example:
        >>> import math, numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[math.log(0.5)] * 2], [[1.0, 0.0]]))
        ...     round(float(gl.nn.functional.kl_div(x, y, reduction="batchmean").numpy()), 7)
        0.6931472
    """
    reduction = check_reduction(reduction_of(size_average, reduce, reduction), (*REDUCTIONS, "batchmean"))
    x, y = numbers("kl_div", input=input, target=target)
    loss = divergence.kl_div_log_target(x, y) if log_target else divergence.kl_div(x, y)
    if reduction != "batchmean":
        return reduced(loss, reduction)
    return batch_mean(loss, x)


@checks.located
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """e^x − y·x of log-rates x; without log_input x − y·log(x + ε) of rates.

    Args:
        input: x, any shape.
        target: y ≥ 0, counts, of that shape or broadcasting with it.
        log_input: x is the logarithm of the rate.
        full: add y·log y − y + ½·log(2πy) where y > 1: log y! by Stirling.
        eps: ε.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of the shape of x and y together.

    Raises:
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.poisson_nll_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.0, 1.0], [0.0, 3.0]))
        ...     gl.nn.functional.poisson_nll_loss(x, y, reduction="none").numpy().round(4).tolist()
        [1.0, -0.2817]
    """
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    x, y = numbers("poisson_nll_loss", input=input, target=target)
    return reduced(likelihood.poisson_nll(x, y, log_input, float(eps), full), reduction)


@checks.located
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """½(log v + (x − y)²/v), v = max(var, ε).

    The gradient by var is ½(1/v − (x − y)²/v²) even where var < ε. A negative variance gives NaN;
    with `CompileOptions.check_values` it is an error that names its row.

    Args:
        input: x, any shape.
        target: y, of that shape or broadcasting with it.
        var: of x's shape; or of x's shape without its last dimension; or with one dimension of 1; or one number.
        full: add ½·log 2π.
        eps: ε > 0.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" an array of x's shape.

    Raises:
        AttrError: unknown reduction, a negative number as var. ShapeError: var fits none of these shapes.
        ValueRangeError (in the run, with check_values): a negative variance.

    Source:
        Nix and Weigend, Estimating the mean and variance of the target probability distribution, 1994;
        torch.nn.functional.gaussian_nll_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y, v = (gl.dygraph.to_variable(np.array(a)) for a in ([0.5, 2.0], [1.0, 2.5], [0.5, 1.0]))
        ...     gl.nn.functional.gaussian_nll_loss(x, y, v, reduction="none").numpy().round(4).tolist()
        [-0.0966, 0.125]
    """
    where = "gaussian_nll_loss"
    check_reduction(reduction)
    if isinstance(var, Tensor):
        x, y, v = numbers(where, input=input, target=target, var=var)
        v = _variance(x, v, where)
    else:
        x, y = numbers(where, input=input, target=target)
        if isinstance(var, bool) or not isinstance(var, (int, float)):
            raise ArgumentTypeError(f"{where}: var is neither a Variable nor a number", got=type(var).__name__)
        if var < 0:
            raise AttrError(f"{where}: a variance is not negative", expected="var >= 0", got=var)
        v = ops.fill((), float(var), x.type.dtype)
    return reduced(likelihood.gaussian_nll(x, y, v, float(eps), full), reduction)


def _variance(x: Tensor, v: Tensor, where: str) -> Tensor:
    """The variance in a shape that broadcasts to x's as it is meant."""
    if checks.same_shape(x, v):
        return v
    want, got = x.type.shape, v.type.shape
    if len(got) == len(want) - 1 and all(checks.may_be_equal(a, b) for a, b in zip(want, got, strict=False)):
        return ops.unsqueeze(v, (len(got),))
    odd = [b for a, b in zip(want, got, strict=False) if not checks.may_be_equal(a, b)]
    if len(got) == len(want) and odd == [1]:
        return v
    raise ShapeError(
        f"{where}: var does not fit the input {checks.shape_text(x)}",
        expected="its shape, its shape without the last dimension, or with one dimension 1",
        got=checks.shape_text(v),
    )
