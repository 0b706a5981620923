"""Fluid's unary functions and activations."""

from __future__ import annotations

from collections.abc import Callable

from graphloss import ops
from graphloss.errors import AttrError
from graphloss.ir.tensor import Operand, Tensor
from graphloss.layers.helper import activated, example, layer_function

__all__ = [
    "abs",
    "acos",
    "asin",
    "atan",
    "brelu",
    "ceil",
    "clip",
    "cos",
    "elu",
    "erf",
    "exp",
    "floor",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "l2_normalize",
    "leaky_relu",
    "log",
    "log_softmax",
    "logsigmoid",
    "pow",
    "reciprocal",
    "relu",
    "relu6",
    "round",
    "rsqrt",
    "scale",
    "selu",
    "sigmoid",
    "sign",
    "sin",
    "soft_relu",
    "softmax",
    "softplus",
    "softshrink",
    "softsign",
    "sqrt",
    "square",
    "swish",
    "tanh",
    "tanh_shrink",
    "thresholded_relu",
]

_Unary = Callable[..., Tensor]


def _unary(name: str, fn: Callable[[Tensor], Tensor], formula: str, argument: str, result: str) -> _Unary:
    def run(x: Tensor, name: str | None = None) -> Tensor:
        return fn(x)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"{formula}, element by element: of the shape and dtype of x." + example(name, argument, result)
    return layer_function(run)


exp = _unary("exp", ops.exp, "e^x", "[-1.5, 0.5, 2.0]", "[0.2231, 1.6487, 7.3891]")
log = _unary("log", ops.log, "ln x", "[0.5, 1.0]", "[-0.6931, 0.0]")
sqrt = _unary("sqrt", ops.sqrt, "√x", "[4.0, 0.25]", "[2.0, 0.5]")
rsqrt = _unary("rsqrt", ops.rsqrt, "1/√x", "[4.0, 0.25]", "[0.5, 2.0]")
abs = _unary("abs", ops.abs, "|x|", "[-1.5, 0.5, 2.0]", "[1.5, 0.5, 2.0]")
square = _unary("square", ops.square, "x²", "[-1.5, 0.5, 2.0]", "[2.25, 0.25, 4.0]")
reciprocal = _unary("reciprocal", ops.reciprocal, "1/x", "[4.0, -0.5]", "[0.25, -2.0]")
sigmoid = _unary("sigmoid", ops.sigmoid, "1 / (1 + e^−x)", "[-1.5, 0.5, 2.0]", "[0.1824, 0.6225, 0.8808]")
logsigmoid = _unary("logsigmoid", ops.logsigmoid, "−ln(1 + e^−x)", "[-1.5, 0.5, 2.0]", "[-1.7014, -0.4741, -0.1269]")
tanh = _unary("tanh", ops.tanh, "tanh x", "[-1.5, 0.5, 2.0]", "[-0.9051, 0.4621, 0.964]")
softplus = _unary("softplus", ops.softplus, "ln(1 + e^x)", "[-1.5, 0.5, 2.0]", "[0.2014, 0.9741, 2.1269]")
softsign = _unary("softsign", ops.softsign, "x / (1 + |x|)", "[-1.5, 0.5, 2.0]", "[-0.6, 0.3333, 0.6667]")
tanh_shrink = _unary("tanh_shrink", ops.tanh_shrink, "x − tanh x", "[-1.5, 0.5, 2.0]", "[-0.5949, 0.0379, 1.036]")
sign = _unary("sign", ops.sign, "−1, 0 or 1", "[-1.5, 0.5, 2.0]", "[-1.0, 1.0, 1.0]")
ceil = _unary("ceil", ops.ceil, "The smallest whole number not below x", "[-1.5, 0.5, 2.0]", "[-1.0, 1.0, 2.0]")
floor = _unary("floor", ops.floor, "The largest whole number not above x", "[-1.5, 0.5, 2.0]", "[-2.0, 0.0, 2.0]")
round = _unary("round", ops.round, "The nearest whole number", "[-1.5, 0.5, 2.0]", "[-2.0, 0.0, 2.0]")
sin = _unary("sin", ops.sin, "sin x", "[-1.5, 0.5, 2.0]", "[-0.9975, 0.4794, 0.9093]")
cos = _unary("cos", ops.cos, "cos x", "[-1.5, 0.5, 2.0]", "[0.0707, 0.8776, -0.4161]")
asin = _unary("asin", ops.asin, "arcsin x", "[-1.0, 0.5]", "[-1.5708, 0.5236]")
acos = _unary("acos", ops.acos, "arccos x", "[-1.0, 0.5]", "[3.1416, 1.0472]")
atan = _unary("atan", ops.atan, "arctan x", "[-1.5, 0.5, 2.0]", "[-0.9828, 0.4636, 1.1071]")
erf = _unary("erf", ops.erf, "The error function", "[-1.5, 0.5, 2.0]", "[-0.9661, 0.5205, 0.9953]")
relu = _unary("relu", ops.relu, "max(x, 0), with slope 0 at 0", "[-1.5, 0.5, 2.0]", "[0.0, 0.5, 2.0]")


@layer_function
def pow(x: Tensor, factor: Operand = 1.0, name: str | None = None) -> Tensor:
    """x ** factor.

    Source: paddle.fluid.layers.pow.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.pow(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0])), 2.0).numpy().round(4).tolist()
        [4.0, 0.04, 9.0]
    """
    return ops.pow(x, factor)


@layer_function
def clip(x: Tensor, min: float, max: float, name: str | None = None) -> Tensor:
    """x, but at least min and at most max; slope 0 from the bounds on.

    Raises:
        AttrError: min is above max.

    Source: paddle.fluid.layers.clip.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.clip(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0])), 0.0, 1.0).numpy().round(4).tolist()
        [0.0, 0.2, 1.0]
    """
    if min > max:
        raise AttrError("clip: min is above max", expected=f"at most {max}", got=min)
    return ops.clip(x, min, max, inclusive=False)


@layer_function
def relu6(x: Tensor, threshold: float = 6.0, name: str | None = None) -> Tensor:
    """min(max(x, 0), threshold).

    Source: paddle.fluid.layers.relu6.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.relu6(gl.dygraph.to_variable(np.array([-2.0, 3.0, 9.0]))).numpy().round(4).tolist()
        [0.0, 3.0, 6.0]
    """
    return ops.relu6(x, threshold)


@layer_function
def brelu(x: Tensor, t_min: float = 0.0, t_max: float = 24.0, name: str | None = None) -> Tensor:
    """min(max(x, t_min), t_max).

    Source: paddle.fluid.layers.brelu.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.brelu(gl.dygraph.to_variable(np.array([-2.0, 3.0, 30.0]))).numpy().round(4).tolist()
        [0.0, 3.0, 24.0]
    """
    return ops.brelu(x, t_min, t_max)


@layer_function
def leaky_relu(x: Tensor, alpha: float = 0.02, name: str | None = None) -> Tensor:
    """x where x > 0, else alpha·x.

    Source: paddle.fluid.layers.leaky_relu.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.leaky_relu(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))).numpy().round(4).tolist()
        [-0.04, 0.2, 3.0]
    """
    return ops.leaky_relu(x, alpha)


@layer_function
def elu(x: Tensor, alpha: float = 1.0, name: str | None = None) -> Tensor:
    """x where x > 0, else alpha·(e^x − 1).

    Source: paddle.fluid.layers.elu.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.elu(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))).numpy().round(4).tolist()
        [-0.8647, 0.2, 3.0]
    """
    return ops.elu(x, alpha)


@layer_function
def selu(x: Tensor, scale: float | None = None, alpha: float | None = None, name: str | None = None) -> Tensor:
    """scale·x where x > 0, else scale·alpha·(e^x − 1); the defaults keep mean 0 and variance 1.

    Source: paddle.fluid.layers.selu.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.selu(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))).numpy().round(4).tolist()
        [-1.5202, 0.2101, 3.1521]
    """
    return ops.selu(x, scale, alpha)


@layer_function
def soft_relu(x: Tensor, threshold: float = 40.0, name: str | None = None) -> Tensor:
    """ln(1 + e^t), where t is x cut to ±threshold.

    Source: paddle.fluid.layers.soft_relu.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.soft_relu(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))).numpy().round(4).tolist()
        [0.1269, 0.7981, 3.0486]
    """
    return ops.soft_relu(x, threshold)


@layer_function
def swish(x: Tensor, beta: float = 1.0, name: str | None = None) -> Tensor:
    """x·σ(beta·x).

    Source: paddle.fluid.layers.swish.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.swish(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))).numpy().round(4).tolist()
        [-0.2384, 0.11, 2.8577]
    """
    return ops.swish(x, beta)


@layer_function
def hard_sigmoid(x: Tensor, slope: float = 0.2, offset: float = 0.5, name: str | None = None) -> Tensor:
    """slope·x + offset, cut to [0, 1].

    Source: paddle.fluid.layers.hard_sigmoid.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.hard_sigmoid(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))).numpy().round(4).tolist()
        [0.1, 0.54, 1.0]
    """
    return ops.hard_sigmoid(x, slope, offset)


@layer_function
def softshrink(x: Tensor, alpha: float = 0.5) -> Tensor:
    """x − alpha where x > alpha, x + alpha where x < −alpha, else 0.

    Source: paddle.fluid.layers.softshrink.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.softshrink(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))).numpy().round(4).tolist()
        [-1.5, 0.0, 2.5]
    """
    return ops.softshrink(x, alpha)


@layer_function
def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """x where |x| > threshold, else 0.

    Source: paddle.fluid.layers.hard_shrink.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.hard_shrink(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))).numpy().round(4).tolist()
        [-2.0, 0.0, 3.0]
    """
    return ops.hard_shrink(x, threshold)


@layer_function
def thresholded_relu(x: Tensor, threshold: float = 1.0) -> Tensor:
    """x where x > threshold, else 0.

    Source: paddle.fluid.layers.thresholded_relu.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.thresholded_relu(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))).numpy().round(4).tolist()
        [0.0, 0.0, 3.0]
    """
    return ops.thresholded_relu(x, threshold)


@layer_function
def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x·Φ(x), Φ the normal distribution function; approximately with tanh.

    Source: paddle.fluid.layers.gelu.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.gelu(gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))).numpy().round(4).tolist()
        [-0.0455, 0.1159, 2.996]
    """
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
    """scale·x + bias, or scale·(x + bias).

    Source: paddle.fluid.layers.scale.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([-2.0, 0.2, 3.0]))
        ...     gl.layers.scale(x, 2.0, bias=1.0).numpy().round(4).tolist()
        [-3.0, 1.4, 7.0]
    """
    return activated(ops.scale(x, scale, bias, bias_after_scale), act)


@layer_function
def softmax(input: Tensor, use_cudnn: bool = False, name: str | None = None, axis: int = -1) -> Tensor:
    """e^(x−m) / Σ e^(x−m) along `axis`, m the maximum there; `use_cudnn` is accepted for old programs.

    Source: paddle.fluid.layers.softmax.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.softmax(gl.dygraph.to_variable(np.array([[0.0, 0.0], [0.0, 1e4]]))).numpy().round(4).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """
    return ops.softmax(input, axis=axis)


@layer_function
def log_softmax(input: Tensor, axis: int | None = None, dtype: str | None = None, name: str | None = None) -> Tensor:
    """(x−m) − ln Σ e^(x−m) along `axis` (None: the last), m the maximum there.

    Source: paddle.fluid.layers.log_softmax.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[0.0, 0.0], [0.0, 1e4]]))
        ...     gl.layers.log_softmax(x).numpy().round(4).tolist()
        [[-0.6931, -0.6931], [-10000.0, 0.0]]
    """
    return ops.log_softmax(input if dtype is None else ops.cast(input, dtype), axis=-1 if axis is None else axis)


@layer_function
def l2_normalize(x: Tensor, axis: int, epsilon: float = 1e-12, name: str | None = None) -> Tensor:
    """x / √max(Σ x², ε) along `axis`; the zero vector stays 0, with gradient g/√ε.

    Args:
        x: any shape, which the result has, too.
        axis: of the vectors, counted from the end where negative.
        epsilon: ε.

    Raises:
        ShapeError: no such axis. DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.l2_normalize.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.l2_normalize(gl.dygraph.to_variable(np.array([[3.0, 4.0]])), axis=1).numpy().round(7).tolist()
        [[0.6, 0.8]]
    """
    return x * ops.rsqrt(ops.clamp_min(ops.reduce_sum(ops.square(x), axis=axis, keepdims=True), epsilon))
