"""Each textbook spelling at ±1e4 in float32: finite and exact, value and gradient, whatever else is fetched."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from graphloss.ir.graph import Graph
from graphloss.ops.evaluate import evaluate
from graphloss.passes.pipelines import lower_only, optimise
from tests.passes import exact
from tests.passes.spellings import SPELLINGS, Spelling
from tests.rules.graphs import build

TOLERANCE = 1e-5


def run(graph: Graph, spelling: Spelling) -> list[np.ndarray]:
    values = evaluate(graph, spelling.feeds)
    return [values[n] for n in graph.fetches]


def assert_exact(got: np.ndarray, want: np.ndarray, what: str) -> None:
    want = np.asarray(want, dtype=object)
    assert got.shape == want.shape, what
    scale = max((abs(v) for v in want.ravel()), default=mpmath.mpf(0))
    for i in np.ndindex(*got.shape):
        assert np.isfinite(got[i]), f"{what}[{i}] is {got[i]}, exact {mpmath.nstr(want[i], 9)}"
        error = abs(mpmath.mpf(float(got[i])) - want[i])
        # where the exact value is below the smallest float32, or the rounding of terms of the row's size, 0 is right
        allowed = TOLERANCE * abs(want[i]) + 1e-7 * min(scale, mpmath.mpf(1)) + 1e-37
        assert error <= allowed, f"{what}[{i}] is {got[i]!r}, exact {mpmath.nstr(want[i], 9)}"


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: s.name)
def test_spelling(spelling: Spelling) -> None:
    graph = build(spelling.types, spelling.build, wrt=["x"])
    forward = graph.replace(ops=graph.ops[:-1], fetches=graph.fetches[:1])
    with mpmath.workdps(exact.DIGITS):
        want = exact.values(forward, spelling.feeds)[0]
        slope = exact.gradient(forward, spelling.feeds, "x")
        value, grad = run(optimise(graph), spelling)
        assert_exact(value, want, "value")
        assert_exact(grad, slope, "gradient")
        if not spelling.saturates:
            return
        naive = run(lower_only(graph), spelling)
        with pytest.raises(AssertionError):
            assert_exact(naive[0], want, "value")
            assert_exact(naive[1], slope, "gradient")


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: s.name)
def test_the_same_bits_with_everything_fetched(spelling: Spelling) -> None:
    graph = build(spelling.types, spelling.build, wrt=["x"])
    alone = run(optimise(graph), spelling)
    every = graph.replace(fetches=(*graph.fetches, *(o for op in graph.ops for o in op.outputs)))
    together = run(optimise(every), spelling)
    for a, b in zip(alone, together, strict=False):
        np.testing.assert_array_equal(a, b)
