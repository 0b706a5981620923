"""What the losses refuse when they are called, and that it is said by graphloss's own errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, GraphlossError, LabelError, ShapeError
from graphloss.nn import functional as F

loss = gl.gluon.loss
Call = Callable[..., Any]

ce, nll, bce, logits_loss = F.cross_entropy, F.nll_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits
nn, layers, dygraph, fluid_ce = gl.nn, gl.layers, gl.dygraph, gl.layers.cross_entropy

X, Y = np.zeros((2, 3), np.float32), np.array([0, 1])  # logits, or a target of their shape; labels
INTS, DOUBLES, FLOATS = X.astype(np.int64), X.astype(np.float64), Y.astype(np.float32)


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


# what, the call, arrays, the error, words of its text
REFUSED: list[tuple[str, Call, tuple[Any, ...], type[GraphlossError], str]] = [
    ("reduction", lambda x, y: F.mse_loss(x, y, reduction="max"), (X, X), AttrError, "'max'"),
    ("reduction of CE", lambda x, y: ce(x, y, reduction="batchmean"), (X, Y), AttrError, "none | mean"),
    ("empty_mean", lambda x, y: nll(x, y, empty_mean="one"), (X, Y), AttrError, "'one'"),
    ("array as label", lambda x: ce(x, Y), (X,), ArgumentTypeError, "ndarray"),
    ("array as weight", lambda x, y: nll(x, y, np.ones(3)), (X, Y), ArgumentTypeError, "weight"),
    ("list as weight of NLLLoss", lambda x: dygraph.NLLLoss([1.0, 2.0])(x, x), (X,), ArgumentTypeError, "list"),
    ("array as weight of CE", lambda x, y: nn.CrossEntropyLoss(ones(3))(x, y), (X, Y), ArgumentTypeError, "weight"),
    ("short weight", lambda x, y, w: ce(x, y, w), (X, Y, ones(2)), ShapeError, "[3]"),
    ("one weight for three", lambda x, y, w: nll(x, y, w), (X, Y, ones(1)), ShapeError, "[3]"),
    ("weight dtype", lambda x, y, w: ce(x, y, w), (X, Y, np.ones(3)), DtypeError, "float64"),
    ("labels [N, 1]", lambda x, y: ce(x, y), (X, Y[:, None]), ShapeError, "squeeze"),
    ("labels of another batch", lambda x, y: nll(x, y), (X, np.zeros(5, np.int64)), ShapeError, "[5]"),
    ("int16 labels", lambda x, y: ce(x, y), (X, Y.astype(np.int16)), DtypeError, "int64 or int32 or uint8"),
    ("float labels", lambda x, y: ce(x, y), (X, FLOATS), DtypeError, "float32"),
    ("integer logits", lambda x, y: ce(x, y), (INTS, Y), DtypeError, "int64"),
    ("0-d logits", lambda x, y: nll(x, y), (np.array(0.5), np.array(0)), ShapeError, "class axis"),
    ("ignore_index of probabilities", lambda x, y: ce(x, y, ignore_index=1), (X, X), AttrError, "ignore_index"),
    ("smoothing", lambda x, y: ce(x, y, label_smoothing=1.5), (X, Y), AttrError, "1.5"),
    ("BCE shapes", lambda x, y: bce(x, y), (X, X[:1]), ShapeError, "[1, 3]"),
    ("BCE dtypes", lambda x, y: bce(x, y), (X, DOUBLES), DtypeError, "float64"),
    ("BCE integer target", lambda x, y: logits_loss(x, y), (X, INTS), DtypeError, "int64"),
    ("pos_weight", lambda x, y, w: logits_loss(x, y, pos_weight=w), (X, X, ones(2)), ShapeError, "pos_weight"),
    ("weight wider than the target", lambda x, y, w: bce(x, y, w), (X, X, ones(4, 2, 3)), ShapeError, "weight"),
    ("beta", lambda x, y: F.smooth_l1_loss(x, y, beta=-1), (X, X), AttrError, "beta"),
    ("delta", lambda x, y: F.huber_loss(x, y, delta=0), (X, X), AttrError, "delta"),
    ("weight of mse", lambda x, y, w: F.mse_loss(x, y, weight=w), (X, X, ones(3)), ShapeError, "weight"),
    ("Fluid reduction", lambda x: dygraph.MSELoss("average")(x, x), (X,), AttrError, "'average'"),
    ("Fluid CE labels", lambda x, y: fluid_ce(x, y), (X, np.zeros((2, 2), np.int64)), ShapeError, "axis 1"),
    ("Fluid CE label dtype", lambda x, y: fluid_ce(x, y), (X, FLOATS), DtypeError, "float32"),
    ("Fluid soft labels", lambda x, y: fluid_ce(x, y, soft_label=True), (X, X[:, :2]), ShapeError, "[2, 2]"),
    ("softmax CE axis", lambda x, y: layers.softmax_with_cross_entropy(x, y, axis=2), (X, Y), AttrError, "axis"),
    ("one of two weights", lambda x, w: layers.smooth_l1(x, x, inside_weight=w), (X, X), AttrError, "outside_weight"),
    ("smooth_l1 of rank 1", lambda x: layers.smooth_l1(x, x), (X[0],), ShapeError, "rank 2"),
    ("sigmoid CE dtypes", lambda x, y: layers.sigmoid_cross_entropy_with_logits(x, y), (X, INTS), DtypeError, "int64"),
    ("NLLLoss rank", lambda x, y: dygraph.NLLLoss()(x, y), (X[0], np.array(1)), ShapeError, "batch"),
    ("Gluon sizes", lambda x, y: loss.L2Loss()(x, y), (X, np.zeros(5, np.float32)), ShapeError, "elements"),
    ("Gluon weight", lambda x: loss.L1Loss(weight=np.ones(3))(x, x), (X,), ArgumentTypeError, "sample_weight"),
    ("Gluon L2 without weight", lambda x: loss.L2Loss(weight=None)(x, x), (X,), ArgumentTypeError, "weight"),
    ("Gluon sample_weight", lambda x, w: loss.L2Loss()(x, x, w), (X, ones(2)), ShapeError, "sample_weight"),
    ("Gluon batch axis", lambda x: loss.L2Loss(batch_axis=2)(x, x), (X,), AttrError, "axis"),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["eager", "program"])
@pytest.mark.parametrize(("call", "arrays", "error", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(call: Call, arrays: tuple[Any, ...], error: type[GraphlossError], words: str, mode: str) -> None:
    given = [np.asarray(a) for a in arrays]
    if mode == "eager":
        with gl.dygraph.guard(), pytest.raises(error) as caught:
            call(*(gl.dygraph.to_variable(a) for a in given))
    else:
        with gl.program_guard(gl.Program(), gl.Program()), pytest.raises(error) as caught:
            call(*(gl.data(f"x{i}", a.shape, a.dtype) for i, a in enumerate(given)))
    assert words in str(caught.value)


def test_full_text_of_a_refusal() -> None:
    with gl.program_guard(gl.Program()):
        x, y = gl.data("x", [None, 10]), gl.data("y", [None, 1], "int64")
        with pytest.raises(ShapeError) as caught:
            F.cross_entropy(x, y)
    what, expected, op, where, hint = str(caught.value).splitlines()
    assert what == "cross_entropy: labels do not fit the input [x.0, 10]"
    assert expected == "  expected [x.0], got [y.0, 1]"
    assert op == "  op: cross_entropy"
    assert "test_errors.py:" in where
    assert hint == "  hint: labels have one dimension less than the input: squeeze the last one"


def test_full_text_of_a_label_out_of_range() -> None:
    with gl.dygraph.guard():
        x = gl.dygraph.to_variable(np.zeros((8, 10), np.float32))
        y = gl.dygraph.to_variable(np.array([0, 1, 2, 3, 4, 5, 6, 12]))
        with pytest.raises(LabelError) as caught:
            F.cross_entropy(x, y)
    text = str(caught.value)
    what, expected, op, where, hint = text.splitlines()
    assert what == "row 7: target[7] = 12 is out of range"
    assert expected == "  expected an index in [0, 10), got 12"
    assert op.startswith("  op: pick")
    assert "test_errors.py:" in where
    assert hint == "  hint: labels count from 0; rows to leave out hold the ignore_index"


@pytest.mark.parametrize(
    ("call", "called"),
    [
        (lambda x, y: gl.dygraph.NLLLoss()(x, y), "label"),
        (lambda x, y: gl.nn.MultiMarginLoss()(x, y), "target"),
        (lambda x, y: gl.layers.cross_entropy(x, gl.layers.unsqueeze(y, [1])), "label"),
        (lambda x, y: gl.gluon.loss.SoftmaxCELoss()(x, y), "label"),
        (lambda x, y: gl.losses.softmax_focal_loss(logits=x, target=y), "target"),
        (lambda x, y: gl.layers.gather(x, y), "index"),
        (lambda x, y: gl.layers.accuracy(x, gl.layers.unsqueeze(y, [1])), "label"),
    ],
)
def test_the_argument_with_a_label_out_of_range_is_named(call: Callable[..., object], called: str) -> None:
    with gl.dygraph.guard():
        x, y = gl.dygraph.to_variable(np.zeros((2, 3))), gl.dygraph.to_variable(np.array([1, 7]))
        with pytest.raises(LabelError, match=rf"row 1: {called}\[1\] = 7 is out of range"):
            call(x, y)


def test_batches_of_two_feeds_must_agree() -> None:
    with gl.program_guard(gl.Program()) as _:
        x, y = gl.data("x", [None, 3]), gl.data("y", [None], "int64")
        value = F.cross_entropy(x, y)
        feed = {"x": np.zeros((4, 3), np.float32), "y": np.zeros(5, np.int64)}
        with pytest.raises(ShapeError, match=r"x|y"):
            gl.Executor().run(value.block.program, feed=feed, fetch_list=[value])


@pytest.mark.parametrize(
    "made",
    [gl.nn.CrossEntropyLoss(), gl.nn.NLLLoss(), gl.nn.MSELoss(), gl.nn.BCELoss(), gl.nn.HuberLoss(delta=2.0)],
    ids=repr,
)
def test_classes_call_the_functions(made: gl.nn.Module) -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(0.1, 0.9, (4, 3))
    labels = isinstance(made, (gl.nn.CrossEntropyLoss, gl.nn.NLLLoss))
    with gl.dygraph.guard():
        x = gl.dygraph.to_variable(p)
        y = gl.dygraph.to_variable(rng.integers(0, 3, 4) if labels else p[::-1].copy())
        got = made(x, y).numpy()
        name = {"CrossEntropyLoss": "cross_entropy", "NLLLoss": "nll_loss", "MSELoss": "mse_loss"}.get(
            type(made).__name__
        )
        if name is None:
            name = "binary_cross_entropy" if isinstance(made, gl.nn.BCELoss) else "huber_loss"
        options = {"delta": 2.0} if name == "huber_loss" else {}
        np.testing.assert_array_equal(got, getattr(F, name)(x, y, **options).numpy())


def test_texts_of_classes() -> None:
    assert repr(loss.L2Loss()) == "L2Loss(batch_axis=0, w=1.0)"
    assert repr(gl.nn.HuberLoss(delta=0.5)) == "HuberLoss(delta=0.5)"
    assert repr(gl.nn.CrossEntropyLoss()) == "CrossEntropyLoss()"
