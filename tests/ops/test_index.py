"""Indices: what is out of range is named; what repeats adds up."""

from __future__ import annotations

import numpy as np
import pytest

from graphloss import ops
from graphloss.errors import LabelError, ShapeError
from graphloss.ir.tensor import Tensor, using
from tests.ops.at_once import NumpyMode, NumpyTensor
from tests.ops.test_every_op import OPS


def t(values: object, dtype: str | None = None) -> NumpyTensor:
    return NumpyTensor(np.array(values, dtype))


@pytest.mark.parametrize("bad", [10, -1])
@pytest.mark.parametrize("what", ["pick", "one_hot", "gather", "scatter_add", "scatter"])
def test_an_index_out_of_range_is_named(what: str, bad: int) -> None:
    x, index = NumpyTensor(np.zeros((9, 10))), NumpyTensor(np.array([0, 1, 2, 3, 4, 5, 6, bad, bad]))
    rows = NumpyTensor(np.zeros((10, 2)))
    calls = {
        "pick": lambda: ops.pick(x, index),
        "one_hot": lambda: ops.one_hot(index, 10),
        "gather": lambda: ops.gather(rows, index),
        "scatter_add": lambda: ops.scatter_add(index, NumpyTensor(np.zeros(9)), (10,)),
        "scatter": lambda: ops.scatter(rows, index, NumpyTensor(np.zeros((9, 2)))),
    }
    with using(NumpyMode()), pytest.raises(LabelError) as e:
        calls[what]()
    assert str(e.value) == (
        f"row 7: index[7] = {bad} is out of range\n  expected an index in [0, 10), got {bad}\n  op: {what}\n"
        + "  hint: "
        + (
            "labels count from 0; rows to leave out hold the ignore_index"
            if what == "pick"
            else "indices count from 0; a negative one does not count from the end"
        )
    )


def test_positions_of_more_than_one_axis() -> None:
    with using(NumpyMode()), pytest.raises(LabelError, match=r"row 1: index\[1, 0\] = 3"):
        ops.pick(NumpyTensor(np.zeros((2, 3, 2))), t([[0, 0], [3, 0]]), axis=1)


def test_pick_needs_the_shape_without_the_axis() -> None:
    with using(NumpyMode()), pytest.raises(ShapeError, match="pick: the shapes differ"):
        ops.pick(NumpyTensor(np.zeros((4, 3))), t([[0], [0], [0], [0]]))


def test_gather_takes_a_column_of_indices() -> None:
    x = np.arange(12.0).reshape(4, 3)
    with using(NumpyMode()):
        np.testing.assert_array_equal(ops.gather(NumpyTensor(x), t([[3], [1]])).array, x[[3, 1]])


@pytest.mark.parametrize("k", [1, 2, 3])
def test_gather_nd(k: int) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    index = np.array([[[2, 3, 4], [0, 0, 0]], [[1, 2, 3], [0, 3, 1]]])[..., :k]
    with using(NumpyMode()):
        np.testing.assert_array_equal(
            ops.gather_nd(NumpyTensor(x), NumpyTensor(index)).array, x[tuple(np.moveaxis(index, -1, 0))]
        )
        with pytest.raises(LabelError):
            ops.gather_nd(NumpyTensor(x), NumpyTensor(index + 9))


def test_scatter_add_of_float32_keeps_digits() -> None:
    n = 100_000
    with using(NumpyMode()):
        out = ops.scatter_add(NumpyTensor(np.zeros(n, np.int64)), NumpyTensor(np.full(n, 0.1, np.float32)), (2,))
    np.testing.assert_allclose(out.array, [n * float(np.float32(0.1)), 0], rtol=1e-7)


@pytest.mark.parametrize(
    ("tie", "want"),
    [("share", [0.5, 0.5, 0.0]), ("all", [1.0, 1.0, 0.0]), ("first", [1.0, 0.0, 0.0])],
)
def test_gradient_of_reduce_max_at_a_tie(tie: str, want: list[float]) -> None:
    x = np.array([[2.0, 2.0, 1.0]])
    attrs = {"axes": (0, 1), "keepdims": False, "tie": tie}
    with using(NumpyMode()):
        (g,) = OPS["reduce_max"].vjp([NumpyTensor(x)], [t(2.0)], [t(1.0)], attrs)
    assert g.array.tolist() == [want]


@pytest.mark.parametrize(("tie", "want"), [("half", (0.5, 0.5)), ("first", (1.0, 0.0)), ("second", (0.0, 1.0))])
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_gradient_of_maximum_at_a_tie(name: str, tie: str, want: tuple[float, float]) -> None:
    with using(NumpyMode()):
        found = OPS[name].vjp([t(3.0), t(3.0)], [t(3.0)], [t(1.0)], {"tie": tie})
    assert tuple(g.array.item() for g in found) == want


@pytest.mark.parametrize(
    ("make", "at_kink"),
    [
        (ops.relu, 0.0),
        (lambda x: ops.clamp_min(x, 0.0), 1.0),
        (lambda x: ops.clamp_min(x, 0.0, inclusive=False), 0.0),
        (lambda x: ops.clip(x, 0.0, 1.0), 1.0),
        (lambda x: ops.clip(x, 0.0, 1.0, inclusive=False), 0.0),
        (ops.abs, 0.0),
        (lambda x: ops.clamp_max(x, 0.0), 1.0),
    ],
)
def test_gradient_at_a_kink(make: object, at_kink: float) -> None:
    seen: list[tuple[object, ...]] = []

    class Recorder(NumpyMode):
        def apply(self, op, inputs, attrs):  # type: ignore[no-untyped-def]
            seen.append((op, inputs, attrs))
            return super().apply(op, inputs, attrs)

    with using(Recorder()):
        x = t([0.0])
        out = make(x)
        assert isinstance(out, Tensor)
        op, inputs, attrs = seen[-1]
        (g,) = op.vjp(inputs, [out], [t([1.0])], attrs)
    assert g.array.tolist() == [at_kink]


def test_max_over_nothing_is_an_error() -> None:
    with using(NumpyMode()):
        for fn in (ops.reduce_max, ops.argmax):
            with pytest.raises(ShapeError, match="extreme value of no element"):
                fn(NumpyTensor(np.zeros((3, 0))), 1)
        assert ops.reduce_max(NumpyTensor(np.zeros((0, 3))), 1).array.shape == (0,)
