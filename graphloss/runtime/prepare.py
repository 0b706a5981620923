"""Feeds made ready for native code: contiguous, aligned, native-endian, of the declared dtype; and their addresses."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from graphloss.errors import FeedError, UnsupportedError
from graphloss.runtime import buffers
from graphloss.runtime.lod import LoDTensor

__all__ = ["address", "is_lossless", "prepare_array"]

_READY: Final = 0x0101  # NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED, as in `ndarray.flags.num`
_ndarray = np.ndarray


def prepare_array(name: str, value: object, dtype: np.dtype[Any], ndim: int | None = None) -> npt.NDArray[Any]:
    """The array that native code reads for the feed ``name``: ``value`` itself if it is ready, else one copy.

    Args:
        name: of the variable, for the text of an error.
        value: an array, anything with ``__array__``, or a Python number; a number fills the shape ``[1]``, or ``[]`` if
            the variable has no dimension.
        dtype: the declared dtype, native-endian.
        ndim: the declared number of dimensions; None leaves it open.

    Raises:
        FeedError: another number of dimensions, or a dtype whose values might not survive the conversion.
        UnsupportedError: a Python list or tuple, or another object that is no array.

    Example:
        >>> prepare_array("y", np.arange(3, dtype="int32"), np.dtype("int64"), 1)
        array([0, 1, 2])
    """
    if (
        type(value) is _ndarray
        and value.dtype == dtype
        and value.flags.num & _READY == _READY
        and (value.ndim == ndim or ndim is None)
    ):
        return value
    return _converted(name, value, dtype, ndim)


def is_lossless(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether each value of dtype ``source`` is also one of dtype ``target``.

    Example:
        >>> is_lossless(np.dtype("int32"), np.dtype("float64")), is_lossless(np.dtype("int64"), np.dtype("float64"))
        (True, False)
    """
    # NumPy calls 64-bit integers to float64 safe, which is true up to 2**53 only.
    wide = source.kind in "iu" and source.itemsize == 8
    return bool(np.can_cast(source, target, "safe")) and not (wide and target.kind not in "iu")


def _converted(name: str, value: object, dtype: np.dtype[Any], ndim: int | None) -> npt.NDArray[Any]:
    if isinstance(value, (bool, int, float)) and not isinstance(value, np.generic):
        array = _number(name, value, dtype)
    else:
        array = _array(name, value)
    if isinstance(value, (bool, int, float, np.generic)) and ndim != 0:
        array = array.reshape(1)  # a number fills [1], as it does in Fluid
    if not is_lossless(array.dtype, dtype):
        raise FeedError(
            f"the value of {name!r} has another dtype than its variable", dtype.name, array.dtype.name,
            hint=f"convert it, if that is what you mean: value.astype({dtype.name!r})", variable=name,
        )  # fmt: skip
    if ndim is not None and array.ndim != ndim:
        raise FeedError(
            f"the value of {name!r} has another number of dimensions than its variable",
            f"{ndim} dimension{'s' if ndim != 1 else ''}", f"{array.ndim}, of shape {list(array.shape)}",
            hint="value[..., None] adds a dimension, value[..., 0] takes one away", variable=name,
        )  # fmt: skip
    if array.dtype == dtype and array.flags.num & _READY == _READY:
        return array
    ready = buffers.empty(array.shape, dtype)
    np.copyto(ready, array, casting="safe")
    return ready


def _number(name: str, value: bool | int | float, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """A Python number in the declared dtype: floats round, as they do anywhere, but nothing is cut off."""
    kind = "b" if isinstance(value, bool) else "i" if isinstance(value, int) else "f"
    allowed = {"b": "biuf", "i": "iuf", "f": "f"}[kind]
    # Element types that NumPy has from elsewhere (bfloat16) are of kind V, and floats.
    if dtype.kind not in allowed and not (dtype.kind == "V" and kind != "b"):
        got = f"{type(value).__name__} {_shown(value)}"
        what, hint = f"the value of {name!r} has another dtype than its variable", "feed a number of that kind"
        raise FeedError(what, dtype.name, got, hint=hint, variable=name)
    try:
        with np.errstate(over="raise"):
            return np.array(value, dtype)
    except (OverflowError, FloatingPointError):
        what, hint = f"the value of {name!r} does not fit its variable", "declare the variable with a wider dtype"
        raise FeedError(what, f"a number that {dtype.name} holds", _shown(value), hint=hint, variable=name) from None


def _array(name: str, value: object) -> npt.NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray):
        what, hint = f"the value of {name!r} has a mask, which would be lost", "feed value.filled(...)"
        raise FeedError(what, "an array without a mask", "MaskedArray", hint=hint, variable=name)
    if not (isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__")):
        what, hint = f"the value of {name!r} is no array", "np.asarray(value, dtype) makes one"
        raise UnsupportedError(what, "a NumPy array or a number", type(value).__name__, hint=hint, variable=name)
    if isinstance(value, LoDTensor) and value.lod():
        what, hint = f"the value of {name!r} has sequences, which its variable has not", "declare it with lod_level"
        lengths = f"lengths {value.recursive_sequence_lengths()}"
        raise FeedError(what, "a plain array", lengths, hint=hint, variable=name)
    array = np.asarray(value)
    if array.dtype.kind in "OSUMm":
        what, hint = f"the value of {name!r} holds no numbers", "np.asarray(value, dtype) makes numbers of it"
        raise FeedError(what, "numbers", f"dtype {array.dtype}", hint=hint, variable=name)
    return array


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


def _slow_address(array: npt.NDArray[Any]) -> int:
    return array.ctypes.data


def _fast_address() -> Callable[[npt.NDArray[Any]], int]:
    """How to read the address of an array's data: from the array object, 0.1 µs, where its layout is as we know it.

    The public ways take 0.8 µs. In CPython the first word after the object header of an ndarray is its data pointer:
    the C API of NumPy has it so (`PyArrayObject_fields`). Still, it is tried out before it is believed.
    """
    if sys.implementation.name != "cpython":
        return _slow_address  # id() need not be an address
    word, offset = ctypes.c_size_t.from_address, object.__basicsize__

    def fast_address(array: npt.NDArray[Any]) -> int:
        return word(id(array) + offset).value

    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    fixed = base.copy()
    fixed.flags.writeable = False
    samples = (base, base[1:, 2:], base.T, base[:0], fixed, np.array(1.0), np.zeros(1 << 16, np.int8)[7:])
    return fast_address if all(fast_address(one) == one.ctypes.data for one in samples) else _slow_address


address: Final = _fast_address()
