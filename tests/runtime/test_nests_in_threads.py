"""Loop nests while somebody writes to their feeds, and with any number of threads inside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import LabelError
from graphloss.nn import functional as F

Array = npt.NDArray[Any]
WILD = 2**40


@pytest.fixture(autouse=True)
def thread_count() -> Iterator[None]:
    before = gl.get_num_threads()
    yield
    gl.set_num_threads(before)


@dataclass(frozen=True)
class Case:
    """What is made of the feed, and which integers of the feed somebody changes."""

    make: Callable[..., list[Any]]
    feed: dict[str, Array]
    changing: tuple[str, ...]


def with_gradient(loss: Any, *by: Any) -> list[Any]:
    return [loss, *gl.gradients([loss], list(by))]


def ctc(x: Any, y: Any, n: Any, m: Any) -> list[Any]:
    return with_gradient(F.ctc_loss(F.log_softmax(x, 2), y, n, m, zero_infinity=True), x)


def crf(x: Any, y: Any, w: Any, n: Any) -> list[Any]:
    return with_gradient(F.linear_chain_crf(x, y, w, length=n), x, w)


def viterbi(x: Any, w: Any, n: Any) -> list[Any]:
    path, score = F.crf_viterbi(x, w, length=n)
    return [path, score]


def distance(a: Any, b: Any, n: Any, m: Any) -> list[Any]:
    return [gl.layers.edit_distance(a, b, True, [3], n, m)[0]]


def sums_of_rows(w: Any, i: Any) -> list[Any]:
    return with_gradient(ops.reduce_sum(ops.exp(ops.gather(w, i)), axis=[0, 1]), w)


def cases() -> dict[str, Case]:
    rng = np.random.default_rng(4)

    def floats(*shape: int) -> Array:
        return rng.normal(size=shape).astype(np.float32)

    N, T, C, S = 600, 20, 7, 6
    return {
        "ctc": Case(
            ctc, {
                "x": floats(T, N, C), "y": rng.integers(1, C, (N, S)), "n": rng.integers(S * 2, T + 1, N),
                "m": rng.integers(0, S + 1, N),
            }, ("y", "n", "m"),
        ),
        "crf": Case(
            crf, {
                "x": floats(N, T, C), "y": rng.integers(0, C, (N, T)), "w": floats(C, C),
                "n": rng.integers(0, T + 1, N),
            }, ("y", "n"),
        ),
        "viterbi": Case(viterbi, {"x": floats(N, T, C), "w": floats(C, C), "n": rng.integers(0, T + 1, N)}, ("n",)),
        "edit distance": Case(
            distance, {
                "a": rng.integers(0, 3, (9 * N, T)), "b": rng.integers(0, 3, (9 * N, S)),
                "n": rng.integers(0, T + 1, 9 * N), "m": rng.integers(1, S + 1, 9 * N),
            }, ("n", "m"),
        ),
        "sums of rows": Case(sums_of_rows, {"w": floats(50, 9), "i": rng.integers(0, 50, 40_000)}, ("i",)),
    }  # fmt: skip


NAMES = ("ctc", "crf", "viterbi", "edit distance", "sums of rows")


def build(case: Case) -> tuple[gl.Program, list[gl.Variable]]:
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        given = [gl.data(name, [None] * a.ndim, a.dtype.name) for name, a in case.feed.items()]
        return main, case.make(*given)


@pytest.mark.parametrize("name", NAMES)
def test_same_bits_for_any_number_of_threads(name: str) -> None:
    case = cases()[name]
    main, fetches = build(case)
    found = set()
    for threads in (1, 2, 3):
        gl.set_num_threads(threads)
        found.add(b"".join(a.tobytes() for a in gl.Executor().run(main, case.feed, fetches)))
    assert len(found) == 1


@pytest.mark.parametrize("name", NAMES)
def test_integers_that_change_during_the_run(name: str) -> None:
    """What was checked is what is used: anything else would read at 2**40 and crash."""
    gl.set_num_threads(2)
    case = cases()[name]
    main, fetches = build(case)
    exe, over, runs = gl.Executor(), threading.Event(), 150
    right = {n: case.feed[n].copy() for n in case.changing}
    want = [a.tobytes() for a in exe.run(main, case.feed, fetches)]
    outcomes = {"result": 0, "error": 0}

    def change() -> None:
        step = 0
        while not over.is_set():
            step += 1
            for n, values in right.items():
                case.feed[n].reshape(-1)[step % 7 :: 31] = WILD * (-1) ** step
                case.feed[n][...] = values

    def run() -> None:
        try:
            for _ in range(runs):
                try:
                    exe.run(main, case.feed, fetches)
                except LabelError:
                    outcomes["error"] += 1
                else:
                    outcomes["result"] += 1
        finally:
            over.set()

    other = threading.Thread(target=change)
    other.start()
    run()
    other.join()
    assert outcomes["error"] + outcomes["result"] == runs
    for n, values in right.items():
        case.feed[n][...] = values
    assert [a.tobytes() for a in exe.run(main, case.feed, fetches)] == want
