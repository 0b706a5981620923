"""What the executor keeps between runs: trained parameters, counters, scopes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops

Array = npt.NDArray[Any]
X = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 4.0]], "float32")


class Trained:
    """w·x against a target, with SGD: w ← w − 0.02·2·mean((w·x − t)·x)."""

    def __init__(self) -> None:
        self.main, self.startup = gl.Program(), gl.Program()
        with gl.unique_name.guard(), gl.program_guard(self.main, self.startup):
            x, t = gl.data("x", [None, 3]), gl.data("t", [None, 1])
            self.out = gl.layers.fc(x, size=1, bias_attr=False, param_attr=gl.ParamAttr(name="w"))
            self.loss = gl.layers.mean(gl.layers.square_error_cost(self.out, t))
            gl.optimizer.SGD(learning_rate=0.02).minimize(self.loss)
        self.feed = {"x": X, "t": np.array([[1], [2]], "float32")}

    def updated(self, w: Array) -> Array:
        x, t = (v.astype("float64") for v in self.feed.values())
        return w - 0.02 * 2 * x.T @ (x @ w - t) / len(x)


def weight(scope: gl.Scope) -> Array:
    holder = scope.find_var("w")
    assert holder is not None
    return np.array(holder.get_tensor())


def test_optimisers_run_whatever_is_fetched() -> None:
    model, exe = Trained(), gl.Executor()
    for fetch in ([], [model.out], [model.loss, "w"]):
        scope = gl.Scope()
        exe.run(model.startup, scope=scope)
        before = weight(scope)
        exe.run(model.main, model.feed, fetch, scope=scope)
        np.testing.assert_allclose(weight(scope), model.updated(before), rtol=1e-4, atol=1e-6)


def test_a_fetch_gives_the_last_value_and_earlier_readers_the_first() -> None:
    model, exe, scope = Trained(), gl.Executor(), gl.Scope()
    exe.run(model.startup, scope=scope)
    before = weight(scope)
    out, w, loss = exe.run(model.main, model.feed, [model.out, "w", model.loss], scope=scope)
    np.testing.assert_allclose(out, X @ before, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, [np.mean((X @ before - model.feed["t"]) ** 2)], rtol=1e-5)
    np.testing.assert_array_equal(w, weight(scope))
    assert not np.array_equal(w, before)
    w[:] = 0  # a fetched parameter is a copy
    assert weight(scope).any()


def test_training_converges_to_the_least_squares() -> None:
    model, exe, scope = Trained(), gl.Executor(), gl.Scope()
    exe.run(model.startup, scope=scope)
    losses = [float(exe.run(model.main, model.feed, [model.loss], scope=scope)[0][0]) for _ in range(200)]
    assert losses[-1] < 1e-5 < losses[0]
    assert all(after <= before * 1.001 + 1e-9 for before, after in pairwise(losses))


def test_a_clone_for_test_trains_nothing() -> None:
    model, exe, scope = Trained(), gl.Executor(), gl.Scope()
    exe.run(model.startup, scope=scope)
    before = weight(scope)
    (loss,) = exe.run(model.main.clone(for_test=True), model.feed, [model.loss.name], scope=scope)
    np.testing.assert_allclose(loss, [np.mean((X @ before - model.feed["t"]) ** 2)], rtol=1e-5)
    np.testing.assert_array_equal(weight(scope), before)


def test_writes_to_a_variable_are_kept_only_if_it_is_persistable() -> None:
    main, scope = gl.Program(), gl.Scope()
    with gl.program_guard(main):
        x = gl.data("x", [1])
        kept = main.global_block().create_var("kept", [1], "float32", persistable=True)
        passing = main.global_block().create_var("passing", [1], "float32")
        gl.layers.assign(x, output=kept)
        gl.layers.assign(x * 2.0, output=passing)
        total = ops.add(kept, passing)
    (got,) = gl.Executor().run(main, {"x": 3.0}, [total], scope=scope)
    np.testing.assert_array_equal(got, [9])
    assert list(scope.holders) == ["kept"]
    np.testing.assert_array_equal(np.array(scope.var("kept").get_tensor()), [3])


def test_a_counter_counts_runs() -> None:
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    with gl.program_guard(main, startup):
        n = gl.layers.create_global_var([1], 0.0, "float32", persistable=True, name="n")
        gl.layers.assign(n + 1.0, output=n)
    exe = gl.Executor()
    exe.run(startup, scope=scope)
    assert [float(exe.run(main, fetch_list=[n], scope=scope)[0][0]) for _ in range(4)] == [1, 2, 3, 4]


# -- scopes -----------------------------------------------------------------------------------------------------------


def test_scopes_are_apart() -> None:
    model, exe = Trained(), gl.Executor()
    one, two = gl.Scope(), gl.Scope()
    with gl.scope_guard(one):
        exe.run(model.startup)
        assert gl.global_scope() is one
    exe.run(model.startup, scope=two)
    before = weight(two)
    exe.run(model.main, model.feed, scope=one)
    np.testing.assert_array_equal(weight(two), before)
    assert gl.global_scope() not in (one, two)
    assert gl.global_scope().find_var("w") is None


def test_the_guard_ends_with_an_exception() -> None:
    outside, scope = gl.global_scope(), gl.Scope()
    seen: list[gl.Scope] = []

    def fail() -> None:
        with gl.scope_guard(scope):
            seen.append(gl.global_scope())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [scope]
    assert gl.global_scope() is outside


def test_a_child_reads_and_writes_the_variable_of_its_parent() -> None:
    model, exe, parent = Trained(), gl.Executor(), gl.Scope()
    exe.run(model.startup, scope=parent)
    before, child = weight(parent), parent.new_scope()
    exe.run(model.main, model.feed, scope=child)
    np.testing.assert_allclose(weight(parent), model.updated(before), rtol=1e-4, atol=1e-6)
    assert "w" not in child.holders
    parent.drop_kids()
    assert parent.find_var("w") is child.find_var("w")


def test_setting_a_variable_copies() -> None:
    model, exe, scope = Trained(), gl.Executor(), gl.Scope()
    exe.run(model.startup, scope=scope)
    mine = np.array([[1], [2], [3]], "float32")
    tensor = scope.var("w").get_tensor()
    tensor.set(mine, gl.CPUPlace())
    exe.run(model.main, model.feed, scope=scope)
    np.testing.assert_array_equal(mine, [[1], [2], [3]])
    np.testing.assert_allclose(weight(scope), model.updated(mine), rtol=1e-4, atol=1e-6)
    assert tensor.shape() == [3, 1]
    np.array(tensor)[:] = 5  # reading copies too
    np.testing.assert_allclose(weight(scope), model.updated(mine), rtol=1e-4, atol=1e-6)
