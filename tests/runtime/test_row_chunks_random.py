"""Random programs of matrix products and other ops: in chunks of a row or two they are what they are whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from graphloss import ops
from graphloss.ir.data import data
from graphloss.ir.defaults import program_guard
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor
from graphloss.ops.evaluate import evaluate
from graphloss.ops.gradient import gradients
from graphloss.options import CompileOptions
from graphloss.passes.pipelines import lower_only
from graphloss.runtime.compile import compile_graph
from graphloss.runtime.compiled import Compiled
from graphloss.schedule import row_walks, rows, stages
from graphloss.schedule.chunked import writes

Array = npt.NDArray[Any]
N, C, D = 11, 40, 4  # wide enough for kernels whose chunks are single rows
PROGRAMS = 50


def wide(rng: np.random.Generator, x: Tensor, y: Tensor, scores: Tensor) -> Callable[[Tensor], Tensor]:
    """An op from (N, C) to (N, C), one of those that mix rows or columns or nothing."""
    steps: list[Callable[[Tensor], Tensor]] = [
        lambda z: ops.tanh(z),
        lambda z: z * 0.5 + scores,
        lambda z: ops.softmax(z, 1),
        lambda z: ops.log_softmax(z, 1),
        lambda z: z - ops.reduce_mean(z, 1, keepdims=True),
        lambda z: z - ops.reduce_mean(z, 0, keepdims=True),
        lambda z: z * ops.unsqueeze(ops.pick(z, y), 1),
        lambda z: ops.reshape(ops.reshape(z, (z.type.shape[0], 8, 5)), z.type.shape),
        lambda z: ops.concat([ops.slice_axes(z, [1], [20], [C]), ops.slice_axes(z, [1], [0], [20])], 1),
        lambda z: ops.gather(z, ops.iota([z.type.shape[0]], 0, "int64")),
        lambda z: z / (1 + ops.reduce_sum(ops.square(z))),
        lambda z: ops.where(z > 0.1, z, scores),
        lambda z: ops.square(z) * z + ops.reduce_sum(z, 0, keepdims=True),
        lambda z: ops.reshape(ops.softmax(ops.reshape(z, (z.type.shape[0], 8, 5)), 1), z.type.shape),
        lambda z: ops.reshape(ops.softmax(ops.reshape(z, (z.type.shape[0], 8, 5)), 2), z.type.shape),
        lambda z: z + ops.reduce_sum(ops.matmul(x, x, transpose_y=True), 1, keepdims=True),
    ]
    return steps[int(rng.integers(len(steps)))]


def program(seed: int) -> tuple[Program, list[Tensor]]:
    rng = np.random.default_rng(seed)
    main = Program()
    with program_guard(main):
        x, w, v = data("x", [None, D], "float64"), data("w", [C, D], "float64"), data("v", [D, C], "float64")
        y, scores, bias = data("y", [None], "int64"), data("s", [None, C], "float64"), data("b", [C], "float64")
        first = ops.matmul(x, w, transpose_y=True) if rng.random() < 0.5 else ops.matmul(x, v)
        pool = [first, ops.matmul(ops.tanh(x), v)]
        for _ in range(int(rng.integers(1, 5))):
            z = pool[int(rng.integers(len(pool)))]
            pool.append(wide(rng, x, y, scores)(z))
        z = pool[-1] + pool[int(rng.integers(len(pool)))] + bias
        rows = ops.reshape(z, (z.type.shape[0], 8, 5))
        each = (
            lambda: ops.reduce_sum(ops.softmax(z, 1) * pool[0], 1),
            lambda: ops.logsumexp(z, 1),
            lambda: ops.square(z - scores),
            lambda: ops.logsumexp(rows, 1) + ops.unsqueeze(ops.pick(z, y), 1),
            lambda: ops.log_softmax(rows, 1) * ops.reshape(scores, (x.type.shape[0], 8, 5)),
        )[int(rng.integers(5))]()
        loss = ops.reduce_mean(each)
        wanted = [g for g in gradients([loss], [x, w, v, bias]) if g is not None]
        extra = [pool[int(rng.integers(len(pool)))]] if rng.random() < 0.3 else []
        extra += [ops.reduce_max(z, 0), ops.reduce_min(pool[-1], 0)] if rng.random() < 0.3 else []
    return main, [loss, *wanted, *extra]


@pytest.mark.parametrize("first", range(0, PROGRAMS, 10))
def test_chunks_of_rows(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "CHUNK", 8)
    monkeypatch.setattr(row_walks, "ROWS", 1)
    monkeypatch.setattr(row_walks, "COLUMN_ROWS", 2)
    regions = folds = 0
    for seed in range(first, first + 10):
        monkeypatch.setattr(stages, "COLUMNS_WIDE", 0 if seed % 3 == 0 else C)
        main, fetches = program(seed)
        graph = main.snapshot([f.name for f in fetches])  # type: ignore[attr-defined]
        rng = np.random.default_rng(1000 + seed)
        shapes = {"x": (N, D), "w": (C, D), "v": (D, C), "s": (N, C), "b": (C,)}
        feeds: dict[str, Array] = {n: rng.normal(size=s) for n, s in shapes.items()}
        feeds["y"] = rng.integers(0, C, N)
        plain = lower_only(graph)
        want = evaluate(plain, {n: feeds[n] for n in plain.feeds})
        options = CompileOptions(row_chunk=int(rng.integers(1, 3)), cache=False, threads=1 + seed % 2)
        unit = Compiled(compile_graph(graph, options), options)
        regions += len(unit.code.plan.regions)
        folds += sum(len(r.folds) for r in unit.code.plan.regions)
        got = dict(zip(unit.code.plan.results, unit.run([feeds[n] for n in unit.inputs]), strict=True))
        for name, final, whole in zip(graph.fetches, unit.code.graph.fetches, plain.fetches, strict=True):
            np.testing.assert_allclose(got[final], want[whole], rtol=1e-9, atol=1e-11, err_msg=f"seed {seed}, {name}")
    assert regions and folds


@pytest.mark.parametrize("of_row", [False, True])
def test_what_other_parts_of_a_row_still_need(of_row: bool) -> None:
    """Each part of a row reads the first one, in another pass than the one that writes."""
    main = Program()
    with program_guard(main):
        x, v, u = data("x", [None, D], "float64"), data("v", [D, C], "float64"), data("u", [C, D], "float64")
        flat = ops.matmul(x, v)
        whole = flat.type.shape
        parts = ops.reshape(flat, (whole[0], 8, 5))
        if of_row:
            sums = ops.reduce_sum(parts, 2, keepdims=True)
            z = ops.tanh(parts * sums - ops.slice_axes(parts, [1, 2], [0, 0], [1, 1]))
        else:
            sums = ops.reduce_sum(parts * ops.slice_axes(parts, [1], [0], [1]), 2, keepdims=True)
            z = parts - sums
        first = ops.matmul(ops.reshape(z, whole), u)
        second = ops.matmul(flat * ops.reduce_sum(first, 1, keepdims=True), u)
    graph = main.snapshot([first.name, second.name])  # type: ignore[attr-defined]
    rng = np.random.default_rng(4)
    feeds: dict[str, Array] = {"x": rng.normal(size=(N, D)), "v": rng.normal(size=(D, C)), "u": rng.normal(size=(C, D))}
    plain = lower_only(graph)
    want = evaluate(plain, {n: feeds[n] for n in plain.feeds})
    options = CompileOptions(row_chunk=1, cache=False, threads=1)
    unit = Compiled(compile_graph(graph, options), options)
    (region,) = unit.code.plan.regions
    assert len(region.slots) < len(region.local), "some memory is used twice"
    for got, name in zip(unit.run([feeds[n] for n in unit.inputs]), plain.fetches, strict=True):
        np.testing.assert_allclose(got, want[name], rtol=1e-9, atol=1e-11)


def test_what_a_step_ahead_of_two_regions_has_written_in_part() -> None:
    """Half of a value is written ahead of the first region, half in the second one: it exists whole."""
    main = Program()
    with program_guard(main):
        x, v, u = data("x", [None, D], "float64"), data("v", [D, C], "float64"), data("u", [C, D], "float64")
        scores = data("s", [None, C], "float64")
        total = ops.reduce_sum(ops.tanh(ops.matmul(x, v)))
        second = ops.matmul(x * total, v)
        both = ops.concat([ops.slice_axes(scores, [1], [0], [20]), ops.slice_axes(second, [1], [20], [C])], 1)
        out = ops.matmul(ops.softmax(both, 1), u)
    graph = main.snapshot([out.name])  # type: ignore[attr-defined]
    rng = np.random.default_rng(6)
    shapes = {"x": (N, D), "v": (D, C), "u": (C, D), "s": (N, C)}
    feeds: dict[str, Array] = {n: rng.normal(size=s) for n, s in shapes.items()}
    plain = lower_only(graph)
    want = evaluate(plain, {n: feeds[n] for n in plain.feeds})[plain.fetches[0]]
    options = CompileOptions(row_chunk=1, cache=False, threads=1)
    unit = Compiled(compile_graph(graph, options), options)
    assert len(unit.code.plan.regions) == 2
    for region in unit.code.plan.regions:
        inside = unit.code.plan.steps[region.begin : region.end]
        elsewhere = [s for s in unit.code.plan.steps if not any(s is t for t in inside)]
        assert not any(set(writes(s)) & set(region.local) for s in elsewhere)
    (got,) = unit.run([feeds[n] for n in unit.inputs])
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)
