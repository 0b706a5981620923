"""Fluid's elementwise functions of two operands, comparisons and logic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphloss import ops
from graphloss.errors import ArgumentTypeError, ShapeError
from graphloss.ir.tensor import Operand, Tensor
from graphloss.ir.variable import Variable
from graphloss.layers.helper import activated, example, into, layer_function
from graphloss.losses import checks

__all__ = [
    "elementwise_add",
    "elementwise_div",
    "elementwise_floordiv",
    "elementwise_max",
    "elementwise_min",
    "elementwise_mod",
    "elementwise_mul",
    "elementwise_pow",
    "elementwise_sub",
    "equal",
    "greater_equal",
    "greater_than",
    "less_equal",
    "less_than",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "sum",
    "sums",
    "where",
]

_Binary = Callable[..., Tensor]

# operands of the examples
NUMBERS = "[[1.0, 2.0], [3.0, 4.0]]; [3.0, 2.0]"
INTEGERS = "[1, 2, 3]; [2, 2, 2]"
BITS = "[True, True, False, False]; [True, False, True, False]"


def _elementwise(name: str, fn: Callable[[Tensor, Tensor], Tensor], formula: str, result: str) -> _Binary:
    def run(x: Tensor, y: Tensor, axis: int = -1, act: str | None = None, name: str | None = None) -> Tensor:
        return activated(fn(x, _aligned(x, y, axis)), act)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"""{formula}, with broadcasting.

    Args:
        x, y: operands; y may have fewer dimensions.
        axis: the dimension of x that y's first one is aligned with; −1 aligns the last ones.
        act: name of an activation.

    Raises:
        ShapeError: the shapes do not broadcast.""" + example(name, NUMBERS, result)
    return layer_function(run)


def _aligned(x: Tensor, y: Tensor, axis: int) -> Tensor:
    """y with dimensions of 1 behind its own, so that its first one meets dimension `axis` of x."""
    missing = x.type.rank - y.type.rank
    if axis == -1 or missing <= 0:
        return y
    if not 0 <= axis <= missing:
        raise ShapeError("axis leaves no room for y", expected=f"-1 or 0 to {missing}", got=axis)
    behind = missing - axis
    return ops.unsqueeze(y, tuple(range(y.type.rank, y.type.rank + behind))) if behind else y


elementwise_add = _elementwise("elementwise_add", ops.add, "x + y", "[[4.0, 4.0], [6.0, 6.0]]")
elementwise_sub = _elementwise("elementwise_sub", ops.sub, "x − y", "[[-2.0, 0.0], [0.0, 2.0]]")
elementwise_mul = _elementwise("elementwise_mul", ops.mul, "x · y", "[[3.0, 4.0], [9.0, 8.0]]")
elementwise_div = _elementwise("elementwise_div", ops.div, "x / y", "[[0.3333, 1.0], [1.0, 2.0]]")
elementwise_pow = _elementwise("elementwise_pow", ops.pow, "x ** y", "[[1.0, 4.0], [27.0, 16.0]]")
elementwise_mod = _elementwise("elementwise_mod", ops.mod, "x mod y, with the sign of y", "[[1.0, 0.0], [0.0, 0.0]]")
elementwise_floordiv = _elementwise("elementwise_floordiv", ops.floordiv, "floor(x / y)", "[[0.0, 1.0], [1.0, 2.0]]")
# where both are equal, y is the one
elementwise_max = _elementwise(
    "elementwise_max", lambda x, y: ops.maximum(x, y, tie="second"), "max(x, y)", "[[3.0, 2.0], [3.0, 4.0]]"
)
elementwise_min = _elementwise(
    "elementwise_min", lambda x, y: ops.minimum(x, y, tie="second"), "min(x, y)", "[[1.0, 2.0], [3.0, 2.0]]"
)


def _comparison(name: str, fn: Callable[[Operand, Operand], Tensor], sign: str, result: str) -> _Binary:
    def run(x: Tensor, y: Operand, cond: Variable | None = None) -> Tensor:
        return into(cond, fn(x, y))

    run.__name__ = run.__qualname__ = name
    text = f"x {sign} y, element by element with broadcasting, as bool; with `cond`, that Variable is written."
    run.__doc__ = text + example(name, INTEGERS, result)
    return layer_function(run)


def _logic(name: str, fn: Callable[[Operand, Operand], Tensor], word: str, result: str) -> _Binary:
    def run(x: Tensor, y: Operand, out: Variable | None = None, name: str | None = None) -> Tensor:
        return into(out, fn(x, y))

    run.__name__ = run.__qualname__ = name
    text = f"x {word} y, element by element with broadcasting; with `out`, that Variable is written."
    run.__doc__ = text + example(name, BITS, result)
    return layer_function(run)


@layer_function
def less_than(x: Tensor, y: Operand, force_cpu: bool | None = None, cond: Variable | None = None) -> Tensor:
    """x < y, element by element with broadcasting, as bool; with `cond`, that Variable is written.

    Source: paddle.fluid.layers.less_than.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([1, 2, 3]))
        ...     y = gl.dygraph.to_variable(np.array([2, 2, 2]))
        ...     gl.layers.less_than(x, y).numpy().tolist()
        [True, False, False]
    """
    return into(cond, ops.less(x, y))


less_equal = _comparison("less_equal", ops.less_equal, "≤", "[True, True, False]")
greater_than = _comparison("greater_than", ops.greater, ">", "[False, False, True]")
greater_equal = _comparison("greater_equal", ops.greater_equal, "≥", "[False, True, True]")
equal = _comparison("equal", ops.equal, "=", "[False, True, False]")
not_equal = _comparison("not_equal", ops.not_equal, "≠", "[True, False, True]")
logical_and = _logic("logical_and", ops.logical_and, "and", "[True, False, False, False]")
logical_or = _logic("logical_or", ops.logical_or, "or", "[True, True, True, False]")
logical_xor = _logic("logical_xor", ops.logical_xor, "xor", "[False, True, True, False]")


@layer_function
def logical_not(x: Tensor, out: Variable | None = None, name: str | None = None) -> Tensor:
    """not x, element by element; with `out`, that Variable is written.

    Source: paddle.fluid.layers.logical_not.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.logical_not(gl.dygraph.to_variable(np.array([True, False]))).numpy().tolist()
        [False, True]
    """
    return into(out, ops.logical_not(x))


@layer_function
def where(condition: Tensor, x: Operand | None = None, y: Operand | None = None, name: str | None = None) -> Tensor:
    """x where the condition holds, else y; the operand not taken has no influence, not even as NaN.

    Without x and y, the places where the condition holds: int64 [M, rank], in row-major order.

    Raises:
        ArgumentTypeError: one of x and y is missing. ShapeError: the places of a 0-d condition.

    Source: paddle.fluid.layers.where.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.where(gl.dygraph.to_variable(np.array([[False, True], [True, True]]))).numpy().tolist()
        [[0, 1], [1, 0], [1, 1]]
    """
    chosen = checks.tensor(condition, "condition", "where")
    if x is not None and y is not None:
        return ops.where(chosen, x, y)
    if x is not None or y is not None:
        raise ArgumentTypeError("where needs a value for both cases", "where(condition, x, y)", "one value")
    return _places(chosen)


def _places(condition: Tensor) -> Tensor:
    """The indices of the true elements, one row for each."""
    shape = condition.type.shape
    if not shape:
        raise ShapeError("where: a scalar has no places", "rank 1 or more", "rank 0")
    flat = ops.rows_where(ops.reshape(condition, (condition.type.size,)))
    columns = [flat // ops.size(shape[axis + 1 :]) for axis in range(len(shape))]
    return ops.stack([c % ops.size((d,)) if i else c for i, (c, d) in enumerate(zip(columns, shape, strict=True))], 1)


@layer_function
def sums(input: Sequence[Tensor] | Tensor, out: Variable | None = None, name: str | None = None) -> Tensor:
    """The elementwise sum of a list of Variables; with `out`, that Variable is written.

    Source: paddle.fluid.layers.sums.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([1.0, 2.0]))
        ...     y = gl.dygraph.to_variable(np.array([3.0, 4.0]))
        ...     gl.layers.sums([x, y]).numpy().round(4).tolist()
        [4.0, 6.0]
    """
    xs = [input] if isinstance(input, Tensor) else list(input)
    if not xs:
        raise ArgumentTypeError("sums takes a list of Variables", "one or more", "none")
    return into(out, ops.sums(xs))


@layer_function
def sum(x: Sequence[Tensor] | Tensor) -> Tensor:
    """The elementwise sum of a list of Variables; for the sum of elements see `reduce_sum`.

    Source: paddle.fluid.layers.sum.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([1.0, 2.0]))
        ...     y = gl.dygraph.to_variable(np.array([3.0, 4.0]))
        ...     gl.layers.sum([x, y]).numpy().round(4).tolist()
        [4.0, 6.0]
    """
    return ops.sums([x] if isinstance(x, Tensor) else list(x))
