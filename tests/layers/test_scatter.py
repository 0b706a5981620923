"""Fluid's scatter against its loop over the index, eager and compiled, with gradients and sizes left to the run."""

from __future__ import annotations

import numpy as np
import pytest

import graphloss as gl
from graphloss import layers
from graphloss.errors import ArgumentTypeError, DtypeError, LabelError, ShapeError
from tests.losses.runners import RUNNERS, Array, Runner, compiled

RNG = np.random.default_rng(5)
X = RNG.normal(size=(6, 3))
INDEX = np.array([4, 0, 4, 2, 0])
UPDATES = RNG.normal(size=(5, 3))
WEIGHT = RNG.normal(size=(6, 3))


def fluid_loop(x: Array, index: Array, updates: Array, overwrite: bool) -> Array:
    out = x.copy()
    if not overwrite:
        out[index] = 0
    for place, row in zip(index.ravel(), updates, strict=True):
        out[place] = row if overwrite else out[place] + row
    return out


def jacobian(overwrite: bool) -> tuple[Array, Array]:
    """What the weighted sum of the result is by X and by UPDATES: it is linear in both."""
    ones = np.eye(X.size + UPDATES.size)
    rows = [
        (fluid_loop(u[: X.size].reshape(X.shape), INDEX, u[X.size :].reshape(UPDATES.shape), overwrite) * WEIGHT).sum()
        for u in ones
    ]
    both = np.array(rows)
    return both[: X.size].reshape(X.shape), both[X.size :].reshape(UPDATES.shape)


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("column", [False, True])
@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_value_and_gradients(run: Runner, column: bool, overwrite: bool, dtype: str) -> None:
    index = (INDEX[:, None] if column else INDEX).astype(dtype)
    arrays = {"x": X, "i": index, "u": UPDATES, "w": WEIGHT}
    value, (by_x, by_u) = run(
        lambda x, i, u, w: layers.scatter(x, i, u, overwrite=overwrite) * w, arrays, ("x", "u")
    )  # fmt: skip
    np.testing.assert_allclose(value, fluid_loop(X, index, UPDATES, overwrite) * WEIGHT, rtol=1e-15)
    want_x, want_u = jacobian(overwrite)
    np.testing.assert_allclose(by_x, want_x, rtol=1e-15)
    np.testing.assert_allclose(by_u, want_u, rtol=1e-15)


@pytest.mark.parametrize("overwrite", [True, False])
def test_sizes_of_the_run(overwrite: bool) -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, u = gl.data("x", [None, 2], "float64"), gl.data("u", [None, 2], "float64")
        out = layers.scatter(x, gl.data("i", [None], "int64"), u, overwrite=overwrite)
        out_x, out_u = gl.gradients([layers.reduce_sum(out * out)], [x, u])
    exe = gl.Executor(gl.CPUPlace())
    for rows, index in ((4, [3, 3, 1]), (1, [0]), (3, []), (0, [])):
        a, b, i = RNG.normal(size=(rows, 2)), RNG.normal(size=(len(index), 2)), np.array(index, np.int64)
        value, by_x, by_u = exe.run(main, feed={"x": a, "i": i, "u": b}, fetch_list=[out, out_x, out_u])
        want = fluid_loop(a, i, b, overwrite)
        np.testing.assert_allclose(value, want, rtol=1e-15)
        np.testing.assert_allclose(by_x, np.where(np.isin(np.arange(rows), i)[:, None], 0, 2 * a), rtol=1e-15)
        stands = [not overwrite or n == len(index) - 1 - index[::-1].index(r) for n, r in enumerate(index)]
        np.testing.assert_allclose(by_u, 2 * want[i] * np.array(stands, bool)[:, None], rtol=1e-15)
    with pytest.raises(ShapeError):
        exe.run(main, feed={"x": np.ones((4, 2)), "i": np.array([1, 2]), "u": np.ones((3, 2))}, fetch_list=[out])


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
def test_what_goes_leaves_no_trace(run: Runner) -> None:
    x, u = np.array([[np.nan], [1.0]]), np.array([[np.inf], [2.0]])
    value, (by_x, by_u) = run(
        lambda x, i, u: layers.square(layers.scatter(x, i, u)), {"x": x, "i": np.array([0, 0]), "u": u}, ("x", "u")
    )
    np.testing.assert_array_equal(value, [[4], [1]])
    np.testing.assert_array_equal(by_x, [[0], [2]])
    np.testing.assert_array_equal(by_u, [[0], [4]])


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("bad", [6, -1])
def test_an_index_out_of_range_is_an_error(run: Runner, bad: int) -> None:
    arrays = {"x": X, "i": np.array([0, 1, bad, 2, 3]), "u": UPDATES}
    for overwrite in (True, False):
        with pytest.raises(LabelError, match="row 2"):
            run(lambda x, i, u, o=overwrite: layers.scatter(x, i, u, overwrite=o), arrays, ())


def test_refusals() -> None:
    with gl.dygraph.guard():
        x, i, u = map(gl.dygraph.to_variable, (X, INDEX, UPDATES))
        with pytest.raises(ShapeError):
            layers.scatter(x, i, x)
        with pytest.raises(DtypeError):
            layers.scatter(x, i, layers.cast(u, "float32"))
        with pytest.raises(DtypeError):
            layers.scatter(x, layers.cast(i, "float64"), u)
        with pytest.raises(ShapeError):
            layers.scatter(x, layers.reshape(i, [1, 5]), u)
        with pytest.raises(ArgumentTypeError, match="overwrite"):
            layers.scatter(x, i, u, overwrite=1)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match="index"):
            layers.scatter(x, INDEX, u)  # type: ignore[arg-type]


def test_the_same_bits_each_time() -> None:
    index = np.random.default_rng(0).integers(0, 50, 4000)
    arrays = {"x": np.zeros((50, 8), np.float32), "i": index, "u": RNG.normal(size=(4000, 8)).astype(np.float32)}
    sums = [compiled(lambda x, i, u: layers.scatter(x, i, u, overwrite=False), arrays)[0] for _ in range(3)]
    assert sums[0].tobytes() == sums[1].tobytes() == sums[2].tobytes()
    exact = np.zeros((50, 8))
    np.add.at(exact, index, arrays["u"].astype(np.float64))
    np.testing.assert_array_equal(sums[0], exact.astype(np.float32))
