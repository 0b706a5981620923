"""Feeds of every memory layout, of odd but right dtypes, empty, with NaN: all give the right numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from tests.runtime.models import OPTIMIZERS, Classifier, Training

Array = npt.NDArray[Any]


def misaligned(array: Array) -> Array:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    raw[1:] = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
    return raw[1:].view(array.dtype).reshape(array.shape)


def frozen(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def stepped(array: Array) -> Array:
    wide = np.full((2 * array.shape[0], 3 * array.shape[1]), 77, array.dtype)
    wide[::2, ::3] = array
    return wide[::2, ::3]


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "fortran": np.asfortranarray,
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "stepped": stepped,
    "read-only": frozen,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned": misaligned,
    "subclass": lambda a: a.view(np.recarray),
    "matrix of 0-stride": lambda a: np.broadcast_to(a[:1], a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("rows", [1, 5, 33])
def test_layouts(layout: Callable[[Array], Array], rows: int, rng: np.random.Generator) -> None:
    model = Classifier()
    x = layout(rng.normal(size=(rows, 20)).astype("float32"))
    y = layout(rng.integers(0, 20, (rows, 1)))
    before = (x.copy(), y.copy())
    want = model.run(logits=np.array(x, "float32", order="C"), labels=np.array(y, "int64", order="C"))[0]
    got = model.run(logits=x, labels=y)[0]
    assert got.tobytes() == want.tobytes()  # the same bits
    z = np.asarray(x, "float64")
    rows_at = np.arange(rows)
    exact = np.mean(np.log(np.exp(z).sum(1)) - z[rows_at, np.asarray(y)[:, 0]])
    np.testing.assert_allclose(got, [exact], rtol=1e-5)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("dtype", ["int32", "int16", "int8", "uint8", ">i4", "bool"])
def test_labels_that_int64_holds(dtype: str) -> None:
    x = np.arange(40, dtype="float32").reshape(2, 20)
    y = np.array([[0], [1]])
    model = Classifier()
    np.testing.assert_array_equal(model.run(logits=x, labels=y.astype(dtype)), model.run(logits=x, labels=y))


def test_array_likes_and_numbers() -> None:
    class Tensor:
        def __array__(self, dtype: object = None, copy: object = None) -> Array:
            return np.array([1, 2], "float32")

    main = gl.Program()
    with gl.program_guard(main):
        x, s, zero = gl.data("x", [None]), gl.data("s", [1]), gl.data("zero", [])
        y = ops.add(ops.mul(x, s), zero)
    exe = gl.Executor()
    for s_value in (2, 2.0, np.float32(2), np.array([2], "float32")):
        for zero_value in (1, True, np.array(1, "float32"), np.float16(1)):
            (got,) = exe.run(main, {"x": Tensor(), "s": s_value, "zero": zero_value}, [y])
            np.testing.assert_array_equal(got, [3, 5])


def test_no_rows() -> None:
    model = Classifier()
    feed = {"logits": np.zeros((0, 20), "float32"), "labels": np.zeros((0, 1), "int64")}
    each = next(op.output_arg_names[0] for op in model.main.global_block().ops if op.type == "pick")
    loss, rows = model.exe.run(model.main, feed, [model.loss, each])
    assert np.isnan(loss).all() and loss.shape == (1,)  # the mean of nothing
    assert rows.shape == (0,)
    np.testing.assert_allclose(model.run()[0], np.log(20), rtol=1e-6)


def test_no_rows_in_a_training_step() -> None:
    training = Training(OPTIMIZERS["sgd"])
    assert np.isnan(training.step(np.zeros((0, 3), "float32"), np.zeros((0, 1), "int64")))


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_pass(poison: float) -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, y = gl.data("x", [None, 3]), gl.data("y", [None, 1], "int64")
        each = gl.layers.softmax_with_cross_entropy(x, y)
    values = np.zeros((3, 3), "float32")
    values[1, 0] = poison
    (got,) = gl.Executor().run(main, {"x": values, "y": np.full((3, 1), 1)}, [each])
    np.testing.assert_allclose(got[[0, 2], 0], np.log(3), rtol=1e-6)  # the other rows know nothing of it
    if poison == -np.inf:
        np.testing.assert_allclose(got[1, 0], np.log(2), rtol=1e-6)
    else:  # for +inf, the logarithm of the sum less the maximum is inf - inf
        assert not np.isfinite(got[1, 0])
