"""Rows of Python values as feeds: in the input's dtype and shape, and nothing is lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import ArgumentTypeError, DtypeError, FeedError, GraphlossError, ShapeError, UnknownVariable


def program() -> gl.Program:
    main = gl.Program()
    with gl.program_guard(main):
        gl.data("x", [None, 2, 2])
        gl.data("y", [None, 1], "int64")
        words = gl.data("words", [None, 1], "int64", lod_level=1)
        gl.data("deep", [None], "float64", lod_level=2)
        gl.layers.scale(words, 2.0)
    return main


def test_plain_inputs() -> None:
    main = program()
    feeder = gl.DataFeeder([main.var("x"), "y"], gl.CPUPlace(), main)
    rows = [(np.arange(4.0), 3), ([0, 1, 2, 3], np.int32(1)), ([True] * 4, [2])]
    feed = feeder.feed(rows[:2])
    assert {n: (a.dtype.name, a.shape) for n, a in feed.items()} == {
        "x": ("float32", (2, 2, 2)),
        "y": ("int64", (2, 1)),
    }
    assert np.asarray(feed["x"]).tolist() == [[[0, 1], [2, 3]]] * 2
    assert np.asarray(feeder.feed(iter(rows[2:]))["y"]).tolist() == [[2]]
    assert [np.shape(a) for a in feeder.feed([]).values()] == [(0, 2, 2), (0, 1)]
    with gl.program_guard(main):
        x, y = feeder.feed([([[1, 2], [3, 4]], 5)]).values()
        total = gl.layers.reduce_sum(main.var("x"))
        assert gl.Executor().run(main, feed={"x": x, "y": y}, fetch_list=[total])[0] == [10]
        assert list(gl.DataFeeder(["y"]).feed([[1]])) == ["y"]


def test_sequences() -> None:
    main = program()
    feed = gl.DataFeeder(["words", "deep"], program=main).feed([([1, 2, 3], [[0.5], [1, 2]]), ([], []), ([4], [[3]])])
    words, deep = feed["words"], feed["deep"]
    assert isinstance(words, gl.LoDTensor) and isinstance(deep, gl.LoDTensor)
    assert words.recursive_sequence_lengths() == [[3, 0, 1]]
    assert np.array(words).tolist() == [[1], [2], [3], [4]]
    assert deep.recursive_sequence_lengths() == [[2, 0, 1], [1, 2, 1]]
    assert np.array(deep).tolist() == [0.5, 1, 2, 3]


@pytest.mark.parametrize(
    ("names", "rows", "error", "words"),
    [
        (["y"], [[1.5]], DtypeError, "truncated"),
        (["y"], [["a"]], ArgumentTypeError, "numbers"),
        (["y"], [[1], [1, 2]], ShapeError, "row 1"),
        (["y"], [1], ArgumentTypeError, "row 0"),
        (["x"], [[[1, 2, 3]]], ShapeError, "its shape"),
        (["x"], [[[1, 2]], [[1, 2, 3]]], ShapeError, "differ in shape"),
        (["words"], [[3]], ArgumentTypeError, "sequences"),
        (["z"], [], UnknownVariable, "unknown variable 'z'"),
        (["scale_0.tmp_0"], [], FeedError, "no input"),
        ([3], [], ArgumentTypeError, "list of inputs"),
        ("y", [], ArgumentTypeError, "list of inputs"),
    ],
)
def test_refusals(names: Any, rows: Any, error: type[GraphlossError], words: str) -> None:
    with gl.unique_name.guard():
        main = program()
    with pytest.raises(error, match=words):
        gl.DataFeeder(names, program=main).feed(rows)
