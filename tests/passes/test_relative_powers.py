"""Gradients of powers of exponentials: what follows may be saturated where the power overflows."""

from __future__ import annotations

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops


@pytest.mark.parametrize("exponent", [-0.5, 0.5, 1.0, 2.0, 2.5, 3.0])
@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("variable", [True, False])
def test_saturated_behind_a_power_that_overflows(exponent: float, passes: bool, variable: bool) -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, y = gl.data("x", [4], "float64"), gl.data("y", [4], "float64")
        loss = ops.reduce_sum(ops.tanh(ops.pow(ops.exp(x), y if variable else exponent)))
        (gradient,) = gl.gradients([loss], [x])
    assert gradient is not None
    points = np.array([400.0, 1.0, -1.0, 0.0])
    power = np.exp(exponent * points, where=exponent * points < 700, out=np.full(4, 1e300))
    with np.errstate(over="ignore"):
        expected = exponent * power / np.cosh(np.minimum(power, 700)) ** 2
    feed = {"x": points, "y": np.full(4, exponent)}
    (slope,) = gl.Executor(options=gl.CompileOptions(passes=passes)).run(main, feed, [gradient])
    assert np.allclose(slope, np.where(power > 400, 0.0, expected), rtol=1e-9, atol=1e-15)
