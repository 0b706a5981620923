"""float16 and bfloat16 inputs: each loss is that of the same numbers in float32, its gradients those, rounded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import graphloss as gl
from graphloss.nn import functional as F
from tests.losses.runners import RUNNERS, Array, Build, compiled, eager
from tests.losses.test_extremes import EACH, Case, arrays_of

HALVES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


def rounded(a: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        return a.astype(dtype) if a.dtype.kind == "f" else a


def widened(a: Array) -> Array:
    return a if a.dtype.kind in "iub" else a.astype(np.float32)


def assert_rounded_once(case: str, found: tuple[Array, list[Array]], wide: tuple[Array, list[Array]]) -> None:
    """The value bit by bit, in float32; gradients in the dtype of their inputs."""
    assert (found[0].dtype, found[0].tobytes()) == (wide[0].dtype, wide[0].tobytes()), case
    for g, w in zip(found[1], wide[1], strict=True):
        with np.errstate(over="ignore", under="ignore"):
            want = w.astype(g.dtype)
        np.testing.assert_array_equal(widened(g), widened(want), err_msg=case)


def halves_of(case: Case, dtype: str) -> dict[str, Array]:
    return {n: rounded(a, HALVES[dtype]) for n, a in arrays_of(case, 7, 5, "float32").items()}


@pytest.mark.parametrize("case", EACH, ids=lambda c: c.name)
def test_every_loss(case: Case) -> None:
    for dtype in HALVES:
        halves = halves_of(case, dtype)
        wide = eager(case.build, {n: widened(a) for n, a in halves.items()}, case.by)
        found = eager(case.build, halves, case.by)
        assert all(g.dtype == halves[n].dtype for n, g in zip(case.by, found[1], strict=True))
        assert_rounded_once(case.name, found, wide)


@pytest.mark.parametrize("case", EACH, ids=lambda c: c.name)
def test_halves_beside_float32(case: Case) -> None:
    """One input in half, the others in float32: they lose nothing by it."""
    halves = halves_of(case, "bfloat16")
    plain = {n: widened(a) for n, a in arrays_of(case, 7, 5, "float32").items()}
    name = next(iter(halves))
    mixed = {**plain, name: halves[name]}
    wide = eager(case.build, {n: widened(a) for n, a in mixed.items()}, case.by)
    assert_rounded_once(case.name, eager(case.build, mixed, case.by), wide)


def softmax_then_log(x: Any, y: Any) -> Any:
    return F.nll_loss(gl.layers.log(gl.layers.softmax(x)), y)


def entropy(x: Any, y: Any) -> Any:
    return F.cross_entropy(x, y, label_smoothing=0.1)


LOSSES: dict[str, tuple[Build, str]] = {
    "cross_entropy": (lambda x, y: F.cross_entropy(x, y), "labels"),
    "label smoothing": (entropy, "labels"),
    "softmax, log, nll": (softmax_then_log, "labels"),
    "mse": (lambda x, y: F.mse_loss(x, y), "numbers"),
    "bce with logits": (lambda x, y: F.binary_cross_entropy_with_logits(x, y), "shares"),
    "smooth l1": (lambda x, y: F.smooth_l1_loss(x, y), "numbers"),
    "cosine": (lambda x, y: F.cosine_embedding_loss(x, y, gl.layers.fill_constant([9], "float32", 1.0)), "numbers"),
}


def inputs(kind: str, shape: tuple[int, ...], dtype: str) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    x = rounded(rng.normal(0, 3, shape), HALVES[dtype])
    if kind == "labels":
        return {"x": x, "y": rng.integers(0, shape[1], (shape[0], *shape[2:]))}
    y = rng.uniform(0, 1, shape) if kind == "shares" else rng.normal(0, 3, shape)
    return {"x": x, "y": rounded(y, HALVES[dtype])}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", LOSSES)
def test_compiled(name: str, dtype: str) -> None:
    """Against float32 bit by bit, and against float64 to the accuracy of float32."""
    build, kind = LOSSES[name]
    halves = inputs(kind, (9, 37), dtype)
    by = [n for n, a in halves.items() if a.dtype == HALVES[dtype]]
    found = compiled(build, halves, by, free=True)
    wide = compiled(build, {n: widened(a) for n, a in halves.items()}, by, free=True)
    assert_rounded_once(name, found, wide)
    exact = eager(build, {n: a if a.dtype.kind == "i" else a.astype(np.float64) for n, a in halves.items()}, by)
    np.testing.assert_allclose(found[0], exact[0], rtol=2e-6)
    unit = float(ml_dtypes.finfo(HALVES[dtype]).eps)
    for g, e in zip(found[1], exact[1], strict=True):
        # half a unit of the rounding, of numbers below the normal ones one of them
        tiny = float(ml_dtypes.finfo(HALVES[dtype]).smallest_subnormal)
        np.testing.assert_allclose(g.astype(np.float64), e, rtol=0.5 * unit + 1e-5, atol=0.5 * tiny + 1e-8)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((5, 1), "float16"), ((33, 5), "float16"), ((33, 5), "bfloat16"), ((7, 16), "bfloat16"), ((18, 17), "float16"),
     ((3, 130), "bfloat16"), ((2, 3, 300), "bfloat16"), ((0, 4), "float16")],
)  # fmt: skip
def test_shapes_of_each_tile(shape: tuple[int, ...], dtype: str) -> None:
    halves = inputs("labels", shape, dtype)
    build, _ = LOSSES["cross_entropy"]
    wide = compiled(build, {n: widened(a) for n, a in halves.items()}, ["x"])
    assert_rounded_once(str(shape), compiled(build, halves, ["x"]), wide)


def program(build: Callable[..., Any], dtype: str, kind: str) -> tuple[gl.Program, list[Any]]:
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        x = gl.data("x", [None, 100], dtype)
        y = gl.data("y", [None], "int64") if kind == "labels" else gl.data("y", [None, 100], dtype)
        loss = build(x, y)
        return main, [loss, *gl.gradients([loss], [x])]


@pytest.mark.parametrize(("name", "reads"), [("cross_entropy", 208), ("mse", 400), ("bce with logits", 400)])
def test_casts_are_part_of_the_kernels(name: str, reads: int) -> None:
    """As many kernels, half the bytes from and to memory."""
    found = []
    for dtype in ("float32", "bfloat16"):
        build, kind = LOSSES[name]
        main, fetches = program(build, dtype, kind)
        found.append(gl.explain(main, fetches))
    wide, half = (len(e.kernels) for e in found)
    assert wide == half
    assert f"needed at least: reads {reads}*x.0 B, writes 200*x.0+4 B" in str(found[1])


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
def test_gradient_of_several_uses_is_rounded_once(run: Callable[..., Any]) -> None:
    """1 + 2⁻⁹ + 2⁻⁹ is a bfloat16's neighbour of 1 only if it is added up first."""
    x = np.ones(3, HALVES["bfloat16"])
    small = 2.0**-8

    def build(x: Any) -> Any:
        return gl.layers.reduce_sum(x * 1.0 + gl.layers.reshape(x, [3]) * small + x[0:3] * small)

    _, (grad,) = run(build, {"x": x}, ["x"])
    assert grad.astype(np.float64).tolist() == [1 + 2.0**-7] * 3


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
def test_a_gradient_too_large_for_float16_is_infinite(run: Callable[..., Any]) -> None:
    x = np.array([1.0, -2.0], np.float16)
    value, (grad,) = run(lambda x: gl.layers.reduce_sum(x * 1e5), {"x": x}, ["x"])
    assert value.astype(np.float64) == pytest.approx(-1e5)
    assert grad.tolist() == [np.inf, np.inf]
