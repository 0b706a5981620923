"""Extreme and degenerate inputs of the losses: huge logits, ignored rows, one class, no rows, probabilities 0 and 1."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import graphloss as gl
from graphloss.nn import functional as F
from tests.losses.runners import RUNNERS, Build, Runner

pytestmark = pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)

HUGE = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]], np.float32)


def test_cross_entropy_of_huge_logits(run: Runner) -> None:
    y = np.array([1, 0, 2])
    value, (grad,) = run(lambda x, y: F.cross_entropy(x, y, reduction="none"), {"x": HUGE, "y": y}, ("x",))
    np.testing.assert_allclose(value, [2e4, 2e4 + math.log(2), math.log(3)], rtol=1e-6)
    np.testing.assert_allclose(grad, [[1, -1, 0], [-1, 0.5, 0.5], [1 / 3, 1 / 3, -2 / 3]], rtol=1e-6)


def test_binary_cross_entropy_of_huge_logits(run: Runner) -> None:
    z, y = np.array([1e4, -1e4, 1e4, -1e4], np.float32), np.array([0, 1, 1, 0], np.float32)
    value, (grad,) = run(
        lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none"), {"z": z, "y": y}, ("z",)
    )
    np.testing.assert_array_equal(value, [1e4, 1e4, 0, 0])
    np.testing.assert_array_equal(grad, [1, -1, 0, 0])


def test_confident_right_answers_keep_their_digits(run: Runner) -> None:
    z, y = np.array([30, -30], np.float32), np.array([1, 0], np.float32)
    value, (grad,) = run(
        lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none"), {"z": z, "y": y}, ("z",)
    )
    small = math.log1p(math.exp(-30))
    np.testing.assert_allclose(value, [small, small], rtol=1e-5)
    np.testing.assert_allclose(grad, [-small, small], rtol=1e-5)


def test_positive_weight_keeps_digits(run: Runner) -> None:
    arrays = {"z": np.array([30, -30], np.float32), "y": np.array([1, 0], np.float32), "p": np.array([3], np.float32)}
    value, (grad,) = run(
        lambda z, y, p: F.binary_cross_entropy_with_logits(z, y, reduction="none", pos_weight=p), arrays, ("z",)
    )
    small = math.log1p(math.exp(-30))
    np.testing.assert_allclose(value, [3 * small, small], rtol=1e-5)
    np.testing.assert_allclose(grad, [-3 * small, small], rtol=1e-5)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "loss",
    [
        lambda x, y: F.nll_loss(x, y),
        lambda x, y: F.cross_entropy(x, y),
        lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1),
        lambda x, y: gl.layers.mean(gl.layers.softmax_with_cross_entropy(x, gl.layers.unsqueeze(y, [1]))),
        lambda x, y: gl.layers.mean(gl.layers.cross_entropy(gl.layers.softmax(x), y)),
        lambda x, y: gl.dygraph.CrossEntropyLoss(reduction="sum")(x, y),
    ],
    ids=["nll", "cross entropy", "smoothed", "logits", "probabilities", "class"],
)
def test_ignored_rows_never_poison(run: Runner, loss: Build, poison: float) -> None:
    x = np.array([[1.0, 2.0, 0.5], [poison, poison, 1.0], [0.1, 0.2, 0.3]])
    y = np.array([1, -100, 2])
    value, (grad,) = run(loss, {"x": x, "y": y}, ("x",))
    x[1] = 0  # the same rows beside an ignored one that is harmless
    want, (rest,) = run(loss, {"x": x, "y": y}, ("x",))
    np.testing.assert_array_equal(value, want)
    np.testing.assert_array_equal(grad, rest)
    np.testing.assert_array_equal(grad[1], 0)


def test_ignored_row_has_gradient_exactly_zero(run: Runner) -> None:
    x = np.random.default_rng(3).normal(size=(4, 5)) * 30
    y = np.array([1, -100, 4, 0])
    for loss in (
        lambda x, y: F.cross_entropy(x, y, label_smoothing=0.2),
        lambda x, y: gl.layers.softmax_with_cross_entropy(x, gl.layers.unsqueeze(y, [1])),
        lambda x, y: gl.layers.cross_entropy(gl.layers.softmax(x), y),
        lambda x, y: gl.dygraph.CrossEntropyLoss()(x, y),
    ):
        value, (grad,) = run(loss, {"x": x, "y": y}, ("x",))
        np.testing.assert_array_equal(grad[1], 0)
        assert np.all(np.isfinite(value))
        assert np.all(grad[[0, 2, 3]] != 0)


@pytest.mark.parametrize(("empty_mean", "want"), [("nan", math.nan), ("zero", 0.0)])
def test_all_rows_ignored(run: Runner, empty_mean: str, want: float) -> None:
    x, y = np.ones((3, 4)), np.full(3, -100)
    value, (grad,) = run(lambda x, y: F.cross_entropy(x, y, empty_mean=empty_mean), {"x": x, "y": y}, ("x",))
    np.testing.assert_array_equal(value, want)
    np.testing.assert_array_equal(grad, 0)
    value, (grad,) = run(lambda x, y: F.cross_entropy(x, y, reduction="sum"), {"x": x, "y": y}, ("x",))
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(grad, 0)


def test_all_rows_ignored_follows_the_dialect(run: Runner) -> None:
    arrays = {"x": np.ones((3, 4)), "y": np.full(3, -100)}
    assert np.isnan(run(lambda x, y: F.nll_loss(x, y), arrays, ())[0])
    value, (grad,) = run(lambda x, y: gl.dygraph.NLLLoss()(x, y), arrays, ("x",))
    np.testing.assert_array_equal(value, [0])
    np.testing.assert_array_equal(grad, 0)
    arrays = {"x": np.ones((2, 2)), "y": np.full((2, 2), -1.0)}
    value, (grad,) = run(
        lambda x, y: gl.layers.sigmoid_cross_entropy_with_logits(x, y, ignore_index=-1, normalize=True), arrays, ("x",)
    )
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(grad, 0)


def test_all_rows_ignored_can_be_an_error(run: Runner) -> None:
    arrays = {"x": np.ones((3, 4)), "y": np.full(3, -100)}
    with pytest.raises(ValueError, match="0"):
        run(lambda x, y: F.cross_entropy(x, y, empty_mean="error"), arrays, ())
    arrays["y"][0] = 2
    value, _ = run(lambda x, y: F.cross_entropy(x, y, empty_mean="error"), arrays, ())
    np.testing.assert_allclose(value, math.log(4))


def test_weights_that_are_all_zero(run: Runner) -> None:
    arrays = {"x": np.ones((3, 4)), "y": np.arange(3), "w": np.zeros(4)}
    value, (grad,) = run(lambda x, y, w: F.nll_loss(x, y, w), arrays, ("x",))
    assert np.isnan(value)
    np.testing.assert_array_equal(np.isnan(grad), np.arange(4) == np.arange(3)[:, None])
    value, (grad,) = run(lambda x, y, w: gl.dygraph.NLLLoss(w)(x, y), arrays, ("x",))
    np.testing.assert_array_equal(value, [0])
    np.testing.assert_array_equal(grad, 0)


def test_ignored_label_may_be_a_class(run: Runner) -> None:
    x = np.random.default_rng(5).normal(size=(3, 4))
    value, (grad,) = run(lambda x, y: F.cross_entropy(x, y, ignore_index=2), {"x": x, "y": np.array([2, 1, 2])}, ("x",))
    want, (row,) = run(lambda x, y: F.cross_entropy(x, y), {"x": x[1:2], "y": np.array([1])}, ("x",))
    np.testing.assert_allclose(value, want, rtol=1e-14)
    np.testing.assert_allclose(grad[1:2], row, rtol=1e-14)
    np.testing.assert_array_equal(grad[[0, 2]], 0)


def test_one_class(run: Runner) -> None:
    value, (grad,) = run(
        lambda x, y: F.cross_entropy(x, y, label_smoothing=0.3),
        {"x": np.array([[3.0], [-1e4]]), "y": np.array([0, 0])},
        ("x",),
    )
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(grad, 0)


def test_empty_batch(run: Runner) -> None:
    x, y = np.zeros((0, 3)), np.zeros(0, np.int64)
    for loss in (F.cross_entropy, F.nll_loss):
        value, (grad,) = run(lambda x, y, loss=loss: loss(x, y), {"x": x, "y": y}, ("x",))
        assert np.isnan(value)
        assert grad.shape == (0, 3)
        value, _ = run(lambda x, y, loss=loss: loss(x, y, reduction="sum"), {"x": x, "y": y}, ("x",))
        assert value == 0
    for other in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy_with_logits):
        value, _ = run(lambda x, y, loss=other: loss(x, y), {"x": x, "y": x}, ())
        assert np.isnan(value)
    value, _ = run(lambda x, y: gl.gluon.loss.L2Loss()(x, y), {"x": x, "y": x}, ())
    assert value.shape == (0,)


def test_unbatched_input(run: Runner) -> None:
    x = np.array([1.0, 2.0, 0.5])
    value, (grad,) = run(lambda x, y: F.cross_entropy(x, y), {"x": x, "y": np.array(1)}, ("x",))
    p = np.exp(x) / np.exp(x).sum()
    np.testing.assert_allclose(value, -np.log(p[1]))
    np.testing.assert_allclose(grad, p - [0, 1, 0])


def test_classes_on_axis_one_of_many(run: Runner) -> None:
    rng = np.random.default_rng(9)
    x, y, w = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5)), rng.uniform(0.5, 2, 3)
    y[0, 1, 2] = -100
    value, (grad,) = run(lambda x, y, w: F.cross_entropy(x, y, w), {"x": x, "y": y, "w": w}, ("x",))
    flat = {"x": np.moveaxis(x, 1, -1).reshape(-1, 3), "y": y.reshape(-1), "w": w}
    want, (rows,) = run(lambda x, y, w: F.cross_entropy(x, y, w), flat, ("x",))
    np.testing.assert_allclose(value, want, rtol=1e-13)
    np.testing.assert_allclose(np.moveaxis(grad, 1, -1).reshape(-1, 3), rows, rtol=1e-12, atol=1e-16)


def test_one_position_per_row_keeps_its_axis(run: Runner) -> None:
    """Labels [N, 1] of a K-dimensional input are not labels [N]: weights must not be paired across rows."""
    rng = np.random.default_rng(10)
    x, y, w = rng.normal(size=(4, 3, 1)), rng.integers(0, 3, (4, 1)), rng.uniform(0.5, 2, 3)
    value, _ = run(lambda x, y, w: F.nll_loss(x, y, w, reduction="none"), {"x": x, "y": y, "w": w}, ())
    np.testing.assert_allclose(value, -(w[y] * np.take_along_axis(x, y[:, None], 1)[:, 0]))


def test_probabilities_zero_and_one(run: Runner) -> None:
    p, y = np.array([0.0, 1.0, 0.0, 1.0], np.float32), np.array([1, 0, 0, 1], np.float32)
    value, (grad,) = run(lambda p, y: F.binary_cross_entropy(p, y, reduction="none"), {"p": p, "y": y}, ("p",))
    np.testing.assert_array_equal(value, [100, 100, 0, 0])
    np.testing.assert_allclose(grad, [-1e12, 1e12, 0, 0], rtol=1e-6)


def test_fluid_probability_zero(run: Runner) -> None:
    p = np.array([[0.0, 1.0], [0.0, 1.0]], np.float32)
    value, (grad,) = run(lambda p, y: gl.layers.cross_entropy(p, y), {"p": p, "y": np.array([[0], [1]])}, ("p",))
    np.testing.assert_array_equal(value, np.array([[1e20], [0]], np.float32))
    np.testing.assert_array_equal(grad, [[-math.inf, 0], [0, -1]])


def test_fluid_soft_labels_of_weight_zero(run: Runner) -> None:
    p, t = np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]])
    value, (grad,) = run(lambda p, t: gl.layers.cross_entropy(p, t, soft_label=True), {"p": p, "t": t}, ("p",))
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(grad, [[0, -1]])


def test_soft_labels_need_not_sum_to_one(run: Runner) -> None:
    x, t = np.array([[0.3, -1.2, 2.0]]), np.array([[0.5, 0.1, 0.9]])
    value, (grad,) = run(
        lambda x, t: gl.layers.softmax_with_cross_entropy(x, t, soft_label=True), {"x": x, "t": t}, ("x",)
    )
    p = np.exp(x) / np.exp(x).sum()
    np.testing.assert_allclose(value, [[-(t * np.log(p)).sum()]])
    np.testing.assert_allclose(grad, p * t.sum() - t)


def test_huge_differences_stay_finite(run: Runner) -> None:
    """d² overflows in float32 where the linear part holds: neither value nor gradient may notice."""
    x, y = np.array([1e30, -1e30, 0.1], np.float32), np.zeros(3, np.float32)
    for loss, slope in ((F.smooth_l1_loss, 1.0), (F.huber_loss, 1.0)):
        value, (grad,) = run(lambda x, y, loss=loss: loss(x, y, reduction="none"), {"x": x, "y": y}, ("x",))
        np.testing.assert_allclose(value, [1e30, 1e30, 0.005], rtol=1e-6)
        np.testing.assert_allclose(grad, [slope, -slope, 0.1], rtol=1e-6)


def test_smooth_l1_without_quadratic_part(run: Runner) -> None:
    x = np.array([-2.0, 0.0, 3.0])
    value, (grad,) = run(
        lambda x, y: F.smooth_l1_loss(x, y, reduction="none", beta=0), {"x": x, "y": np.zeros(3)}, ("x",)
    )
    np.testing.assert_array_equal(value, [2, 0, 3])
    np.testing.assert_array_equal(grad, [-1, 0, 1])


@pytest.mark.parametrize("shift", [0, 1])
def test_label_out_of_range(run: Runner, shift: int) -> None:
    x, y = np.zeros((4, 3)), np.array([0, 1, -1 if shift == 0 else 3, 2])
    for loss in (
        lambda x, y: F.cross_entropy(x, y),
        lambda x, y: F.nll_loss(x, y),
        lambda x, y: gl.layers.cross_entropy(x, y),
        lambda x, y: gl.dygraph.NLLLoss()(x, y),
        lambda x, y: gl.gluon.loss.SoftmaxCELoss()(x, y),
    ):
        with pytest.raises(IndexError, match=r"2") as caught:
            run(loss, {"x": x, "y": y}, ())
        assert isinstance(caught.value, gl.errors.LabelError)
        assert str(y[2]) in str(caught.value)


def test_ignored_rows_do_not_hide_bad_labels(run: Runner) -> None:
    with pytest.raises(gl.errors.LabelError):
        run(lambda x, y: F.cross_entropy(x, y), {"x": np.zeros((3, 3)), "y": np.array([-100, 7, 0])}, ())


def test_targets_of_another_shape_are_broadcast_with_a_warning(run: Runner) -> None:
    arrays = {"x": np.ones((2, 3)), "y": np.zeros((1, 3))}
    with pytest.warns(UserWarning, match="broadcast"):
        value, _ = run(lambda x, y: F.mse_loss(x, y), arrays, ())
    assert value == 1


def test_legacy_reduction_arguments(run: Runner) -> None:
    arrays = {"x": np.ones((2, 3)), "y": np.zeros((2, 3))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run(lambda x, y: F.mse_loss(x, y, size_average=False), arrays, ())[0] == 6
        assert run(lambda x, y: F.mse_loss(x, y, size_average=True, reduction="sum"), arrays, ())[0] == 1
        assert run(lambda x, y: F.mse_loss(x, y, reduce=False), arrays, ())[0].shape == (2, 3)
        assert run(lambda x, y: gl.nn.MSELoss(reduce=True, reduction="none")(x, y), arrays, ())[0] == 1


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
@pytest.mark.parametrize(
    "loss",
    [F.cross_entropy, F.multi_margin_loss, lambda x, y: F.nll_loss(F.log_softmax(x, 1), y)],
    ids=["cross entropy", "multi margin", "NLL"],
)
def test_labels_of_a_narrower_type_mean_the_same(run: Runner, loss: Build, dtype: str) -> None:
    x, y = np.random.default_rng(5).normal(size=(6, 4)), np.array([0, 3, 1, 2, 3, 0])
    value, (grad,) = run(lambda x, y: loss(x, y), {"x": x, "y": y}, ("x",))
    other, (slope,) = run(lambda x, y: loss(x, y), {"x": x, "y": y.astype(dtype)}, ("x",))
    np.testing.assert_array_equal(value, other)
    np.testing.assert_array_equal(grad, slope)
