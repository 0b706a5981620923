"""Sizes that do not go together: both variables and the op that needs it are named."""

from __future__ import annotations

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import ShapeError
from tests.runtime.models import at


def test_unequal_sizes_name_both_variables_and_the_op() -> None:
    main = gl.Program()
    with gl.unique_name.guard(), gl.program_guard(main):
        a, b, c = (gl.data(n, [None, None]) for n in "abc")
        total = ops.add(ops.concat([a, b], axis=0), c)  # concat and add
    feed = {"a": np.ones((2, 3), "float32"), "b": np.ones((4, 3), "float32"), "c": np.ones((5, 3), "float32")}
    with pytest.raises(ShapeError) as caught:
        gl.Executor().run(main, feed, [total])
    what, expected, op, where, hint = str(caught.value).splitlines()
    assert what == "the value of 'c' does not fit another one at axis 0"
    assert expected == "  expected 6 (dimension 0 of 'a', dimension 0 of 'b'), got 5, of shape [5, 3]"
    assert op.startswith("  op: %add_0.tmp_0 = add(%concat_0.tmp_0, %c) : ")
    assert where == f"  at: {at('concat and add', __file__)}"
    assert hint == "  hint: sizes may change from run to run, but only together"
    feed["c"] = np.ones((6, 3), "float32")
    np.testing.assert_array_equal(gl.Executor().run(main, feed, [total])[0], np.full((6, 3), 2, "float32"))


def test_an_equation_that_no_size_solves() -> None:
    main = gl.Program()
    with gl.unique_name.guard(), gl.program_guard(main):
        a, b = gl.data("a", [None, None]), gl.data("b", [None, 6])
        flat = gl.layers.reshape(a, [-1])
        total = ops.add(flat, gl.layers.reshape(b, [-1]))  # flat sums
    a_value, b_value = np.arange(12, dtype="float32"), np.arange(12, dtype="float32") ** 2
    (got,) = gl.Executor().run(main, {"a": a_value.reshape(4, 3), "b": b_value.reshape(2, 6)}, [total])
    np.testing.assert_array_equal(got, a_value + b_value)
    with pytest.raises(ShapeError) as caught:
        gl.Executor().run(main, {"a": np.ones((4, 3), "float32"), "b": np.ones((3, 6), "float32")}, [total])
    what, expected, op, where, hint = str(caught.value).splitlines()
    assert what == "broadcast needs equal dimensions"
    assert expected.startswith("  expected ") and "12 (" in expected and "18 (" in expected
    assert "dimension 0 of 'a', dimension 1 of 'a'" in expected and "dimension 0 of 'b'" in expected
    assert op.startswith("  op: %add_0.tmp_0 = add(") and where == f"  at: {at('flat sums', __file__)}"
    assert hint == "  hint: sizes may change from run to run, but only together"


def test_a_maximum_over_nothing() -> None:
    main = gl.Program()
    with gl.unique_name.guard(), gl.program_guard(main):
        x = gl.data("x", [2, None])
        top = gl.layers.reduce_max(x, dim=1)  # top
    with pytest.raises(ShapeError) as caught:
        gl.Executor().run(main, {"x": np.zeros((2, 0), "float32")}, [top])
    what, expected, op, where = str(caught.value).splitlines()
    assert what == "reduce_max over no elements of 'x'"
    assert expected == "  expected at least one element, got 0"
    assert op == "  op: reduce_max" and where == f"  at: {at('top', __file__)}"
