"""Arrays in files: one in NumPy's .npy form, or several by name in an .npz one; nothing in them is ever executed."""

from __future__ import annotations

import math
import os
import secrets
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from graphloss import dtypes
from graphloss.errors import ArgumentTypeError, StoredError

Array: TypeAlias = npt.NDArray[Any]

_BFLOAT16: Final = np.dtype("V2")  # the form has no name for that type, so two bytes of any kind are it
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # so that equal arrays give equal files
_HEADERS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def path_of(value: object, what: str) -> str:
    """`value` as a path; an empty one is refused."""
    if not isinstance(value, (str, os.PathLike)):
        raise ArgumentTypeError(f"{what} is a path", "str", type(value).__name__)
    path = os.fspath(value)
    if not isinstance(path, str) or not path or "\0" in path:
        raise ArgumentTypeError(f"{what} is a path", "a str that is not empty", repr(path))
    return path


def write_file(path: str, write: Callable[[IO[bytes]], object]) -> None:
    """Makes the file `path` by `write`, whole or not at all: what was there stays until the new one is complete."""
    folder = os.path.dirname(path) or "."
    try:
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, f".{secrets.token_hex(8)}.tmp")
        with open(temporary, "xb") as stream:
            try:
                write(stream)
                stream.flush()
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
    except OSError as error:
        raise StoredError(f"{path!r} cannot be written", got=error.strerror or error) from None


def read_file(path: str) -> IO[bytes]:
    """The file, open for reading; StoredError where there is none."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise StoredError(f"{path!r} cannot be read", got=error.strerror or error) from None


def write_array(path: str, array: Array) -> None:
    """One array as an .npy file."""
    plain = _plain(path, array)
    write_file(path, lambda stream: npy.write_array(stream, plain, allow_pickle=False))


def write_arrays(path: str, arrays: Mapping[str, Array]) -> None:
    """Arrays by name as an .npz file, uncompressed."""
    plain = {name: _plain(name, a) for name, a in arrays.items()}

    def write(stream: IO[bytes]) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name, array in plain.items():
                entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
                with archive.open(entry, "w", force_zip64=True) as member:
                    npy.write_array(member, array, allow_pickle=False)

    write_file(path, write)


def _plain(name: str, array: object) -> Array:
    value = np.asarray(array)
    dtypes.canonical(value.dtype)
    if not isinstance(name, str) or "\0" in name:
        raise ArgumentTypeError("arrays are stored by name", "str", repr(name))
    return value


def read_array(path: str) -> Array:
    """The array of an .npy file.

    Raises:
        StoredError: no such file, or none that holds one array of numbers and nothing else.
    """
    with read_file(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        return _read(stream, size, repr(path))


def read_arrays(path: str) -> dict[str, Array]:
    """The arrays of an .npz file, by name; StoredError where it is none."""
    found: dict[str, Array] = {}
    with read_file(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                for entry in archive.infolist():
                    if entry.compress_type != zipfile.ZIP_STORED or not entry.filename.endswith(".npy"):
                        raise StoredError(f"{path!r} holds something else than arrays", ".npy, stored", entry.filename)
                    with archive.open(entry) as member:
                        name = entry.filename.removesuffix(".npy")
                        found[name] = _read(member, entry.file_size, f"{name!r} in {path!r}")
        except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
            if isinstance(error, StoredError):
                raise
            raise StoredError(f"{path!r} is no file of arrays", "an .npz file", error) from None
    return found


def _read(stream: IO[bytes], size: int, what: str) -> Array:
    """The array in `stream`, whose header is compared with the size before a byte of it is read."""
    try:
        header = _HEADERS.get(npy.read_magic(stream))
        if header is None:
            raise ValueError("an unknown version of the form")
        shape, by_columns, dtype = header(stream)
        if dtype == _BFLOAT16:
            dtype = np.dtype(dtypes.available("bfloat16"))
        dtypes.canonical(dtype)
        if math.prod(shape) * dtype.itemsize != size - stream.tell():
            raise ValueError(f"a header of shape {shape} and {size} bytes in all")
        elements = np.frombuffer(stream.read(), dtype)
        array = elements.reshape(shape, order="F" if by_columns else "C")
    except (ValueError, TypeError, OverflowError) as error:
        raise StoredError(f"{what} is no array of numbers", "NumPy's .npy form, without objects", error) from None
    return array.astype(dtype.newbyteorder("="))
