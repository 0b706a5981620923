"""Files of arrays: what is written comes back bit by bit; what is none is an error, and no file is half written."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from graphloss.errors import ArgumentTypeError, GraphlossError, StoredError
from graphloss.io.arrays import path_of, read_array, read_arrays, write_array, write_arrays, write_file

ARRAYS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "by columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "number": np.array(1.5),
    "none at all": np.zeros((0, 3)),
    "flags": np.array([True, False]),
    "odd/../name %": np.array([1, -2], np.int64),
    "file": np.array([np.nan, -0.0, np.inf]),
    "turned": np.arange(3, dtype=">f8"),
}


def same(found: np.ndarray, want: np.ndarray) -> bool:
    return (
        found.shape == want.shape
        and found.dtype == want.dtype.newbyteorder("=")
        and found.tobytes() == want.astype(want.dtype.newbyteorder("=")).tobytes()
        and found.flags.writeable
    )


@pytest.mark.parametrize("name", ARRAYS)
def test_one_array(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / "deeper" / "a.npy")
    write_array(path, ARRAYS[name])
    assert same(read_array(path), ARRAYS[name])
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), ARRAYS[name])


def test_several_arrays(tmp_path: Path) -> None:
    path = str(tmp_path / "all")
    write_arrays(path, ARRAYS)
    found = read_arrays(path)
    assert list(found) == list(ARRAYS)
    assert all(same(found[name], want) for name, want in ARRAYS.items())
    assert [p.name for p in tmp_path.iterdir()] == ["all"]
    first = Path(path).read_bytes()
    write_arrays(path, ARRAYS)
    assert Path(path).read_bytes() == first


def stored(dtype: str, shape: tuple[int, ...], data: bytes) -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


BAD = {
    "nothing": b"",
    "a pickle": pickle.dumps([1]),
    "an array of objects": stored("|O", (1,), pickle.dumps(np.array([print], object))),
    "a header that asks for more than there is": stored("<f8", (2**60,), b"\0" * 8),
    "a header that asks for less": stored("<f8", (1,), b"\0" * 16),
    "two negative sizes": stored("<f8", (-1, -2), b"\0" * 16),
    "records": stored("V8", (1,), b"\0" * 8),
    "complex numbers": stored("<c16", (1,), b"\0" * 16),
    "a header cut off": stored("<f8", (1,), b"\0" * 8)[:50],
    "another version": b"\x93NUMPY\x09\x00" + b"\0" * 100,
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_array(tmp_path: Path, what: str) -> None:
    (tmp_path / "a.npy").write_bytes(BAD[what])
    with pytest.raises(StoredError, match="is no array of numbers"):
        read_array(str(tmp_path / "a.npy"))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("w.npy", BAD[what])
    with pytest.raises(StoredError, match="'w' in"):
        read_arrays(str(tmp_path / "a.npz"))


def test_what_is_no_file_of_arrays(tmp_path: Path) -> None:
    write_arrays(str(tmp_path / "good"), {"w": np.zeros(100)})
    good = (tmp_path / "good").read_bytes()
    for bad in (b"", b"PK\x03\x04", pickle.dumps({}), good[:400], good[:-1], good.replace(b"\0" * 50, b"\1" * 50)):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(StoredError):
            read_arrays(str(tmp_path / "bad"))
    packed = io.BytesIO()
    np.savez_compressed(packed, w=np.zeros(10))
    (tmp_path / "packed").write_bytes(packed.getvalue())
    with pytest.raises(StoredError, match="something else"):
        read_arrays(str(tmp_path / "packed"))
    with pytest.raises(StoredError, match="cannot be read"):
        read_arrays(str(tmp_path / "absent"))
    with pytest.raises(StoredError, match="cannot be read"):
        read_array(str(tmp_path))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(str(path), lambda stream: stream.write(b"first"))

    def fails(stream: io.BytesIO) -> None:
        stream.write(b"second")
        raise KeyError("stop")

    with pytest.raises(KeyError):
        write_file(str(path), fails)  # type: ignore[arg-type]
    assert path.read_bytes() == b"first"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with pytest.raises(StoredError, match="cannot be written"):
        write_file(str(path / "below"), lambda stream: stream.write(b""))


@pytest.mark.parametrize("bad", ["", "a\0b", 3, None, b"bytes"])
def test_paths(bad: object) -> None:
    with pytest.raises(ArgumentTypeError, match="dirname is a path"):
        path_of(bad, "dirname")


def test_only_numbers_are_written(tmp_path: Path) -> None:
    for bad in (np.array([None]), np.array(["text"]), np.zeros(2, "c8")):
        with pytest.raises(GraphlossError):
            write_array(str(tmp_path / "a.npy"), bad)
    assert list(tmp_path.iterdir()) == []
