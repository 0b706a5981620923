"""Partial results of shards: combined, they are the results of the whole batch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, UnsupportedError
from graphloss.ir.data import data
from graphloss.ir.defaults import program_guard
from graphloss.ir.program import Program
from graphloss.ir.variable import Variable
from graphloss.ops.gradient import gradients
from graphloss.runtime.executor import Executor
from graphloss.runtime.partial import Partials, combine

CUTS = ((0, 3), (3, 4), (4, 40))


def classifier() -> tuple[Program, list[Variable]]:
    main = Program()
    with program_guard(main):
        x, y, w = data("x", [None, 17]), data("y", [None], "int64"), data("w", [17, 20])
        rows = ops.neg(ops.pick(ops.log_softmax(ops.matmul(x, w), axis=-1), y, axis=-1))
        weight = ops.reduce_sum(ops.tanh(ops.reduce_mean(x, 1) + 3.0))
        mean, weighted, worst = ops.reduce_mean(rows), ops.reduce_sum(rows) / weight, ops.reduce_max(rows)
        grads = gradients([mean], [x, w])
    return main, [mean, weighted, worst, *grads]  # type: ignore[list-item]


def feeds(rng: np.random.Generator, n: int = 40) -> dict[str, np.ndarray]:
    return {
        "x": rng.normal(size=(n, 17)).astype("float32"),
        "y": rng.integers(0, 20, n),
        "w": rng.normal(size=(17, 20)).astype("float32"),
    }


def shards(feed: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    return [{"x": feed["x"][a:b], "y": feed["y"][a:b], "w": feed["w"]} for a, b in CUTS]


def test_combined_shards_are_the_whole() -> None:
    main, fetches = classifier()
    feed = feeds(np.random.default_rng(0))
    exe = Executor()
    whole = exe.run(main, feed, fetches)
    parts = [exe.run(main, s, fetches, partial=True) for s in shards(feed)]
    # a mean of the shards' means is wrong here, since they differ in size
    naive = np.mean([exe.run(main, s, fetches[:1])[0] for s in shards(feed)])
    assert abs(naive - whole[0]) > 1e-3
    for got, want in zip(combine(parts), whole, strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-7)


def test_partials_travel_between_processes() -> None:
    main, fetches = classifier()
    feed = feeds(np.random.default_rng(1))
    parts = [Executor().run(main, s, fetches, partial=True) for s in shards(feed)]
    for got, want in zip(combine(pickle.loads(pickle.dumps(parts))), combine(parts), strict=True):
        assert np.array_equal(got, want)


def test_a_statistic_of_the_batch_inside_a_sum_is_refused() -> None:
    main = Program()
    with program_guard(main):
        x = data("x", [None, 4])
        centred = x - ops.reduce_mean(x, 0, True)
        variance = ops.reduce_mean(centred * centred)
    with pytest.raises(UnsupportedError, match="has no partial result"):
        Executor().run(main, {"x": np.zeros((3, 4), "float32")}, [variance], partial=True)


def test_what_combine_refuses() -> None:
    main, fetches = classifier()
    feed = feeds(np.random.default_rng(2))
    part = Executor().run(main, feed, fetches, partial=True)
    other = Executor().run(main, feed, fetches[:1], partial=True)
    assert isinstance(part, Partials)
    with pytest.raises(AttrError, match="at least one shard"):
        combine([])
    with pytest.raises(ArgumentTypeError, match="Partials"):
        combine([part, 3])  # type: ignore[list-item]
    with pytest.raises(AttrError, match="different programs"):
        combine([part, other])
