"""LoDTensors by themselves: made, edited, and refused where their offsets do not divide the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError, ValueRangeError

PLACE = gl.CPUPlace()


def rows(n: int, width: int = 2) -> np.ndarray[Any, Any]:
    return np.arange(n * width, dtype="float32").reshape(n, width)


def test_lengths_become_offsets() -> None:
    tensor = gl.create_lod_tensor(rows(5), [[2, 3]], PLACE)
    assert tensor.lod() == [[0, 2, 5]]
    assert tensor.recursive_sequence_lengths() == [[2, 3]]
    assert tensor.has_valid_recursive_sequence_lengths()
    assert tensor.shape() == [5, 2]
    np.testing.assert_array_equal(np.array(tensor), rows(5))
    assert np.array(tensor, "float64").dtype == np.float64
    assert repr(tensor) == "LoDTensor(float32 [5, 2], lod=[[0, 2, 5]])"


def test_a_tensor_by_its_methods() -> None:
    tensor = gl.LoDTensor()
    assert (tensor.shape(), tensor.lod(), tensor.has_valid_recursive_sequence_lengths()) == ([], [], True)
    tensor.set(rows(6), PLACE)
    tensor.set_lod([[0, 1, 3], [0, 2, 2, 6]])
    assert tensor.recursive_sequence_lengths() == [[1, 2], [2, 0, 4]]
    tensor.set_recursive_sequence_lengths([[6]])
    assert tensor.lod() == [[0, 6]]
    tensor.set(rows(5))
    assert not tensor.has_valid_recursive_sequence_lengths()
    tensor.set_lod([])
    assert tensor.lod() == []
    with pytest.raises(ArgumentTypeError, match="'tensor' has no value yet"):
        np.array(gl.LoDTensor())


def test_a_tensor_owns_what_it_was_given() -> None:
    array, lengths = rows(3), [[1, 2]]
    tensor = gl.create_lod_tensor(array, lengths, PLACE)
    array[:] = 0
    lengths[0][0] = 7
    np.array(tensor)[:] = 0
    tensor.lod()[0][1] = 9
    np.testing.assert_array_equal(np.array(tensor), rows(3))
    assert tensor.lod() == [[0, 1, 3]]


def test_lists_of_sequences() -> None:
    tensor = gl.create_lod_tensor([[7, 8], [], [9]], [[2, 0, 1]], PLACE)
    np.testing.assert_array_equal(np.array(tensor), np.array([[7], [8], [9]]))
    assert np.array(tensor).dtype == np.int64
    assert gl.create_lod_tensor([], [[]]).shape() == [0, 1]
    assert gl.create_lod_tensor([[1.5], [2.5]], [[1, 1]]).shape() == [2, 1]
    again = gl.create_lod_tensor(tensor, [[3]], PLACE)
    assert (again.lod(), tensor.lod()) == ([[0, 3]], [[0, 2, 2, 3]])


@pytest.mark.parametrize(
    ("data", "lengths", "error", "message"),
    [
        ([[1, 2], [3]], [[1, 2]], ValueRangeError, "data and recursive_seq_lens do not match"),
        ([[1, 2]], [[1], [2]], ValueRangeError, "do not match"),
        ([1, 2], [[2]], ArgumentTypeError, "a list of lists"),
        ([["a"]], [[1]], ArgumentTypeError, "something else than numbers"),
        ([[[1], [1, 2]]], [[2]], ArgumentTypeError, "something else than numbers"),
        ("rows", [[2]], ArgumentTypeError, "takes rows"),
        (rows(2), [2], ArgumentTypeError, "lengths of one level are a list"),
        (rows(2), 2, ArgumentTypeError, "a list of lists"),
        (rows(2), [[1.0, 1.0]], ArgumentTypeError, "integers"),
        (rows(2), [[True, True]], ArgumentTypeError, "integers"),
        (rows(2), [[2**70]], ValueRangeError, "too large"),
        (rows(2), [[3, -1]], ValueRangeError, "negative"),
        (rows(2), [[1]], ValueRangeError, "the last offset to be 2, the number of rows, got 1"),
        (rows(2), [[1], [1, 1]], ValueRangeError, "the number of sequences of the next level, got 1"),
    ],
)
def test_what_is_no_tensor_of_sequences(data: object, lengths: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        gl.create_lod_tensor(data, lengths, PLACE)


@pytest.mark.parametrize(
    ("lod", "message"),
    [
        ([[1, 5]], "offset 0 to be 0, got 1"),
        ([[0, 3, 2, 5]], "offset 2 to be at least 3, where sequence 1 begins, got 2"),
        ([[0, 4]], "the last offset to be 5, the number of rows, got 4"),
        ([[]], "a vector that begins with 0"),
        ([[0, 3], [0, 2, 5]], "the last offset to be 2, the number of sequences of the next level, got 3"),
    ],
)
def test_offsets_that_do_not_divide(lod: list[list[int]], message: str) -> None:
    tensor = gl.LoDTensor()
    tensor.set(rows(5))
    with pytest.raises(ValueRangeError, match=message):
        tensor.set_lod(lod)
    assert tensor.lod() == []


def test_random_integers() -> None:
    np.random.seed(3)
    tensor = gl.create_random_int_lodtensor([[40, 60]], [2, 3], PLACE, -1, 1)
    assert tensor.shape() == [100, 2, 3]
    assert set(np.array(tensor).ravel()) == {-1, 0, 1}
    np.random.seed(3)
    again = gl.create_random_int_lodtensor([[40, 60]], [2, 3], PLACE, -1, 1)
    np.testing.assert_array_equal(np.array(again), np.array(tensor))
    for wrong, error in (((2, 1), AttrError), ((0.5, 1), ArgumentTypeError), ((0, None), ArgumentTypeError)):
        with pytest.raises(error, match="create_random_int_lodtensor"):
            gl.create_random_int_lodtensor([[2]], [1], PLACE, *wrong)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="base_shape"):
        gl.create_random_int_lodtensor([[2]], [-1], PLACE, 0, 1)
