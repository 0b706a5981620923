"""A mode in which an op is its NumPy reference and nothing more: no place in a program, no tape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphloss.ir.dims import Equations
from graphloss.ir.opdef import Array, OpDef
from graphloss.ir.tensor import Tensor
from graphloss.ir.types import TensorType


class NumpyTensor(Tensor):
    """A value with its array. Nobody else may write to the array."""

    __slots__ = ("array",)

    def __init__(self, array: Array) -> None:
        self.array = array

    @property
    def type(self) -> TensorType:
        return TensorType(self.array.dtype.name, self.array.shape)

    def __repr__(self) -> str:
        return f"NumpyTensor({self.array!r})"


class NumpyMode:
    """A Mode that computes at once: `with using(NumpyMode()): y = ops.exp(NumpyTensor(x))`."""

    def apply(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> tuple[Tensor, ...]:
        arrays = []
        for x in inputs:
            if not isinstance(x, NumpyTensor):
                raise TypeError(f"{op.name}: values of two modes are mixed ({type(x).__name__})")
            arrays.append(x.array)
        op.infer([x.type for x in inputs], attrs, Equations())  # raises what a program would raise
        return tuple(NumpyTensor(a) for a in op.reference(arrays, attrs))
