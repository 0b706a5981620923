"""Compiled kernels against the plain interpreter: tile ROWS."""

from __future__ import annotations

import numpy as np
import pytest

from graphloss.ir import dims
from graphloss.schedule.kernel import Tile
from tests.codegen.kernel_runner import Build, Compiled, E, R, S, check

N, C = dims.symbol("N"), dims.symbol("C")


def floats(rng: np.random.Generator, *shape: int, dtype: str = "float32") -> np.ndarray:
    return rng.normal(size=shape).astype(dtype)


def zeros(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 63, 64, 200, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elementwise_split(rng: np.random.Generator, size: int, dtype: str) -> None:
    b = Build(Tile.ROWS, (), C, split_row=True, grain=128)
    x, y = (b.load(n, E, [0], dtype) for n in "xy")
    d = b.apply("sub", E, [0], x, y)
    square = b.apply("mul", E, [0], d, d)
    b.store("g", E, [0], b.apply("mul", E, [0], d, b.const(2.0, dtype)))
    b.total("sum", E, 0, square, "p")
    b.total("max", E, 0, square, "q", dtype)
    chunks = -(-size // 128)
    arrays = {"x": floats(rng, size, dtype=dtype), "y": floats(rng, size, dtype=dtype), "g": zeros(size, dtype=dtype),
              "p": zeros(chunks, dtype="float64"), "q": zeros(chunks, dtype=dtype)}  # fmt: skip
    check(b.kernel(), {"C": size}, arrays)


def softmax(dtype: str, columns: dims.Dim, keep: bool) -> Build:
    """Value and gradient of softmax cross entropy in three passes."""
    b = Build(Tile.ROWS, (N,), columns, passes=3, grain=20)
    scale = b.apply("div", S, [], b.const(1.0, dtype), b.dim(N, dtype))
    x = b.load("x", E, [0, 1] if keep else [0, 1, 2], dtype)
    m = b.reduce("max", 0, x)
    e = b.apply("exp", E, [1] if keep else [1, 2], b.apply("sub", E, [1] if keep else [1, 2], x, m))
    if keep:
        e = b.keep("g", [1, 2], e)
    z = b.reduce("sum", 1, e)
    rz = b.apply("mul", R, [2], b.apply("reciprocal", R, [2], z), scale)
    label = b.check(R, [0], b.load("y", R, [0], "int64", (1, 0)), columns)
    picked = b.pick("x", R, [0], label, 1, dtype, (columns, 0))
    loss = b.apply("sub", R, [3], b.apply("log", R, [3], z), b.apply("sub", R, [3], picked, m))
    b.total("sum", R, 3, loss, "p")
    b.store("loss", R, [3], loss, (1, 0))
    q = b.apply("mul", E, [2], e, rz)
    here = b.apply("eq", E, [2], b.iota(E, [2], 1), label, dtype="bool")
    b.store("g", E, [2], b.apply("select", E, [2], here, b.apply("sub", E, [2], q, scale), q))
    return b


@pytest.mark.parametrize(("n", "c"), [(0, 5), (1, 1), (3, 16), (16, 17), (17, 33), (50, 70), (21, 300)])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_cross_entropy(rng: np.random.Generator, n: int, c: int, keep: bool, dtype: str) -> None:
    arrays = {"x": floats(rng, n, c, dtype=dtype), "y": rng.integers(0, c, n), "g": zeros(n, c, dtype=dtype),
              "loss": zeros(n, dtype=dtype), "p": zeros(-(-n // 20), dtype="float64")}  # fmt: skip
    for columns in (C, c):
        kernel = softmax(dtype, columns, keep).kernel()
        got, status = check(kernel, {"N": n, "C": c}, arrays)
        x = arrays["x"].astype("float64")
        logz = np.log(np.exp(x).sum(1))
        np.testing.assert_allclose(got["loss"], logz - x[np.arange(n), arrays["y"]], rtol=1e-5, atol=1e-6)
        assert not status


def test_bad_labels_report_the_lowest_row(rng: np.random.Generator) -> None:
    y = rng.integers(0, 9, 70)
    y[[61, 33, 34]] = [-1, 9, -(2**40)]
    arrays = {"x": floats(rng, 70, 9), "y": y, "g": zeros(70, 9), "loss": zeros(70), "p": zeros(4, dtype="float64")}
    _, status = check(softmax("float32", C, True).kernel(), {"N": 70, "C": 9}, arrays)
    assert status == {0: (33, 9)}


@pytest.mark.parametrize("c", [0, 1, 16, 31, 64, 100, 333])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_row_reductions(rng: np.random.Generator, c: int, dtype: str) -> None:
    kinds = ["sum", "max", "min", "prod"] + (["argmax", "argmin"] if c else [])
    for columns in (C, c):
        b = Build(Tile.ROWS, (N,), columns)
        x = b.load("x", E, [0], dtype)
        for kind in kinds:
            result = "int64" if kind.startswith("arg") or (kind in ("sum", "prod") and dtype[0] != "f") else dtype
            b.store(kind, R, [1], b.reduce(kind, 0, x, result), (1, 0))
        high = 2 if dtype == "uint8" else 3
        x = rng.integers(0 if dtype == "uint8" else -1, high, (19, c)).astype(dtype)
        if dtype[0] == "f":
            x = x * np.array(1.25, dtype)
        arrays = {"x": x}
        arrays |= {k: zeros(19, dtype=b.buffers[k].dtype) for k in kinds}
        check(b.kernel(), {"N": 19, "C": c}, arrays)


@pytest.mark.parametrize("where", [0, 5, 40, 99])
def test_nan_wins(rng: np.random.Generator, where: int) -> None:
    b = Build(Tile.ROWS, (N,), C)
    x = b.load("x", E, [0])
    for kind in ("max", "min", "argmax", "argmin"):
        b.store(kind, R, [1], b.reduce(kind, 0, x, "int64" if kind.startswith("arg") else None), (1, 0))
        if not kind.startswith("arg"):
            b.total(kind, E, 0, x, kind + "_all", "float32")
    data = floats(rng, 9, 100)
    data[4, where] = np.nan
    data[5, [where, 99]] = np.nan
    data[6] = -np.inf
    data[7] = np.inf
    arrays = {"x": data, "max": zeros(9), "min": zeros(9), "argmax": zeros(9, dtype="int64"),
              "argmin": zeros(9, dtype="int64"), "max_all": zeros(2), "min_all": zeros(2)}  # fmt: skip
    got, _ = check(b.kernel(), {"N": 9, "C": 100}, arrays)
    assert np.isnan(got["max"][[4, 5]]).all()
    assert np.isnan(got["max_all"]).tolist() == [True, False]
    assert got["argmax"][[4, 5, 6, 7]].tolist() == [where, where, 0, 0]


def test_float32_sums_do_not_lose_digits(rng: np.random.Generator) -> None:
    data = rng.uniform(0.5, 1.5, (3, 100_000)).astype("float32")
    for columns in (C, 100_000):
        b = Build(Tile.ROWS, (N,), columns, grain=1)
        x = b.load("x", E, [0])
        b.store("s", R, [1], b.reduce("sum", 0, x), (1, 0))
        b.total("sum", E, 0, x, "p")
        got, _ = _run(b, {"N": 3, "C": 100_000}, {"x": data, "s": zeros(3), "p": zeros(3, dtype="float64")})
        exact = data.astype("float64").sum(1)
        np.testing.assert_allclose(got["s"], exact, rtol=6e-8)
        np.testing.assert_allclose(got["p"], exact, rtol=1e-7)


def _run(b: Build, env: dict[str, int], arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], object]:
    got = {n: a.copy() for n, a in arrays.items()}
    return got, Compiled(b.kernel()).run(env, got)


def test_several_outer_axes_and_strides(rng: np.random.Generator) -> None:
    m, n, c = 3, 7, 40
    b = Build(Tile.ROWS, (dims.symbol("M"), N), C, passes=2, grain=5)
    x = b.load("x", E, [0, 1], strides=(1, dims.mul(C, 3), 3))  # of shape (n, c, m)
    w = b.load("w", R, [0], strides=(1, 3, 0))  # of shape (n, m)
    bias = b.load("b", E, [1], strides=(0, 0, 2), offset=1)
    mean = b.apply("div", R, [1], b.reduce("sum", 0, x), b.dim(C))
    value = b.apply("mul", E, [1], b.apply("sub", E, [1], x, mean), w)
    b.store("y", E, [1], b.apply("add", E, [1], value, bias))
    b.store("mean", R, [1], mean, (N, 1, 0))
    arrays = {"x": floats(rng, n, c, m), "w": floats(rng, n, m), "b": floats(rng, 2 * c + 1), "y": zeros(m, n, c),
              "mean": zeros(m, n)}  # fmt: skip
    got, _ = check(b.kernel(), {"M": m, "N": n, "C": c}, arrays)
    np.testing.assert_allclose(got["mean"], arrays["x"].transpose(2, 0, 1).mean(2), rtol=1e-5, atol=1e-6)


def test_columns_of_a_chunk(rng: np.random.Generator) -> None:
    b = Build(Tile.ROWS, (N,), C, grain=6)
    x = b.load("x", E, [0])
    b.column("sum", 0, x, "s")
    b.column("max", 0, x, "m", "float32")
    arrays = {"x": floats(rng, 20, 45), "s": zeros(4, 45, dtype="float64"), "m": zeros(4, 45)}
    got, _ = check(b.kernel(), {"N": 20, "C": 45}, arrays)
    np.testing.assert_allclose(got["s"].sum(0), arrays["x"].sum(0, dtype="float64"), rtol=1e-6)


def test_bool_memory_masks_and_casts(rng: np.random.Generator) -> None:
    b = Build(Tile.ROWS, (N,), C)
    x, keep = b.load("x", E, [0]), b.load("keep", E, [0], "bool")
    positive = b.apply("gt", E, [0], x, b.const(0.0), dtype="bool")
    both = b.apply("and", E, [0], positive, keep)
    b.store("both", E, [0], both)
    b.store("any", R, [1], b.reduce("any", 0, both), (1, 0))
    b.store("all", R, [1], b.reduce("all", 0, both), (1, 0))
    b.store("count", R, [1], b.reduce("sum", 0, b.apply("cast", E, [0], both, dtype="int64")), (1, 0))
    b.total("any", E, 0, both, "pany", "bool")
    b.total("sum", E, 0, both, "pcount", "int64")
    data = floats(rng, 11, 37)
    data[3] = 1
    arrays = {"x": data, "keep": rng.random((11, 37)) < 0.9, "both": zeros(11, 37, dtype="bool"),
              "any": zeros(11, dtype="bool"), "all": zeros(11, dtype="bool"), "count": zeros(11, dtype="int64"),
              "pany": zeros(2, dtype="bool"), "pcount": zeros(2, dtype="int64")}  # fmt: skip
    arrays["keep"][3] = True
    check(b.kernel(), {"N": 11, "C": 37}, arrays)


def test_no_row_axis(rng: np.random.Generator) -> None:
    b = Build(Tile.ROWS, (N,), None, passes=0, grain=32)
    x = b.load("x", R, [0])
    b.store("y", R, [0], b.apply("exp", R, [0], x))
    b.total("sum", R, 0, x, "p")
    arrays = {"x": floats(rng, 77), "y": zeros(77), "p": zeros(3, dtype="float64")}
    check(b.kernel(), {"N": 77}, arrays)


def test_partials_to_a_scalar(rng: np.random.Generator) -> None:
    b = Build(Tile.ROWS, (), C)
    total = b.reduce("sum", 0, b.load("p", E, [0], "float64"))
    mean = b.apply("div", R, [1], total, b.dim(N, "float64"))
    b.store("loss", R, [1], b.apply("cast", R, [1], mean, dtype="float32"), (0,))
    arrays = {"p": floats(rng, 45, dtype="float64"), "loss": np.zeros((), "float32")}
    check(b.kernel(), {"N": 1000, "C": 45}, arrays)


def test_rows_of_a_table(rng: np.random.Generator) -> None:
    b = Build(Tile.ROWS, (N,), C)
    index = b.check(R, [0], b.load("i", R, [0], "int32", (1, 0)), 30)
    row = b.pick("table", E, [0], index, C, strides=(0, 1))
    b.store("y", E, [0], row)
    arrays = {"i": rng.integers(0, 30, 21).astype("int32"), "table": floats(rng, 30, 50), "y": zeros(21, 50)}
    got, _ = check(b.kernel(), {"N": 21, "C": 50}, arrays)
    np.testing.assert_array_equal(got["y"], arrays["table"][arrays["i"]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tile", [Tile.ROWS, Tile.LANES_ARE_ROWS, Tile.COLUMNS])
def test_numbers_outside_an_interval(rng: np.random.Generator, tile: str, dtype: str) -> None:
    b = Build(tile, (N,), 5, C) if tile == Tile.COLUMNS else Build(tile, (N,), 5 if tile == Tile.LANES_ARE_ROWS else C)
    shape = (21, 5, 40) if tile == Tile.COLUMNS else (21, 5) if tile == Tile.LANES_ARE_ROWS else (21, 40)
    b.store("y", E, [0], b.interval(E, [0], b.load("x", E, [0], dtype), 1.0, 7.0))
    x = rng.uniform(1, 7, shape).astype(dtype)  # 0, which masked lanes may hold, is outside
    x.flat[:3] = [1, 7, np.nan]  # the ends are inside
    env = {"N": 21, "C": 40}
    got, status = check(b.kernel(), env, {"x": x, "y": zeros(*shape, dtype=dtype)})
    assert not status and got["y"].tobytes() == x.tobytes()
    for at, value in ((x.size - 1, 0.5), (77, -np.inf), (23, np.inf)):
        x.flat[at] = value
        _, status = check(b.kernel(), env, {"x": x, "y": zeros(*shape, dtype=dtype)})
        assert status == {0: (at, int(np.float64(value).view(np.int64)))}


def test_scalar_level_reads_and_writes(rng: np.random.Generator) -> None:
    b = Build(Tile.ROWS, (N,), C)
    lr = b.load("lr", S, [], strides=(0, 0))
    step = b.apply("mul", S, [], lr, b.const(0.5))
    b.store("half", S, [], step, (0, 0))
    x = b.load("x", E, [0])
    b.store("x", E, [0], b.apply("sub", E, [0], x, b.apply("mul", E, [0], b.load("g", E, [0]), step)))
    arrays = {"lr": np.array([0.1], "float32"), "half": zeros(1), "x": floats(rng, 9, 23), "g": floats(rng, 9, 23)}
    check(b.kernel(), {"N": 9, "C": 23}, arrays)
    got, _ = check(b.kernel(), {"N": 0, "C": 23}, {**arrays, "x": zeros(0, 23), "g": zeros(0, 23)})
    assert got["half"] == np.float32(0.05)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_integer_division_never_traps(rng: np.random.Generator, dtype: str) -> None:
    info = np.iinfo(dtype)
    a = np.array([info.min, info.max, 7, 8, 5, 0, 1, 100], dtype).repeat(9)
    d = np.tile(np.array([0, 1, 2, 3, 7, 100, info.max, info.min, -1 if info.min else 9], dtype), 8)
    b = Build(Tile.ROWS, (), C, split_row=True, grain=50)
    x, y = b.load("a", E, [0], dtype), b.load("d", E, [0], dtype)
    b.store("q", E, [0], b.apply("floordiv", E, [0], x, y))
    b.store("r", E, [0], b.apply("mod", E, [0], x, y))
    arrays = {"a": a, "d": d, "q": zeros(72, dtype=dtype), "r": zeros(72, dtype=dtype)}
    check(b.kernel(), {"C": 72}, arrays)


def test_positions_meet_64_bit_numbers(rng: np.random.Generator) -> None:
    b = Build(Tile.ROWS, (N,), C)
    wanted = b.load("w", R, [0], "int64", (1, 0))
    place = b.iota(E, [0], 1, start=3)
    b.store("eq", E, [0], b.apply("eq", E, [0], place, wanted, dtype="bool"))
    b.store("ne", E, [0], b.apply("ne", E, [0], wanted, place, dtype="bool"))
    numbers = [0, 3, 7, 72, 73, -1, 2**32 + 5, 5 - 2**32, 2**63 - 1, -(2**63), 2**31, 20]
    arrays = {"w": np.array(numbers), "eq": zeros(12, 70, dtype="bool"), "ne": zeros(12, 70, dtype="bool")}
    got, _ = check(b.kernel(), {"N": 12, "C": 70}, arrays)
    assert got["eq"].sum(1).tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
