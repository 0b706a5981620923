"""What eager mode works on: values, handles on them, and what is remembered for a gradient."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from graphloss.ir.opdef import OpDef
from graphloss.ir.tensor import Tensor
from graphloss.ir.types import TensorType

Array = npt.NDArray[Any]

_numbers: Final = itertools.count()


class Sink:
    """Where a value's gradient arrives; it outlives a new value given by set_value."""

    __slots__ = ("grad",)

    def __init__(self) -> None:
        self.grad: Array | None = None

    def add(self, grad: Array) -> None:
        # never in place: the array may be somebody else's too
        self.grad = grad if self.grad is None else np.add(self.grad, grad)


class Cell:
    """An immutable value: its array, where its gradient goes, and output `index` of which record it is, if of one.

    `lod` are offsets that divide its rows into sequences, level by level; () for a plain array.

    A record holds the cells of its inputs but not of its outputs, so that a history is freed without a garbage
    collection.
    """

    __slots__ = ("array", "index", "lod", "record", "sink")

    def __init__(self, array: Array, record: Record | None = None, index: int = 0, sink: Sink | None = None) -> None:
        self.array = array
        self.record = record
        self.index = index
        self.sink = Sink() if sink is None else sink
        self.lod: tuple[Array, ...] = ()


class Record:
    """An op that ran: `live` says which inputs a gradient may flow to."""

    __slots__ = ("attrs", "freed", "inputs", "live", "number", "op", "outputs", "sinks")

    def __init__(
        self,
        op: OpDef,
        inputs: tuple[Cell, ...],
        live: tuple[bool, ...],
        outputs: tuple[Array, ...],
        attrs: Mapping[str, object],
    ) -> None:
        self.number = next(_numbers)
        self.op = op
        self.inputs = inputs
        self.live = live
        self.outputs = outputs
        self.sinks = tuple(Sink() for _ in outputs)
        self.attrs = attrs
        self.freed = False

    def free(self) -> None:
        """Forgets what a gradient would need: a graph serves one backward."""
        self.inputs = ()
        self.outputs = ()
        self.freed = True


class Handle(Tensor):
    """A Tensor that is a cell; `stop_gradient` says that no gradient flows into or through it."""

    __slots__ = ("__weakref__", "cell", "stop_gradient")

    def __init__(self, cell: Cell, stop_gradient: bool = False) -> None:
        self.cell = cell
        self.stop_gradient = stop_gradient

    @property
    def type(self) -> TensorType:
        return TensorType(self.cell.array.dtype.name, self.cell.array.shape)


def frozen(array: Array) -> Array:
    """A native, contiguous copy that nobody can write to."""
    own = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
    own.flags.writeable = False
    return own
