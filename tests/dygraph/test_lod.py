"""Eager arrays made from LoDTensors: results that have a row for each row have the sequences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import ArgumentTypeError, ShapeError, UnsupportedError, ValueRangeError


@pytest.fixture(autouse=True)
def eager() -> Iterator[None]:
    with gl.dygraph.guard():
        yield


def packed(n: int, lengths: list[int]) -> gl.LoDTensor:
    return gl.create_lod_tensor(np.arange(2.0 * n).reshape(n, 2), [lengths])


def test_sequences_follow_the_rows() -> None:
    x = gl.dygraph.to_variable(packed(5, [2, 3]))
    assert x.lod_level == 1
    for y in (x, x * 2.0, gl.layers.softmax(x), ops.reduce_sum(x, [1]), x.detach(), 1.0 + x):
        np.testing.assert_array_equal(ops.offsets_of(y).numpy(), [0, 2, 5])
    for y in (ops.transpose(x, (1, 0)), gl.layers.mean(x), ops.concat([x, x], 0)):
        assert y.offsets() is None


def test_gradients_pass_as_before() -> None:
    x = gl.dygraph.to_variable(packed(3, [1, 2]))
    x.stop_gradient = False
    y = x * x
    assert ops.offsets_of(y, x).numpy().tolist() == [0, 1, 3]
    gl.layers.reduce_sum(y).backward()
    np.testing.assert_array_equal(x.gradient(), 2 * x.numpy())


def test_a_new_value_keeps_the_sequences() -> None:
    x = gl.dygraph.to_variable(packed(3, [1, 2]))
    x.set_value(np.zeros((3, 2)))
    assert x.lod_level == 1


def test_two_that_must_agree() -> None:
    x, y = gl.dygraph.to_variable(packed(5, [2, 3]), "x"), gl.dygraph.to_variable(packed(5, [3, 2]), "y")
    with pytest.raises(ValueRangeError, match="'x' and 'y' are divided into different sequences"):
        ops.offsets_of(x, y)


def test_plain_arrays_have_none_until_divided() -> None:
    x = gl.dygraph.to_variable(np.zeros((3, 2)), "x")
    assert (x.lod_level, x.offsets()) == (0, None)
    with pytest.raises(UnsupportedError, match="'x' has no sequences"):
        ops.offsets_of(x)
    ops.with_offsets(x, gl.dygraph.to_variable(np.array([0, 1, 3])))
    assert ops.offsets_of(x + 1.0).numpy().tolist() == [0, 1, 3]
    ops.with_offsets(x, gl.dygraph.to_variable(np.array([0, 1, 4])))
    with pytest.raises(ValueRangeError, match="the last offset to be 3, the number of rows, got 4"):
        ops.offsets_of(x)
    with pytest.raises(ShapeError, match="offsets are int64"):
        ops.with_offsets(x, x)
    with pytest.raises(ArgumentTypeError, match="eager offsets"):
        ops.with_offsets(x, np.array([0, 3]))  # type: ignore[arg-type]


def test_tensors_are_checked_and_copied() -> None:
    tensor = packed(3, [1, 2])
    x = gl.dygraph.to_variable(tensor)
    tensor.set(np.zeros((4, 2)))
    assert x.shape == [3, 2]
    with pytest.raises(ValueRangeError, match="the last offset to be 4"):
        gl.dygraph.to_variable(tensor)
