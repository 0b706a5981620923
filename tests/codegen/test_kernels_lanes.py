"""Compiled kernels against the plain interpreter: tile LANES_ARE_ROWS."""

from __future__ import annotations

import numpy as np
import pytest

from graphloss.ir import dims
from graphloss.schedule.kernel import Tile
from tests.codegen.kernel_runner import Build, E, R, S, check

N = dims.symbol("N")


def floats(rng: np.random.Generator, *shape: int, dtype: str = "float32") -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


def zeros(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.zeros(shape, dtype)


def softmax(dtype: str, c: int) -> Build:
    """Value and gradient of softmax cross entropy in three passes over registers."""
    b = Build(Tile.LANES_ARE_ROWS, (N,), c, passes=3, grain=40)
    scale = b.apply("div", S, [], b.const(1.0, dtype), b.dim(N, dtype))
    x = b.load("x", E, [0, 1], dtype)
    m = b.reduce("max", 0, x)
    e = b.keep("g", [1, 2], b.apply("exp", E, [1], b.apply("sub", E, [1], x, m)))
    z = b.reduce("sum", 1, e)
    rz = b.apply("mul", R, [2], b.apply("reciprocal", R, [2], z), scale)
    label = b.check(R, [0], b.load("y", R, [0], "int64", (1, 0)), c)
    picked = b.pick("x", R, [0], label, 1, dtype, (c, 0))
    loss = b.apply("sub", R, [3], b.apply("log", R, [3], z), b.apply("sub", R, [3], picked, m))
    b.total("sum", R, 3, loss, "p")
    b.store("loss", R, [3], loss, (1, 0))
    q = b.apply("mul", E, [2], e, rz)
    here = b.apply("eq", E, [2], b.iota(E, [2], 1), label, dtype="bool")
    g = b.apply("select", E, [2], here, b.apply("sub", E, [2], q, scale), q)
    b.store("g", E, [2], g)
    b.total("sum", E, 2, b.apply("mul", E, [2], g, g), "norm")
    b.column("sum", 2, g, "bias")
    return b


@pytest.mark.parametrize("c", [1, 2, 3, 4, 5, 7, 8, 10, 13, 16])
@pytest.mark.parametrize("n", [0, 1, 16, 93])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_cross_entropy(rng: np.random.Generator, n: int, c: int, dtype: str) -> None:
    chunks = -(-n // 40)
    arrays = {
        "x": floats(rng, n, c, dtype=dtype), "y": rng.integers(0, c, n), "g": zeros(n, c, dtype=dtype),
        "loss": zeros(n, dtype=dtype), "p": zeros(chunks, dtype="float64"), "norm": zeros(chunks, dtype="float64"),
        "bias": zeros(chunks, c, dtype="float64"),
    }  # fmt: skip
    got, status = check(softmax(dtype, c).kernel(), {"N": n}, arrays, atol=1e-6)
    assert not status
    x = arrays["x"].astype("float64")
    np.testing.assert_allclose(
        got["loss"], np.log(np.exp(x).sum(1)) - x[np.arange(n), arrays["y"]], rtol=1e-5, atol=1e-6
    )


def test_bad_labels_report_the_lowest_row(rng: np.random.Generator) -> None:
    y = rng.integers(0, 5, 90)
    y[[89, 41, 45]] = [-1, 5, 17]
    arrays = {"x": floats(rng, 90, 5), "y": y, "g": zeros(90, 5), "loss": zeros(90), "p": zeros(3, dtype="float64"),
              "norm": zeros(3, dtype="float64"), "bias": zeros(3, 5, dtype="float64")}  # fmt: skip
    _, status = check(softmax("float32", 5).kernel(), {"N": 90}, arrays)
    assert status == {0: (41, 5)}


@pytest.mark.parametrize("c", [0, 1, 6, 15])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "bool", "uint8"])
def test_reductions(rng: np.random.Generator, c: int, dtype: str) -> None:
    kinds = ["max", "min", "any", "all"] + (["argmax", "argmin"] if c else [])
    kinds += [] if dtype in ("bool", "uint8") else ["sum", "prod"]
    b = Build(Tile.LANES_ARE_ROWS, (N,), c)
    x = b.load("x", E, [0], dtype)
    b.store("copy", E, [0], x)
    for kind in kinds:
        result = "bool" if kind in ("any", "all") else "int64" if kind.startswith("arg") else dtype
        b.store(kind, R, [1], b.reduce(kind, 0, x, result), (1, 0))
        if kind[:3] != "arg" and dtype != "float64":
            b.total(kind, E, 0, x, f"{kind}_all", "int64" if kind in ("sum", "prod") and dtype[0] == "i" else
                    "float64" if kind in ("sum", "prod") else result)  # fmt: skip
    data = rng.integers(0 if dtype in ("bool", "uint8") else -1, 3, (67, c)).astype(dtype)
    if dtype[0] == "f" and c > 1:
        data[np.arange(0, 67, 3), rng.integers(0, c, 23)] = np.nan
        data[1::3] = -np.inf
    shape = {"copy": (67, c)}
    arrays = {"x": data}
    for name, buffer in b.buffers.items():
        if name != "x":
            arrays[name] = zeros(*shape.get(name, (-(-67 // 8) if name.endswith("_all") else 67,)), dtype=buffer.dtype)
    check(b.kernel(), {"N": 67}, arrays)


def test_elements_are_checked_where_they_lie(rng: np.random.Generator) -> None:
    b = Build(Tile.LANES_ARE_ROWS, (N,), 5)
    index = b.check(E, [0], b.load("i", E, [0], "int64"), 9)
    b.store("y", E, [0], b.pick("table", E, [0], index, 2, strides=(0, 0)))
    i = rng.integers(0, 9, (40, 5))
    i[33, 2], i[20, 4], i[21, 0] = 9, -3, 11
    _, status = check(b.kernel(), {"N": 40}, {"i": i, "table": floats(rng, 18), "y": zeros(40, 5)})
    assert status == {0: (104, -3)}


def test_strides_and_several_outer_axes(rng: np.random.Generator) -> None:
    m, n, c = 3, 7, 6
    b = Build(Tile.LANES_ARE_ROWS, (dims.symbol("M"), N), c, passes=2, grain=5)
    x = b.load("x", E, [0, 1], strides=(c, 18, 1))  # of shape (n, m, c)
    t = b.load("t", E, [1], strides=(N, 1, dims.mul(N, 3)))  # of shape (c, m, n)
    w = b.load("w", R, [0], strides=(1, 3, 0))  # of shape (n, m)
    bias = b.load("b", E, [1], strides=(0, 0, 2), offset=1)
    mean = b.apply("div", R, [1], b.reduce("sum", 0, x), b.const(c))
    value = b.apply("mul", E, [1], b.apply("sub", E, [1], x, mean), w)
    value = b.apply("add", E, [1], value, b.apply("mul", E, [1], bias, t))
    b.store("y", E, [1], value)
    b.store("mean", R, [1], mean, (N, 1, 0))
    arrays = {"x": floats(rng, n, m, c), "t": floats(rng, c, m, n), "w": floats(rng, n, m), "b": floats(rng, 2 * c + 1),
              "y": zeros(m, n, c), "mean": zeros(m, n)}  # fmt: skip
    check(b.kernel(), {"M": m, "N": n}, arrays)


def test_rows_with_gaps(rng: np.random.Generator) -> None:
    b = Build(Tile.LANES_ARE_ROWS, (N,), 6)
    x = b.load("x", E, [0], strides=(9, 1), offset=2)
    b.store("y", E, [0], b.apply("neg", E, [0], x), (8, 1))
    arrays = {"x": floats(rng, 35, 9), "y": zeros(35, 8)}
    got, _ = check(b.kernel(), {"N": 35}, arrays)
    np.testing.assert_array_equal(got["y"][:, :6], -arrays["x"][:, 2:8])
    assert not got["y"][:, 6:].any()
