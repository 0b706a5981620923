"""Sums of rows and of single numbers where an index says: bits, errors, and lanes along the rows that are gathered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import LabelError
from graphloss.losses.scores import chosen_scores


@pytest.mark.parametrize("width", [(), (1,), (3,)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_sums_are_those_of_float64_in_the_order_of_the_index(width: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(1)
    index, updates = rng.integers(0, 7, 500), (rng.normal(size=(500, *width)) * 1000).astype(dtype)
    want = np.zeros((7, *width), np.float64 if dtype != "int64" else np.int64)
    np.add.at(want, index, updates)
    main = gl.Program()
    with gl.program_guard(main):
        i, u = gl.data("i", [None], "int64"), gl.data("u", [None, *width], dtype)
        found = ops.scatter_add(i, u, (7, *width))
    exe = gl.Executor()
    np.testing.assert_array_equal(exe.run(main, {"i": index, "u": updates}, [found])[0], want.astype(dtype))
    (nothing,) = exe.run(main, {"i": index[:0], "u": updates[:0]}, [found])
    np.testing.assert_array_equal(nothing, np.zeros_like(want))
    for bad in (-1, 7, 2**62):
        index[123] = bad
        with pytest.raises(
            LabelError, match=rf"row 123: i\[123\] = {bad} is out of range\n  expected an index in \[0, 7\)"
        ):
            exe.run(main, {"i": index, "u": updates}, [found])


@pytest.mark.parametrize("width", [1, 4])
def test_an_update_of_rows_that_fails_changes_nothing(width: int) -> None:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        table = gl.layers.create_parameter([5, width], "float32", "table")
        i = gl.data("i", [None], "int64")
        gl.optimizer.SGD(0.5).minimize(gl.layers.reduce_sum(ops.gather(table, i)))
    exe, scope = gl.Executor(), gl.Scope()
    exe.run(startup, scope=scope)
    state = scope.find_var("table")
    assert state is not None
    before = np.array(state.get_tensor())
    with pytest.raises(LabelError, match=r"i\[2\] = 5 "):
        exe.run(main, {"i": np.array([0, 1, 5])}, [], scope=scope)
    np.testing.assert_array_equal(np.array(state.get_tensor()), before)
    exe.run(main, {"i": np.array([0, 4, 4, 4])}, [], scope=scope)
    before[[0, 4]] -= np.array([[0.5], [1.5]], "float32")
    np.testing.assert_allclose(np.array(state.get_tensor()), before, rtol=1e-6)


def test_lanes_run_along_the_rows_that_an_index_names() -> None:
    def build(x: Any, ids: Any, w: Any) -> Any:
        return chosen_scores(x, ids, w, None)

    rng = np.random.default_rng(2)
    x, w, ids = (
        rng.normal(size=(6, 33)).astype("f4"),
        rng.normal(size=(50, 33)).astype("f4"),
        rng.integers(0, 50, (6, 5)),
    )
    main = gl.Program()
    with gl.program_guard(main):
        scores = build(gl.data("x", [None, 33]), gl.data("ids", [None, 5], "int64"), gl.data("w", [50, 33]))
    text = gl.explain(main, fetch_list=[scores]).loops()
    assert "tile rows" in text
    assert "tile columns" not in text
    (got,) = gl.Executor().run(main, {"x": x, "ids": ids, "w": w}, [scores])
    np.testing.assert_allclose(got, np.einsum("nd,nmd->nm", x, w[ids]), rtol=1e-5, atol=1e-5)
