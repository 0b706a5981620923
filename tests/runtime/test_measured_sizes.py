"""Dimensions that depend on data: bound in the run, eager as compiled, whatever there is behind them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import DtypeError, ShapeError
from graphloss.inspect import explain
from graphloss.passes.measure import measured
from tests.losses.runners import RUNNERS, compiled

LABELS = ([0, 2, 3, 1, 4, 2], [0, 1, 0, 1, 0, 0], [2] * 6, [])


def arrays(labels: list[int]) -> dict[str, Any]:
    return {"x": np.random.default_rng(1).normal(size=(len(labels), 3)), "y": np.array(labels, np.int64)}


def above(x: Any, y: Any) -> Any:
    """The log-softmax of the rows of class 2 and more at y − 2, back at their places, zeros elsewhere."""
    rows = ops.rows_where(y >= 2)
    log_p = ops.log_softmax(2.0 * ops.gather(x, rows), axis=1)
    picked = ops.pick(log_p, ops.gather(y, rows) - 2, 1)
    return ops.scatter_add(rows, picked, y.type.shape)


def reference(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = np.exp(2 * x)
    p = z / z.sum(1, keepdims=True)
    loss, grad = np.zeros(len(y)), np.zeros_like(x)
    for i, c in enumerate(y):
        if c >= 2:
            loss[i] = np.log(p[i, c - 2])
            grad[i] = 2 * ((np.arange(3) == c - 2) - p[i])
    return loss, grad


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("labels", LABELS)
def test_rows_by_value(labels: list[int], runner: str) -> None:
    given = arrays(labels)
    value, (grad,) = RUNNERS[runner](above, given, ["x"])
    want = reference(**given)
    np.testing.assert_allclose(value, want[0], rtol=1e-12)
    np.testing.assert_allclose(grad, want[1], rtol=1e-12, atol=1e-15)


def test_one_program_for_all_batches_and_counts() -> None:
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        x, y = gl.data("x", [None, 3], "float64"), gl.data("y", [None], "int64")
        x.stop_gradient = False
        rows = ops.rows_where(y >= 2)
        loss = above(x, y)
        count = ops.size(rows.type.shape)
        (grad,) = gl.gradients([loss], [x])
    exe = gl.Executor(gl.CPUPlace())
    for labels in LABELS * 2:
        given = arrays(labels)
        found = exe.run(main, feed=given, fetch_list=[loss, grad, rows, count])
        for got, want in zip(found[:2], reference(**given), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)
        assert found[2].tolist() == [i for i, c in enumerate(labels) if c >= 2]
        assert found[3] == len(found[2])


def test_sizes_of_sizes() -> None:
    """A mask that is computed on rows that were chosen."""

    def build(x: Any, y: Any) -> Any:
        first = ops.rows_where(y >= 2)
        second = ops.rows_where(ops.gather(y, first) >= 3)
        both = ops.gather(first, second)
        return ops.scatter_add(both, ops.reduce_sum(ops.exp(ops.gather(x, both)), (1,)), y.type.shape)

    given = arrays([0, 2, 3, 1, 4, 2])
    value, (grad,) = compiled(build, given, ["x"])
    at = np.array([False, False, True, False, True, False])
    np.testing.assert_allclose(value, np.where(at, np.exp(given["x"]).sum(1), 0), rtol=1e-12)
    np.testing.assert_allclose(grad, np.where(at[:, None], np.exp(given["x"]), 0), rtol=1e-12)


def test_what_was_drawn_before_the_cut_is_the_same_behind_it() -> None:
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        u = ops.uniform((1000,))
        chosen = ops.gather(u, ops.rows_where(u < 0.5))
    exe = gl.Executor(gl.CPUPlace())
    a, b = (exe.run(main, fetch_list=[u, chosen]) for _ in range(2))
    np.testing.assert_array_equal(a[1], a[0][a[0] < 0.5])
    assert not np.array_equal(a[0], b[0])


def test_states_are_read_and_written_behind_the_cut() -> None:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        y = gl.data("y", [None], "int64")
        w = gl.layers.create_parameter([4], "float64", default_initializer=gl.initializer.Constant(1.0))
        loss = ops.reduce_sum(ops.square(ops.gather(w, ops.gather(y, ops.rows_where(y >= 2)))))
        gl.optimizer.SGD(0.25).minimize(loss)
    scope, exe = gl.Scope(), gl.Executor(gl.CPUPlace())
    exe.run(startup, scope=scope)
    exe.run(main, feed={"y": np.array([0, 2, 3, 3])}, scope=scope)
    np.testing.assert_array_equal(np.array(scope.find_var(w.name).get_tensor()), [1, 1, 0.5, 0])


def test_an_error_before_the_cut_and_one_behind_it() -> None:
    for limit, message in ((3, "row 4"), (9, "row 1: .* = 4")):
        with pytest.raises(gl.errors.LabelError, match=message):
            compiled(
                lambda y, limit=limit: ops.gather(
                    ops.iota((4,), 0), ops.gather(y, ops.rows_where(ops.check_index(y, limit) >= 2))
                ),
                {"y": np.array([0, 2, 1, 0, 4])},
            )


def test_it_prints_parses_and_explains() -> None:
    main = gl.Program()
    with gl.program_guard(main, gl.Program()), gl.unique_name.guard():
        x, y = gl.data("x", [None, 3], "float64"), gl.data("y", [None], "int64")
        loss = above(x, y)
    assert "rows_where" in str(main) and "i64[rows]" in str(main)
    again = gl.Program.parse_from_string(str(main))
    given = arrays([0, 2, 3])
    (value,) = gl.Executor(gl.CPUPlace()).run(again, feed=given, fetch_list=[loss.name])
    np.testing.assert_allclose(value, reference(**given)[0], rtol=1e-12)
    explanation = explain(main, [loss])
    assert "rows_where" in explanation.after()
    assert "run first:\nkernels: " in str(explanation)
    assert "  host rows_where, which binds sizes of the rest\nthen:\nkernels: " in str(explanation)
    assert measured(main.snapshot([y])) is None


def test_it_is_compared_and_compiled_as_a_function() -> None:
    given = arrays([0, 2, 3, 1])
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        x, y = gl.data("x", [None, 3], "float64"), gl.data("y", [None], "int64")
        loss = ops.reduce_sum(above(x, y))
    assert any(f"worst {n} ULP" in str(gl.compare(main, given, [loss])) for n in (0, 1, 2))
    function = gl.compile(lambda x, y: ops.reduce_sum(above(x, y)))
    want = reference(**given)
    for labels in ([0, 2, 3, 1], [0, 0]):
        given = arrays(labels)
        want = reference(**given)
        value, grad = function.value_and_grad()(given["x"], given["y"])
        np.testing.assert_allclose(value, want[0].sum(), rtol=1e-12)
        np.testing.assert_allclose(grad, want[1], rtol=1e-12, atol=1e-15)


def test_threads_share_a_program() -> None:
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        x, y = gl.data("x", [None, 3], "float64"), gl.data("y", [None], "int64")
        loss = above(x, y)
    exe = gl.Executor(gl.CPUPlace())

    def one(i: int) -> bool:
        given = arrays((LABELS[i % 3] * 3)[: 6 + i % 5])
        (value,) = exe.run(main, feed=given, fetch_list=[loss])
        return bool(np.allclose(value, reference(**given)[0]))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(60)))


def test_only_a_mask_of_rows() -> None:
    with gl.program_guard(gl.Program(), gl.Program()):
        with pytest.raises(DtypeError, match="the mask"):
            ops.rows_where(gl.data("a", [None], "int64"))
        with pytest.raises(ShapeError, match="mask of them"):
            ops.rows_where(gl.data("b", [None, 2], "bool"))


def test_a_size_is_enough_and_what_has_it_may_be_measured_again() -> None:
    rng = np.random.default_rng(2)
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        x, y = gl.data("x", [None, 3], "float32", lod_level=1), gl.data("y", [None, 1], "int64", lod_level=1)
        read = gl.layers.ctc_greedy_decoder(x, blank=2)
        distance, _ = gl.layers.edit_distance(read, y, normalized=False)
        count = gl.layers.size(read)
    scores = np.eye(3, dtype="float32")[[0, 0, 2, 1, 1, 0, 2, 2, 0]] + rng.random((9, 3), "float32") / 2
    labels = np.array([[0], [1], [1], [0]])
    feed = {"x": gl.create_lod_tensor(scores, [[5, 4]]), "y": gl.create_lod_tensor(labels, [[2, 2]])}
    exe = gl.Executor(gl.CPUPlace())
    assert exe.run(main, feed={"x": feed["x"]}, fetch_list=[count])[0].tolist() == [4]  # 0 1, 0 0
    np.testing.assert_array_equal(exe.run(main, feed=feed, fetch_list=[distance])[0], [[0], [1]])
