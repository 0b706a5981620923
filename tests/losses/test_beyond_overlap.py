"""Losses of masks: textbook formulas, empty and perfect masks, how many kernels."""

from __future__ import annotations

import numpy as np
import pytest

from graphloss import losses
from graphloss.errors import LabelError, ShapeError
from graphloss.nn import functional as F
from tests.losses.beyond import Case, check_case, finite, numeric_gradient, tensor_kernels
from tests.losses.runners import RUNNERS, Array, Build, Runner


def index(x: Array, y: Array, alpha: float, beta: float, smooth: float, first: int = 1) -> Array:
    """The Tversky index, by its definition."""
    p, t = x.reshape(*x.shape[:first], -1), y.reshape(*y.shape[:first], -1)
    hit = (p * t).sum(-1)
    return (hit + smooth) / (hit + alpha * (p * (1 - t)).sum(-1) + beta * ((1 - p) * t).sum(-1) + smooth)


def masks(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.uniform(0.05, 0.95, (3, 4, 5)), "y": rng.integers(0, 2, (3, 4, 5)).astype(float)}


def generalized_dice(x: Array, y: Array, smooth: float = 0.0) -> Array:
    p, t = x.reshape(*x.shape[:2], -1), y.reshape(*y.shape[:2], -1)
    w = 1 / t.sum(-1) ** 2
    return 1 - (2 * (w * (p * t).sum(-1)).sum(1) + smooth) / ((w * (p + t).sum(-1)).sum(1) + smooth)


def classes(rng: np.random.Generator) -> dict[str, Array]:
    x, y = rng.uniform(0.05, 0.95, (2, 3, 8)), np.zeros((2, 3, 8))
    for n in range(2):
        y[n, rng.permutation(np.array([0, 0, 0, 1, 1, 1, 1, 2])), np.arange(8)] = 1
    return {"x": x, "y": y}


CASES = [
    Case(
        "Tversky", lambda x, y, reduction: losses.tversky_loss(x, y, 0.3, 0.6, 0.5, reduction=reduction),
        lambda x, y: 1 - index(x, y, 0.3, 0.6, 0.5), masks, ("x", "y"),
    ),
    Case(
        "Tversky per class", lambda x, y, reduction: losses.tversky_loss(x, y, 0.3, 0.6, 0.0, True, reduction),
        lambda x, y: 1 - index(x, y, 0.3, 0.6, 0.0, 2), lambda rng: {**masks(rng), "y": rng.uniform(0, 1, (3, 4, 5))},
    ),
    Case(
        "focal Tversky", lambda x, y, reduction: losses.focal_tversky_loss(x, y, reduction=reduction),
        lambda x, y: (1 - index(x, y, 0.3, 0.7, 1.0)) ** 0.75, masks,
    ),
    Case(
        "Jaccard", lambda x, y, reduction: losses.jaccard_loss(x, y, reduction=reduction),
        lambda x, y: 1 - ((x * y).sum((1, 2)) + 1) / ((x + y - x * y).sum((1, 2)) + 1), masks,
    ),
    Case(
        "generalised Dice", lambda x, y, reduction: losses.generalized_dice_loss(x, y, reduction=reduction),
        generalized_dice, classes,
    ),
    Case(
        "generalised Dice, smoothed", lambda x, y, reduction: losses.generalized_dice_loss(x, y, 0.1, reduction),
        lambda x, y: generalized_dice(x, y, 0.1), classes,
    ),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_textbook_formula(case: Case, runner: str, dtype: str, rng: np.random.Generator) -> None:
    check_case(case, runner, dtype, rng)


def dice_and_cross_entropy(x: Array, y: Array, a: float, b: float, smooth: float) -> float:
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    t = np.moveaxis(np.eye(x.shape[1])[y], -1, 1)
    axes = tuple(range(2, x.ndim))
    dice = 1 - (2 * (p * t).sum(axes) + smooth) / (p.sum(axes) + t.sum(axes) + smooth)
    return float(a * dice.mean() - b * (t * np.log(p)).sum(1).mean())


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
class TestDiceAndCrossEntropy:
    @pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-9)])
    def test_textbook_formula(self, run: Runner, dtype: str, tolerance: float, rng: np.random.Generator) -> None:
        x, y = rng.normal(size=(2, 3, 4, 5)).astype(dtype), rng.integers(0, 3, (2, 4, 5))
        value, (grad,) = run(lambda x, y: losses.dice_cross_entropy_loss(x, y, 0.7, 1.5, 0.1), {"x": x, "y": y}, ("x",))
        exact = x.astype(np.float64)
        np.testing.assert_allclose(value, dice_and_cross_entropy(exact, y, 0.7, 1.5, 0.1), rtol=tolerance)
        want = numeric_gradient(lambda a: dice_and_cross_entropy(a, y, 0.7, 1.5, 0.1), exact)
        np.testing.assert_allclose(grad, want, rtol=tolerance, atol=tolerance * 0.1)

    def test_only_cross_entropy_and_only_dice(self, run: Runner, rng: np.random.Generator) -> None:
        arrays = {"x": rng.normal(size=(2, 3, 7)), "y": rng.integers(0, 3, (2, 7))}
        for reduction in ("mean", "sum"):
            got = run(lambda x, y, r=reduction: losses.dice_cross_entropy_loss(x, y, 0.0, reduction=r), arrays, ("x",))
            want = run(lambda x, y, r=reduction: F.cross_entropy(x, y, reduction=r), arrays, ("x",))
            np.testing.assert_allclose(got[0], want[0], rtol=1e-13)
            np.testing.assert_allclose(got[1][0], want[1][0], rtol=1e-12, atol=1e-15)

    def test_ignored_pixels(self, run: Runner, rng: np.random.Generator) -> None:
        x, y = rng.normal(size=(1, 3, 6)), np.array([[0, 1, 2, 1, 255, 255]])
        value, (grad,) = run(
            lambda x, y: losses.dice_cross_entropy_loss(x, y, ignore_index=255), {"x": x, "y": y}, ("x",)
        )
        kept = {"x": x[..., :4].copy(), "y": y[..., :4].copy()}
        want, (rest,) = run(lambda x, y: losses.dice_cross_entropy_loss(x, y), kept, ("x",))
        np.testing.assert_allclose(value, want, rtol=1e-13)
        np.testing.assert_allclose(grad[..., :4], rest, rtol=1e-12)
        np.testing.assert_array_equal(grad[..., 4:], 0)

    def test_huge_logits_one_class_all_ignored(self, run: Runner) -> None:
        x = np.array([[[1e4, -1e4], [-1e4, 1e4]]], np.float32)
        for labels, want in (([[0, 1]], 0.0), ([[1, 0]], 1.0 + 2e4)):
            value, (grad,) = run(
                lambda x, y: losses.dice_cross_entropy_loss(x, y, smooth=0.0), {"x": x, "y": np.array(labels)}, ("x",)
            )
            np.testing.assert_array_equal(value, np.float32(want))
            assert np.isfinite(grad).all()
        arrays = {"x": np.ones((2, 1, 3)), "y": np.zeros((2, 3), np.int64)}
        value, (grad,) = run(lambda x, y: losses.dice_cross_entropy_loss(x, y), arrays, ("x",))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(grad, 0)
        arrays = {"x": np.ones((2, 2, 3)), "y": np.full((2, 3), -100)}
        value, (grad,) = run(lambda x, y: losses.dice_cross_entropy_loss(x, y, reduction="sum"), arrays, ("x",))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(grad, 0)

    def test_label_out_of_range(self, run: Runner) -> None:
        with pytest.raises(LabelError):
            run(
                lambda x, y: losses.dice_cross_entropy_loss(x, y),
                {"x": np.zeros((1, 2, 3)), "y": np.array([[0, 1, 2]])},
                (),
            )


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
class TestEdges:
    @pytest.mark.parametrize("smooth", [0.0, 1.0])
    def test_empty_mask_and_empty_answer(self, run: Runner, smooth: float) -> None:
        arrays = {"x": np.zeros((2, 1, 3)), "y": np.zeros((2, 1, 3))}
        for loss in (losses.tversky_loss, losses.focal_tversky_loss, losses.jaccard_loss, losses.generalized_dice_loss):
            value, (grad,) = run(lambda x, y, f=loss: f(x, y, smooth=smooth, reduction="none"), arrays, ("x",))
            np.testing.assert_array_equal(value, 0)
            assert np.isfinite(grad).all()

    def test_empty_mask(self, run: Runner) -> None:
        arrays = {"x": np.array([[[0.5, 0.25]]]), "y": np.zeros((1, 1, 2))}
        for loss in (losses.tversky_loss, losses.jaccard_loss, losses.generalized_dice_loss):
            value, (grad,) = run(lambda x, y, f=loss: f(x, y, smooth=0.0), arrays, ("x",))
            np.testing.assert_allclose(value, 1)  # nothing is right, however little is answered
            np.testing.assert_allclose(grad, 0, atol=1e-15)

    def test_perfect_answer(self, run: Runner) -> None:
        y = np.array([[[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]])
        for loss in (losses.tversky_loss, losses.focal_tversky_loss, losses.jaccard_loss, losses.generalized_dice_loss):
            value, (grad,) = run(lambda x, y, f=loss: f(x, y), {"x": y.copy(), "y": y}, ("x",))
            np.testing.assert_array_equal(value, 0)
            assert np.isfinite(grad).all()

    def test_nearly_perfect_answer_keeps_its_digits(self, run: Runner) -> None:
        x, y = np.full((1, 1000), 1.0, np.float32), np.ones((1, 1000), np.float32)
        x[0, 0] = 0.999
        value, _ = run(lambda x, y: losses.jaccard_loss(x, y, 0.0), {"x": x, "y": y}, ())
        np.testing.assert_allclose(value, (1 - float(x[0, 0])) / 1000, rtol=1e-6)

    def test_absent_class_weighs_as_the_rarest(self, run: Runner) -> None:
        arrays = {"x": np.full((1, 3, 4), 0.25), "y": np.zeros((1, 3, 4))}
        arrays["y"][0, 0, :3] = arrays["y"][0, 1, 3] = 1
        value, (grad,) = run(lambda x, y: losses.generalized_dice_loss(x, y), arrays, ("x",))
        w, overlap, areas = np.array([1 / 9, 1, 1]), np.array([0.75, 0.25, 0]), np.array([4, 2, 1])
        np.testing.assert_allclose(value, 1 - 2 * (w @ overlap) / (w @ areas), rtol=1e-14)
        assert np.isfinite(grad).all()

    def test_batch_of_none(self, run: Runner) -> None:
        arrays = {"x": np.zeros((0, 2, 3)), "y": np.zeros((0, 2, 3))}
        for loss in (losses.tversky_loss, losses.focal_tversky_loss, losses.jaccard_loss, losses.generalized_dice_loss):
            value, (grad,) = run(lambda x, y, f=loss: f(x, y, reduction="sum"), arrays, ("x",))
            assert value == 0
            assert grad.shape == (0, 2, 3)

    def test_halves_are_the_dice_loss(self, run: Runner, rng: np.random.Generator) -> None:
        arrays = masks(rng)
        value, _ = run(lambda x, y: losses.tversky_loss(x, y, smooth=0.5, reduction="none"), arrays, ())
        x, y = arrays["x"].reshape(3, -1), arrays["y"].reshape(3, -1)
        np.testing.assert_allclose(value, 1 - (2 * (x * y).sum(1) + 1) / (x.sum(1) + y.sum(1) + 1), rtol=1e-13)

    def test_masks_of_integers_and_bools(self, run: Runner, rng: np.random.Generator) -> None:
        arrays = masks(rng)
        want, _ = run(lambda x, y: losses.jaccard_loss(x, y), arrays, ())
        for dtype in (np.int64, np.bool_, np.uint8):
            given = {**arrays, "y": arrays["y"].astype(dtype)}
            value, (grad,) = run(lambda x, y: losses.jaccard_loss(x, y), given, ("x",))
            assert finite(value, [grad])
            np.testing.assert_array_equal(value, want)

    @pytest.mark.parametrize("smooth", [0.0, 1.0])
    @pytest.mark.parametrize("activation", [F.sigmoid, lambda x: F.softmax(x, 1)], ids=["sigmoid", "softmax"])
    def test_probabilities_of_huge_logits(self, run: Runner, activation: Build, smooth: float) -> None:
        x = np.array([[[1e4, -1e4, 50], [-1e4, 1e4, -50]], [[-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]]], np.float32)
        y = np.array([[[1, 0, 1], [0, 1, 0]], [[1, 1, 1], [0, 0, 0]]], np.float32)
        for loss in (losses.tversky_loss, losses.focal_tversky_loss, losses.jaccard_loss, losses.generalized_dice_loss):
            value, (grad,) = run(
                lambda x, y, f=loss: f(activation(x), y, smooth=smooth, reduction="none"), {"x": x, "y": y}, ("x",)
            )
            np.testing.assert_allclose(value[0], 0, atol=1e-12)
            assert value[1] > 0.3
            assert np.isfinite(grad).all()

    def test_too_few_axes(self, run: Runner) -> None:
        arrays = {"x": np.zeros(3), "y": np.zeros(3)}
        with pytest.raises(ShapeError, match=r"\(N, C, …\)"):
            run(lambda x, y: losses.tversky_loss(x, y, per_class=True), arrays, ())
        with pytest.raises(ShapeError, match=r"\(N, C, d1, …\)"):
            run(
                lambda x, y: losses.dice_cross_entropy_loss(x, y),
                {"x": np.zeros((2, 3)), "y": np.zeros(2, np.int64)},
                (),
            )


def test_one_kernel() -> None:
    inputs = {"x": ("float32", [None, 30, 40]), "y": ("float32", [None, 30, 40])}
    for loss in (losses.tversky_loss, losses.focal_tversky_loss, losses.jaccard_loss):
        assert tensor_kernels(lambda x, y, f=loss: f(x, y), inputs, ["x"]) == 1


def test_kernels_of_two_row_structures() -> None:
    """Sums over the pixels, then over the classes; the gradient needs both before it walks the pixels again."""
    inputs = {"x": ("float32", [None, 5, 30, 40]), "y": ("float32", [None, 5, 30, 40])}
    assert tensor_kernels(lambda x, y: losses.generalized_dice_loss(x, y), inputs, ["x"]) == 3


def test_kernels_of_a_softmax_and_sums_across_it() -> None:
    """The softmax of each pixel, the sums over the pixels of each class, the gradient back through the softmax."""
    inputs = {"x": ("float32", [None, 5, 30, 40]), "y": ("int64", [None, 30, 40])}
    assert tensor_kernels(lambda x, y: losses.dice_cross_entropy_loss(x, y), inputs, ["x"]) == 3
