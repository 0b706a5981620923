"""Loop nests on arrays between forbidden pages, with labels and lengths of all kinds: one step too far is a crash.

A program of its own: ``python -m tests.structured.guarded``. Linux only.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import LabelError
from graphloss.options import CompileOptions
from tests.runtime.guarded import Guarded
from tests.structured.test_ctc_op import batch, spoiled

Array = npt.NDArray[Any]
NAMES = ("scores", "labels", "input_lengths", "label_lengths")
Draw = Callable[[np.random.Generator], tuple[Array, ...]]


def tokens(rng: np.random.Generator, bad: bool) -> tuple[Array, ...]:
    N, A, B = (int(n) for n in rng.integers(1, 20, 3))
    arrays = (
        rng.integers(0, 4, (N, A)),
        rng.integers(0, 4, (N, B)),
        rng.integers(0, A + 1, N),
        rng.integers(1, B + 1, N),
    )
    if bad:
        arrays[2 + rng.integers(2)][rng.integers(N)] = rng.choice([-1, 20, 2**40, -(2**63), 2**63 - 1])
    return arrays


def good(packed: bool) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[Array, ...]:
        T, N, C, S = (int(n) for n in rng.integers([0, 0, 2, 0], [20, 6, 36, 20]))
        return batch(rng, T, N, C, S, packed=packed)

    return draw


def cases() -> list[tuple[str, Callable[..., Any], list[int], Draw, Draw]]:
    """Name, op, ranks of its inputs, data as they should be, and as they should not."""
    found: list[tuple[str, Callable[..., Any], list[int], Draw, Draw]] = []
    for name, op in (("ctc", ops.ctc), ("ctc_with_logits", ops.ctc_with_logits)):
        for packed in (False, True):
            ranks = [3, 1 if packed else 2, 1, 1]
            found.append((name, op, ranks, good(packed), lambda rng, packed=packed: spoiled(rng, packed)))  # type: ignore[misc]
    edit = lambda a, b, n, m: (ops.edit_distance(a, b, n, m, True, (9,)),)  # noqa: E731
    found.append(("edit_distance", edit, [2, 2, 1, 1], lambda rng: tokens(rng, False), lambda rng: tokens(rng, True)))
    return found


def run(good_runs: int, bad_runs: int) -> int:
    memory, rng, count = Guarded(64), np.random.default_rng(12), 0
    for name, op, ranks, draw, draw_bad in cases():
        print(name, ranks, flush=True)
        main = gl.Program()
        with gl.program_guard(main):
            dtypes = ["int64" if name == "edit_distance" else "float32", *["int64"] * 3]
            given = [gl.data(n, [None] * r, d) for n, r, d in zip(NAMES, ranks, dtypes, strict=True)]
            fetches = [v.name for v in op(*given)]
            if name != "edit_distance":
                (gradient,) = gl.gradients([main.global_block().var(fetches[0])], [given[0]])
                fetches.append(gradient.name)
        executor, fresh = gl.Executor(options=CompileOptions(threads=1)), main.clone()
        for k in range(good_runs + bad_runs):
            bad = k >= good_runs
            arrays = (draw_bad if bad else draw)(rng)
            feed = {n: a.astype(d) for n, a, d in zip(NAMES, arrays, dtypes, strict=True)}
            want = None if bad else executor.run(main, feed, fetches)
            with memory.in_use(at_end=k % 2 == 0):
                placed = {n: memory.feed(a) for n, a in feed.items()}
                if want is None:
                    with pytest.raises(LabelError, match="is out of range"):
                        executor.run(fresh, placed, fetches)
                else:
                    got = executor.run(fresh, placed, fetches)
                    assert all(g.tobytes() == w.tobytes() for g, w in zip(got, want, strict=True)), feed
            count += 1
    return count


if __name__ == "__main__":
    faulthandler.enable()
    print("runs:", run(100, 400))
