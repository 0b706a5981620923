"""Slices against NumPy's, with lengths that are known and with lengths that are not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from graphloss import ops
from graphloss.errors import ArgumentTypeError, IndexRangeError, ShapeError
from graphloss.ir import dims
from graphloss.ir.builder import GraphBuilder, Value
from graphloss.ir.dims import symbol
from graphloss.ir.graph import Graph
from graphloss.ir.tensor import using
from graphloss.ir.types import TensorType
from graphloss.ops.evaluate import evaluate
from graphloss.ops.slices import at_least_zero
from tests.ops.at_once import NumpyMode, NumpyTensor

PLACES = (None, -6, -3, -1, 0, 1, 2, 4, 6)
KEYS = [slice(a, b, s) for a, b, s in itertools.product(PLACES, PLACES, (None, 2, -1, -3))]


@pytest.mark.parametrize("n", [0, 1, 3, 5])
def test_known_length(n: int) -> None:
    x = np.arange(n * 2).reshape(n, 2)
    with using(NumpyMode()):
        for key in KEYS:
            np.testing.assert_array_equal(ops.getitem(NumpyTensor(x), key).array, x[key], err_msg=str(key))


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_unknown_length(key: slice) -> None:
    builder = GraphBuilder(Graph("test", ("x",), (), (), {"x": TensorType("int64", (symbol("N"), 2))}))
    with using(builder):
        out = ops.getitem(builder.value("x"), key)
    graph = builder.finish()
    for n in (0, 1, 2, 3, 5, 7):
        x = np.arange(n * 2).reshape(n, 2)
        got = evaluate(graph, {"x": x})[out.name]
        np.testing.assert_array_equal(got, x[key], err_msg=f"N = {n}, {out.type}")


def test_a_plain_slice_of_an_unknown_length_needs_no_check_in_the_run() -> None:
    builder = GraphBuilder(Graph("test", ("x",), (), (), {"x": TensorType("float32", (symbol("N"),))}))
    with using(builder):
        for key in (
            slice(2, None),
            slice(None, 3),
            slice(-3, None),
            slice(None, -2),
            slice(None, None, -1),
            slice(1, -1),
        ):
            ops.getitem(builder.value("x"), key)
    assert builder.equations.recorded == []


@pytest.mark.parametrize("k", [0, 2, -1, -3])
def test_an_index_into_an_unknown_length_is_checked_in_the_run(k: int) -> None:
    builder = GraphBuilder(Graph("test", ("x",), (), (), {"x": TensorType("int64", (symbol("N"),))}))
    with using(builder):
        out = ops.getitem(builder.value("x"), k)
    assert isinstance(out, Value) and out.type.shape == ()
    graph = builder.finish()
    for n in range(6):
        x = np.arange(n)
        if -n <= k < n:
            assert evaluate(graph, {"x": x})[out.name] == x[k]
        else:
            with pytest.raises(ShapeError, match="does not hold"):
                evaluate(graph, {"x": x})


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        (0, 1),
        (slice(1, 3), 2),
        (..., 0),
        (0, ...),
        None,
        (None, 1, ..., None),
        (slice(None), None, -1, slice(0, 2)),
    ],
    ids=str,
)
def test_keys(key: object) -> None:
    x = np.arange(60).reshape(3, 4, 5)
    with using(NumpyMode()):
        np.testing.assert_array_equal(ops.getitem(NumpyTensor(x), key).array, x[key])


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (3, IndexRangeError, "index 3 is out of range for axis 0"),
        ((0, 0, 0), IndexRangeError, "too many indices"),
        (1.5, ArgumentTypeError, "indexed by whole numbers"),
        (True, ArgumentTypeError, "indexed by whole numbers"),
        (slice(None, None, 0), ShapeError, "step of a slice is 0"),
        (slice(0.5, None), ArgumentTypeError, "a slice has whole numbers"),
    ],
)
def test_bad_keys(key: object, error: type[Exception], text: str) -> None:
    with using(NumpyMode()), pytest.raises(error, match=text):
        ops.getitem(NumpyTensor(np.zeros((3, 2))), key)


def test_a_slice_outside_is_an_error_when_it_is_written() -> None:
    with using(NumpyMode()), pytest.raises(IndexRangeError, match="outside"):
        ops.window(NumpyTensor(np.zeros(3)), {0: (2, 2, 1)})


def test_signs_of_dimensions() -> None:
    n = symbol("N")
    assert at_least_zero(n)
    assert not at_least_zero(dims.sub(n, 1))
    assert at_least_zero(dims.sub(n, dims.maximum(dims.sub(n, 2), 0)))
    assert not at_least_zero(dims.sub(n, dims.maximum(n, 2)))


def test_split_stack_unstack_tile_flatten() -> None:
    x = np.arange(24.0).reshape(4, 6)
    with using(NumpyMode()):
        t = NumpyTensor(x)
        for got, want in zip(ops.split(t, 3, 1), np.split(x, 3, 1), strict=True):
            np.testing.assert_array_equal(got.array, want)
        for got, want in zip(ops.split(t, [1, -1, 2]), np.split(x, [1, 4], 1), strict=True):
            np.testing.assert_array_equal(got.array, want)
        np.testing.assert_array_equal(ops.stack(ops.unstack(t, 1), 1).array, x)
        np.testing.assert_array_equal(ops.stack([t, t], -1).array, np.stack([x, x], -1))
        np.testing.assert_array_equal(ops.tile(t, (2, 3)).array, np.tile(x, (2, 3)))
        assert ops.tile(t, (1, 1)) is t
        assert ops.flatten(NumpyTensor(x.reshape(2, 2, 6)), 2).type.shape == (4, 6)
        with pytest.raises(ShapeError, match="equal parts"):
            ops.split(t, 5, 1)
        with pytest.raises(ShapeError, match="do not make up"):
            ops.split(t, [1, 2], 1)
