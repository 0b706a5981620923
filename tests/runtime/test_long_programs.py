"""Programs of ten thousand ops: passes, scheduler and emitter are iterative, and each op costs about the same."""

from __future__ import annotations

import numpy as np

import graphloss as gl
from graphloss.schedule.kernel import Kernel
from graphloss.schedule.lower import REDUCTION_LIMIT

OPTIONS = gl.CompileOptions(cache=False)


def test_a_chain_of_ten_thousand_ops() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 3], "float64")
        y = x
        for _ in range(5000):
            y = y + x
            y = gl.layers.abs(y)
    assert len(main.global_block().ops) == 10_000
    feed = {"x": np.array([[1.0, 0.5, 0.0], [0.25, 3.0, 2.0]])}
    (value,) = gl.Executor(options=OPTIONS).run(main, feed=feed, fetch_list=[y])
    np.testing.assert_array_equal(value, 5001 * feed["x"])


def test_a_gradient_through_a_chain() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 3], "float64")
        y = x
        for _ in range(500):
            y = 0.5 * y + x * x
        (slope,) = gl.gradients([gl.layers.reduce_sum(y)], [x])
    feed = {"x": np.array([[1.0, -0.5, 0.0]])}
    (value,) = gl.Executor(options=OPTIONS).run(main, feed=feed, fetch_list=[slope])
    np.testing.assert_allclose(value, 4 * feed["x"] + 0.5**500, rtol=1e-14)


def test_a_chain_of_reductions() -> None:
    """What a few softmaxes have reduced goes through memory, since each pass computes again what those
    before it have computed."""
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 5], "float64")
        y = x
        for _ in range(1000):
            y = gl.layers.softmax(y)
    feed = {"x": np.array([[1.0, 0.5, 0.0, -3.0, 9.0], [0.25, 3.0, 2.0, 2.0, 2.0]])}
    code = gl.explain(main, [y], options=OPTIONS).code
    assert max(k.passes for k in code.plan.kernels if isinstance(k, Kernel)) <= REDUCTION_LIMIT + 2
    (value,) = gl.Executor(options=OPTIONS).run(main, feed=feed, fetch_list=[y])
    np.testing.assert_allclose(value, np.full((2, 5), 0.2), rtol=1e-14)
