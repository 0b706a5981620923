"""Fluid's unary functions and activations."""

from __future__ import annotations

from collections.abc import Callable

from graphloss import ops
from graphloss.errors import AttrError
from graphloss.ir.tensor import Operand, Tensor
from graphloss.layers.helper import activated, layer_function

_Unary = Callable[..., Tensor]


def _unary(name: str, fn: Callable[[Tensor], Tensor], formula: str) -> _Unary:
    def run(x: Tensor, name: str | None = None) -> Tensor:
        return fn(x)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"{formula}, element by element."
    return layer_function(run)


exp = _unary("exp", ops.exp, "e^x")
log = _unary("log", ops.log, "ln x")
sqrt = _unary("sqrt", ops.sqrt, "√x")
rsqrt = _unary("rsqrt", ops.rsqrt, "1/√x")
abs = _unary("abs", ops.abs, "|x|")
square = _unary("square", ops.square, "x²")
reciprocal = _unary("reciprocal", ops.reciprocal, "1/x")
sigmoid = _unary("sigmoid", ops.sigmoid, "1 / (1 + e^−x)")
logsigmoid = _unary("logsigmoid", ops.logsigmoid, "−ln(1 + e^−x)")
tanh = _unary("tanh", ops.tanh, "tanh x")
softplus = _unary("softplus", ops.softplus, "ln(1 + e^x)")
softsign = _unary("softsign", ops.softsign, "x / (1 + |x|)")
tanh_shrink = _unary("tanh_shrink", ops.tanh_shrink, "x − tanh x")
sign = _unary("sign", ops.sign, "−1, 0 or 1")
ceil = _unary("ceil", ops.ceil, "The smallest whole number not below x")
floor = _unary("floor", ops.floor, "The largest whole number not above x")
round = _unary("round", ops.round, "The nearest whole number")
sin = _unary("sin", ops.sin, "sin x")
cos = _unary("cos", ops.cos, "cos x")
asin = _unary("asin", ops.asin, "arcsin x")
acos = _unary("acos", ops.acos, "arccos x")
atan = _unary("atan", ops.atan, "arctan x")
erf = _unary("erf", ops.erf, "The error function")
relu = _unary("relu", ops.relu, "max(x, 0), with slope 0 at 0")


@layer_function
def pow(x: Tensor, factor: Operand = 1.0, name: str | None = None) -> Tensor:
    """x ** factor."""
    return ops.pow(x, factor)


@layer_function
def clip(x: Tensor, min: float, max: float, name: str | None = None) -> Tensor:
    """x, but at least min and at most max; slope 0 from the bounds on.

    Raises:
        AttrError: min is above max.
    """
    if min > max:
        raise AttrError("clip: min is above max", expected=f"at most {max}", got=min)
    return ops.clip(x, min, max, inclusive=False)


@layer_function
def relu6(x: Tensor, threshold: float = 6.0, name: str | None = None) -> Tensor:
    """min(max(x, 0), threshold)."""
    return ops.relu6(x, threshold)


@layer_function
def brelu(x: Tensor, t_min: float = 0.0, t_max: float = 24.0, name: str | None = None) -> Tensor:
    """min(max(x, t_min), t_max)."""
    return ops.brelu(x, t_min, t_max)


@layer_function
def leaky_relu(x: Tensor, alpha: float = 0.02, name: str | None = None) -> Tensor:
    """x where x > 0, else alpha·x."""
    return ops.leaky_relu(x, alpha)


@layer_function
def elu(x: Tensor, alpha: float = 1.0, name: str | None = None) -> Tensor:
    """x where x > 0, else alpha·(e^x − 1)."""
    return ops.elu(x, alpha)


@layer_function
def selu(x: Tensor, scale: float | None = None, alpha: float | None = None, name: str | None = None) -> Tensor:
    """scale·x where x > 0, else scale·alpha·(e^x − 1); the defaults keep mean 0 and variance 1."""
    return ops.selu(x, scale, alpha)


@layer_function
def soft_relu(x: Tensor, threshold: float = 40.0, name: str | None = None) -> Tensor:
    """ln(1 + e^t), where t is x cut to ±threshold."""
    return ops.soft_relu(x, threshold)


@layer_function
def swish(x: Tensor, beta: float = 1.0, name: str | None = None) -> Tensor:
    """x·σ(beta·x)."""
    return ops.swish(x, beta)


@layer_function
def hard_sigmoid(x: Tensor, slope: float = 0.2, offset: float = 0.5, name: str | None = None) -> Tensor:
    """slope·x + offset, cut to [0, 1]."""
    return ops.hard_sigmoid(x, slope, offset)


@layer_function
def softshrink(x: Tensor, alpha: float = 0.5) -> Tensor:
    """x − alpha where x > alpha, x + alpha where x < −alpha, else 0."""
    return ops.softshrink(x, alpha)


@layer_function
def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """x where |x| > threshold, else 0."""
    return ops.hard_shrink(x, threshold)


@layer_function
def thresholded_relu(x: Tensor, threshold: float = 1.0) -> Tensor:
    """x where x > threshold, else 0."""
    return ops.thresholded_relu(x, threshold)


@layer_function
def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x·Φ(x), Φ the normal distribution function; approximately with tanh."""
    return ops.gelu(x, approximate)


@layer_function
def scale(
    x: Tensor,
    scale: float = 1.0,
    bias: float = 0.0,
    bias_after_scale: bool = True,
    act: str | None = None,
    name: str | None = None,
) -> Tensor:
    """scale·x + bias, or scale·(x + bias)."""
    return activated(ops.scale(x, scale, bias, bias_after_scale), act)


@layer_function
def softmax(input: Tensor, use_cudnn: bool = False, name: str | None = None, axis: int = -1) -> Tensor:
    """e^(x−m) / Σ e^(x−m) along `axis`, m the maximum there; `use_cudnn` is accepted for old programs."""
    return ops.softmax(input, axis=axis)


@layer_function
def log_softmax(input: Tensor, axis: int | None = None, dtype: str | None = None, name: str | None = None) -> Tensor:
    """(x−m) − ln Σ e^(x−m) along `axis` (None: the last), m the maximum there."""
    return ops.log_softmax(input if dtype is None else ops.cast(input, dtype), axis=-1 if axis is None else axis)


@layer_function
def l2_normalize(x: Tensor, axis: int, epsilon: float = 1e-12, name: str | None = None) -> Tensor:
    """x / √max(Σ x², ε) along `axis`.

    Source:
        paddle.fluid.layers.l2_normalize.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.l2_normalize(gl.dygraph.to_variable(np.array([[3.0, 4.0]])), axis=1).numpy().round(7).tolist()
        [[0.6, 0.8]]
    """
    return x * ops.rsqrt(ops.clamp_min(ops.reduce_sum(ops.square(x), axis=axis, keepdims=True), epsilon))
