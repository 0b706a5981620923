"""The spellings as native code: exact at ±1e4, alone and with every intermediate fetched, to the same bits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from graphloss.ir.graph import Graph
from graphloss.options import CompileOptions
from graphloss.runtime.compile import compile_graph
from graphloss.runtime.compiled import Compiled
from tests import exact
from tests.passes.spellings import SPELLINGS, Spelling
from tests.passes.test_spellings import DIGITS, ROUNDING, assert_exact
from tests.rules.graphs import build

OPTIONS = CompileOptions(threads=1, cache=False)


def run(graph: Graph, spelling: Spelling) -> list[np.ndarray]:
    unit = Compiled(compile_graph(graph, OPTIONS), OPTIONS)
    results = dict(zip(unit.code.plan.results, unit.run([spelling.feeds[n] for n in unit.inputs]), strict=True))
    return [results[n] for n in unit.code.graph.fetches]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: s.name)
def test_compiled(spelling: Spelling) -> None:
    graph = build(spelling.types, spelling.build, wrt=["x"])
    forward = graph.replace(ops=graph.ops[:-1], fetches=graph.fetches[:1])
    value, grad = run(graph, spelling)
    with mpmath.workdps(DIGITS):
        want, slope = exact.value_and_gradient(forward, spelling.feeds, "x")
        assert_exact(value, want, "value")
        assert_exact(grad, slope, "gradient", ROUNDING)
    others = tuple(o for op in graph.ops[:-1] for o in op.outputs if o not in graph.fetches)
    together = run(graph.replace(fetches=(*graph.fetches, *others)), spelling)
    np.testing.assert_array_equal(together[0], value)
    np.testing.assert_array_equal(together[1], grad)
