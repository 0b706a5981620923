"""The few functions of MXNet's `nd` that make arrays for a loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphloss import dtypes, ops
from graphloss.dygraph.tape import Cell, frozen
from graphloss.errors import ArgumentTypeError
from graphloss.gluon import random
from graphloss.gluon.ndarray import NDArray, at_once
from graphloss.ir.tensor import Tensor

__all__ = ["NDArray", "arange", "array", "ones", "ones_like", "random", "zeros", "zeros_like"]


def array(source_array: object, ctx: object = None, dtype: object = None) -> NDArray:
    """An array of numbers; float32, unless `dtype` or an array given says otherwise. One number has the shape (1,).

    Raises:
        ArgumentTypeError: no array of numbers.

    Example:
        >>> array([[1, 10], [8, 2]])
        <BLANKLINE>
        [[ 1. 10.]
         [ 8.  2.]]
        <NDArray 2x2 @cpu(0)>
        >>> array(1).shape
        (1,)
    """
    own = source_array.cell.array if isinstance(source_array, NDArray) else source_array
    kind = dtype or (own.dtype if isinstance(own, np.ndarray) else "float32")
    try:
        value = np.asarray(own, dtypes.canonical(kind))
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError("nd.array takes numbers", got=type(source_array).__name__) from error
    return NDArray(Cell(frozen(np.atleast_1d(value))), True)


def arange(start: float, stop: float | None = None, step: float = 1.0, dtype: object = "float32") -> NDArray:
    """start, start + step, … below stop (0, 1, … below start without one).

    Example:
        >>> len(arange(-5, 5, 0.1))
        100
    """
    low, high = (0.0, start) if stop is None else (start, stop)
    count = max(0, int(np.ceil((high - low) / step - 1e-9)))
    return array(low + step * np.arange(count), dtype=dtype)


def ones(shape: int | Sequence[int], ctx: object = None, dtype: object = "float32") -> Tensor:
    """An array of ones."""
    return _filled(shape, 1, dtype)


def zeros(shape: int | Sequence[int], ctx: object = None, dtype: object = "float32") -> Tensor:
    """An array of zeros."""
    return _filled(shape, 0, dtype)


def ones_like(data: NDArray) -> Tensor:
    """Ones in the shape and dtype of another array."""
    return _filled(data.shape, 1, data.dtype)


def zeros_like(data: NDArray) -> Tensor:
    """Zeros in the shape and dtype of another array."""
    return _filled(data.shape, 0, data.dtype)


def _filled(shape: int | Sequence[int], value: int, dtype: object) -> Tensor:
    with at_once():
        kind = dtypes.canonical(dtype)
        return ops.cast(ops.fill((shape,) if isinstance(shape, int) else tuple(shape), value, kind), kind)
