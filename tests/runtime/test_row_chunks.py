"""Programs whose logits exist for some rows at a time: which do, and that their numbers are those of whole logits."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import AttrError, LabelError
from graphloss.inspect.explain import explain
from graphloss.ir import dims
from graphloss.nn import functional as F
from graphloss.options import CompileOptions
from graphloss.runtime.row_chunks import RowChunks
from graphloss.schedule import stages
from graphloss.schedule.chunked import BUDGET, Region
from graphloss.schedule.plan import Plan
from tests.runtime.products import (
    BUILDERS,
    CHUNK,
    Array,
    C,
    D,
    Feed,
    N,
    bias_and_smoothing,
    capped_with_z_loss,
    data,
    distilled,
    fluid,
    hidden_layer,
    inputs,
    plain,
    squared_error,
    two_classes_of_a_row,
    with_gradients,
)


def program(build: Callable[[], list[Any]]) -> tuple[gl.Program, list[Any]]:
    main = gl.Program()
    with gl.unique_name.guard(), gl.program_guard(main, gl.Program()):
        fetches = build()
    return main, fetches


def plan_of(build: Callable[[], list[Any]], **options: Any) -> Plan:
    main, fetches = program(build)
    return explain(main, fetches, CompileOptions(cache=False, **options)).code.plan


def run(build: Callable[[], list[Any]], feed: Feed, **options: Any) -> list[Array]:
    main, fetches = program(build)
    used = {n: a for n, a in feed.items() if main.global_block().has_var(n)}
    return gl.Executor(gl.CPUPlace(), options=CompileOptions(**options)).run(main, feed=used, fetch_list=fetches)


def assert_close(got: list[Array], want: list[Array]) -> None:
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("build", BUILDERS)
def test_the_logits_are_local(build: Callable[[], list[Any]]) -> None:
    plan = plan_of(build)
    (region,) = plan.regions
    logits = [n for n, b in plan.buffers.items() if b.role == "temp" and len(b.shape) == 2 and b.shape[1] == C]
    assert logits and set(logits) <= set(region.local), "every array of rows by classes"
    assert all(plan.buffers[b].shape[0] == 1 for b in region.folds), "one row of sums of columns"


@pytest.mark.parametrize("build", BUILDERS)
def test_numbers_of_row_chunks(build: Callable[[], list[Any]], rng: np.random.Generator) -> None:
    feed = inputs(rng)
    whole = run(build, feed)
    pieces = run(build, feed, row_chunk=CHUNK)
    assert_close(pieces, whole)
    for a, b in zip(pieces, run(build, feed, row_chunk=CHUNK, threads=2), strict=True):
        assert a.tobytes() == b.tobytes(), "the same bits for any number of threads"


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 64, 65, 130])
@pytest.mark.parametrize("build", [bias_and_smoothing, squared_error, two_classes_of_a_row])
def test_numbers_of_batch_sizes(build: Callable[[], list[Any]], n: int, rng: np.random.Generator) -> None:
    feed = inputs(rng, n)
    assert_close(run(build, feed, row_chunk=1), run(build, feed))


@pytest.mark.parametrize("build", BUILDERS)
def test_memory_does_not_grow_with_the_rows(build: Callable[[], list[Any]]) -> None:
    """But by what a row of x is, and a label: no array of rows by classes is there in one piece."""
    plan, (region,) = plan_of(build), plan_of(build).regions
    between = [b for b in plan.buffers.values() if b.role in ("temp", "partial") and b.name not in region.local]

    def held(n: int) -> int:
        env = {s: n for b in plan.buffers.values() for m in b.shape for s in dims.symbols(m)}
        chunks = RowChunks(region, env, 64)
        shapes = {
            b: tuple(dims.evaluate(m, env) for m in plan.buffers[b].shape) for b in (*region.local, *region.folds)
        }
        mine = sum(prod(chunks.shape(b, shape)) for b, shape in shapes.items())
        return mine + sum(prod(dims.evaluate(m, env) for m in b.shape) for b in between if b.name not in region.folds)

    assert held(4096) - held(512) <= (4096 - 512) * 3 * D
    assert held(512) < 512 * C


def test_against_float64(rng: np.random.Generator) -> None:
    feed = inputs(rng)
    x, w, b, y = (feed[n].astype("float64") if n != "y" else feed[n] for n in ("x", "w", "b", "y"))
    z = x @ w.T + b
    lse = np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True)) + z.max(1, keepdims=True)
    kept = y >= 0
    target = np.full((N, C), 0.1 / C)
    target[np.arange(N)[kept], y[kept]] += 0.9
    loss = (target * (lse - z)).sum(1)[kept].mean()
    d = np.where(kept[:, None], np.exp(z - lse) - target, 0) / kept.sum()
    got = run(bias_and_smoothing, feed, row_chunk=CHUNK)
    for a, want in zip(got, (loss, d @ w, d.T @ x, d.sum(0)), strict=True):
        np.testing.assert_allclose(a, want, rtol=1e-5, atol=1e-6)


def test_sums_of_columns_do_not_depend_on_how_many_rows_run_at_a_time(rng: np.random.Generator) -> None:
    def build() -> list[Any]:
        x, w, b, aim = data("x", "w", "b", "aim")
        return gl.gradients([F.mse_loss(F.linear(x, w, b), aim)], [b])

    feed = inputs(rng, 300)
    feed["x"], feed["w"] = np.round(feed["x"]), np.round(feed["w"])  # products without rounding
    (want,) = run(build, feed)
    for chunk in (1, 65, 200):
        for threads in (1, 2):
            (got,) = run(build, feed, row_chunk=chunk, threads=threads)
            assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("build", [bias_and_smoothing, squared_error, hidden_layer])
def test_sums_of_columns_in_a_kernel_of_lanes(
    build: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """As those of very wide rows are planned, alone or with all else that takes one loop over them."""
    feed = inputs(rng, 300)
    want = run(build, feed)
    monkeypatch.setattr(stages, "COLUMNS_WIDE", 0)
    test_the_logits_are_local(build)
    for chunk in (1, 65, 200):
        assert_close(run(build, feed, row_chunk=chunk, cache=False, threads=2), want)


def test_narrow_rows_beside_wide_ones() -> None:
    (region,) = plan_of(hidden_layer).regions
    assert region.chunk({"x.0": 10**6}) * C * 4 < 2 * BUDGET, "chunks of the narrow ones are no larger"


def test_a_bad_label_is_named_by_its_row(rng: np.random.Generator) -> None:
    feed = inputs(rng)
    feed["y"][61] = C
    feed["y"][50] = -1
    with pytest.raises(LabelError, match=r"row 50: y\[50\] = -1"):
        run(plain, feed, row_chunk=CHUNK)


def test_sequences_are_rows(rng: np.random.Generator) -> None:
    feed = inputs(rng)
    x, y = feed["x"].reshape(7, 10, D), feed["y"].reshape(7, 10)

    def batch() -> list[Any]:
        a, w = gl.data("x", [None, None, D]), gl.data("w", [C, D])
        target = gl.data("y", [None, None], "int64")
        each = gl.layers.softmax_with_cross_entropy(F.linear(a, w), gl.layers.unsqueeze(target, [2]))
        return with_gradients(gl.layers.mean(each), a, w)

    (region,) = plan_of(batch).regions
    assert str(region.rows) == "x.0*x.1"
    flat = run(fluid, {**feed, "wt": np.ascontiguousarray(feed["w"].T)})
    loss, dx, dw = run(batch, {**feed, "x": x, "y": y}, row_chunk=CHUNK)
    assert_close([loss, dx.reshape(N, D), dw.T], flat)


def test_training_in_row_chunks(rng: np.random.Generator) -> None:
    feed = inputs(rng)
    feed = {"x": feed["x"], "label": feed["y"][:, None]}

    def trained(**options: Any) -> tuple[Plan, list[Array]]:
        main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
        startup.random_seed = 7
        with gl.unique_name.guard(), gl.program_guard(main, startup):
            x, label = gl.data("x", [None, D]), gl.data("label", [None, 1], "int64")
            hidden = gl.layers.fc(x, 8, act="tanh")
            loss = gl.layers.mean(gl.layers.softmax_with_cross_entropy(gl.layers.fc(hidden, C), label))
            gl.optimizer.SGD(0.5).minimize(loss)
        executor = gl.Executor(gl.CPUPlace(), options=CompileOptions(**options))
        executor.run(startup, scope=scope)
        losses = [executor.run(main, feed, [loss], scope=scope)[0] for _ in range(3)]
        state = [np.array(h.get_tensor()) for n, h in sorted(scope.holders.items()) if h.value is not None]
        return explain(main, [loss]).code.plan, [*losses, *state]

    plan, whole = trained()
    (region,) = plan.regions
    assert sum(len(plan.buffers[b].shape) == 2 and plan.buffers[b].shape[1] == C for b in region.local) == 2
    _, pieces = trained(row_chunk=CHUNK)
    assert_close(pieces, whole)
    assert pieces[2] < pieces[0]


def test_what_needs_whole_logits() -> None:
    def fetched() -> list[Any]:
        x, w, y = data("x", "w", "y")
        logits = F.linear(x, w)
        return [logits, *with_gradients(F.cross_entropy(logits, y), x, w)]

    def scaled_by_a_sum() -> list[Any]:
        x, w, y = data("x", "w", "y")
        loss = F.linear_cross_entropy(x, w, y)
        return with_gradients(loss * loss, x, w)

    def squared() -> list[Any]:
        x, w, aim = data("x", "w", "aim")
        loss = F.mse_loss(F.linear(x, w), aim)
        return with_gradients(loss * loss, x, w)

    def by_columns() -> list[Any]:
        x, w = data("x", "w")
        return with_gradients(gl.layers.reduce_mean(gl.layers.reduce_max(F.linear(x, w), dim=0)), x, w)

    for build in (fetched, scaled_by_a_sum, squared, by_columns):
        plan = plan_of(build)
        logits = next(s.outputs[0] for s in plan.steps if getattr(s, "op", "") == "matmul")
        assert all(logits not in r.local for r in plan.regions), build.__name__


def test_a_hidden_layer_that_is_read_again_stays_whole() -> None:
    def build() -> list[Any]:
        x, w, y = data("x", "w", "y")
        v = gl.data("v", [D, D])
        hidden = gl.layers.relu(F.linear(x, v))
        return with_gradients(F.linear_cross_entropy(hidden, w, y), x, w, v)

    plan = plan_of(build)
    readers: dict[str, list[int]] = {}
    for i, step in enumerate(plan.steps):
        names = getattr(step, "inputs", None) or [b.name for b in step.buffers]  # type: ignore[union-attr]
        for name in names:
            readers.setdefault(name, []).append(i)
    for region in plan.regions:
        for name in region.local:
            assert all(region.begin <= i < region.end for i in readers[name]), "nothing else reads a local buffer"


def test_value_and_gradient_share_memory_where_each_element_is_read_first() -> None:
    def slots(build: Callable[[], list[Any]]) -> int:
        (region,) = plan_of(build).regions
        return len(region.slots)

    assert slots(plain) == 1, "the gradient overwrites the logits"
    assert slots(capped_with_z_loss) == 2, "the derivative of tanh reads the logits again"
    assert slots(distilled) <= 3


def test_known_small_sizes_stay_whole_unless_asked(rng: np.random.Generator) -> None:
    def build() -> list[Any]:
        x, w, y = gl.data("x", [N, D]), gl.data("w", [C, D]), gl.data("y", [N], "int64")
        return with_gradients(F.linear_cross_entropy(x, w, y), x, w)

    assert not plan_of(build).regions
    assert len(plan_of(build, row_chunk=CHUNK).regions) == 1
    feed = inputs(rng)
    assert_close(run(build, feed, row_chunk=CHUNK), run(plain, feed))


def test_chunks_follow_from_the_sizes() -> None:
    def region(rows: int, row: int, grain: int = 16, sums: tuple[int, ...] = ()) -> Region:
        return Region(0, 1, rows, {}, (row,), sums, grain, {})

    assert region(1000, 100).chunk({}) >= 1000, "small: one chunk"
    big = region(10_000, 2**20)
    assert big.chunk({}) * 2**20 <= BUDGET
    assert region(10_000, 2**20, grain=24).chunk({}) % 24 == 0
    assert region(10_000, 2**20, sums=(10 * BUDGET,)).chunk({}) > 2 * big.chunk({}), "memory in step with the results"
    assert region(100, 2**20).chunk({}) == 48, "three chunks of 34 rows, rounded up"
    assert region(0, 2**20).chunk({}) > 0
    assert region(1000, 100, grain=24).chunk({}, forced=25) == 48


def test_explain_shows_row_chunks() -> None:
    main, fetches = program(plain)
    assert "4 steps in row chunks, x.0 rows, 10000 B per row between them" in str(explain(main, fetches))
    with gl.program_guard(big := gl.Program()):
        x, w, y = gl.data("x", [10**5, D]), gl.data("w", [C, D]), gl.data("y", [10**5], "int64")
        fetches = with_gradients(F.linear_cross_entropy(x, w, y), x, w)
    assert "in row chunks of" in str(explain(big, fetches))


def test_the_option_is_a_number_of_rows() -> None:
    with pytest.raises(AttrError, match="row_chunk"):
        CompileOptions(row_chunk=0)
