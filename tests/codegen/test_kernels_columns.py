"""Compiled kernels against the plain interpreter: tile COLUMNS."""

from __future__ import annotations

import numpy as np
import pytest

from graphloss.ir import dims
from graphloss.schedule.kernel import Tile
from tests.codegen.kernel_runner import Build, E, R, S, check

N, C, W = (dims.symbol(s) for s in "NCI")


def floats(rng: np.random.Generator, *shape: int, dtype: str = "float32") -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


def zeros(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.zeros(shape, dtype)


def softmax(dtype: str, columns: dims.Dim, inner: dims.Dim, keep: bool) -> Build:
    """Value and gradient of softmax cross entropy over axis 1 of (N, C, W)."""
    b = Build(Tile.COLUMNS, (N,), columns, inner, passes=3, grain=2)
    again = [1] if keep else [1, 2]
    scale = b.apply("div", S, [], b.const(1.0, dtype), b.dim(dims.mul(N, inner), dtype))
    x = b.load("x", E, [0, *again], dtype)
    m = b.reduce("max", 0, x)
    e = b.apply("exp", E, again, b.apply("sub", E, again, x, m))
    if keep:
        e = b.keep("g", [1, 2], e)
    z = b.reduce("sum", 1, e)
    rz = b.apply("mul", R, [2], b.apply("reciprocal", R, [2], z), scale)
    label = b.check(R, [0], b.load("y", R, [0], "int64", (inner, 0, 1)), columns)
    picked = b.pick("x", R, [0], label, inner, dtype, (dims.mul(columns, inner), 0, 1))
    loss = b.apply("sub", R, [3], b.apply("log", R, [3], z), b.apply("sub", R, [3], picked, m))
    b.total("sum", R, 3, loss, "p")
    b.store("loss", R, [3], loss, (inner, 0, 1))
    q = b.apply("mul", E, [2], e, rz)
    here = b.apply("eq", E, [2], b.iota(E, [2], 1), label, dtype="bool")
    g = b.apply("select", E, [2], here, b.apply("sub", E, [2], q, scale), q)
    b.store("g", E, [2], g)
    b.total("sum", E, 2, b.apply("mul", E, [2], g, g), "norm")
    b.column("sum", 2, g, "bias")
    return b


@pytest.mark.parametrize(
    ("n", "c", "i"), [(0, 3, 4), (1, 1, 1), (2, 3, 5), (5, 4, 16), (3, 7, 70), (2, 70, 3), (2, 3, 300), (1, 2, 700)]
)
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_cross_entropy(rng: np.random.Generator, n: int, c: int, i: int, keep: bool, dtype: str) -> None:
    chunks = -(-n // 2)
    arrays = {
        "x": floats(rng, n, c, i, dtype=dtype), "y": rng.integers(0, c, (n, i)), "g": zeros(n, c, i, dtype=dtype),
        "loss": zeros(n, i, dtype=dtype), "p": zeros(chunks, dtype="float64"), "norm": zeros(chunks, dtype="float64"),
        "bias": zeros(chunks, c, dtype="float64"),
    }  # fmt: skip
    for columns, inner in ((C, W), (c, i)):
        kernel = softmax(dtype, columns, inner, keep).kernel()
        got, status = check(kernel, {"N": n, "C": c, "I": i}, arrays)
        assert not status
        x = arrays["x"].astype("float64")
        target = np.take_along_axis(x, arrays["y"][:, None], 1)[:, 0]
        np.testing.assert_allclose(got["loss"], np.log(np.exp(x).sum(1)) - target, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got["bias"].sum(0), got["g"].sum((0, 2), dtype="float64"), atol=1e-7)


def test_bad_labels_report_the_lowest_position(rng: np.random.Generator) -> None:
    y = rng.integers(0, 4, (3, 300))
    y[1, [290, 17, 270]] = [-7, 4, 99]
    y[2, 0] = 50
    arrays = {"x": floats(rng, 3, 4, 300), "y": y, "g": zeros(3, 4, 300), "loss": zeros(3, 300),
              "p": zeros(2, dtype="float64"), "norm": zeros(2, dtype="float64"),
              "bias": zeros(2, 4, dtype="float64")}  # fmt: skip
    _, status = check(softmax("float32", C, W, True).kernel(), {"N": 3, "C": 4, "I": 300}, arrays)
    assert status == {0: (317, 4)}


@pytest.mark.parametrize("c", [0, 1, 5, 64, 130])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "bool"])
def test_reductions(rng: np.random.Generator, c: int, dtype: str) -> None:
    kinds = ["max", "min", "any", "all"] + (["argmax", "argmin"] if c else [])
    kinds += [] if dtype == "bool" else ["sum", "prod"]
    for rows in (C, c):
        b = Build(Tile.COLUMNS, (N,), rows, W)
        x = b.load("x", E, [0], dtype)
        for kind in kinds:
            result = "bool" if kind in ("any", "all") else "int64" if kind.startswith("arg") else dtype
            b.store(kind, R, [1], b.reduce(kind, 0, x, result), (W, 0, 1))
        data = rng.integers(0 if dtype == "bool" else -1, 3, (2, c, 37)).astype(dtype)
        if dtype == "float32" and c > 1:
            data[1, c // 2, 3:20] = np.nan
            data[1, 0, 19:25] = -np.inf
        arrays = {"x": data} | {k: zeros(2, 37, dtype=b.buffers[k].dtype) for k in kinds}
        check(b.kernel(), {"N": 2, "C": c, "I": 37}, arrays)


def test_leading_axis_without_outer(rng: np.random.Generator) -> None:
    data = rng.uniform(0.5, 1.5, (5000, 33)).astype("float32")
    b = Build(Tile.COLUMNS, (), C, W)
    b.store("s", R, [1], b.reduce("sum", 0, b.load("x", E, [0])), (0, 1))
    got, _ = check(b.kernel(), {"C": 5000, "I": 33}, {"x": data, "s": zeros(33)}, rtol=1.3e-7)
    np.testing.assert_allclose(got["s"], data.sum(0, dtype="float64"), rtol=1.3e-7)


def test_partials_of_columns_are_finished(rng: np.random.Generator) -> None:
    b = Build(Tile.COLUMNS, (), C, W)
    total = b.reduce("sum", 0, b.load("p", E, [0], "float64"))
    b.store("g", R, [1], b.apply("cast", R, [1], total, dtype="float32"), (0, 1))
    check(b.kernel(), {"C": 9, "I": 270}, {"p": floats(rng, 9, 270, dtype="float64"), "g": zeros(270)})


def test_several_outer_axes_and_strides(rng: np.random.Generator) -> None:
    m, n, c, i = 2, 3, 5, 21
    b = Build(Tile.COLUMNS, (dims.symbol("M"), N), C, W, passes=2, grain=2)
    x = b.load("x", E, [0, 1], strides=(1, dims.mul(dims.mul(C, W), 2), 2, dims.mul(C, 2)))  # of shape (n, i, c, m)
    w = b.load("w", R, [0], strides=(0, W, 0, 1))
    position = b.iota(E, [1], 3, "float32", start=2, step=3)
    row = b.apply("cast", E, [1], b.iota(E, [1], 2), dtype="float32")
    outer = b.apply("cast", R, [0], b.iota(R, [0], 1), dtype="float32")
    mean = b.apply("div", R, [1], b.reduce("sum", 0, x), b.dim(C))
    value = b.apply("mul", E, [1], b.apply("sub", E, [1], x, mean), w)
    value = b.apply("add", E, [1], value, b.apply("mul", E, [1], position, row))
    b.store("y", E, [1], b.apply("add", E, [1], value, outer))
    arrays = {"x": floats(rng, n, i, c, m), "w": floats(rng, n, i), "y": zeros(m, n, c, i)}
    got, _ = check(b.kernel(), {"M": m, "N": n, "C": c, "I": i}, arrays)
    x64 = arrays["x"].transpose(3, 0, 2, 1).astype("float64")
    want = (x64 - x64.mean(2, keepdims=True)) * arrays["w"][None, :, None] + np.arange(n)[None, :, None, None]
    want = want + (2 + 3 * np.arange(i)) * np.arange(c)[:, None]
    np.testing.assert_allclose(got["y"], want, rtol=1e-5, atol=1e-5)


def test_no_row_axis(rng: np.random.Generator) -> None:
    b = Build(Tile.COLUMNS, (N,), None, W, passes=0, grain=2)
    x = b.load("x", R, [0])
    scale = b.load("s", R, [0], strides=(1, 0))
    b.store("y", R, [0], b.apply("mul", R, [0], x, scale))
    arrays = {"x": floats(rng, 5, 19), "s": floats(rng, 5), "y": zeros(5, 19)}
    check(b.kernel(), {"N": 5, "I": 19}, arrays)
