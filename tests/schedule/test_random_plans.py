"""Random graphs of broadcasts, reductions over any axes, views, slices, products and gradients: their plans give what
the reference evaluation gives. Plans are interpreted; no generated code takes part."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphloss import ops
from graphloss.errors import ShapeError
from graphloss.ir.data import data
from graphloss.ir.defaults import program_guard
from graphloss.ir.graph import Graph
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor
from graphloss.ops.evaluate import evaluate
from graphloss.ops.gradient import gradients
from graphloss.passes.pipelines import lower_only, optimise
from graphloss.schedule.plan import schedule
from tests.schedule.interpret import run

SHAPES = ((3,), (3, 4), (1, 4), (3, 1), (3, 4, 5), (4, 4), (4,), (5,), (2, 3, 4), (1,), (), (6,))
BINARY = (ops.add, ops.mul, ops.sub, ops.maximum)
REDUCE = (ops.reduce_sum, ops.reduce_mean, ops.reduce_max)


def step(rng: np.random.Generator, pool: list[Tensor]) -> Tensor | None:
    def pick(n: int) -> int:
        return int(rng.integers(n))

    v = pool[pick(len(pool))]
    rank = v.type.rank
    match pick(13):
        case 0:
            return ops.exp(ops.tanh(v) * 0.5)
        case 1:
            return ops.tanh(v)
        case 2 | 3 | 4:
            return BINARY[pick(4)](v, pool[pick(len(pool))])
        case 5 if rank:
            axes = sorted({pick(rank) for _ in range(1 + pick(rank))})
            return REDUCE[pick(3)](v, axes, bool(pick(2)))
        case 6 if rank:
            return ops.softmax(v, pick(rank))
        case 7 if rank:
            return ops.transpose(v, [int(p) for p in rng.permutation(rank)])
        case 8 if rank == 3:
            return ops.reshape(v, [v.type.shape[0], -1])
        case 9 if rank:
            return ops.logsumexp(v, pick(rank), bool(pick(2)))
        case 10 if rank:
            return ops.concat([v, v], pick(rank))
        case 11 if rank and rank < 4:
            return ops.getitem(v, (slice(1, None),) if pick(2) else (slice(None, None, -1),))
        case 12 if rank == 2:
            return ops.matmul(v, v, False, True)
    return None


def program(seed: int) -> tuple[Graph, dict[str, np.ndarray[Any, Any]]]:
    rng = np.random.default_rng(seed)
    main, feeds, pool = Program(), {}, []
    with program_guard(main):
        for i in range(int(rng.integers(1, 4))):
            shape = SHAPES[rng.integers(len(SHAPES))]
            free = rng.random() < 0.3
            feeds[f"x{i}"] = rng.normal(size=shape).astype("float32")
            pool.append(data(f"x{i}", [None if free and n != 1 and rng.random() < 0.5 else n for n in shape]))
        first = pool[0]
        for _ in range(14):
            try:
                made = step(rng, pool)
            except ShapeError:
                continue
            if made is not None and made.type.rank <= 4:
                pool.append(made)
        fetches = [pool[-1], *(pool[int(i)] for i in rng.integers(0, len(pool), 3))]
        if seed % 2:
            fetches += [g for g in gradients([ops.reduce_sum(ops.tanh(pool[-1]))], [first]) if g is not None]
    return main.snapshot(list(dict.fromkeys(f.name for f in fetches))), feeds  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_plans_compute_the_reference(first: int) -> None:
    for seed in range(first, first + 20):
        graph, feeds = program(seed)
        plain, best = lower_only(graph), optimise(graph)
        given = {n: feeds[n] for n in graph.feeds}
        try:
            want = evaluate(plain, given)
        except ValueError:
            continue  # sizes that only a run knows do not fit, or there is nothing to take a maximum of
        got = run(schedule(best), best, {n: feeds[n] for n in best.feeds})
        for a, b in zip(best.fetches, plain.fetches, strict=True):
            np.testing.assert_allclose(got[a], want[b], rtol=2e-4, atol=5e-5, err_msg=f"seed {seed}")
