"""The op ctc: every small size against all paths, reference, interpreter and compiled code on the same data."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import AttrError, LabelError, ShapeError
from graphloss.ir.opdef import get
from graphloss.ir.types import TensorType
from graphloss.ops.interpret import interpret
from graphloss.options import CompileOptions
from tests.structured.paths import enumerated

Array = npt.NDArray[Any]
CTC = get("ctc")


def log_softmax(x: Array) -> Array:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def interpreted(arrays: tuple[Array, ...], blank: int) -> tuple[Array, Array]:
    form = CTC.lower([TensorType(a.dtype.name, a.shape) for a in arrays], (), {"blank": blank})
    (cost, posterior), failures = interpret(form.nest, dict(zip(form.nest.sizes, form.sizes, strict=True)), arrays)
    assert failures == ()
    return cost, posterior


class Code:
    """The op compiled once, with all sizes left open."""

    def __init__(self, dtype: str, blank: int = 0, packed: bool = False) -> None:
        self.main = gl.Program()
        with gl.program_guard(self.main):
            x = gl.data("scores", [None, None, None], dtype)
            labels = gl.data("labels", [None] if packed else [None, None], "int64")
            frames, lengths = gl.data("input_lengths", [None], "int64"), gl.data("label_lengths", [None], "int64")
            self.fetches = ops.ctc(x, labels, frames, lengths, blank)
        self.executor = gl.Executor()

    def __call__(self, arrays: tuple[Array, ...]) -> tuple[Array, Array]:
        names = ("scores", "labels", "input_lengths", "label_lengths")
        cost, posterior = self.executor.run(self.main, dict(zip(names, arrays, strict=True)), list(self.fetches))
        return cost, posterior


def eager(arrays: tuple[Array, ...], blank: int = 0) -> tuple[Array, Array]:
    with gl.dygraph.guard():
        cost, posterior = ops.ctc(*map(gl.dygraph.to_variable, arrays), blank)
        return cost.numpy(), posterior.numpy()


def every_small_sample(C: int, blank: int) -> tuple[tuple[Array, ...], Array, Array]:
    """A batch with every label of up to 3 symbols for every number of frames up to 5, and what all paths give."""
    rng = np.random.default_rng(C * 10 + blank)
    symbols = [c for c in range(C) if c != blank]
    labels = [label for L in range(4) for label in product(symbols, repeat=L)]
    samples = [(label, T) for label in labels for T in range(6)]
    N = len(samples)
    x = log_softmax(rng.normal(size=(5, N, C)) * rng.choice([1.0, 4.0, 30.0], (1, N, 1)))
    x[:, rng.uniform(size=N) < 0.1] += np.where(rng.uniform(size=(5, 1, C)) < 0.2, -np.inf, 0.0)  # impossible symbols
    padded = np.zeros((N, 3), np.int64)
    cost, posterior = np.zeros(N), np.zeros((5, N, C))
    for n, (label, T) in enumerate(samples):
        padded[n, : len(label)] = label
        cost[n], posterior[:T, n] = enumerated(x[:T, n], label, blank)
    frames, lengths = np.array([T for _, T in samples]), np.array([len(label) for label, _ in samples])
    return (x, padded, frames, lengths), cost, posterior


@pytest.mark.parametrize("C", [1, 2, 3, 4])
def test_every_small_label_against_all_paths(C: int) -> None:
    for blank in range(C):
        arrays, cost, posterior = every_small_sample(C, blank)
        N = cost.size
        found = {"reference": eager(arrays, blank), "compiled": Code("float64", blank)(arrays)}
        if N < 100:
            found["interpreter"] = interpreted(arrays, blank)
        for name, (c, p) in found.items():
            np.testing.assert_allclose(c, cost, rtol=1e-12, atol=1e-12, err_msg=name)
            np.testing.assert_allclose(p, posterior, rtol=1e-11, atol=1e-12, err_msg=name)
        c, p = Code("float32", blank)((arrays[0].astype(np.float32), *arrays[1:]))
        np.testing.assert_allclose(c, cost, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(p, posterior, rtol=1e-5, atol=1e-5)


def batch(
    rng: np.random.Generator, T: int, N: int, C: int, S: int, *, packed: bool = False, blank: int = 0, size: float = 1.0
) -> tuple[Array, ...]:
    """Random data in order: repeats, empty labels, samples without frames and without an alignment among them."""
    x = log_softmax(rng.normal(size=(T, N, C)) * size)
    symbols = [c for c in range(C) if c != blank % C] or [0]
    lengths = rng.integers(0, S + 1, N) if len(symbols) > 1 or C > 1 else np.zeros(N, np.int64)
    frames = np.where(rng.uniform(size=N) < 0.2, rng.integers(0, T + 1, N), T)
    labels = rng.choice(symbols[: rng.integers(1, len(symbols) + 1)], (N, S))
    if packed:
        return x, labels[np.arange(S) < lengths[:, None]], frames, lengths
    return x, labels, frames, lengths


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_reference_interpreter_and_code_agree(dtype: str, packed: bool) -> None:
    rng = np.random.default_rng(1)
    for blank in (0, -1, 2):
        code = Code(dtype, blank, packed)
        for T, N, C, S in ((7, 3, 4, 3), (40, 2, 3, 19), (3, 2, 5, 6), (0, 2, 3, 2), (4, 0, 3, 2), (4, 2, 3, 0)):
            wide = batch(rng, T, N, C, S, packed=packed, blank=blank)
            arrays = (wide[0].astype(dtype), *wide[1:])
            want = eager((arrays[0].astype(np.float64), *arrays[1:]), blank)
            near = 1e-11 if dtype == "float64" else 2e-6
            for got in (interpreted(arrays, blank % C), code(arrays), eager(arrays, blank)):
                for g, w in zip(got, want, strict=True):
                    assert g.dtype == dtype
                    np.testing.assert_allclose(g, w, rtol=near, atol=near)


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
def test_error_against_float64(size: float) -> None:
    rng = np.random.default_rng(2)
    wide = batch(rng, 150, 6, 80, 40, size=size)
    arrays = (wide[0].astype(np.float32), *wide[1:])
    cost, posterior = eager((arrays[0].astype(np.float64), *arrays[1:]))
    c, p = Code("float32")(arrays)
    np.testing.assert_allclose(c, cost, rtol=3e-7)
    np.testing.assert_allclose(p, posterior, rtol=0, atol=1e-6)


def test_thousands_of_frames_of_improbable_symbols() -> None:
    """e^-3,000,000 as a probability: exponents add up far beyond those of any float."""
    T, L = 3000, 20
    x = np.full((T, 1, 4), -1000.0)
    x[:, 0, 1] = -1001.0
    x[::7, 0, 2] = -999.0
    arrays = (x.astype(np.float32), np.tile([1, 2], 10)[None], np.array([T]), np.array([L]))
    cost, posterior = eager((x, *arrays[1:]))
    c, p = Code("float32")(arrays)
    np.testing.assert_allclose(c, cost, rtol=1e-7)
    np.testing.assert_allclose(p, posterior, atol=1e-5, rtol=0)
    np.testing.assert_allclose(p.sum(2), 1, rtol=1e-6)


def test_a_nan_stays_in_its_sample() -> None:
    rng = np.random.default_rng(3)
    x, labels, frames, lengths = batch(rng, 6, 3, 4, 2)
    frames[:], lengths[:] = 6, 2
    labels[:] = [1, 2]
    clean = Code("float64")((x, labels, frames, lengths))
    x[2, 1, 1] = np.nan
    x[3, 0, 3] = np.nan  # a class that its label does not have
    for cost, posterior in (Code("float64")((x, labels, frames, lengths)), eager((x, labels, frames, lengths))):
        assert np.isnan(cost).tolist() == [False, True, False]
        assert np.isnan(posterior[:, 1]).all()
        for n in (0, 2):
            np.testing.assert_allclose(posterior[:, n], clean[1][:, n], rtol=1e-12)


def test_bits_do_not_depend_on_threads_or_on_what_is_fetched() -> None:
    rng = np.random.default_rng(4)
    wide = batch(rng, 50, 70, 12, 9)
    arrays = (wide[0].astype(np.float32), *wide[1:])
    code = Code("float32")
    code.executor = gl.Executor(options=CompileOptions(threads=1))
    names = ("scores", "labels", "input_lengths", "label_lengths")
    feed = dict(zip(names, arrays, strict=True))
    cost, posterior = code(arrays)
    code.executor = gl.Executor(options=CompileOptions(threads=2))
    again = code(arrays)
    (alone,) = code.executor.run(code.main, feed, [code.fetches[0]])
    (only,) = code.executor.run(code.main, feed, [code.fetches[1]])
    assert np.array_equal(cost, again[0]) and np.array_equal(posterior, again[1], equal_nan=True)
    assert np.array_equal(cost, alone) and np.array_equal(posterior, only, equal_nan=True)


def spoiled(rng: np.random.Generator, packed: bool) -> tuple[Array, ...]:
    """A batch with one length, label or both out of range."""
    T, N, C, S = (int(n) for n in rng.integers([1, 1, 2, 1], [6, 5, 5, 5]))
    x, labels, frames, lengths = batch(rng, T, N, C, S, packed=packed)
    labels, frames, lengths = labels.copy(), frames.copy(), lengths.copy()
    n = rng.integers(N)
    wild = int(rng.choice([-1, -2, 2**40, -(2**63), 2**63 - 1]))
    kinds = rng.choice(["frames", "lengths", "labels"], rng.integers(1, 3))
    if "frames" in kinds:
        frames[n] = rng.choice([T + 1, wild])
    if "labels" in kinds and labels.size:
        at = tuple(rng.integers(s) for s in labels.shape)
        labels[at] = rng.choice([0, C, wild])
        if not packed:
            lengths[at[0]] = max(lengths[at[0]], at[1] + 1)
    if "lengths" in kinds or not labels.size:
        lengths[n] = rng.choice([lengths[n] + S + 1, wild])
    return x, labels, frames, lengths


@pytest.mark.parametrize("packed", [False, True])
def test_malformed_data_are_errors_that_name_sample_and_position(packed: bool) -> None:
    rng = np.random.default_rng(5)
    code = Code("float64", packed=packed)
    for _ in range(1200):
        arrays = spoiled(rng, packed)
        with pytest.raises(LabelError) as run:
            code(arrays)
        with pytest.raises(LabelError) as at_once:
            eager(arrays)
        assert (run.value.what, run.value.expected, run.value.got) == (
            at_once.value.what, at_once.value.expected, at_once.value.got
        )  # fmt: skip
        head, what = run.value.what.split(": ")
        name, _, place = what.split(" = ")[0].rstrip("]").partition("[")
        values = arrays[("scores", "labels", "input_lengths", "label_lengths").index(name)]
        if name == "labels":
            n, step = (int(part.split(" ")[1]) for part in head.split(", "))
            assert place == ("" if packed else f"{n}, {step}")
            begin = np.clip(arrays[3][:n], 0, values.size).sum()
            index: tuple[int, ...] = (begin + step,) if packed else (n, step)
        else:
            index = (int(place),)
            assert head == f"row {place}"
        assert str(values[index]) == run.value.got


def test_malformed_types() -> None:
    def build(x: list[int | None], labels: list[int | None], frames: list[int], dtype: str = "int64", blank: int = 0):
        with gl.program_guard(gl.Program()):
            ops.ctc(
                gl.data("x", x), gl.data("y", labels, dtype), gl.data("t", frames, "int64"),
                gl.data("s", frames, "int64"), blank,
            )  # fmt: skip

    build([4, 2, 3], [2, 3], [2])
    for shapes in (
        ([4, 3], [2, 3], [2]),
        ([4, 2, 3], [3, 3], [2]),
        ([4, 2, 3], [2, 3], [3]),
        ([4, 2, 3], [1, 2, 3], [2]),
    ):
        with pytest.raises(ShapeError):
            build(*shapes)
    with pytest.raises(TypeError):
        build([4, 2, 3], [2, 3], [2], "float32")
    for blank in (3, -4):
        with pytest.raises(AttrError):
            build([4, 2, 3], [2, 3], [2], blank=blank)
    with pytest.raises(ShapeError):  # known in the run only
        Code("float64", 5)((np.zeros((2, 1, 3)), np.ones((1, 1), np.int64), np.array([2]), np.array([1])))
