"""The type of a value: element type and shape."""

from __future__ import annotations

from dataclasses import dataclass

from graphloss import dtypes
from graphloss.ir import dims
from graphloss.ir.dims import Dim


@dataclass(frozen=True, slots=True)
class TensorType:
    """An element type (a plain dtype name) and a shape of dimensions; prints as `f32[N, 10]`."""

    dtype: str
    shape: tuple[Dim, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        return dims.product(self.shape)

    def with_shape(self, shape: tuple[Dim, ...]) -> TensorType:
        return TensorType(self.dtype, shape)

    def with_dtype(self, dtype: str) -> TensorType:
        return TensorType(dtype, self.shape)

    def __str__(self) -> str:
        return f"{dtypes.SHORT[self.dtype]}[{', '.join(str(d) for d in self.shape)}]"
