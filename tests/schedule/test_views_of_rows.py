"""One row seen in several ways, as 4 x 6 here and 8 x 3 there: what has no loop in common goes through memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops

SHAPES = [(4, 6), (8, 3), (2, 12), (24, 1)]


def less(x: gl.Tensor, shape: tuple[int, int], axis: int, what: str) -> gl.Tensor:
    """x less a tenth of the sums, or of what comes first, along one axis of a row seen as `shape`."""
    y = ops.reshape(x, (-1, *shape))
    part = ops.reduce_sum(y, (axis,), True) if what == "sum" else ops.slice_axes(y, [axis], [0], [1])
    return ops.reshape(y - 0.1 * part, (-1, 24))


def values(x: np.ndarray, shape: tuple[int, int], axis: int, what: str) -> np.ndarray:
    y = x.reshape(-1, *shape)
    part = y.sum(axis, keepdims=True) if what == "sum" else y.take([0], axis)
    return (y - 0.1 * part).reshape(-1, 24)


@pytest.mark.parametrize("what", ["sum", "first"])
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(SHAPES, 2)))
def test_two_views_of_a_row_meet(one: tuple[int, int], other: tuple[int, int], axis: int, what: str) -> None:
    x = np.random.default_rng(3).normal(size=(5, 24))

    def loss(x: gl.Tensor) -> gl.Tensor:
        return ops.reduce_sum(ops.square(less(x, one, axis, what) * 2.0 + less(x, other, 3 - axis, what)))

    value, grad = gl.compile(loss).value_and_grad()(x)
    whole = 2.0 * values(x, one, axis, what) + values(x, other, 3 - axis, what)
    np.testing.assert_allclose(value, (whole**2).sum(), rtol=1e-13)
    columns = np.eye(24)
    matrix = 2.0 * values(columns, one, axis, what) + values(columns, other, 3 - axis, what)  # row i: what x[i] adds
    np.testing.assert_allclose(grad, 2.0 * whole @ matrix.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("what", ["sum", "first"])
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_view_beside_softmax_and_label(shape: tuple[int, int], axis: int, what: str) -> None:
    """Whole rows are normalised and picked from, parts of them are summed, and both are stored."""
    rng = np.random.default_rng(4)
    x, v, y = rng.normal(size=(5, 4)), rng.normal(size=(4, 24)), rng.integers(0, 24, 5)
    results = []
    for options in (gl.CompileOptions(), gl.CompileOptions(passes=False)):
        main = gl.Program()
        with gl.program_guard(main):
            feeds = [gl.data("x", [None, 4], "float64"), gl.data("v", [4, 24], "float64")]
            label = gl.data("y", [None], "int64")
            z = ops.matmul(feeds[0], feeds[1])
            z = ops.maximum(z, 0.1 * ops.cumsum(z, 1))
            parts = less(z, shape, axis, what)
            loss = -ops.reduce_sum(ops.pick(ops.log_softmax(parts + z, 1), label))
            whole = ops.matmul(parts + z, ops.transpose(feeds[1], (1, 0)))
            fetches = [parts, loss, *gl.gradients([loss], feeds), whole]
        results.append(gl.Executor(options=options).run(main, feed={"x": x, "v": v, "y": y}, fetch_list=fetches))
    z = x @ v
    z = np.maximum(z, 0.1 * np.cumsum(z, axis=1))
    parts = values(z, shape, axis, what)
    scores = parts + z
    loss = (np.log(np.exp(scores).sum(1)) - scores[np.arange(5), y]).sum()
    for found in results:
        np.testing.assert_allclose(found[0], parts, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(found[1], loss, rtol=1e-12)
        np.testing.assert_allclose(found[-1], scores @ v.T, rtol=1e-11)
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
