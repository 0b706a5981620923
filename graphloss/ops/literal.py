"""Constants with elements of their own: an array inside a program."""

from __future__ import annotations

import math

import numpy as np

from graphloss import dtypes
from graphloss.errors import AttrError
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Host
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply, convert
from graphloss.ir.types import TensorType
from graphloss.ops.define import define


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    shape, values = tuple(attrs["shape"]), attrs["values"]
    if any(not isinstance(d, int) or d < 0 for d in shape):
        raise AttrError("the shape of a literal is known", "numbers from 0 on", shape)
    if len(values) != int(np.prod(shape, dtype=np.int64)):
        raise AttrError("a literal lacks elements, or has too many", int(np.prod(shape, dtype=np.int64)), len(values))
    return (TensorType(attrs["dtype"], shape),)


def _array(shape: tuple[int, ...], dtype: str, values: tuple[float, ...]) -> Array:
    return np.array(values, dtype).reshape(shape)


def _lower(types: Types, out: Types, attrs: Attrs) -> Host:
    array = _array(attrs["shape"], attrs["dtype"], attrs["values"])
    return Host(lambda arrays, shapes: (array.copy(),))


define(
    "literal", (), _infer, _array, lower=_lower, vjp=lambda *_: (), linear=True, ulp=0,
    attrs=(AttrSpec("shape", "ints"), AttrSpec("dtype", "dtype"), AttrSpec("values", "any")),
    samples=lambda rng: [
        Sample((), {"shape": (2, 2), "dtype": "float32", "values": (0.5, -1.0, 2.0, 1e30)}),
        Sample((), {"shape": (3,), "dtype": "int64", "values": (3, -1, 2)}),
        Sample((), {"shape": (0, 2), "dtype": "float64", "values": ()}),
        Sample((), {"shape": (2,), "dtype": "bool", "values": (True, False)}),
    ],
    summary="An array whose elements are written down, in row-major order.",
)  # fmt: skip


def literal(array: Array) -> Tensor:
    """A constant with the elements of `array`."""
    dtype = dtypes.canonical(array.dtype)
    if dtypes.is_half(dtype):
        return convert(literal(array.astype(np.float32)), dtype)
    # NaN is one object, so that equal programs are equal
    values = tuple(math.nan if v != v else v for v in array.reshape(-1).tolist())
    return apply("literal", (), {"shape": array.shape, "dtype": dtype, "values": values})[0]
