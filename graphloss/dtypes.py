"""Names of element types, their sizes and the promotion rules of NumPy.

float16 and bfloat16 are for storage: what reads one computes on float32, and what writes one rounds once.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from graphloss.errors import ArgumentTypeError, UnsupportedError

SHORT: Final[dict[str, str]] = {
    "bool": "bool", "int8": "i8", "uint8": "u8", "int16": "i16", "int32": "i32", "int64": "i64",
    "float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64",
}  # fmt: skip
LONG: Final[dict[str, str]] = {short: long for long, short in SHORT.items()}
HALVES: Final = ("float16", "bfloat16")
FLOATS: Final = ("float32", "float64", *HALVES)
INTS: Final = ("int8", "uint8", "int16", "int32", "int64")

DTypeLike = object


def canonical(dtype: object) -> str:
    """The plain name of `dtype` (a name, a NumPy dtype or scalar type).

    Raises:
        ArgumentTypeError: graphloss has no such element type.
    """
    if isinstance(dtype, str) and dtype in SHORT:
        return available(dtype)
    try:
        name = np.dtype(dtype).name if dtype is not None else "None"  # type: ignore[call-overload]
    except (TypeError, ValueError):
        name = str(dtype)
    if name not in SHORT:
        raise ArgumentTypeError(f"unknown dtype {dtype!r}", expected=f"one of {', '.join(SHORT)}")
    return str(name)


def available(dtype: str) -> str:
    """`dtype`, which NumPy knows from here on: it has bfloat16 from ml_dtypes, which is imported on first use.

    Raises:
        UnsupportedError: ml_dtypes is not installed.
    """
    if dtype == "bfloat16":
        try:
            import ml_dtypes  # noqa: F401  # gives NumPy the dtype; 20 ms that only its users pay
        except ImportError:
            what, hint = "bfloat16 needs the package ml_dtypes", "pip install 'graphloss[bfloat16]'"
            raise UnsupportedError(what, "ml_dtypes installed", "no such package", hint=hint) from None
    return dtype


def promote(a: str, b: str) -> str:
    """The dtype NumPy gives an operation on arrays of dtypes `a` and `b`; a half counts as float32 beside another."""
    return a if a == b else str(np.promote_types(computed(a), computed(b)).name)


def computed(dtype: str) -> str:
    """What values of `dtype` are computed in: float32 for the halves, itself for any other."""
    return "float32" if dtype in HALVES else dtype


def is_half(dtype: str) -> bool:
    return dtype in HALVES


def is_float(dtype: str) -> bool:
    return dtype in FLOATS


def is_int(dtype: str) -> bool:
    return dtype in INTS


def itemsize(dtype: str) -> int:
    """Bytes of one element in memory (bool takes one)."""
    return 2 if dtype in HALVES else int(np.dtype(dtype).itemsize)
