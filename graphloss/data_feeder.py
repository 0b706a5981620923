"""Fluid's DataFeeder: rows of Python values as the arrays that a run is fed with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss import dtypes
from graphloss.errors import ArgumentTypeError, DtypeError, FeedError, ShapeError
from graphloss.ir.defaults import default_main_program
from graphloss.ir.program import Program
from graphloss.ir.variable import Variable
from graphloss.runtime.lod import LoDTensor, create_lod_tensor

Array = npt.NDArray[Any]


class DataFeeder:
    """Makes feeds of minibatches that are lists of rows, a value in each row for each input.

    Args:
        feed_list: the inputs, or their names.
        place: there for Fluid's sake.
        program: of the inputs that are named; default: the default main program.

    Raises:
        ArgumentTypeError: an argument of another kind. UnknownVariable: a name that the program does not have.
        FeedError: a variable that is no input.

    Example:
        >>> import graphloss as gl
        >>> with gl.program_guard(gl.Program()):
        ...     x, y = gl.data("x", [None, 2]), gl.data("y", [None, 1], "int64")
        >>> feed = gl.DataFeeder([x, y], gl.CPUPlace()).feed([([0.5, 1.0], 1), ([2.0, 3.0], 0)])
        >>> feed["x"].tolist(), feed["y"].tolist()
        ([[0.5, 1.0], [2.0, 3.0]], [[1], [0]])
    """

    def __init__(
        self, feed_list: Sequence[Variable | str], place: object = None, program: Program | None = None
    ) -> None:
        if not isinstance(feed_list, (list, tuple)):
            raise ArgumentTypeError("DataFeeder takes a list of inputs", "list", type(feed_list).__name__)
        owner = default_main_program() if program is None else program
        if not isinstance(owner, Program):
            raise ArgumentTypeError("DataFeeder takes a Program", "Program", type(owner).__name__)
        self._inputs: list[Variable] = []
        for item in feed_list:
            var = owner.var(item) if isinstance(item, str) else item
            if not isinstance(var, Variable):
                raise ArgumentTypeError("DataFeeder takes a list of inputs", "Variable or str", type(item).__name__)
            if not var.is_data:
                raise FeedError(f"{var.name!r} is no input of the program", "a variable made by data()", op=var)
            self._inputs.append(var)

    def feed(self, iterable: Iterable[Sequence[object]]) -> dict[str, Array | LoDTensor]:
        """Rows as one array for each input, by its name; of its dtype, and in its shape where the rank is another.

        Values of an input with sequences are lists; their rows are packed, as a LoDTensor.

        Raises:
            ShapeError: a row with too many or too few values; values that make no array of the input's shape.
            DtypeError: values that the input's dtype would truncate. ArgumentTypeError: no rows.
        """
        columns: list[list[object]] = [[] for _ in self._inputs]
        for n, row in enumerate(iterable):
            if not isinstance(row, (list, tuple, np.ndarray)):
                raise ArgumentTypeError(f"row {n} of the minibatch is no row", "list or tuple", type(row).__name__)
            if len(row) != len(columns):
                raise ShapeError(f"row {n} has another number of values than there are inputs", len(columns), len(row))
            for column, value in zip(columns, row, strict=True):
                column.append(value)
        return {v.name: _packed(v, c) for v, c in zip(self._inputs, columns, strict=True)}


def _packed(var: Variable, values: list[Any]) -> Array | LoDTensor:
    lengths: list[list[int]] = []
    for _ in range(var.lod_level):
        for value in values:
            if not isinstance(value, (list, tuple, np.ndarray)):
                raise ArgumentTypeError(f"{var.name!r} takes sequences", "list", type(value).__name__, op=var)
        lengths.append([len(value) for value in values])
        values = [item for value in values for item in value]
    array = _array(var, values)
    return create_lod_tensor(array, lengths) if lengths else array


def _array(var: Variable, values: list[Any]) -> Array:
    try:
        found = np.array(values) if values else np.empty((0,), var.dtype)
    except ValueError:
        raise ShapeError(f"the values of {var.name!r} differ in shape", list(var.shape), "no array", op=var) from None
    if found.dtype.kind not in "biuf":
        raise ArgumentTypeError(f"{var.name!r} takes numbers", var.dtype, found.dtype, op=var)
    if found.dtype.kind == "f" and not dtypes.is_float(var.dtype):
        raise DtypeError(f"the values of {var.name!r} would be truncated", var.dtype, found.dtype, op=var)
    array = found.astype(var.dtype)
    if array.ndim == len(var.shape):
        return array
    try:
        return array.reshape(var.shape)
    except ValueError:
        what = f"the values of {var.name!r} do not have its shape"
        raise ShapeError(what, list(var.shape), list(array.shape), op=var) from None
