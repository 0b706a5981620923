"""Executor.run: what may be fed and fetched, what runs, when a program is compiled anew."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import AttrError, UnsupportedError

Array = npt.NDArray[Any]
X = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 4.0]], "float32")


def simple() -> tuple[gl.Program, gl.Variable, gl.Variable, gl.Variable]:
    """x [None, 3], y = x², loss = mean(y)."""
    main = gl.Program()
    with gl.unique_name.guard(), gl.program_guard(main, gl.Program()):
        x = gl.data("x", [None, 3])
        y = gl.layers.square(x)
        loss = gl.layers.mean(y)
    return main, x, y, loss


# -- feeds and fetches ----------------------------------------------------------------------------------------------


def test_fetches_by_variable_and_name_in_order() -> None:
    main, x, y, loss = simple()
    got = gl.Executor().run(main, {"x": X}, [loss, "x", y.name, y, loss.name, x])
    want = [[np.mean(X**2)], X, X**2, X**2, [np.mean(X**2)], X]
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-6)
        assert g.dtype == np.float32
    assert got[0].shape == (1,)  # a scalar of this dialect


@pytest.mark.parametrize("form", ["one", "name", "tuple", "none", "empty"])
def test_forms_of_the_fetch_list(form: str) -> None:
    main, _, y, _ = simple()
    fetch: Any = {"one": y, "name": y.name, "tuple": (y,), "none": None, "empty": []}[form]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        got = gl.Executor().run(main, {"x": X}, fetch)
    assert [g.tolist() for g in got] == ([] if form in ("none", "empty") else [(X**2).tolist()])


def test_feed_in_a_list() -> None:
    main, _, y, _ = simple()
    for feed in ([{"x": X}], ({"x": X},)):
        np.testing.assert_array_equal(gl.Executor().run(main, feed, [y])[0], X**2)


def test_results_belong_to_the_caller() -> None:
    main, x, y, _ = simple()
    exe, fed = gl.Executor(), X.copy()
    first, again, same = exe.run(main, {"x": fed}, [y, y, x])
    first[:], same[:] = 7, 9
    np.testing.assert_array_equal(fed, X)
    np.testing.assert_array_equal(again, X**2)
    np.testing.assert_array_equal(exe.run(main, {"x": fed}, [y])[0], X**2)


def test_an_input_that_nothing_reads_may_be_fed_or_not() -> None:
    main, _, y, _ = simple()
    with gl.program_guard(main):
        gl.data("unused", [None, 4], "int64")
    exe = gl.Executor()
    for more in ({}, {"unused": np.zeros((2, 4), "int64")}, {"unused": "whatever"}):
        np.testing.assert_array_equal(exe.run(main, {"x": X, **more}, [y])[0], X**2)


def test_only_what_the_fetches_need_is_asked_for() -> None:
    main, x, y, _ = simple()
    with gl.program_guard(main):
        z = gl.data("z", [None, 3])
        both = ops.add(x, z)
    exe = gl.Executor()
    np.testing.assert_array_equal(exe.run(main, {"x": X}, [y])[0], X**2)
    np.testing.assert_array_equal(exe.run(main, {"x": X, "z": X}, [both])[0], 2 * X)


def test_gradients_by_name() -> None:
    main, x, y, loss = simple()
    x.stop_gradient = False
    gl.append_backward(loss)
    got = gl.Executor().run(main, {"x": X}, ["x@GRAD", y.grad_name, loss.grad_name, loss])
    np.testing.assert_allclose(got[0], 2 * X / X.size, rtol=1e-6)
    np.testing.assert_allclose(got[1], np.full_like(X, 1 / X.size), rtol=1e-6)
    np.testing.assert_array_equal(got[2], [1])


def test_arguments_that_fluid_has() -> None:
    main, _, y, _ = simple()
    (got,) = gl.Executor(gl.CPUPlace()).run(
        program=main, feed={"x": X}, fetch_list=[y], feed_var_name="feed", fetch_var_name="fetch",
        scope=None, return_numpy=True, use_program_cache=True, return_merged=True, use_prune=False,
    )  # fmt: skip
    np.testing.assert_array_equal(got, X**2)


def test_the_default_program() -> None:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        y = gl.layers.square(gl.data("x", [None, 3]))
        np.testing.assert_array_equal(gl.Executor().run(feed={"x": X}, fetch_list=[y])[0], X**2)


def test_a_program_without_ops_warns() -> None:
    with pytest.warns(UserWarning, match="the program has nothing to run") as caught:
        assert gl.Executor().run(gl.Program()) == []
    assert [w.filename for w in caught] == [__file__]  # it points at the call


# -- edits, and options -----------------------------------------------------------------------------------------------


def test_edits_after_a_run_are_seen() -> None:
    main, _, y, loss = simple()
    exe = gl.Executor()
    exe.run(main, {"x": X}, [loss], use_program_cache=True)
    with gl.program_guard(main):
        more = gl.layers.scale(y, scale=2.0)
        gl.layers.assign(more, output=y)  # from here on, y is twice what it was
    got = exe.run(main, {"x": X}, [y, loss, more], use_program_cache=True)
    np.testing.assert_array_equal(got[0], 2 * X**2)
    np.testing.assert_allclose(got[1], [np.mean(X**2)], rtol=1e-6)
    y.name = "renamed"
    np.testing.assert_array_equal(exe.run(main, {"x": X}, ["renamed"])[0], 2 * X**2)
    with pytest.raises(ValueError, match=r"unknown variable 'square_0\.tmp_0'"):
        exe.run(main, {"x": X}, ["square_0.tmp_0"])


def test_a_variable_that_becomes_persistable_is_state() -> None:
    main, scope = gl.Program(), gl.Scope()
    with gl.program_guard(main):
        x = gl.data("x", [1])
        v = main.global_block().create_var("v", [1], "float32")
        gl.layers.assign(x, output=v)
    exe = gl.Executor()
    exe.run(main, {"x": 1.0}, [v], scope=scope)
    assert scope.find_var("v") is None
    v.persistable = True
    exe.run(main, {"x": 2.0}, [], scope=scope)
    np.testing.assert_array_equal(np.array(scope.var("v").get_tensor()), [2])


def naive() -> tuple[gl.Program, gl.Variable]:
    main = gl.Program()
    with gl.program_guard(main):
        return main, ops.log(gl.layers.softmax(gl.data("x", [None, 3])))


LARGE = np.array([[1e4, 0, -1e4]], "float32")


def test_without_passes_a_naive_formula_saturates() -> None:
    main, loss = naive()
    exe, strategy = gl.Executor(), gl.BuildStrategy()
    np.testing.assert_array_equal(exe.run(main, {"x": LARGE}, [loss])[0], [[0, -1e4, -2e4]])
    strategy.passes = False
    compiled = gl.CompiledProgram(main, strategy)
    np.testing.assert_array_equal(exe.run(compiled, {"x": LARGE}, [loss])[0], [[0, -np.inf, -np.inf]])
    np.testing.assert_array_equal(exe.run(main, {"x": LARGE}, [loss])[0], [[0, -1e4, -2e4]])
    plain = gl.Executor(options=gl.CompileOptions(passes=False))
    np.testing.assert_array_equal(plain.run(main, {"x": LARGE}, [loss])[0], [[0, -np.inf, -np.inf]])


def test_data_parallel_is_one_batch() -> None:
    main, loss = naive()
    execution = gl.ExecutionStrategy()
    assert execution.num_threads == 0
    execution.num_threads = 3
    compiled = gl.CompiledProgram(main)
    assert compiled.with_data_parallel(loss_name=loss.name, exec_strategy=execution) is compiled
    np.testing.assert_array_equal(gl.Executor().run(compiled, {"x": LARGE}, [loss])[0], [[0, -1e4, -2e4]])
    with pytest.raises(UnsupportedError) as caught:
        compiled.with_data_parallel()
    assert str(caught.value) == "with_data_parallel was called already\n  hint: make a new CompiledProgram"
    execution.num_threads = 5000
    with pytest.raises(AttrError) as refused:
        gl.Executor().run(compiled, {"x": LARGE}, [loss])
    assert str(refused.value) == "threads is out of range\n  expected 1 to 1024, got 5000"


def test_strategies_have_the_attributes_of_fluid() -> None:
    build, execution = gl.BuildStrategy(), gl.ExecutionStrategy()
    assert build.memory_optimize is None and build.enable_inplace is True and build.num_trainers == 1
    build.fuse_elewise_add_act_ops = build.enable_auto_fusion = True
    build.reduce_strategy = gl.BuildStrategy.ReduceStrategy.Reduce
    build.gradient_scale_strategy = gl.BuildStrategy.GradientScaleStrategy.One
    execution.num_iteration_per_drop_scope = 1
    main, loss = naive()
    (got,) = gl.Executor().run(gl.CompiledProgram(main, build_strategy=build), {"x": LARGE}, [loss])
    np.testing.assert_array_equal(got, [[0, -1e4, -2e4]])


def test_random_numbers_come_from_the_seed() -> None:
    def drawn(seed: int) -> list[Array]:
        main = gl.Program()
        main.random_seed = seed
        with gl.program_guard(main):
            u = gl.layers.uniform_random([100], min=0.0, max=1.0)
        return [gl.Executor().run(main, fetch_list=[u])[0] for _ in range(2)]

    first, again = drawn(5)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, drawn(5)[0])
    assert not np.array_equal(first, drawn(6)[0])
    assert not np.array_equal(drawn(0)[0], drawn(0)[0])
    assert not np.array_equal(*drawn(0))


def test_a_run_draws_once() -> None:
    """Value, gradient and state of one run hold the same numbers, of whatever seed."""
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    with gl.program_guard(main, startup):
        x = gl.data("x", [None, 3], "float32")
        u = gl.layers.uniform_random([3])
        kept = gl.layers.create_global_var([3], 0.0, "float32", persistable=True, name="kept")
        loss = gl.layers.reduce_sum(x * u)
        (g,) = gl.gradients([loss], [x])
        gl.layers.assign(u, kept)
    exe = gl.Executor()
    exe.run(startup, scope=scope)
    feed, seen = {"x": np.eye(2, 3, dtype="float32")}, []
    for _ in range(2):
        value, noise, slope = exe.run(main, feed=feed, fetch_list=[loss, u, g], scope=scope)
        np.testing.assert_array_equal(slope, np.stack([noise, noise]))
        np.testing.assert_allclose(value, noise[0] + noise[1], rtol=1e-6)
        np.testing.assert_array_equal(np.array(scope.find_var("kept").get_tensor()), noise)
        seen.append(noise)
    assert not np.array_equal(*seen)


def test_a_number_drawn_anew_has_no_partial_result() -> None:
    def build(seed: int) -> tuple[gl.Program, object]:
        main = gl.Program()
        main.random_seed = seed
        with gl.program_guard(main):
            x = gl.data("x", [None], "float32")
            return main, gl.layers.reduce_mean(x) * gl.layers.reduce_sum(gl.layers.uniform_random([3]))

    feed = {"x": np.ones(4, "float32")}
    main, loss = build(5)
    parts = gl.Executor().run(main, feed=feed, fetch_list=[loss], partial=True)
    np.testing.assert_array_equal(gl.combine([parts])[0], gl.Executor().run(main, feed=feed, fetch_list=[loss])[0])
    main, loss = build(0)
    with pytest.raises(gl.errors.UnsupportedError, match="draws other numbers"):
        gl.Executor().run(main, feed=feed, fetch_list=[loss], partial=True)
