"""Each textbook spelling at ±1e4 in float32: finite and exact, value and gradient, whatever else is fetched."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from graphloss import ops
from graphloss.ir.graph import Graph
from graphloss.ops.evaluate import evaluate
from graphloss.passes.pipelines import lower_only, optimise
from tests import exact
from tests.passes.spellings import SPELLINGS, Spelling
from tests.rules.graphs import build

DIGITS = 9000  # of e^-20000 beside 1
TOLERANCE = 1e-5
# Elements of a softmax's gradient are differences within the row.
ROUNDING = 2e-7


def run(graph: Graph, spelling: Spelling) -> list[np.ndarray]:
    values = evaluate(graph, spelling.feeds)
    return [values[n] for n in graph.fetches]


def text(x: mpmath.mpf) -> str:
    with mpmath.workdps(15):
        return str(mpmath.nstr(+x, 9))


def assert_exact(got: np.ndarray, want: np.ndarray, what: str, row: float = 0.0) -> None:
    """Each element to 1e-5 of itself; `row` allows a rounding error of so much of the largest element of its row."""
    want = np.asarray(want, dtype=object)
    assert got.shape == want.shape, what
    for i in np.ndindex(*got.shape):
        assert np.isfinite(got[i]), f"{what}{list(i)} is {got[i]}, exact {text(want[i])}"
        error = abs(mpmath.mpf(float(got[i])) - want[i])
        largest = max(abs(v) for v in want[i[:-1]]) if got.ndim > 1 else 0
        # below the normal numbers of float32 there are fewer digits, and then 0
        allowed = TOLERANCE * abs(want[i]) + row * largest + 2e-38
        assert error <= allowed, f"{what}{list(i)} is {got[i]!r}, exact {text(want[i])}"


def is_exact(got: np.ndarray, want: np.ndarray, row: float = 0.0) -> bool:
    try:
        assert_exact(got, want, "", row)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: s.name)
def test_spelling(spelling: Spelling) -> None:
    graph = build(spelling.types, spelling.build, wrt=["x"])
    forward = graph.replace(ops=graph.ops[:-1], fetches=graph.fetches[:1])
    with mpmath.workdps(DIGITS):
        want, slope = exact.value_and_gradient(forward, spelling.feeds, "x")
        value, grad = run(optimise(graph), spelling)
        assert_exact(value, want, "value")
        assert_exact(grad, slope, "gradient", ROUNDING)
        if not spelling.saturates:
            return
        naive = run(lower_only(graph), spelling)
        assert not (is_exact(naive[0], want) and is_exact(naive[1], slope, ROUNDING)), "the naive form is exact too"


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: s.name)
def test_the_same_bits_with_everything_fetched(spelling: Spelling) -> None:
    graph = build(spelling.types, spelling.build, wrt=["x"])
    alone = run(optimise(graph), spelling)
    every = graph.replace(fetches=(*graph.fetches, *(o for op in graph.ops for o in op.outputs)))
    together = run(optimise(every), spelling)
    for a, b in zip(alone, together, strict=False):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: s.name)
def test_nan_stays_in_its_row(spelling: Spelling) -> None:
    """A NaN in row 1 makes row 1 NaN, and changes no bit of another row."""
    graph = build(spelling.types, spelling.build)
    if graph.types[graph.fetches[0]].rank == 0:
        pytest.fail("a spelling gives a value for each row")
    plain = run(optimise(graph), spelling)[0]
    x = spelling.feeds["x"].copy()
    x[(1,) * x.ndim] = np.nan
    values = evaluate(optimise(graph), {**spelling.feeds, "x": x})
    broken = values[optimise(graph).fetches[0]]
    assert np.isnan(broken[1]).any()
    others = [i for i in range(len(x)) if i != 1]
    np.testing.assert_array_equal(broken[others], plain[others])


UNTOUCHED = {
    "log(p + eps)": lambda x: ops.log(ops.softmax(x) + 1e-6),
    "log_loss": lambda x: -(0.3 * ops.log(ops.sigmoid(x) + 1e-4) + 0.7 * ops.log((1.0 - ops.sigmoid(x)) + 1e-4)),
    "clipped": lambda x: ops.log(ops.clip(ops.softmax(x), 1e-6, 1.0)),
    "log of another tensor": lambda x: ops.softmax(x) * ops.log(ops.abs(x)),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_what_must_stay(name: str) -> None:
    """What was added to a probability counts: these have the values they have without the optimiser."""
    graph = build({"x": "f64[N, C]"}, UNTOUCHED[name], wrt=["x"])
    x = np.array([[200.0, -200.0, 3.0], [0.5, -0.25, 1.0]])
    a, b = (evaluate(lower(graph), {"x": x}) for lower in (optimise, lower_only))
    for p, q in zip(optimise(graph).fetches, lower_only(graph).fetches, strict=True):
        np.testing.assert_allclose(a[p], b[q], rtol=1e-9, atol=1e-12)
