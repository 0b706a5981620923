"""Gradient descent on rows that an index names changes these rows only, in place, by the dense step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import nn
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
