"""Random programs: the optimised program is the program, exactly computed; its text reads back.

For each element: where the naive float64 value is finite, the optimised one is as close to the exact value as it (or
as the inputs'
last digits allow); where the naive value saturates, the optimised one is exact too or not finite, never wrong and
finite.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from graphloss.ir.graph import Graph
from graphloss.ir.parser import parse_graph
from graphloss.ir.printer import print_graph
from graphloss.ir.verify import verify
from graphloss.ops.evaluate import evaluate
from graphloss.options import CompileOptions
from graphloss.passes.pipelines import lower_only, optimise
from graphloss.runtime.compile import compile_graph
from graphloss.runtime.compiled import Compiled
from tests import exact
from tests.property.programs import random_program

COUNT, MORE, BLOCK = 2000, 20_000, 50
RELATIVE, ABSOLUTE = 1e-9, 2e-15
DIGITS = 320


def blocks() -> list[object]:
    return [
        pytest.param(i, marks=() if i < COUNT else pytest.mark.slow) for i in range(0, MORE, BLOCK)
    ]  # fmt: skip


def compiled(graph: Graph, passes: bool, feeds: dict[str, exact.Array]) -> dict[str, exact.Array]:
    options = CompileOptions(passes=passes, cache=False)
    unit = Compiled(compile_graph(graph, options), options)
    results = dict(zip(unit.code.plan.results, unit.run([feeds[n] for n in unit.inputs]), strict=True))
    return {name: results[final] for name, final in zip(graph.fetches, unit.code.graph.fetches, strict=True)}


@pytest.mark.parametrize("first", blocks())
def test_optimised_is_exact(first: int) -> None:
    for seed in range(first, first + BLOCK):
        check(seed)


def check(seed: int) -> None:
    graph, feeds = random_program(seed)
    assert parse_graph(print_graph(graph)) == graph, f"seed {seed}: the text reads back differently"
    naive_graph, best_graph = lower_only(graph), optimise(graph)
    verify(naive_graph)
    verify(best_graph)
    assert parse_graph(print_graph(best_graph)) == best_graph, f"seed {seed}: the optimised text reads back differently"
    with np.errstate(all="ignore"):
        values = evaluate(naive_graph, feeds)
        naive = {name: values[final] for name, final in zip(graph.fetches, naive_graph.fetches, strict=True)}
        best = compiled(graph, True, feeds)
        plain = compiled(graph, False, feeds) if seed % 4 == 0 else None
        rng = np.random.default_rng(seed)
        nudged = {n: a * (1 + 1e-15 * rng.choice([-1.0, 1.0], a.shape)) for n, a in feeds.items()}
    with mpmath.workdps(DIGITS):
        truth, near = (exact.evaluate(naive_graph, given) for given in (feeds, nudged))
        for name, final in zip(graph.fetches, naive_graph.fetches, strict=True):
            there = exact.plain(truth[final]), exact.plain(near[final])
            _compare(seed, name, best[name], naive[name], *there)
            if plain is not None:
                _compare(seed, f"{name} unoptimised", plain[name], naive[name], *there)


def _compare(seed: int, name: str, got: exact.Array, naive: exact.Array, truth: exact.Array, near: exact.Array) -> None:
    mp = mpmath.mp
    # differences of neighbours in one tensor (a gradient of softmax, a logarithm near 1) keep the digits of its
    # largest element
    size = max((abs(t) for t in truth.ravel() if mp.isfinite(t)), default=mp.mpf(0))
    size = max(size, mp.mpf(1))  # losses and their cotangents are of that size
    for i in np.ndindex(*got.shape):
        want = truth[i]
        if not mp.isfinite(want) or not mp.isfinite(near[i]) or not np.isfinite(got[i]):
            # the naive formula leaves the reals here, or nothing is claimed
            assert np.isfinite(got[i]) or not np.isfinite(naive[i]) or not mp.isfinite(want), (
                f"seed {seed}, {name}{list(i)}: {got[i]} for {want}"
            )
            continue
        error = abs(mp.mpf(float(got[i])) - want)
        allowed = RELATIVE * abs(want) + 1e5 * abs(near[i] - want) + mp.mpf(1e-300)
        if np.isfinite(naive[i]):
            allowed = max(allowed, 8 * abs(mp.mpf(float(naive[i])) - want))
        assert error <= max(allowed, ABSOLUTE * size), (
            f"seed {seed}, {name}{list(i)}: {got[i]!r}, exact {mp.nstr(want, 17)}, naive {naive[i]!r}"
        )
