"""Inputs of a program: variables that a run is fed."""

from __future__ import annotations

from collections.abc import Sequence

from graphloss import dtypes
from graphloss.errors import ArgumentTypeError
from graphloss.ir.defaults import default_main_program
from graphloss.ir.variable import Variable


def data(name: str, shape: Sequence[int | None], dtype: object = "float32", lod_level: int = 0) -> Variable:
    """Declares a variable that `Executor.run` is fed by its name.

    Args:
        name: its name; the same name with equal properties gives the same variable.
        shape: all dimensions, the batch's too; None or -1 is one known at run time, a fresh symbol `<name>.<axis>`.
        dtype: element type; a fed array must have it, or one that it holds without loss.
        lod_level: depth of nested sequences; 0 is a plain array. With 1, rows of sequences lie one after the other,
            the first dimension is None, and the variable `<name>@LOD` holds the offsets that divide it.

    Returns:
        The variable; its `stop_gradient` is True.

    Raises:
        ArgumentTypeError: `name` is no str, `shape` no list or tuple, `dtype` unknown.
        AttrError: the name exists with other properties.
        ShapeError: a dimension is no integer ≥ 0, None or -1; sequences whose first dimension is a number.

    Example:
        >>> from graphloss.ir.defaults import program_guard
        >>> from graphloss.ir.program import Program
        >>> with program_guard(Program()):
        ...     x = data("x", [None, 784])
        >>> x.shape, x.dtype, str(x.type)
        ((-1, 784), 'float32', 'f32[x.0, 784]')
    """
    return _declared(name, shape, dtype, lod_level, stop_gradient=True)


def layers_data(
    name: str,
    shape: Sequence[int | None],
    append_batch_size: bool = True,
    dtype: object = "float32",
    lod_level: int = 0,
    type: object = None,
    stop_gradient: bool = True,
) -> Variable:
    """`data` in the older spelling: an unknown batch dimension is put first.

    Args:
        append_batch_size: put it first, unless a dimension of `shape` is None or negative.
        type: accepted for old programs; all variables are dense.
        stop_gradient: whether gradients stop here; the other arguments are those of `data`.

    Source: paddle.fluid.layers.data.

    Example:
        >>> import graphloss as gl
        >>> with gl.program_guard(gl.Program()):
        ...     gl.layers.data("x", [4]).shape
        (-1, 4)
    """
    _check(name, shape)
    if append_batch_size and not any(d is None or d < 0 for d in shape):
        shape = [-1, *shape]
    return _declared(name, shape, dtype, lod_level, stop_gradient)


def _check(name: object, shape: object) -> None:
    if not isinstance(name, str):
        raise ArgumentTypeError("the name of a data variable is a text", "str", type(name).__name__)
    if not isinstance(shape, (list, tuple)):
        raise ArgumentTypeError(f"the shape of {name!r} is a list or tuple", "list or tuple", type(shape).__name__)


def _declared(name: str, shape: Sequence[int | None], dtype: object, lod_level: int, stop_gradient: bool) -> Variable:
    _check(name, shape)
    try:
        element = dtypes.canonical(dtype)
    except ArgumentTypeError as error:
        raise error.with_op(f"data({name!r})") from None
    block = default_main_program().global_block()
    return block.create_var(name, shape, element, lod_level=lod_level, stop_gradient=stop_gradient, is_data=True)
