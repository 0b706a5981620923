"""One program from several threads, with several threads inside, after a fork: always the same bits."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import LabelError
from graphloss.nn import functional as F
from graphloss.runtime import executor

Array = npt.NDArray[Any]
Feed = dict[str, Array]


@pytest.fixture(autouse=True)
def thread_count() -> Iterator[None]:
    before = gl.get_num_threads()
    yield
    gl.set_num_threads(before)


class Model:
    def __init__(self, name: str) -> None:
        self.main = gl.Program()
        with gl.program_guard(self.main, gl.Program()):
            self.fetches = list(FORMULAS[name]())

    def run(self, exe: gl.Executor, feed: Feed) -> list[bytes]:
        return [a.tobytes() for a in exe.run(self.main, feed, self.fetches)]


def entropy(classes: int | None) -> tuple[gl.Variable, ...]:
    x, y = gl.data("x", [None, classes]), gl.data("y", [None], "int64")
    loss = F.cross_entropy(x, y)
    return loss, gl.gradients([loss], [x])[0]


def channels() -> tuple[gl.Variable, ...]:
    x, y = gl.data("x", [None, 6, None]), gl.data("y", [None, None], "int64")
    loss = F.cross_entropy(x, y)
    return loss, gl.gradients([loss], [x])[0]


def sums() -> tuple[gl.Variable, ...]:
    x = gl.data("x", [None, None])
    y = ops.mul(ops.exp(x), x)
    return (
        ops.reduce_sum(y, axis=[0]), ops.reduce_sum(y, axis=[1]), ops.reduce_mean(y), ops.reduce_max(x, axis=[0]),
        ops.reduce_sum(ops.cast(x, dtype="float64")),
    )  # fmt: skip


def contrast() -> tuple[gl.Variable, ...]:
    """Cross entropy over both axes of a matrix product."""
    a, b = gl.data("a", [None, 16]), gl.data("b", [None, 16])
    product = ops.matmul(a, ops.transpose(b, perm=[1, 0]))
    rows = ops.reduce_mean(ops.logsumexp(product, axis=[1]))
    loss = ops.add(rows, ops.reduce_mean(ops.logsumexp(product, axis=[0])))
    return loss, *gl.gradients([loss], [a, b])


FORMULAS: dict[str, Callable[[], tuple[gl.Variable, ...]]] = {
    "5 classes": lambda: entropy(5),
    "40 classes": lambda: entropy(40),
    "any classes": lambda: entropy(None),
    "channels": channels,
    "sums": sums,
    "contrast": contrast,
}


def feed_of(name: str, n: int, seed: int) -> Feed:
    rng = np.random.default_rng(seed)
    if name == "channels":
        shape: tuple[int, ...] = (n, 6, 1 + n // 2)
        classes = 6
    elif name == "contrast":
        return {k: rng.normal(size=(n, 16)).astype("float32") for k in "ab"}
    else:
        classes = {"5 classes": 5, "40 classes": 40}.get(name, 300)
        shape = (n, classes)
    feed = {"x": rng.normal(size=shape).astype("float32")}
    if name != "sums":
        feed["y"] = rng.integers(0, classes, (n, *shape[2:]))
    return feed


BIG = {"5 classes": 70_000, "40 classes": 12_000, "any classes": 1_500, "channels": 400, "sums": 2_000, "contrast": 700}


def together(jobs: list[Callable[[], None]]) -> None:
    """Runs all of them at once; the first exception of any is raised here."""
    faults: list[BaseException] = []
    start = threading.Barrier(len(jobs))

    def work(job: Callable[[], None]) -> None:
        start.wait()
        try:
            job()
        except BaseException as error:
            faults.append(error)

    workers = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    if faults:
        raise faults[0]


@pytest.mark.parametrize("name", FORMULAS)
def test_the_same_bits_for_any_number_of_threads(name: str, seed: int) -> None:
    model, exe, feed = Model(name), gl.Executor(), feed_of(name, BIG[name], seed)
    gl.set_num_threads(1)
    alone = model.run(exe, feed)
    for n in (2, 3, 7):
        gl.set_num_threads(n)
        for _ in range(3):
            assert model.run(exe, feed) == alone
    own = gl.Executor(options=gl.CompileOptions(threads=2))
    assert Model(name).run(own, feed) == alone


@pytest.mark.parametrize("inside", [1, 3])
@pytest.mark.parametrize("name", FORMULAS)
def test_threads_that_share_an_executor_and_a_program(name: str, inside: int) -> None:
    gl.set_num_threads(inside)
    model, exe = Model(name), gl.Executor()
    sizes = [1, 3, 16, 33, 100, 257]
    feeds = [feed_of(name, n, n) for n in sizes]
    alone = [Model(name).run(gl.Executor(), f) for f in feeds]

    def job(first: int) -> Callable[[], None]:
        def run() -> None:
            for i in range(first, first + 24):
                which = i % len(feeds)
                assert model.run(exe, feeds[which]) == alone[which], f"{sizes[which]} rows"

        return run

    together([job(first) for first in range(4)])  # the first of them compile at the same time


def test_a_failure_in_one_thread_is_none_in_another() -> None:
    gl.set_num_threads(2)
    model, exe, feed = Model("40 classes"), gl.Executor(), feed_of("40 classes", 3_000, 1)
    alone = model.run(exe, feed)
    refused = [0]

    def failing(row: int) -> Callable[[], None]:
        bad = {**feed, "y": feed["y"].copy()}
        bad["y"][row] = 40 + row

        def run() -> None:
            for _ in range(20):
                with pytest.raises(LabelError) as caught:
                    model.run(exe, bad)
                assert f"row {row}: y[{row}] = {40 + row} is out of range" in str(caught.value)
                refused[0] += 1

        return run

    def good() -> None:
        for _ in range(20):
            assert model.run(exe, feed) == alone

    together([failing(7), good, failing(2_999), good])
    assert refused == [40]


def test_each_thread_has_its_own_program_and_scope() -> None:
    def job(seed: int) -> Callable[[], None]:
        def run() -> None:
            main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
            with gl.program_guard(main, startup), gl.scope_guard(scope):
                x = gl.data("x", [None, 4])
                loss = gl.layers.mean(gl.layers.square(gl.layers.fc(x, size=3)))
                gl.optimizer.SGD(learning_rate=0.05).minimize(loss)
                assert len(main.all_parameters()) == 2
                exe = gl.Executor()
                exe.run(startup)
                values = np.random.default_rng(seed).normal(size=(8, 4)).astype("float32")
                losses = [float(exe.run(main, {"x": values}, [loss])[0].item()) for _ in range(30)]
                assert losses[-1] < losses[0]
                assert set(scope.holders) >= {p.name for p in main.all_parameters()}

        return run

    before = dict(gl.global_scope().holders)
    together([job(seed) for seed in range(4)])
    assert gl.global_scope().holders == before


@pytest.mark.parametrize("name", ["5 classes", "40 classes", "channels"])
def test_labels_that_change_during_the_run(name: str) -> None:
    """An index is loaded once: what was checked is what is used. Anything else would read at 2**40 and crash."""
    gl.set_num_threads(2)
    model, exe, feed = Model(name), gl.Executor(), feed_of(name, 60 if name == "channels" else 3_000, 8)
    labels, over, outcomes = feed["y"].reshape(-1), threading.Event(), {"result": 0, "error": 0}

    def change() -> None:
        while not over.is_set():
            labels[:] = 2**40
            labels[:] = 1

    def runs() -> None:
        try:
            for _ in range(500):
                try:
                    loss = exe.run(model.main, feed, model.fetches)[0]
                except LabelError:
                    outcomes["error"] += 1
                else:
                    assert np.isfinite(loss).all()
                    outcomes["result"] += 1
        finally:
            over.set()

    together([change, runs])
    assert outcomes["error"] + outcomes["result"] == 500
    labels[:] = 1
    assert model.run(exe, feed) == Model(name).run(gl.Executor(), feed)


def test_an_edit_while_another_thread_compiles_is_seen() -> None:
    main, exe = gl.Program(), gl.Executor()
    with gl.program_guard(main):
        y = ops.mul(gl.data("x", [None]), 2.0)
        kept = main.global_block().create_var("kept", [None], "float32")
        gl.layers.assign(y, output=kept)
    feed = {"x": np.ones(3, "float32")}
    compile_graph = executor.compile_graph

    def edited(*args: Any, **options: Any) -> Any:
        with gl.program_guard(main):
            gl.layers.assign(ops.mul(y, 5.0), output=kept)
        return compile_graph(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "compile_graph", edited)
        np.testing.assert_array_equal(exe.run(main, feed, [kept])[0], [2, 2, 2])  # as it was when the run began
    np.testing.assert_array_equal(exe.run(main, feed, [kept])[0], [10, 10, 10])


def test_changing_the_number_of_threads_meanwhile() -> None:
    model, exe, feed = Model("sums"), gl.Executor(), feed_of("sums", 500, 3)
    alone = model.run(exe, feed)
    over = threading.Event()

    def change() -> None:
        n = 0
        while not over.is_set() and n < 200:
            gl.set_num_threads(1 + n % 4)
            n += 1

    def runs() -> None:
        try:
            for _ in range(40):
                assert model.run(exe, feed) == alone
        finally:
            over.set()

    together([change, runs])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("inside", [1, 3])
def test_after_a_fork(inside: int) -> None:
    gl.set_num_threads(inside)
    model, exe, feed = Model("40 classes"), gl.Executor(), feed_of("40 classes", BIG["40 classes"], 5)
    alone = model.run(exe, feed)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fresh = Model("5 classes").run(exe, feed_of("5 classes", 100, 6))  # compiles there
            code = 0 if model.run(exe, feed) == alone and fresh else 2
        finally:
            os._exit(code)
    again = model.run(exe, feed)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert again == alone
