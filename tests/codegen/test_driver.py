"""Drivers of several kernels: the order, the dispatch to threads, the status block under contention."""

from __future__ import annotations

import ctypes
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from graphloss.codegen.kernel import emit_module
from graphloss.codegen.table import DISPATCH, NO_ROW, Table, chunks, extent
from graphloss.codegen.target import Target
from graphloss.ir import dims
from graphloss.schedule.kernel import Kernel, Tile
from tests.codegen.kernel_runner import Build, Compiled, E, R, S

N, C = dims.symbol("N"), dims.symbol("C")
KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
DISPATCHER = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


def lookup(grain: int = 64) -> Kernel:
    """loss[n] = log Σ exp(x) - x[n, y[n]], with its sum."""
    b = Build(Tile.ROWS, (N,), C, grain=grain)
    label = b.check(R, [0], b.load("y", R, [0], "int64", (1, 0)), C)
    picked = b.pick("x", R, [0], label, 1, strides=(C, 0))
    z = b.reduce("sum", 0, b.apply("exp", E, [0], b.load("x", E, [0])))
    loss = b.apply("sub", R, [1], b.apply("log", R, [1], z), picked)
    b.store("loss", R, [1], loss, (1, 0))
    b.total("sum", R, 1, loss, "p")
    return b.kernel("sum")


def finish(first: Kernel) -> Kernel:
    b = Build(Tile.ROWS, (), chunks(first))
    total = b.reduce("sum", 0, b.load("p", E, [0], "float64"))
    mean = b.apply("div", R, [1], total, b.dim(N, "float64"))
    b.store("mean", R, [1], b.apply("cast", R, [1], mean, dtype="float32"), (0,))
    return b.kernel("mean")


def arrays(rng: np.random.Generator, n: int, c: int) -> dict[str, np.ndarray]:
    return {"x": rng.normal(size=(n, c)).astype("float32"), "y": rng.integers(0, c, n), "loss": np.zeros(n, "float32"),
            "p": np.zeros(-(-n // 64)), "mean": np.zeros((), "float32")}  # fmt: skip


@pytest.mark.parametrize(("n", "dispatched"), [(600, True), (100, False)])
def test_chunks_go_to_the_dispatcher_if_there_is_enough_work(
    rng: np.random.Generator, n: int, dispatched: bool
) -> None:
    first = lookup()
    compiled = Compiled(first, finish(first))
    data = arrays(rng, n, 300)
    env = {"N": n, "C": 300}
    assert not compiled.run(env, data)
    alone = {name: a.tobytes() for name, a in data.items()}
    np.testing.assert_allclose(data["mean"], data["loss"].mean(dtype="float64"), rtol=1e-6)

    calls = []

    def dispatch(kernel: int, table: int, count: int) -> None:
        calls.append(count)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda i: KERNEL(kernel)(table, i, i + 1), reversed(range(count))))

    for name in ("loss", "p", "mean"):
        data[name][...] = 0
    words, status = compiled.argument(env, data)
    callback = DISPATCHER(dispatch)
    words[DISPATCH] = ctypes.cast(callback, ctypes.c_void_p).value
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(compiled.loaded["run_0"])(words.ctypes.data)
    assert calls == ([-(-n // 64)] if dispatched else [])
    assert status[0].tolist() == [NO_ROW, 0, 0]
    assert {name: a.tobytes() for name, a in data.items()} == alone


def test_lowest_row_wins_between_threads(rng: np.random.Generator) -> None:
    compiled = Compiled(lookup(grain=3))
    data = arrays(rng, 999, 5)
    data["p"] = np.zeros(333)
    data["y"][100:] = rng.integers(5, 99, 899)
    words, status = compiled.argument({"N": 999, "C": 5}, data)
    kernel = KERNEL(compiled.loaded["k0"])
    with ThreadPoolExecutor(4) as pool:
        for _ in range(20):
            status[:] = NO_ROW, 0, 0
            list(pool.map(lambda i: kernel(words.ctypes.data, i, min(i + 37, 333)), reversed(range(0, 333, 37))))
            assert status[0].tolist() == [100, data["y"][100], 0]


def test_table_holds_each_symbolic_size_once() -> None:
    first = lookup()
    table = Table.build([first, finish(first)])
    assert table.checks == 1
    assert len(set(table.dims)) == len(table.dims)
    assert not any(isinstance(d, int) for d in table.dims)
    assert {N, C, chunks(first), extent(first), dims.mul(N, C)} <= set(table.dims)
    assert table.buffers == ("y", "x", "loss", "p", "mean")
    words = [*map(table.dim_index, table.dims), *map(table.buffer_index, table.buffers)]
    assert words == list(range(2, table.slots))


def test_text_holds_no_names_and_no_addresses() -> None:
    kernel = lookup()
    secret = {b.name: f"user_{b.name}" for b in kernel.buffers}
    nodes = []
    for node in kernel.nodes:
        action = node.action
        if hasattr(action, "access"):
            action = replace(action, access=replace(action.access, buffer=secret[action.access.buffer]))
        nodes.append(replace(node, action=action))
    buffers = tuple(replace(b, name=secret[b.name]) for b in kernel.buffers)
    named = replace(kernel, name="user_kernel", nodes=tuple(nodes), buffers=buffers)
    table = Table.build([named])
    text = str(emit_module([named], table, Target.host(), [["user_kernel"]]))
    assert "user" not in text
    assert text == str(emit_module([named], table, Target.host(), [["user_kernel"]]))
    assert not re.search(r"inttoptr \(i64 \d+ to", text)


def test_scalars_only() -> None:
    b = Build(Tile.ROWS, (), None, passes=0, grain=1)
    loss = b.apply("div", S, [], b.load("sum", S, [], strides=()), b.load("count", S, [], strides=()))
    b.store("loss", S, [], loss, ())
    data = {"sum": np.full((), 6, "float32"), "count": np.full((), 4, "float32"), "loss": np.zeros((), "float32")}
    Compiled(b.kernel()).run({}, data)
    assert data["loss"] == 1.5
