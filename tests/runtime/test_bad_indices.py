"""Indices found out of range inside a kernel: which one is reported, where, and under which name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import LabelError
from tests.runtime.models import Array


def refusal(formula: Callable[..., gl.Variable], feed: dict[str, Array], **shapes: list[int | None]) -> list[str]:
    main = gl.Program()
    with gl.unique_name.guard(), gl.program_guard(main, gl.Program()):
        fetch = formula(*(gl.data(n, shape, feed[n].dtype) for n, shape in shapes.items()))
    with pytest.raises(LabelError) as caught:
        gl.Executor().run(main, feed, [fetch])
    return str(caught.value).splitlines()


def test_labels_of_several_dimensions_cast_and_reshaped() -> None:
    """The feed is named, and where in it the value is; a value that ops computed is named by what they made."""
    y = np.zeros((2, 6), "int64")
    y[1, 4], y[1, 2] = -5, 9
    ce = gl.nn.functional.cross_entropy
    what, expected, _, where, _ = refusal(
        lambda x, y: ce(x, y), {"x": np.zeros((2, 4, 6), "float32"), "y": y}, x=[None, 4, None], y=[None, None]
    )
    assert what == "row 1: y[1, 2] = 9 is out of range" and expected == "  expected an index in [0, 4), got 9"
    assert where.startswith(f"  at: {__file__}:")
    what, *_ = refusal(
        lambda x, y: ce(x, gl.layers.reshape(gl.layers.cast(y, "int64"), [-1])),
        {"x": np.zeros((12, 4), "float32"), "y": y.astype("int32")}, x=[None, 4], y=[None, 6],
    )  # fmt: skip
    assert what == "row 1: y[1, 2] = 9 is out of range"
    small = {"x": np.zeros((2, 4), "float32"), "y": np.array([1, 4])}
    what, *_ = refusal(lambda x, y: ce(x, ops.add(y, y)), small, x=[None, 4], y=[None])
    assert what == "row 1: add_0.tmp_0[1] = 8 is out of range"
    turned = {"x": np.zeros((12, 4), "float32"), "y": y}
    what, *_ = refusal(
        lambda x, y: ce(x, gl.layers.reshape(ops.transpose(y, perm=[1, 0]), [-1])), turned, x=[None, 4], y=[2, 6]
    )
    assert what == "row 2: transpose_0.tmp_0[2, 1] = 9 is out of range"


@pytest.mark.parametrize("value", [5, -1])
def test_other_indices(value: int) -> None:
    index = np.array([0, value])
    table = np.zeros((5, 3), "float32")
    hint = "  hint: indices count from 0; a negative one does not count from the end"
    lines = refusal(lambda w, i: ops.gather(w, i), {"w": table, "i": index}, w=[None, 3], i=[None])
    assert lines[:2] == [f"row 1: i[1] = {value} is out of range", f"  expected an index in [0, 5), got {value}"]
    assert lines[2].startswith("  op: %gather_0.tmp_0 = gather(%w, %i)") and lines[4] == hint
    lines = refusal(lambda i: gl.layers.one_hot(i, depth=5), {"i": index[:, None]}, i=[None, 1])
    assert lines[:2] == [f"row 1: i[1, 0] = {value} is out of range", f"  expected an index in [0, 5), got {value}"]
    assert lines[4] == hint


def test_an_ignored_row_may_hold_any_label_that_is_the_ignored_one_and_no_other() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, y = gl.data("x", [None, 5]), gl.data("y", [None], "int64")
        loss = gl.nn.functional.cross_entropy(x, y, ignore_index=-7, reduction="none")
    exe, logits = gl.Executor(), np.zeros((3, 5), "float32")
    (got,) = exe.run(main, {"x": logits, "y": np.array([0, -7, 4])}, [loss])
    np.testing.assert_allclose(got, [np.log(5), 0, np.log(5)], rtol=1e-6)
    for bad in (-6, -1, 5, 2**62, -(2**63)):
        with pytest.raises(LabelError, match=rf"row 2: y\[2\] = {bad} is out of range"):
            exe.run(main, {"x": logits, "y": np.array([0, -7, bad])}, [loss])


def test_the_lowest_bad_row_is_reported_for_any_number_of_threads() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, y = gl.data("x", [None, 40]), gl.data("y", [None], "int64")
        loss = gl.nn.functional.cross_entropy(x, y)
    rows = 20_000
    bad = np.zeros(rows, "int64")
    bad[[19_999, 12_345, 777, 15_000]] = [40, -1, 99, 41]
    for n in (1, 2, 3):
        exe = gl.Executor(options=gl.CompileOptions(threads=n))
        for _ in range(3):
            with pytest.raises(LabelError) as caught:
                exe.run(main, {"x": np.zeros((rows, 40), "float32"), "y": bad}, [loss])
            assert str(caught.value).splitlines()[0] == "row 777: y[777] = 99 is out of range"
