"""Gradient descent on rows that an index names changes these rows only, in place, by the dense step."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import nn, ops
from graphloss.errors import LabelError
from graphloss.ir.printer import print_graph
from graphloss.options import CompileOptions
from graphloss.passes.pipelines import optimise

Array = npt.NDArray[np.float32]
DENSE = CompileOptions(passes=False)


def model(classes: int, optimizer: gl.optimizer.Optimizer | None = None) -> tuple[gl.Program, gl.Program, gl.Variable]:
    """The mean of softplus(w[label] · x + b[label]), and a step."""
    main, startup = gl.Program(), gl.Program()
    startup.random_seed = 1
    with gl.program_guard(main, startup):
        label, x = gl.data("label", [None], "int64"), gl.data("x", [None, 6])
        w = gl.layers.create_parameter([classes, 6], "float32", name="w")
        b = gl.layers.create_parameter([classes], "float32", name="b", is_bias=True)
        z = gl.layers.reduce_sum(gl.layers.gather(w, label) * x, dim=1) + gl.layers.gather(b, label)
        loss = gl.layers.mean(nn.functional.softplus(z))
        (optimizer or gl.optimizer.SGD(0.5)).minimize(loss)
    return main, startup, loss


def feed(classes: int, n: int = 40) -> dict[str, npt.NDArray[np.generic]]:
    rng = np.random.default_rng(3)
    return {"label": rng.integers(0, classes, n), "x": rng.standard_normal((n, 6)).astype(np.float32)}


def value(scope: gl.Scope, name: str) -> Array:
    holder = scope.find_var(name)
    assert holder is not None
    return np.array(holder.get_tensor())


def trained(options: CompileOptions, classes: int, steps: int = 4) -> tuple[Array, Array, list[float]]:
    main, startup, loss = model(classes)
    scope, exe = gl.Scope(), gl.Executor(options=options)
    exe.run(startup, scope=scope)
    losses = [float(exe.run(main, feed(classes), [loss], scope=scope)[0][0]) for _ in range(steps)]
    return value(scope, "w"), value(scope, "b"), losses


@pytest.mark.parametrize("classes", [3, 50])
def test_the_steps_are_those_of_the_dense_update(classes: int) -> None:
    w, b, losses = trained(CompileOptions(), classes)
    dense_w, dense_b, dense_losses = trained(DENSE, classes)
    np.testing.assert_allclose(w, dense_w, rtol=0, atol=2e-6)
    np.testing.assert_allclose(b, dense_b, rtol=0, atol=2e-6)
    np.testing.assert_allclose(losses, dense_losses, rtol=1e-6)
    assert losses[-1] < losses[0]


def test_same_bits_for_any_number_of_threads() -> None:
    one = trained(CompileOptions(threads=1), 7)
    three = trained(CompileOptions(threads=3), 7)
    assert (one[0] == three[0]).all() and (one[1] == three[1]).all()


def test_it_fires_for_plain_gradient_descent_only() -> None:
    def count(optimizer: gl.optimizer.Optimizer | None = None, fetch: str | None = None) -> int:
        main, _, loss = model(9, optimizer)
        return print_graph(optimise(main.snapshot([loss] if fetch is None else [loss, fetch]))).count("= index_add(")

    assert count() == 2
    assert count(gl.optimizer.Momentum(0.1, 0.9)) == 0
    decay = gl.optimizer.SGD(0.1, regularization=gl.regularizer.L2Decay(1e-3))
    assert count(decay) == 0  # all rows change
    assert count(fetch="w") == 1  # somebody wants all of w


def test_a_failed_run_changes_nothing() -> None:
    main, startup, loss = model(5)
    scope, exe = gl.Scope(), gl.Executor()
    exe.run(startup, scope=scope)
    before = value(scope, "w"), value(scope, "b")
    bad = feed(5)
    bad["label"][17] = 5
    with pytest.raises(LabelError, match=r"row 17: label\[17\] = 5"):
        exe.run(main, bad, [loss], scope=scope)
    assert (before[0] == value(scope, "w")).all() and (before[1] == value(scope, "b")).all()


def test_arrays_that_were_handed_out_do_not_change() -> None:
    main, startup, loss = model(5)
    scope, exe = gl.Scope(), gl.Executor()
    exe.run(startup, scope=scope)
    given = np.ones((5, 6), np.float32)
    holder = scope.find_var("w")
    assert holder is not None
    holder.get_tensor().set(given)
    seen, fetched = np.asarray(holder.get_tensor()), exe.run(main, feed(5), ["w"], scope=scope)[0]
    kept = fetched.copy()
    exe.run(main, feed(5), [loss], scope=scope)
    assert (given == 1).all() and (seen == 1).all() and (fetched == kept).all()
    assert not (value(scope, "w") == 1).all()


def test_explain_says_so() -> None:
    main, _, loss = model(1000)
    text = str(gl.explain(main, [loss]))
    assert "rows of a state: sub -> neg, mul, index_add" in text and "loop nest index_add" in text


def rows_added(swap: bool) -> tuple[list[Array], list[Array], int]:
    """w and v after a step that adds rows of each other, or of w itself, to them; what they should be; nests that run
    in place."""
    main, startup = gl.Program(), gl.Program()
    with gl.unique_name.guard(), gl.program_guard(main, startup):
        index = gl.data("i", [None], "int64")
        w, v = (gl.layers.create_parameter([9, 6], "float32", name=name) for name in "wv")
        a, b = ops.index_add(w, index, v if swap else w), ops.index_add(v, index, w)
        gl.layers.assign(a, output=w)
        gl.layers.assign(b, output=v)
        count = gl.layers.reduce_sum(index)
    scope, exe = gl.Scope(), gl.Executor()
    exe.run(startup, scope=scope)
    before = [value(scope, name) for name in "wv"]
    want, places = [x.copy() for x in before], np.random.default_rng(0).integers(0, 9, 9)
    np.add.at(want[0], places, before[1 if swap else 0])
    np.add.at(want[1], places, before[0])
    exe.run(main, {"i": places}, [count], scope=scope)
    plan = gl.explain(main, [count]).code.plan
    return [value(scope, name) for name in "wv"], want, len(plan.in_place)


@pytest.mark.parametrize("swap", [True, False])
def test_states_are_read_as_they_were_before_the_step(swap: bool) -> None:
    found, want, in_place = rows_added(swap)
    np.testing.assert_array_equal(found, want)
    assert in_place == 1


VARIANTS = ("a rate that is a variable", "a fed rate", "squares", "clipped by norm", "clipped by global norm")
DENSE_VARIANTS = ("clipped by value", "gathered twice", "also used whole", "read after the step", "two optimizers")


def variant(kind: str) -> tuple[gl.Program, gl.Program, list[gl.Variable]]:
    main, startup = gl.Program(), gl.Program()
    startup.random_seed = 1
    with gl.unique_name.guard(), gl.program_guard(main, startup):
        i, j = gl.data("i", [None], "int64"), gl.data("j", [None], "int64")
        x, rate = gl.data("x", [None, 6]), gl.data("rate", [1])
        w = gl.layers.create_parameter([9, 6], "float32", name="w")
        rows, others = gl.layers.gather(w, i), gl.layers.gather(w, j)
        whole = gl.layers.reduce_sum(w)  # before the step
        loss, more = gl.layers.mean(rows * rows * x if kind == "squares" else rows * x), []
        clips = {
            "clipped by value": gl.clip.GradientClipByValue(0.01), "clipped by norm": gl.clip.GradientClipByNorm(0.01),
            "clipped by global norm": gl.clip.GradientClipByGlobalNorm(0.01),
        }  # fmt: skip
        step: float | gl.Variable = 0.5
        if kind == "a rate that is a variable":
            attr = gl.ParamAttr(name="rate_of_w", trainable=False, initializer=gl.initializer.Constant(0.25))
            step = gl.layers.create_parameter([1], "float32", attr=attr)
        elif kind == "a fed rate":
            step = rate
        elif kind == "gathered twice":
            loss = loss + gl.layers.mean(others * x * 2.0)
        elif kind == "also used whole":
            loss = loss + gl.layers.mean(w * w)
        gl.optimizer.SGD(step, grad_clip=clips.get(kind)).minimize(loss)
        if kind == "read after the step":
            more.append(gl.layers.reduce_sum(w))
        elif kind == "two optimizers":
            gl.optimizer.SGD(0.1).minimize(gl.layers.mean(gl.layers.gather(w, j) * x))
    return main, startup, [loss, whole, *more]


@pytest.mark.parametrize("kind", [*VARIANTS, *DENSE_VARIANTS])
def test_variants_of_the_step(kind: str) -> None:
    rng = np.random.default_rng(2)
    given = {
        "i": rng.integers(0, 9, 30), "j": rng.integers(0, 9, 30), "x": rng.standard_normal((30, 6)).astype(np.float32),
        "rate": np.array([0.3], np.float32),
    }  # fmt: skip
    runs = []
    for options in (CompileOptions(), DENSE):
        main, startup, fetches = variant(kind)
        scope, exe = gl.Scope(), gl.Executor(options=options)
        exe.run(startup, scope=scope)
        used = {n for op in main.snapshot(fetches).ops for n in op.inputs}
        fed = {n: a for n, a in given.items() if n in used}
        losses = [np.concatenate([np.ravel(a) for a in exe.run(main, fed, fetches, scope=scope)]) for _ in range(3)]
        runs.append((value(scope, "w"), losses))
    np.testing.assert_allclose(runs[0][0], runs[1][0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(runs[0][1], runs[1][1], rtol=1e-5, atol=1e-5)
    text = print_graph(optimise(main.snapshot(fetches)))
    assert text.count("= index_add(") == (1 if kind in VARIANTS else 0)


def test_threads_that_train_and_read_one_scope() -> None:
    """Steps at the same time may be lost in part, as dense ones are lost whole; all of memory stays in order."""
    main, startup, loss = model(50)
    scope, exe = gl.Scope(), gl.Executor(options=CompileOptions(threads=1))
    exe.run(startup, scope=scope)
    exe.run(main, feed(50), [loss], scope=scope)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(30):
                (found,) = exe.run(main, feed(50), [loss], scope=scope)
                assert np.isfinite(found).all()
        except BaseException as error:
            failures.append(error)

    others = [threading.Thread(target=work) for _ in range(3)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    assert not failures
    assert np.isfinite(value(scope, "w")).all() and np.isfinite(value(scope, "b")).all()
