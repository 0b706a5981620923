"""Eager arrays: handles that hold their value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphloss.dygraph.autograd import backward
from graphloss.dygraph.tape import Array, Cell, Handle, frozen
from graphloss.errors import ArgumentTypeError, DtypeError, ShapeError
from graphloss.ir import unique_name
from graphloss.ir.tensor import Tensor

__all__ = ["ParamBase", "VarBase"]


class VarBase(Handle):
    """An array under `dygraph.guard()`; made by `to_variable` and by ops.

    Python's operators and `v[...]` run ops; `==` and `!=` do too and give arrays, so compare handles by identity.
    """

    __slots__ = ("_name", "persistable")

    def __init__(
        self, cell: Cell, stop_gradient: bool = False, *, name: str | None = None, persistable: bool = False
    ) -> None:
        super().__init__(cell, stop_gradient)
        self._name = name
        self.persistable = persistable

    @property
    def name(self) -> str:
        if self._name is None:
            self._name = unique_name.generate("generated_var")
        return self._name

    @name.setter
    def name(self, new: str) -> None:
        self._name = new

    @property
    def shape(self) -> list[int]:
        return list(self.cell.array.shape)

    @property
    def lod_level(self) -> int:
        """How deeply its rows are divided into sequences; 0 is a plain array."""
        return len(self.cell.lod)

    def offsets(self) -> VarBase | None:
        """The offsets of its sequences, int64 [S+1]; None for a plain array."""
        return VarBase(Cell(self.cell.lod[-1]), True) if self.cell.lod else None

    def divide(self, offsets: Tensor) -> None:
        """Takes offsets of sequences, int64 [S+1]; results of as many rows have them too."""
        if not isinstance(offsets, VarBase):
            raise ArgumentTypeError("an eager array is divided by eager offsets", "VarBase", type(offsets).__name__)
        if offsets.dtype != "int64" or offsets.ndim != 1:
            raise ShapeError("offsets are int64 of shape [S+1]", got=str(offsets.type))
        self.cell.lod = (offsets.cell.array,)

    @property
    def is_leaf(self) -> bool:
        """Whether it was given, not computed by something that is remembered."""
        return self.cell.record is None

    def numpy(self) -> Array:
        """The value, as an array of its own."""
        return self.cell.array.copy()

    def item(self) -> Any:
        """The one element, as a Python number.

        Raises:
            ShapeError: it has none or several.
        """
        if self.cell.array.size != 1:
            raise ShapeError("not one number", "an array of one element", f"shape {self.shape}")
        return self.cell.array.item()

    def gradient(self) -> Array | None:
        """What backward has brought so far, None before."""
        grad = self.cell.sink.grad
        with np.errstate(over="ignore"):  # what arrives at a half is summed up in float32 and rounded here
            return None if grad is None else grad.astype(self.cell.array.dtype)

    def clear_gradient(self) -> None:
        """Forgets the gradient, so that the next backward begins at 0."""
        self.cell.sink.grad = None

    def backward(self, backward_strategy: object = None, retain_graph: bool = False) -> None:
        """Adds the gradient of the sum of the elements to every leaf it came from, and forgets how it was made.

        Nothing happens where `stop_gradient` is set.
        """
        if not self.stop_gradient:
            backward(self.cell, retain_graph)

    def detach(self) -> VarBase:
        """The same value, without its history."""
        made = VarBase(Cell(self.cell.array), True)
        made.cell.lod = self.cell.lod
        return made

    def set_value(self, value: object) -> None:
        """Takes another value of the same shape and dtype; what was computed from the old one stays as it is.

        Raises:
            ArgumentTypeError: neither an array nor a VarBase.
            ShapeError, DtypeError: of another shape or dtype.
        """
        array = value.cell.array if isinstance(value, VarBase) else value
        if not isinstance(array, np.ndarray):
            raise ArgumentTypeError(
                "set_value takes an array", expected="ndarray or VarBase", got=value.__class__.__name__
            )
        old = self.cell.array
        if array.shape != old.shape:
            raise ShapeError(f"set_value of {self.name!r}: another shape", list(old.shape), list(array.shape))
        if array.dtype.newbyteorder("=") != old.dtype:
            raise DtypeError(f"set_value of {self.name!r}: another dtype", old.dtype, array.dtype)
        lod = self.cell.lod
        self.cell = Cell(frozen(array), sink=self.cell.sink)
        self.cell.lod = lod

    def __len__(self) -> int:
        if self.ndim == 0:
            raise ArgumentTypeError("a 0-d array has no length")
        return int(self.cell.array.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        """Of one element: whether it is above 0."""
        return bool(self.item() > 0)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.cell.array, dtype=dtype)

    def __repr__(self) -> str:
        text = np.array2string(self.cell.array, threshold=100)
        return f"{self.__class__.__name__}({self.type}, stop_gradient={self.stop_gradient})\n{text}"


class ParamBase(VarBase):
    """An eager parameter: what a Layer trains; made by `Layer.create_parameter`."""

    __slots__ = ("optimize_attr", "regularizer", "trainable")

    def __init__(
        self, value: Array, *, name: str, trainable: bool = True, learning_rate: float = 1.0, regularizer: object = None
    ) -> None:
        super().__init__(Cell(frozen(value)), not trainable, name=name, persistable=True)
        self.trainable = trainable
        self.optimize_attr = {"learning_rate": learning_rate}
        self.regularizer = regularizer
