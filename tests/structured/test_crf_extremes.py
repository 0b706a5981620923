"""The CRF where products of exponentials underflow, and where they nearly do: every result as in float64 logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from graphloss.ir.opdef import get
from graphloss.ops.structured import crf, crf_products
from tests.codegen.nest_runner import NativeNest

Array = npt.NDArray[Any]

SCALES = (1.0, 10.0, 50.0, 100.0, 150.0, 230.0, 300.0, 500.0, 1e3, 1e4)
REFERENCE = get("linear_chain_crf").reference


def chains(rng: np.random.Generator, kind: str) -> tuple[list[Array], Array]:
    """Weights [R, K], [K, K], [K], [K] that lie far apart, and the number of rows of each sequence."""
    tags, blocks = int(rng.integers(1, 6)), rng.integers(0, 9, int(rng.integers(1, 4)))
    scale, total = float(rng.choice(SCALES)), int(blocks.sum())
    shapes = ((total, tags), (tags, tags), (tags,), (tags,))
    x, w, start, end = (rng.normal(size=shape) * scale * rng.choice([0.01, 1]) for shape in shapes)
    if kind == "a tag nothing leads to":
        w[:, rng.integers(tags)] = -np.inf
    elif kind == "masked emissions":
        x[rng.random(x.shape) < 0.4] = -1e4
    elif kind == "dominance changes":
        x[:] = np.where((np.arange(total)[:, None] + np.arange(tags)) % 2 == 0, scale, -scale)
        w = np.where(np.eye(tags) > 0, 0, -scale * rng.choice([0.5, 1, 2]))
    elif kind == "forbidden":
        for a in (w, x, start, end):
            a[rng.random(a.shape) < rng.choice([0, 0.3])] = -np.inf
    return [x, w, start, end], blocks


KINDS = ("plain", "a tag nothing leads to", "masked emissions", "dominance changes", "forbidden")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_far_apart(kind: str, dtype: str) -> None:
    rng = np.random.default_rng(KINDS.index(kind))
    native = NativeNest(crf.nest((dtype,) * 4 + ("int64",) * 3))
    for _ in range(60):
        weights, blocks = chains(rng, kind)
        offsets = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int64)
        total, tags = weights[0].shape
        arrays = [*(a.astype(dtype) for a in weights), rng.integers(0, tags, total), offsets, blocks.astype(np.int64)]
        want = REFERENCE(arrays, {})
        got, failed = native.run({"B": len(blocks), "R": total, "K": tags}, arrays)
        assert not failed
        size = max(float(np.max(np.abs(a[np.isfinite(a)]), initial=1.0)) for a in weights)
        near = 1e-6 if dtype == "float32" else 1e-15 * size * (total + 1)
        np.testing.assert_allclose(got[0], want[0], rtol=1e-6 if dtype == "float32" else 1e-13, atol=near)
        for g, w in zip(got[1:], want[1:], strict=True):
            np.testing.assert_allclose(g, w, rtol=0, atol=max(near, 1e-6 if dtype == "float32" else 1e-10))


def test_both_ways_are_taken() -> None:
    """By products where they do, in logarithms where they do not: as the least weight that is left decides."""
    w = np.array([[0.0, -400.0], [-400.0, 0.0]])
    close, apart = np.zeros((6, 2)), np.array([[300.0, 0], [300, 0], [300, 0], [0, 300], [0, 300], [0, 300]])
    shares = []
    for x in (close, apart):
        forward, lost = np.exp(x[0] - x[0].max()), False
        for row in x[1:]:
            forward = forward @ np.exp(w) / forward.sum()
            lost |= bool((forward < crf_products.LEAST).any())
            forward = forward * np.exp(row - row.max())
        shares.append(lost)
        arrays = [x, w, np.zeros(2), np.zeros(2), np.zeros(6, np.int64), np.array([0, 6]), np.array([6])]
        got, _ = NativeNest(crf.nest(("float64",) * 4 + ("int64",) * 3)).run({"B": 1, "R": 6, "K": 2}, arrays)
        for g, want in zip(got, REFERENCE(arrays, {}), strict=True):
            np.testing.assert_allclose(g, want, rtol=1e-12, atol=1e-12)
    assert shares == [False, True]
