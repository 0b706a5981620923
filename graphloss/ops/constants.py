"""Values that depend on no data: fills, positions, sizes; and the identity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphloss import dtypes
from graphloss.errors import AttrError
from graphloss.ir import dims, scalar
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.forms import Fill, Iota
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply, convert
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import Unary, define, unary

__all__ = ["assign", "cast", "fill", "iota", "ones_like", "size", "zeros_like"]


def _nothing(*_: object) -> tuple[()]:
    return ()


def _count_shape(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    for d in shape:
        if isinstance(d, bool) or (isinstance(d, int) and d < 0):
            raise AttrError("a dimension is not a number from 0 on", "0 or more", d)
    return tuple(shape)


def _fill_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    value, dtype = attrs["value"], attrs["dtype"]
    if dtype.startswith(("int", "uint")):
        if not float(value).is_integer():
            raise AttrError("the value would be truncated", f"a whole number, since the dtype is {dtype}", value)
        info = np.iinfo(dtype)
        if not info.min <= int(value) <= info.max:
            raise AttrError(f"the value does not fit {dtype}", f"{info.min} to {info.max}", value)
    return (TensorType(dtype, _count_shape(attrs["shape"])),)


define(
    "fill", (), _fill_infer, lambda shape, dtype, value: np.full(shape, value, dtype),
    attrs=(AttrSpec("shape", "shape"), AttrSpec("dtype", "dtype"), AttrSpec("value", "number")), vjp=_nothing,
    linear=True, ulp=0,
    lower=lambda t, o, a: Fill(bool(a["value"]) if a["dtype"] == "bool" else a["value"]),
    samples=lambda rng: [
        Sample((), {"shape": (2, 3), "dtype": "float32", "value": 0.1}),
        Sample((), {"shape": (), "dtype": "int64", "value": -7}),
        Sample((), {"shape": (0,), "dtype": "bool", "value": True}),
        Sample((), {"shape": (2,), "dtype": "float64", "value": float("-inf")}, edge=True),
    ],
    summary="A tensor whose elements all have one value.",
)  # fmt: skip


def _iota_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    shape = _count_shape(attrs["shape"])
    rules.axis_of(attrs["axis"], len(shape))
    out = TensorType(attrs["dtype"], shape)
    rules.expect(out, "number", "the result")
    return (out,)


def _iota(shape: tuple[int, ...], axis: int, dtype: str) -> Array:
    ones = [1] * len(shape)
    ones[axis] = shape[axis]
    return np.broadcast_to(np.arange(shape[axis], dtype=dtype).reshape(ones), shape).copy()


define(
    "iota", (), _iota_infer, _iota, vjp=_nothing, linear=True, ulp=0,
    attrs=(AttrSpec("shape", "shape"), AttrSpec("axis", "axis"), AttrSpec("dtype", "dtype", "int64")),
    lower=lambda t, o, a: Iota(rules.axis_of(a["axis"], o[0].rank)),
    samples=lambda rng: [
        Sample((), {"shape": (2, 3), "axis": 1}), Sample((), {"shape": (0,), "axis": 0, "dtype": "float32"}),
    ],
    summary="The position along an axis: 0, 1, 2 …",
)  # fmt: skip

define(
    "size", (), lambda types, attrs, equations: (TensorType(attrs["dtype"], ()),),
    lambda shape, dtype: np.asarray(np.prod(shape, dtype=np.int64)).astype(dtype), vjp=_nothing, linear=True, ulp=0.5,
    attrs=(AttrSpec("shape", "shape"), AttrSpec("dtype", "dtype", "int64")),
    lower=lambda t, o, a: Fill(dims.product(tuple(a["shape"]))),
    samples=lambda rng: [Sample((), {"shape": (2, 3)}), Sample((), {"shape": (), "dtype": "float32"})],
    summary="The number of elements of a shape, as a 0-d tensor; known when the feeds are.", formula="Π shape",
)  # fmt: skip

assign: Unary = unary(
    "assign", np.array, lambda x, out, g, a: g, kind="any", code=lambda e, a: e[0], linear=True, halves=True, ulp=0,
    summary="The operand itself.",
    formula="x",
)  # fmt: skip


def _cast_code(operands: Sequence[scalar.Expr], attrs: Attrs) -> scalar.Expr:
    (x,) = operands
    if dtypes.is_half(x.dtype) and x.dtype != attrs["dtype"]:
        x = scalar.cast(x, "float32")
    if attrs["dtype"] == "bool" and x.dtype != "bool":
        return scalar.call("ne", x, scalar.const(0.0 if x.dtype.startswith("float") else 0, x.dtype))
    if dtypes.is_half(attrs["dtype"]) and not dtypes.is_float(x.dtype):
        x = scalar.cast(x, "float32")
    return scalar.cast(x, attrs["dtype"])


def _cast(x: Array, dtype: str) -> Array:
    if x.dtype == np.float64 and dtype == "bfloat16":
        x = _to_odd(x)
    elif dtypes.HALVES[0] in (x.dtype.name, dtype) or dtypes.HALVES[1] in (x.dtype.name, dtype):
        x = x if x.dtype == np.float64 or x.dtype == dtype else x.astype(np.float32)
    return x.astype(dtype)


def _to_odd(x: Array) -> Array:
    """float64 as float32, what lies between two numbers as the one whose last bit is set: to round that to fewer bits
    is to round x itself."""
    near = x.astype(np.float32)
    away = np.abs(near) > np.abs(x)
    bits = near.view(np.int32) - away
    return np.where((near != x) & ~np.isnan(x), bits | 1, bits).astype(np.int32).view(np.float32)


def _cast_samples(rng: np.random.Generator) -> list[Sample]:
    x = rng.uniform(-9, 9, (3, 4))
    return [
        Sample((x,), {"dtype": "float64"}), Sample((x,), {"dtype": "float32"}), Sample((x,), {"dtype": "int64"}),
        Sample((x,), {"dtype": "int32"}),
        Sample((np.array([0.0, -0.0, 0.5, np.nan]),), {"dtype": "bool"}), Sample((x > 0,), {"dtype": "float32"}),
        Sample((np.arange(-3, 3),), {"dtype": "float32"}), Sample((np.arange(-3, 3),), {"dtype": "bool"}),
        Sample((np.array([np.inf, -np.inf, np.nan, 1e300, 1e-300]),), {"dtype": "float32"}, True, False),
    ]  # fmt: skip


def _cast_vjp(x: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> Tensor | None:
    # that of a half stays a float32: it is rounded once, at the end
    numbers = dtypes.is_float(x.type.dtype) and dtypes.is_float(attrs["dtype"])
    return convert(g, dtypes.computed(x.type.dtype)) if numbers else None


unary(
    "cast", _cast, _cast_vjp, code=_cast_code, attrs=(AttrSpec("dtype", "dtype"),), ulp=0.5, linear=True, halves=True,
    infer=lambda types, attrs, equations: (types[0].with_dtype(attrs["dtype"]),), samples=_cast_samples,
    summary="Another element type: floats to integers towards 0, numbers to bool as x != 0, to halves by rounding.",
)  # fmt: skip


def cast(x: Tensor, dtype: object) -> Tensor:
    """x with another element type; itself if it has that one. Floats become integers towards 0, numbers x != 0 as bool,
    and what a half does not hold is rounded to the nearest, of two to the even one."""
    return convert(x, dtypes.canonical(dtype))


def fill(shape: Sequence[Dim], value: float | int | bool, dtype: str = "float32") -> Tensor:
    """A tensor of `shape` whose elements are all `value`."""
    return apply("fill", (), {"shape": tuple(shape), "dtype": dtype, "value": value})[0]


def zeros_like(x: Tensor) -> Tensor:
    """0 everywhere, of the shape and dtype of x."""
    return fill(x.type.shape, 0, x.type.dtype)


def ones_like(x: Tensor) -> Tensor:
    """1 everywhere, of the shape and dtype of x."""
    return fill(x.type.shape, 1, x.type.dtype)


def iota(shape: Sequence[Dim] | Dim, axis: int = 0, dtype: str = "int64") -> Tensor:
    """The position along `axis` at each place of `shape` (or 0 … n-1 for a number n)."""
    full = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    return apply("iota", (), {"shape": full, "axis": rules.axis_of(axis, len(full)), "dtype": dtype})[0]


def size(shape: Sequence[Dim], dtype: str = "int64") -> Tensor:
    """The product of dimensions as a 0-d tensor."""
    return apply("size", (), {"shape": tuple(shape), "dtype": dtype})[0]
