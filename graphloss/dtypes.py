"""Names of element types, their sizes and the promotion rules of NumPy."""

from __future__ import annotations

from typing import Final

import numpy as np

from graphloss.errors import ArgumentTypeError

SHORT: Final[dict[str, str]] = {
    "bool": "bool", "int8": "i8", "uint8": "u8", "int16": "i16", "int32": "i32", "int64": "i64",
    "float32": "f32", "float64": "f64",
}  # fmt: skip
LONG: Final[dict[str, str]] = {short: long for long, short in SHORT.items()}
FLOATS: Final = ("float32", "float64")
INTS: Final = ("int8", "uint8", "int16", "int32", "int64")

DTypeLike = object


def canonical(dtype: object) -> str:
    """The plain name of `dtype` (a name, a NumPy dtype or scalar type).

    Raises:
        ArgumentTypeError: graphloss has no such element type.
    """
    if isinstance(dtype, str) and dtype in SHORT:
        return dtype
    try:
        name = np.dtype(dtype).name if dtype is not None else "None"  # type: ignore[call-overload]
    except (TypeError, ValueError):
        name = str(dtype)
    if name not in SHORT:
        raise ArgumentTypeError(f"unknown dtype {dtype!r}", expected=f"one of {', '.join(SHORT)}")
    return str(name)


def promote(a: str, b: str) -> str:
    """The dtype NumPy gives an operation on arrays of dtypes `a` and `b`."""
    return a if a == b else str(np.promote_types(a, b).name)


def is_float(dtype: str) -> bool:
    return dtype in FLOATS


def is_int(dtype: str) -> bool:
    return dtype in INTS


def itemsize(dtype: str) -> int:
    """Bytes of one element in memory (bool takes one)."""
    return int(np.dtype(dtype).itemsize)
