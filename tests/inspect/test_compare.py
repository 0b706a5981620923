"""compare: distances in ULP of the right element, and where the formula as written is off."""

from __future__ import annotations

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import UnknownVariable
from graphloss.inspect.compare import ulps


def softmax_log() -> tuple[gl.Program, list[gl.Variable]]:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 3])
        p = gl.layers.softmax(x)
        y = gl.layers.log(p)
    return main, [y, p]  # type: ignore[list-item]


def test_moderate_input_agrees_everywhere() -> None:
    main, fetches = softmax_log()
    report = gl.compare(main, {"x": np.random.default_rng(0).normal(size=(50, 3)).astype("float32")}, fetches)
    assert report.worst_ulp < 4
    assert [(r.saturated, r.eager_off) for r in report.rows] == [(0, 0), (0, 0)]


def test_large_logits_are_reported_where_the_formula_saturates() -> None:
    main, fetches = softmax_log()
    row = gl.compare(main, {"x": np.array([[0, 1, 2], [0, 1e4, 2]], "float32")}, fetches[:1]).rows[0]
    assert (row.saturated, row.first_saturated) == (2, (1, 0)), "log 0, in float32"
    assert (row.eager_off, row.first_off) == (2, (1, 0)), "and in float64 too"
    assert (row.eager_there, row.reference_there) == (-np.inf, -1e4)
    assert row.ulp < 4


def test_a_documented_clamp_is_no_fault_of_the_compiled_value() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, y = gl.data("x", [None, 3]), gl.data("y", [None, 1], "int64")
        loss = gl.layers.cross_entropy(gl.layers.softmax(x), y)
    feed = {"x": np.array([[0, 1e4, 2]], "float32"), "y": np.array([[0]])}
    row = gl.compare(main, feed, [loss]).rows[0]  # type: ignore[list-item]
    assert (row.eager_there, row.reference_there, row.compiled) == (1e20, 1e4, 1e4)
    assert "off in 1 elements" in str(gl.compare(main, feed, [loss]))  # type: ignore[list-item]


def test_the_worst_element_is_found() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None])
        y = gl.layers.exp(x)
    report = gl.compare(main, {"x": np.linspace(-80, 80, 1000).astype("float32")}, [y])  # type: ignore[list-item]
    (row,) = report.rows
    x_there = np.linspace(-80, 80, 1000).astype("float32")[row.index[0]]
    np.testing.assert_allclose(row.reference, np.exp(np.float64(x_there)), rtol=1e-14)
    assert 0 < row.ulp < 1


def test_ulps_of_one_step() -> None:
    one = np.float32(1)
    assert ulps(np.array([np.nextafter(one, 2)]), np.array([1.0]))[0] == 1.0
    assert ulps(np.array([np.inf], "float32"), np.array([1.0]))[0] == np.inf


def test_random_numbers_are_the_same_in_all_runs() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 3])
        y = x * gl.layers.gaussian_random([3])
    report = gl.compare(main, {"x": np.ones((2, 3), "float32")}, [y])
    assert report.worst_ulp < 4, str(report)


def test_an_unknown_feed_is_refused_as_in_a_run() -> None:
    main, fetches = softmax_log()
    with pytest.raises(UnknownVariable, match="'xs' is fed, which the program does not have"):
        gl.compare(main, {"x": np.zeros((1, 3), "float32"), "xs": np.zeros(3)}, fetches)


def test_a_compiled_program_with_its_strategy() -> None:
    main, fetches = softmax_log()
    strategy = gl.BuildStrategy()
    strategy.passes = False
    plain = gl.CompiledProgram(main, strategy)
    assert "log-of-softmax" not in gl.explain(plain, fetches).rules
    assert "log-of-softmax" in gl.explain(gl.CompiledProgram(main), fetches).rules
    feed = {"x": np.array([[0, 1e4, 2]], "float32")}
    assert gl.compare(plain, feed, fetches).rows[0].saturated == 0, "as the unoptimised is"
    assert gl.compare(gl.CompiledProgram(main), feed, fetches).rows[0].saturated == 2
