"""10,000 random feeds, most of them malformed: a run gives what NumPy gives or one of our errors, and none crashes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import GraphlossError

Array = npt.NDArray[Any]
Shape = tuple[int | None, ...]
Wanted = Callable[..., tuple[Array, ...]]

RUNS = 10_000


@dataclass(frozen=True)
class Model:
    """A compiled program, what its inputs are declared as, and what NumPy makes of them in float64.

    `valid` says whether the labels are inside; outside, only an error is right.
    """

    main: gl.Program
    fetches: tuple[gl.Variable, ...]
    inputs: dict[str, tuple[Shape, str]]
    wanted: Wanted
    valid: Callable[..., bool]
    exe: gl.Executor


def log_softmax(x: Array, axis: int) -> Array:
    top = x.max(axis=axis, keepdims=True, initial=-np.inf)
    return x - top - np.log(np.exp(x - top).sum(axis=axis, keepdims=True))


def build(
    inputs: dict[str, tuple[Shape, str]],
    formula: Callable[..., tuple[gl.Variable, ...]],
    wanted: Wanted,
    valid: Callable[..., bool] = lambda *_: True,
) -> Model:
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        variables = [gl.data(name, list(shape), dtype) for name, (shape, dtype) in inputs.items()]
        fetches = formula(*variables)
    return Model(main, fetches, inputs, wanted, valid, gl.Executor())


def cross_entropy(classes: int) -> Model:
    """Loss and gradient with labels [N]: one row per lane for few classes, a tile of rows for many."""

    def formula(x: gl.Variable, y: gl.Variable) -> tuple[gl.Variable, ...]:
        each = gl.nn.functional.cross_entropy(x, y, ignore_index=-1, reduction="none")
        return each, gl.gradients([each], [x])[0]

    def wanted(x: Array, y: Array) -> tuple[Array, ...]:
        kept = y != -1
        z = log_softmax(x, 1)
        at = np.where(kept, y, 0)
        grad = np.exp(z)
        rows = np.arange(len(y))
        grad[rows, at] -= 1
        return np.where(kept, -z[rows, at], 0), np.where(kept[:, None], grad, 0)

    def valid(_: Array, y: Array) -> bool:
        return bool(np.all((y == -1) | ((y >= 0) & (y < classes))))

    return build({"x": ((None, classes), "float32"), "y": ((None,), "int64")}, formula, wanted, valid)


def channels() -> Model:
    """Classes on axis 1 of (N, C, S): a tile of columns."""

    def formula(x: gl.Variable, y: gl.Variable) -> tuple[gl.Variable, ...]:
        each = gl.nn.functional.cross_entropy(x, y, reduction="none")
        return each, gl.gradients([each], [x])[0]

    def wanted(x: Array, y: Array) -> tuple[Array, ...]:
        kept = y != -100
        z = log_softmax(x, 1)
        hot = np.where(kept, y, 0)[:, None, :] == np.arange(4)[None, :, None]
        return np.where(kept, -(z * hot).sum(1), 0), np.where(kept[:, None], np.exp(z) - hot, 0)

    def valid(_: Array, y: Array) -> bool:
        return bool(np.all((y == -100) | ((y >= 0) & (y < 4))))

    return build({"x": ((None, 4, None), "float32"), "y": ((None, None), "int64")}, formula, wanted, valid)


def table() -> Model:
    """Rows of a table by index, and the gradient that adds them up again."""

    def formula(w: gl.Variable, i: gl.Variable) -> tuple[gl.Variable, ...]:
        rows = ops.gather(w, i)
        return rows, gl.gradients([ops.mul(rows, rows)], [w])[0]

    def wanted(w: Array, i: Array) -> tuple[Array, ...]:
        grad = np.zeros_like(w)
        np.add.at(grad, i, 2 * w[i])
        return w[i], grad

    def valid(w: Array, i: Array) -> bool:
        return bool(np.all((i >= 0) & (i < len(w))))

    return build({"w": ((None, 3), "float32"), "i": ((None,), "int64")}, formula, wanted, valid)


def elementwise() -> Model:
    """A formula over two matrices and a row, with no labels."""

    def formula(a: gl.Variable, b: gl.Variable, c: gl.Variable) -> tuple[gl.Variable, ...]:
        return ops.add(ops.mul(a, b), c), gl.layers.reduce_sum(ops.abs(ops.sub(a, c)), dim=0)

    def wanted(a: Array, b: Array, c: Array) -> tuple[Array, ...]:
        return a * b + c, np.abs(a - c).sum(0)

    return build(
        {"a": ((None, None), "float64"), "b": ((None, None), "float64"), "c": ((1, None), "float64")}, formula, wanted
    )


MODELS: dict[str, Callable[[], Model]] = {
    "lanes are rows": lambda: cross_entropy(5),
    "rows": lambda: cross_entropy(40),
    "columns": channels,
    "gather": table,
    "elementwise": elementwise,
}

EXTREMES = np.array([-(2**63), 2**63 - 1, 2**62, 2**32, 2**31, -1, -100, -(2**31), 5, 40, 4, 256], "int64")
ODD_DTYPES = ["float16", "float64", "int32", "uint64", "int8", "bool", "complex64", ">f4", ">f8", ">i8", "float32",
              "int64", "longdouble", "S4", "O", "M8[s]", "U3"]  # fmt: skip
ODD_VALUES: list[object] = [None, "text", b"bytes", [1.0, 2.0], (1,), {}, object(), 3, -7, 2.5, 2**64, 1j, True,
                            float("nan"), np.float32(2), np.int64(-1), [[1], [2, 3]], set(), range(3),
                            slice(None)]  # fmt: skip


class Random:
    """Feeds: fitting ones, and what is done to them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def size(self) -> int:
        """Around the widths of vectors and tiles, where the masks are; sometimes nothing."""
        return int(self.rng.choice([0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65]))

    def feed(self, model: Model) -> dict[str, object]:
        """A feed that fits, but perhaps for its labels."""
        n, m = self.size(), self.size()
        classes = {name: shape[1] for name, (shape, _) in model.inputs.items() if len(shape) > 1}
        feed: dict[str, object] = {}
        for name, (shape, dtype) in model.inputs.items():
            sizes = tuple((n if axis == 0 else m) if s is None else s for axis, s in enumerate(shape))
            if name == "i":
                sizes = (m,)
            if dtype == "int64":
                limit = next(iter(classes.values())) if name == "y" else n
                feed[name] = self.labels(sizes, limit or 1)
            else:
                feed[name] = self.rng.normal(size=sizes, scale=4).astype(dtype)
        return feed

    def labels(self, shape: tuple[int, ...], limit: int) -> Array:
        made = self.rng.integers(0, limit, shape)
        if made.size and self.chance(0.3):
            spoilt = self.rng.integers(0, made.size, self.rng.integers(1, 4))
            made.reshape(-1)[spoilt] = self.rng.choice(EXTREMES, len(spoilt))
        elif self.chance(0.05):
            made = self.rng.integers(-(2**63), 2**63 - 1, shape)
        return made

    def spoil(self, feed: dict[str, object]) -> None:
        """One change to one input."""
        name = str(self.rng.choice(list(feed)))
        value = feed[name]
        kind = int(self.rng.integers(0, 9))
        if kind == 0:
            del feed[name]
        elif kind == 1:
            feed[str(self.rng.choice(["z", "X", "", "x@GRAD", name + " "]))] = value
        elif kind == 2:
            feed[name] = ODD_VALUES[self.rng.integers(len(ODD_VALUES))]
        elif not isinstance(value, np.ndarray) or value.ndim == 0:
            return
        elif kind == 3:
            if value.dtype.kind == "c":
                return
            dtype = ODD_DTYPES[self.rng.integers(len(ODD_DTYPES))]
            with np.errstate(all="ignore"):
                feed[name] = np.zeros(value.shape, dtype) if dtype in ("complex64", "M8[s]") else value.astype(dtype)
        elif kind == 4:
            feed[name] = value[..., None] if self.chance(0.5) else value.reshape(-1)
        elif kind == 5:
            feed[name] = np.repeat(value, 2, int(self.rng.integers(value.ndim))) if self.chance(0.5) else value[1:]
        elif kind == 6:
            feed[name] = self.layout(value)
        elif kind == 7 and value.dtype.kind == "f" and value.size:
            value = value.copy()
            value.reshape(-1)[self.rng.integers(value.size)] = self.rng.choice([np.nan, np.inf, -np.inf, 1e38, -1e38])
            feed[name] = value
        else:
            feed[name] = np.zeros((0,) * value.ndim, value.dtype) if self.chance(0.3) else value.T

    def layout(self, value: Array) -> Array:
        kind = int(self.rng.integers(0, 6))
        if kind == 0:
            return np.asfortranarray(value)
        if kind == 1:
            return value[::-1]
        if kind == 2:
            return np.repeat(value, 3, -1)[..., ::3]
        if kind == 3:
            value = value.copy()
            value.flags.writeable = False
            return value
        if kind == 4:
            raw = np.zeros(value.nbytes + 1, np.uint8)
            raw[1:] = np.frombuffer(value.tobytes(), np.uint8)
            return raw[1:].view(value.dtype).reshape(value.shape)
        return np.broadcast_to(value[:1], value.shape) if value.size else value


def fits(model: Model, feed: dict[str, object]) -> bool:
    """Whether a run must succeed: it may also do so where a number or a narrower dtype stands for an array."""
    if set(feed) != set(model.inputs):
        return False
    sizes: dict[str, tuple[int, ...]] = {}
    for name, (shape, dtype) in model.inputs.items():
        value = feed[name]
        if not isinstance(value, np.ndarray) or value.dtype != np.dtype(dtype) or value.ndim != len(shape):
            return False
        if any(s is not None and s != have for s, have in zip(shape, value.shape, strict=True)):
            return False
        sizes[name] = value.shape
    if "y" in sizes:
        x, y = sizes["x"], sizes["y"]
        return x[:1] + x[2:] == y
    if "c" in sizes:
        return sizes["a"] == sizes["b"] and sizes["c"][1] == sizes["a"][1]
    return True


def check(model: Model, feed: dict[str, object]) -> str:
    """Runs once; the name of what came, or an AssertionError."""
    before = {n: v.tobytes() for n, v in feed.items() if isinstance(v, np.ndarray) and v.dtype != object}
    try:
        got = model.exe.run(model.main, feed, list(model.fetches))
    except GraphlossError as error:
        if fits(model, feed) and model.valid(*(np.asarray(feed[n]) for n in model.inputs)):
            raise AssertionError("a feed that fits was refused") from error
        return type(error).__name__
    arrays = [_as_declared(feed[n], shape, dtype) for n, (shape, dtype) in model.inputs.items()]
    assert model.valid(*arrays), "accepted labels that are out of range"
    with np.errstate(all="ignore"):
        wanted = model.wanted(*(a.astype("float64") if a.dtype.kind == "f" else a for a in arrays))
    single = any(dtype == "float32" for _, dtype in model.inputs.values())
    for g, w in zip(got, wanted, strict=True):
        compare(g, w, 2e-5 if single else 1e-12)
    for n, bits in before.items():
        assert np.asarray(feed[n]).tobytes() == bits, f"the feed {n!r} was written to"
    return "result"


def _as_declared(value: object, shape: Shape, dtype: str) -> Array:
    made = np.asarray(value).astype(dtype)
    return made.reshape(1) if made.ndim == 0 and len(shape) == 1 else made


def compare(got: Array, want: Array, tolerance: float) -> None:
    """Where NumPy has NaN or infinity, from what was fed, the stable form may have a number."""
    assert got.shape == want.shape
    with np.errstate(all="ignore"):
        finite = np.isfinite(want.astype(got.dtype))
    np.testing.assert_allclose(got[finite], want[finite], rtol=tolerance, atol=20 * tolerance)


@pytest.mark.parametrize("name", MODELS)
def test_random_feeds(name: str, seed: int) -> None:
    model = MODELS[name]()
    random = Random(seed)
    seen: dict[str, int] = {}
    for run in range(RUNS // len(MODELS)):
        feed = random.feed(model)
        for _ in range(int(random.rng.choice([0, 1, 1, 2]))):
            if feed:
                random.spoil(feed)
        try:
            outcome = check(model, feed)
        except Exception as error:
            shown = {n: (v.shape, v.dtype.str) if isinstance(v, np.ndarray) else v for n, v in feed.items()}
            raise AssertionError(f"run {run}: {shown}") from error
        seen[outcome] = seen.get(outcome, 0) + 1
    # what is random here must reach every outcome often
    assert seen["result"] > RUNS // 50, seen
    expected = {"FeedError", "ShapeError", "UnsupportedError", "UnknownVariable"}
    if name != "elementwise":
        expected |= {"LabelError"}
    assert all(seen.get(e, 0) > RUNS // 1000 for e in expected), seen
    assert set(seen) == expected | {"result"}, seen


def test_the_same_bits_after_all_that(rng: np.random.Generator) -> None:
    """A program that has refused feeds computes the same as a new one."""
    feed = {"x": rng.normal(size=(33, 5)).astype("float32"), "y": rng.integers(0, 5, 33)}
    used, new = cross_entropy(5), cross_entropy(5)
    random = Random(1)
    for _ in range(200):
        spoilt = random.feed(used)
        random.spoil(spoilt)
        try:
            used.exe.run(used.main, spoilt, list(used.fetches))
        except GraphlossError:
            pass
    runs = [functools.partial(m.exe.run, m.main, feed, list(m.fetches))() for m in (used, new)]
    assert [a.tobytes() for a in runs[0]] == [a.tobytes() for a in runs[1]]
