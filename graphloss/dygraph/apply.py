"""Applying an op at once, by its NumPy reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import numpy as np

from graphloss import dtypes
from graphloss.dygraph.tape import Cell, Handle, Record
from graphloss.errors import GraphlossError, UnsupportedError
from graphloss.ir.dims import Equations
from graphloss.ir.location import user_location
from graphloss.ir.opdef import OpDef
from graphloss.ir.printer import call_text
from graphloss.ir.tensor import Tensor
from graphloss.ops.check import CHECK_RANGE

_checking: Final[ContextVar[bool]] = ContextVar("graphloss_checking_values", default=False)
_recording: Final[ContextVar[bool]] = ContextVar("graphloss_recording", default=True)


@contextmanager
def recording(on: bool) -> Iterator[None]:
    """Whether ops inside remember what a gradient would need."""
    token = _recording.set(on)
    try:
        yield
    finally:
        _recording.reset(token)


@contextmanager
def checking_values(on: bool) -> Iterator[None]:
    """Whether ops inside check data values that have a documented range, as `CompileOptions.check_values` does."""
    token = _checking.set(on)
    try:
        yield
    finally:
        _checking.reset(token)


class EagerMode:
    """A Mode that computes; what may need a gradient remembers how it was made. `wrap` makes the handle of a result."""

    def __init__(self, wrap: Callable[[Cell, bool], Tensor]) -> None:
        self._wrap = wrap

    def apply(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> tuple[Tensor, ...]:
        if op.name == CHECK_RANGE and not _checking.get():
            return (inputs[0],)
        values = [_eager(op, x) for x in inputs]
        try:
            types = op.infer([v.type for v in values], attrs, Equations())
            results = op.reference([v.cell.array for v in values], attrs)
        except GraphlossError as error:
            named = [(f"in{i}" if len(values) > 1 else "in", v.type) for i, v in enumerate(values)]
            raise error.with_op(call_text(op.name, named, attrs), user_location()) from None
        arrays = []
        for t, result in zip(types, results, strict=True):
            array = np.asarray(result, dtype=t.dtype)
            array.flags.writeable = False
            arrays.append(array)
        live = tuple(not v.stop_gradient for v in values)
        if op.vjp is None or not any(live) or not _recording.get():
            cells = [Cell(a) for a in arrays]
            stopped = [True] * len(cells)
        else:
            record = Record(op, tuple(v.cell for v in values), live, tuple(arrays), attrs)
            cells = [Cell(a, record, i, record.sinks[i]) for i, a in enumerate(arrays)]
            stopped = [not dtypes.is_float(t.dtype) for t in types]
        divided = next((v.cell for v in values if v.cell.lod), None)
        if divided is not None:
            for cell in cells:
                if cell.array.shape[:1] == divided.array.shape[:1]:  # a row for each row
                    cell.lod = divided.lod
        return tuple(map(self._wrap, cells, stopped))


def _eager(op: OpDef, x: Tensor) -> Handle:
    if isinstance(x, Handle):
        return x
    raise UnsupportedError(
        f"{op.name}: a variable of a program has no value in eager mode", got=repr(x), where=user_location(),
        hint="leave dygraph.guard() to build programs, or make eager arrays with dygraph.to_variable",
    )  # fmt: skip
