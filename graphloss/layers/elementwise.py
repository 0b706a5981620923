"""Fluid's elementwise functions of two operands, comparisons and logic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphloss import ops
from graphloss.errors import ArgumentTypeError, ShapeError
from graphloss.ir.tensor import Operand, Tensor
from graphloss.ir.variable import Variable
from graphloss.layers.helper import activated, into, layer_function
from graphloss.losses import checks

_Binary = Callable[..., Tensor]


def _elementwise(name: str, fn: Callable[[Tensor, Tensor], Tensor], formula: str) -> _Binary:
    def run(x: Tensor, y: Tensor, axis: int = -1, act: str | None = None, name: str | None = None) -> Tensor:
        return activated(fn(x, _aligned(x, y, axis)), act)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"""{formula}, with broadcasting.

    Args:
        x, y: operands; y may have fewer dimensions.
        axis: the dimension of x that y's first one is aligned with; −1 aligns the last ones.
        act: name of an activation.

    Raises:
        ShapeError: the shapes do not broadcast.
    """
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


elementwise_add = _elementwise("elementwise_add", ops.add, "x + y")
elementwise_sub = _elementwise("elementwise_sub", ops.sub, "x − y")
elementwise_mul = _elementwise("elementwise_mul", ops.mul, "x · y")
elementwise_div = _elementwise("elementwise_div", ops.div, "x / y")
elementwise_pow = _elementwise("elementwise_pow", ops.pow, "x ** y")
elementwise_mod = _elementwise("elementwise_mod", ops.mod, "x mod y, with the sign of y")
elementwise_floordiv = _elementwise("elementwise_floordiv", ops.floordiv, "floor(x / y)")
# where both are equal, y is the one
elementwise_max = _elementwise("elementwise_max", lambda x, y: ops.maximum(x, y, tie="second"), "max(x, y)")
elementwise_min = _elementwise("elementwise_min", lambda x, y: ops.minimum(x, y, tie="second"), "min(x, y)")


def _comparison(name: str, fn: Callable[[Operand, Operand], Tensor], sign: str) -> _Binary:
    def run(x: Tensor, y: Operand, cond: Variable | None = None) -> Tensor:
        return into(cond, fn(x, y))

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"x {sign} y, element by element with broadcasting, as bool; with `cond`, that Variable is written."
    return layer_function(run)


def _logic(name: str, fn: Callable[[Operand, Operand], Tensor], word: str) -> _Binary:
    def run(x: Tensor, y: Operand, out: Variable | None = None, name: str | None = None) -> Tensor:
        return into(out, fn(x, y))

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"x {word} y, element by element with broadcasting; with `out`, that Variable is written."
    return layer_function(run)


@layer_function
def less_than(x: Tensor, y: Operand, force_cpu: bool | None = None, cond: Variable | None = None) -> Tensor:
    """x < y, element by element with broadcasting, as bool; with `cond`, that Variable is written."""
    return into(cond, ops.less(x, y))


less_equal = _comparison("less_equal", ops.less_equal, "≤")
greater_than = _comparison("greater_than", ops.greater, ">")
greater_equal = _comparison("greater_equal", ops.greater_equal, "≥")
equal = _comparison("equal", ops.equal, "=")
not_equal = _comparison("not_equal", ops.not_equal, "≠")
logical_and = _logic("logical_and", ops.logical_and, "and")
logical_or = _logic("logical_or", ops.logical_or, "or")
logical_xor = _logic("logical_xor", ops.logical_xor, "xor")


@layer_function
def logical_not(x: Tensor, out: Variable | None = None, name: str | None = None) -> Tensor:
    """not x, element by element; with `out`, that Variable is written."""
    return into(out, ops.logical_not(x))


@layer_function
def where(condition: Tensor, x: Operand | None = None, y: Operand | None = None, name: str | None = None) -> Tensor:
    """x where the condition holds, else y; the operand not taken has no influence, not even as NaN.

    Without x and y, the places where the condition holds: int64 [M, rank], in row-major order.

    Raises:
        ArgumentTypeError: one of x and y is missing. ShapeError: the places of a 0-d condition.

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
    """The elementwise sum of a list of Variables; with `out`, that Variable is written."""
    xs = [input] if isinstance(input, Tensor) else list(input)
    if not xs:
        raise ArgumentTypeError("sums takes a list of Variables", "one or more", "none")
    return into(out, ops.sums(xs))


@layer_function
def sum(x: Sequence[Tensor] | Tensor) -> Tensor:
    """The elementwise sum of a list of Variables; for the sum of elements see `reduce_sum`."""
    return ops.sums([x] if isinstance(x, Tensor) else list(x))
