"""Feeds: handed on as they are if ready, else copied once without losing anything, else refused by name."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from graphloss.errors import FeedError, UnsupportedError
from graphloss.runtime import prepare
from graphloss.runtime.prepare import address, is_lossless, prepare_array

F32, F64, I64 = np.dtype("float32"), np.dtype("float64"), np.dtype("int64")


def ready(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> bool:
    return array.flags.c_contiguous and array.flags.aligned and array.dtype == dtype and array.dtype.isnative


def misaligned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    raw[1:] = array.view(np.uint8).reshape(-1)
    return raw[1:].view(array.dtype).reshape(array.shape)


def test_a_ready_array_is_not_copied() -> None:
    x = np.arange(6, dtype="float32").reshape(2, 3)
    assert prepare_array("x", x, F32, 2) is x
    assert prepare_array("x", x, F32) is x
    x.flags.writeable = False
    assert prepare_array("x", x, F32, 2) is x
    assert prepare_array("x", x[:0], F32, 2).shape == (0, 3)


SOURCE = np.arange(24, dtype="float32").reshape(4, 6)


@pytest.mark.parametrize(
    "value",
    [
        SOURCE.T,
        SOURCE[:, ::2],
        SOURCE[::-1],
        np.asfortranarray(SOURCE),
        SOURCE.astype(">f4"),
        misaligned(SOURCE),
        np.broadcast_to(SOURCE[:1], (5, 6)),
        SOURCE.astype("float16"),
        SOURCE.astype("int16"),
        SOURCE.astype(">i2").T,
        SOURCE > 7,
    ],
    ids=["T", "step", "reversed", "fortran", "swapped", "misaligned", "broadcast", "f16", "i16", "i16 swapped", "bool"],
)
def test_other_layouts_are_copied(value: npt.NDArray[Any]) -> None:
    before = value.copy()
    got = prepare_array("x", value, F32, 2)
    assert ready(got, F32)
    assert not np.shares_memory(got, value)
    np.testing.assert_array_equal(got, before.astype("float32"))


def test_large_copies() -> None:
    value = np.arange(2 * 2**20, dtype="int32").reshape(2, -1).T
    got = prepare_array("y", value, I64, 2)
    assert ready(got, I64)
    np.testing.assert_array_equal(got, value)


def test_subclasses_and_array_likes() -> None:
    class Tensor:
        def __array__(self, dtype: object = None, copy: object = None) -> npt.NDArray[Any]:
            return SOURCE

    assert prepare_array("x", Tensor(), F32, 2) is SOURCE
    got = prepare_array("x", SOURCE.view(np.recarray), F32, 2)
    np.testing.assert_array_equal(got, SOURCE)


LOSSLESS = [("int32", "int64"), ("float32", "float64"), ("int8", "float32"), ("int32", "float64"), ("bool", "int64")]
LOSSY = [
    ("int64", "int32"), ("float64", "float32"), ("int64", "float64"), ("uint64", "float64"), ("int32", "float32"),
    ("float32", "int64"), ("int64", "bool"), ("uint8", "int8"), ("int8", "uint8"), ("uint64", "int64"),
    ("complex64", "float32"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), LOSSLESS)
def test_what_loses_nothing_is_converted(source: str, target: str) -> None:
    assert is_lossless(np.dtype(source), np.dtype(target))
    got = prepare_array("x", np.ones(3, source), np.dtype(target), 1)
    assert ready(got, np.dtype(target)) and got.tolist() == [1, 1, 1]


@pytest.mark.parametrize(("source", "target"), LOSSY)
def test_what_could_lose_is_refused(source: str, target: str) -> None:
    assert not is_lossless(np.dtype(source), np.dtype(target))
    with pytest.raises(FeedError) as caught:
        prepare_array("x", np.ones(3, source), np.dtype(target), 1)
    text = str(caught.value)
    assert "'x'" in text and source in text and target in text and "astype" in text


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "float16", "float32", "bool", "uint8"])
def test_lossless_holds_for_every_extreme_value(name: str) -> None:
    source = np.dtype(name)
    if source.kind == "f":
        values = np.array([np.finfo(source).max, np.finfo(source).tiny, -1, np.nan, np.inf], source)
    elif source.kind == "b":
        values = np.array([True, False])
    else:
        values = np.array([np.iinfo(source).max, np.iinfo(source).min], source)
    for target in map(np.dtype, ("int8", "int16", "int32", "int64", "uint8", "float16", "float32", "float64")):
        if is_lossless(source, target):
            np.testing.assert_array_equal(values.astype(target).astype(source), values)


@pytest.mark.parametrize(("value", "ndim"), [(np.ones((2, 3), "f4"), 1), (np.ones(2, "f4"), 2), (np.ones((), "f4"), 1)])
def test_rank(value: npt.NDArray[Any], ndim: int) -> None:
    with pytest.raises(FeedError) as caught:
        prepare_array("x", value, F32, ndim)
    assert str(list(value.shape)) in str(caught.value) and f"{ndim} dimension" in str(caught.value)


def test_numbers() -> None:
    got = prepare_array("lr", 0.1, F32, 1)
    assert ready(got, F32) and got.tolist() == [np.float32(0.1)]
    assert prepare_array("lr", 0.1, F32, 0).shape == ()
    assert prepare_array("lr", 0.1, F32).shape == (1,)
    assert prepare_array("n", 3, F64, 1).tolist() == [3.0]
    assert prepare_array("n", True, np.dtype("bool"), 1).tolist() == [True]
    assert prepare_array("n", float("inf"), F32, 1).tolist() == [float("inf")]
    assert prepare_array("n", np.float32(2), F64, 1).tolist() == [2.0]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(2.5, "int64"), (300, "int8"), (-1, "uint8"), (2**63, "int64"), (10**400, "float64"), (1e300, "float32"),
     (1, "bool"), (0.5, "bool"), (np.float64(0.1), "float32")],
)  # fmt: skip
def test_numbers_that_do_not_fit(value: float, dtype: str) -> None:
    with pytest.raises(FeedError, match="'n'"):
        prepare_array("n", value, np.dtype(dtype), 1)


@pytest.mark.parametrize("value", [[1.0, 2.0], (1.0,), "text", None, {"a": 1}, 1j, object()])
def test_no_array(value: object) -> None:
    with pytest.raises(UnsupportedError, match="is no array"):
        prepare_array("x", value, F32, 1)


@pytest.mark.parametrize("value", [np.array(["a"]), np.array([None]), np.array(["2020-01-01"], "M8[D]")])
def test_no_numbers(value: npt.NDArray[Any]) -> None:
    with pytest.raises(FeedError, match="holds no numbers"):
        prepare_array("x", value, F32, 1)


def test_a_mask_is_not_dropped() -> None:
    with pytest.raises(FeedError, match="mask"):
        prepare_array("x", np.ma.masked_array(np.ones(3, "f4"), [0, 1, 0]), F32, 1)


@pytest.mark.parametrize("read", [prepare.address, prepare._slow_address, prepare._fast_address()])
def test_addresses(read: Any) -> None:
    swapped = SOURCE.astype(">f4")
    frozen = SOURCE.copy()
    frozen.flags.writeable = False
    for array in (
        SOURCE,
        SOURCE[1:, 2:],
        SOURCE.T,
        SOURCE[::-1],
        SOURCE[:0],
        swapped,
        frozen,
        np.array(3),
        np.float32(1),
    ):
        array = np.asarray(array)
        assert read(array) == array.__array_interface__["data"][0]


def test_the_fast_address_is_in_use_on_cpython() -> None:
    assert (address is prepare._slow_address) == (sys.implementation.name != "cpython")
