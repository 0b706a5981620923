"""CTC in the three dialects: the worked examples, lengths in every form, sequences, what has no alignment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, LabelError, ShapeError, UnsupportedError
from graphloss.gluon import loss as gluon
from graphloss.nn import functional as F
from tests.losses.golden import EXAMPLES
from tests.losses.runners import RUNNERS

Array = npt.NDArray[Any]


def example(key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return EXAMPLES[key]["inputs"], EXAMPLES[key]["results"]


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def integers(*values: object) -> tuple[Array, ...]:
    return tuple(np.array(v, np.int64) for v in values)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("key", ["ctc", "ctc_rep", "ctc_last"])
def test_worked_examples(key: str, dtype: str, runner: str) -> None:
    given, results = example(key)
    x, label, blank = np.array(given["logits_TC"], dtype), given["label"], given["blank"]
    near = 1e-7 if dtype == "float64" else 1e-6
    name = next(n for n in results if n.startswith("d loss/dlogits"))
    forms: list[tuple[Callable[..., Any], Array, Array]] = [
        (lambda x, y: F.ctc_loss(ops.log_softmax(x, 1), y, (4,), (2,), blank, "sum"), x, np.array(label)),
        (lambda x, y: F.ctc_loss(ops.log_softmax(x, 2), y, [4], [2], blank, "sum"), x[:, None], np.array([label])),
        (
            lambda x, y: gl.layers.warpctc(
                x, y, blank, input_length=ops.fill((1,), 4, "int64"), label_length=ops.fill((1, 1), 2, "int64")
            ),
            x[:, None], np.array([label], np.int32),
        ),
    ]  # fmt: skip
    if blank == x.shape[1] - 1:
        forms += [
            (lambda x, y: gluon.CTCLoss()(x, y), x[None], np.array([label])),
            (lambda x, y: gluon.CTCLoss("TNC", "TN")(x, y), x[:, None], np.array([*label, -1, 0], dtype)[:, None]),
        ]
    for build, logits, y in forms:
        value, (gradient,) = RUNNERS[runner](build, {"x": logits, "y": y}, ["x"])
        assert value.dtype == dtype
        np.testing.assert_allclose(value.ravel(), [results["loss"]], rtol=near)
        np.testing.assert_allclose(gradient.reshape(x.shape), results[name], atol=near)
    if key == "ctc":
        _, (gradient,) = RUNNERS[runner](
            lambda x, y: F.ctc_loss(x, y, (4,), (2,)), {"x": np.log(softmax(x)), "y": np.array(label)}, ["x"]
        )
        want = -2 * gradient  # the mean divides by the two symbols
        np.testing.assert_allclose(want, results["posterior (-d loss/d log_probs, pure autodiff)"], atol=near)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_worked_batch(dtype: str, runner: str) -> None:
    near = 1e-7 if dtype == "float64" else 1e-6
    given, results = example("ctc_batch")
    x = np.array(given["logits_TNC"], dtype)
    data = dict(zip("yts", integers(given["targets"], given["input_lengths"], given["target_lengths"]), strict=True))

    def loss(reduction: str) -> Callable[..., Any]:
        return lambda x, y, t, s: F.ctc_loss(ops.log_softmax(x, 2), y, t, s, reduction=reduction)

    for reduction, name in (("none", "none"), ("sum", "sum"), ("mean", "torch mean = mean(none/target_len)")):
        value, (gradient,) = RUNNERS[runner](loss(reduction), {"x": x, **data}, ["x"])
        np.testing.assert_allclose(value, results[name], rtol=near)
    np.testing.assert_allclose(gradient[:, 1], results["d mean/dlogits[:,1]"], atol=near)
    packed = {**data, "y": np.array([1, 2, 2])}
    value, _ = RUNNERS[runner](loss("sum"), {"x": x, **packed}, ["x"])
    np.testing.assert_allclose(value, results["sum"], rtol=near)
    value, (gradient,) = RUNNERS[runner](
        lambda x, y, t, s: gl.layers.warpctc(x, y, 0, True, t, s), {"x": x, **data}, ["x"]
    )
    np.testing.assert_allclose(value[:, 0], results["none"], rtol=near)
    name = "warpctc(norm_by_times=True): d sum/dlogits[:,1] (softmax-posterior, /3)"
    np.testing.assert_allclose(gradient[:, 1], results[name], atol=near)


def packed_run(norm_by_times: bool, x: Any, y: Any) -> tuple[Array, Array]:
    main = gl.Program()
    with gl.program_guard(main):
        logits = gl.data("x", [None, 3], "float64", lod_level=1)
        logits.stop_gradient = False
        label = gl.data("y", [None, 1], "int64", lod_level=1)
        loss = gl.layers.warpctc(logits, label, norm_by_times=norm_by_times)
        (g,) = gl.gradients([loss], [logits])
    value, gradient = gl.Executor().run(main, {"x": x, "y": y}, [loss, g], return_numpy=False)
    return np.array(value), np.array(gradient)


def test_sequences_are_the_padded_batch() -> None:
    given, results = example("ctc_batch")
    x = np.array(given["logits_TNC"])
    rows = np.concatenate([x[:4, 0], x[:3, 1]])
    fed = gl.create_lod_tensor(rows, [[4, 3]])
    label = gl.create_lod_tensor(np.array([[1], [2], [2]]), [[2, 1]])
    value, gradient = packed_run(True, fed, label)
    np.testing.assert_allclose(value[:, 0], results["none"], rtol=1e-7)
    name = "warpctc(norm_by_times=True): d sum/dlogits[:,1] (softmax-posterior, /3)"
    np.testing.assert_allclose(gradient[4:], results[name][:3], atol=1e-7)
    with gl.dygraph.guard():
        eager = gl.layers.warpctc(gl.dygraph.to_variable(fed), gl.dygraph.to_variable(label)).numpy()
    np.testing.assert_allclose(eager, value)


def test_sequences_without_frames_or_symbols() -> None:
    x = np.log(np.full((3, 3), 1 / 3))
    value, gradient = packed_run(
        False, gl.create_lod_tensor(x, [[0, 3, 0]]), gl.create_lod_tensor(np.zeros((0, 1), np.int64), [[0, 0, 0]])
    )
    np.testing.assert_allclose(value[:, 0], [0, 3 * np.log(3), 0], atol=1e-12)
    np.testing.assert_allclose(gradient, np.tile([1 / 3 - 1, 1 / 3, 1 / 3], (3, 1)), atol=1e-12)
    with pytest.raises(LabelError, match=r"sample 0, position 1: y = 3 "):
        packed_run(False, gl.create_lod_tensor(x, [[3]]), gl.create_lod_tensor(np.array([[1], [3]]), [[2]]))


IMPOSSIBLE = dict(zip("yts", integers([[1, 1], [1, 2]], [2, 3], [2, 2]), strict=True))


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_label_without_alignment(runner: str) -> None:
    """inf with a gradient of NaN in `nn`, 0 with gradient 0 elsewhere; the other samples are not touched."""
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    run = RUNNERS[runner]

    def torch(zero: bool, reduction: str = "none") -> Callable[..., Any]:
        return lambda x, y, t, s: F.ctc_loss(ops.log_softmax(x, 2), y, t, s, reduction=reduction, zero_infinity=zero)

    value, (gradient,) = run(torch(False), {"x": x, **IMPOSSIBLE}, ["x"])
    assert value[0] == np.inf and np.isnan(gradient[:2, 0]).all()
    assert np.isfinite(value[1]) and np.isfinite(gradient[:, 1]).all()
    zero, (zero_gradient,) = run(torch(True), {"x": x, **IMPOSSIBLE}, ["x"])
    assert zero[0] == 0 and zero[1] == value[1]
    assert (zero_gradient[:, 0] == 0).all() and np.array_equal(zero_gradient[:, 1], gradient[:, 1])
    mean, (mean_gradient,) = run(torch(True, "mean"), {"x": x, **IMPOSSIBLE}, ["x"])
    np.testing.assert_allclose(mean, value[1] / 4)
    np.testing.assert_allclose(mean_gradient[:, 1], gradient[:, 1] / 4, atol=1e-15)
    for times in (False, True):
        fluid, (fluid_gradient,) = run(
            lambda x, y, t, s, times=times: gl.layers.warpctc(x, y, 0, times, t, s), {"x": x, **IMPOSSIBLE}, ["x"]
        )
        np.testing.assert_allclose(fluid, zero[:, None])
        np.testing.assert_allclose(fluid_gradient, zero_gradient / (3 if times else 1), atol=1e-15)
    rolled = {"x": np.roll(x, -1, 2).transpose(1, 0, 2), **IMPOSSIBLE, "y": IMPOSSIBLE["y"] - 1}
    mx, (mx_gradient,) = run(lambda x, y, t, s: gluon.CTCLoss()(x, y, t, s), rolled, ["x"])
    np.testing.assert_allclose(mx, zero)
    np.testing.assert_allclose(np.roll(mx_gradient.transpose(1, 0, 2), 1, 2), zero_gradient, atol=1e-15)


@pytest.mark.parametrize("runner", RUNNERS)
def test_gluon_reads_lengths_layouts_and_weights(runner: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 6, 4))
    y = np.array([[0, 1, -1, 2], [2, 2, 1, 0], [-1, 0, 0, 0]])
    run = RUNNERS[runner]
    base, _ = run(lambda x, y: gluon.CTCLoss()(x, y), {"x": x, "y": y}, [])
    sizes = np.array([2, 4, 0])
    explicit, _ = run(
        lambda x, y, n: gluon.CTCLoss(layout="TNC", label_layout="TN")(x, y, None, n),
        {"x": x.transpose(1, 0, 2), "y": np.maximum(y, 0).T, "n": sizes.astype(np.float64)}, [],
    )  # fmt: skip
    np.testing.assert_allclose(explicit, base)
    frames = np.array([3, 6, 2])
    cut, _ = run(lambda x, y, n: gluon.CTCLoss()(x, y, n), {"x": x, "y": y, "n": frames}, [])
    alone = [run(lambda x, y: gluon.CTCLoss()(x, y), {"x": x[n : n + 1, :t], "y": y[n : n + 1, :s]}, [])[0][0]
             for n, (t, s) in enumerate(zip(frames, sizes, strict=True))]  # fmt: skip
    np.testing.assert_allclose(cut, alone)
    weighted, _ = run(
        lambda x, y, w: gluon.CTCLoss(weight=0.5)(x, y, sample_weight=w), {"x": x, "y": y, "w": np.arange(3.0)}, []
    )
    np.testing.assert_allclose(weighted, base * np.arange(3.0) / 2)


def test_extreme_logits() -> None:
    rng = np.random.default_rng(2)
    z = rng.choice([-1e4, 0.0, 1e4], (12, 3, 5))
    data = dict(zip("yts", integers([[1, 1, 2], [3, 4, 0], [2, 0, 0]], [12, 9, 12], [3, 2, 1]), strict=True))

    def loss(x: Any, y: Any, t: Any, s: Any) -> Any:
        return F.ctc_loss(ops.log_softmax(x, 2), y, t, s, reduction="sum")

    want, (gradient,) = RUNNERS["eager"](loss, {"x": z, **data}, ["x"])
    value, (found,) = RUNNERS["compiled"](loss, {"x": z.astype(np.float32), **data}, ["x"])
    np.testing.assert_allclose(value, want, rtol=1e-6)
    np.testing.assert_allclose(found, gradient, atol=1e-5)


def test_no_second_derivative() -> None:
    data = dict(zip("yts", integers([[1, 2]], [4], [2]), strict=True))

    def slope(x: Any, y: Any, t: Any, s: Any) -> Any:
        return gl.gradients([F.ctc_loss(F.log_softmax(x, 2), y, t, s)], [x])[0]

    with pytest.raises(UnsupportedError, match=r"(?s)posterior of CTC has no derivative.*op: ctc.*at: .*py:"):
        RUNNERS["compiled"](slope, {"x": np.zeros((4, 1, 3)), **data}, ["x"])


def build(form: Callable[..., Any], **shapes: tuple[list[int | None], str]) -> None:
    with gl.program_guard(gl.Program()):
        form(**{name: gl.data(name, shape, dtype) for name, (shape, dtype) in shapes.items()})


def test_wrong_arguments_are_errors() -> None:
    x, y, n = ([4, 2, 3], "float32"), ([2, 2], "int64"), ([2], "int64")
    ctc, warp = F.ctc_loss, gl.layers.warpctc
    for wrong, error in (
        (lambda x, y, n: ctc(x, y, n, n, blank=3), AttrError),
        (lambda x, y, n: ctc(x, y, n, n, blank=-1), AttrError),
        (lambda x, y, n: ctc(x, y, n, n, blank=True), AttrError),
        (lambda x, y, n: ctc(x, y, n, n, reduction="max"), AttrError),
        (lambda x, y, n: ctc(x, y, n, (1, 2.5)), AttrError),
        (lambda x, y, n: ctc(x, y, n, (1, 2, 2)), ShapeError),
        (lambda x, y, n: ctc(y, y, n, n), DtypeError),
        (lambda x, y, n: ctc(x, x, n, n), DtypeError),
        (lambda x, y, n: ctc(x, y, x, n), DtypeError),
        (lambda x, y, n: ctc(x, y, np.array([1, 1]), n), ArgumentTypeError),
        (lambda x, y, n: ctc(x, ops.unsqueeze(y, (0,)), n, n), ShapeError),
        (lambda x, y, n: warp(x, y), ShapeError),
        (lambda x, y, n: warp(x, y, input_length=n), AttrError),
        (lambda x, y, n: warp(x, y, 5, input_length=n, label_length=n), AttrError),
        (lambda x, y, n: warp(ops.getitem(x, 0), ops.getitem(y, 0)), UnsupportedError),
        (lambda x, y, n: gluon.CTCLoss("NCT"), AttrError),
        (lambda x, y, n: gluon.CTCLoss("TNC", "NN"), AttrError),
        (lambda x, y, n: gluon.CTCLoss()(y, x), DtypeError),
        (lambda x, y, n: gluon.CTCLoss("TNC")(x, ops.getitem(y, 0)), ShapeError),
        (lambda x, y, n: gluon.CTCLoss()(x, ops.concat([y, y, y], 1)), ShapeError),
    ):
        with pytest.raises(error):
            build(wrong, x=x, y=y, n=n)


@pytest.mark.parametrize("runner", RUNNERS)
def test_bad_data_name_sample_and_place(runner: str) -> None:
    x = np.zeros((4, 2, 3))
    for data, text in (
        ({"y": [[1, 2], [1, 7]]}, r"sample 1, position 1: (y|targets|label)\[1, 1\] = 7"),
        ({"y": [[1, 2], [0, 1]]}, r"\[1, 0\] = 0"),
        ({"t": [4, 5]}, r"\[1\] = 5"),
        ({"s": [3, 2]}, r"\[0\] = 3"),
        ({"s": [2, -1]}, r"\[1\] = -1"),
    ):
        given = {"y": [[1, 2], [1, 2]], "t": [4, 4], "s": [2, 2], **data}
        arrays = {"x": x, **{name: np.array(v, np.int32) for name, v in given.items()}}
        for form in (
            lambda x, y, t, s: F.ctc_loss(ops.log_softmax(x, 2), y, t, s),
            lambda x, y, t, s: gl.layers.warpctc(x, y, input_length=t, label_length=s),
        ):
            with pytest.raises(LabelError, match=text):
                RUNNERS[runner](form, arrays, ["x"])


def test_lengths_that_are_written_down_have_their_name_in_an_error() -> None:
    with gl.program_guard(gl.Program()):
        loss = F.ctc_loss(gl.data("x", [4, 2, 3]), gl.data("y", [None], "int64"), (4, 4), (2, 2))
        with pytest.raises(LabelError, match=r"row 1: target_lengths\S*\[1\] = 2 .*\n  expected .* the 3 labels"):
            gl.Executor().run(feed={"x": np.zeros((4, 2, 3), "f4"), "y": np.array([1, 2, 1])}, fetch_list=[loss])
