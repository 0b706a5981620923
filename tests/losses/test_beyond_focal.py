"""Focal losses: the textbook formulas, extreme logits, one kernel."""

from __future__ import annotations

import numpy as np
import pytest

from graphloss import losses
from graphloss.errors import LabelError
from graphloss.nn import functional as F
from tests.losses.beyond import Case, check_case, finite, tensor_kernels
from tests.losses.runners import RUNNERS, Array, Runner


def sigmoid_focal(x: Array, y: Array, alpha: float | None = 0.25, gamma: float = 2.0) -> Array:
    p = 1 / (1 + np.exp(-x))
    a = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    return -a[0] * y * (1 - p) ** gamma * np.log(p) - a[1] * (1 - y) * p**gamma * np.log(1 - p)


def softmax_focal(x: Array, y: Array, w: Array | None = None, gamma: float = 2.0) -> Array:
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    p = np.take_along_axis(p, y[:, None], 1)[:, 0]
    loss = -((1 - p) ** gamma) * np.log(p)
    return loss if w is None else w[y] * loss


def scores(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.normal(size=(5, 4)) * 2, "y": rng.integers(0, 4, 5)}


def images(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.normal(size=(2, 3, 4)) * 2, "y": rng.integers(0, 3, (2, 4))}


def mask(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.normal(size=(3, 4)) * 2, "y": rng.integers(0, 2, (3, 4)).astype(float)}


CASES = [
    Case("sigmoid", lambda x, y, reduction: losses.sigmoid_focal_loss(x, y, reduction=reduction), sigmoid_focal, mask),
    Case(
        "sigmoid without alpha, odd power",
        lambda x, y, reduction: losses.sigmoid_focal_loss(x, y, None, 0.7, reduction),
        lambda x, y: sigmoid_focal(x, y, None, 0.7), mask,
    ),
    Case(
        "sigmoid, power 0", lambda x, y, reduction: losses.sigmoid_focal_loss(x, y, 0.5, 0.0, reduction),
        lambda x, y: sigmoid_focal(x, y, 0.5, 0.0), mask,
    ),
    Case(
        "sigmoid of integer targets", lambda x, y, reduction: losses.sigmoid_focal_loss(x, y, reduction=reduction),
        sigmoid_focal, lambda rng: {"x": rng.normal(size=7), "y": rng.integers(0, 2, 7)},
    ),
    Case(
        "softmax", lambda x, y, reduction: losses.softmax_focal_loss(x, y, reduction=reduction), softmax_focal, scores
    ),
    Case(
        "softmax, power below 1", lambda x, y, reduction: losses.softmax_focal_loss(x, y, None, 0.5, -100, reduction),
        lambda x, y: softmax_focal(x, y, gamma=0.5), scores,
    ),
    Case(
        "softmax with weights", lambda x, y, w, reduction: losses.softmax_focal_loss(x, y, w, reduction=reduction),
        softmax_focal, lambda rng: {**scores(rng), "w": rng.uniform(0.5, 2, 4)},
    ),
    Case(
        "softmax of images", lambda x, y, reduction: losses.softmax_focal_loss(x, y, reduction=reduction),
        lambda x, y: np.stack([softmax_focal(a.T, b) for a, b in zip(x, y, strict=True)]), images,
    ),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_textbook_formula(case: Case, runner: str, dtype: str, rng: np.random.Generator) -> None:
    check_case(case, runner, dtype, rng)


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
class TestEdges:
    @pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
    def test_huge_logits(self, run: Runner, gamma: float) -> None:
        x = np.array([1e4, -1e4, 1e4, -1e4], np.float32)
        y = np.array([1, 1, 0, 0], np.float32)
        value, (grad,) = run(
            lambda x, y: losses.sigmoid_focal_loss(x, y, None, gamma, "none"), {"x": x, "y": y}, ("x",)
        )
        np.testing.assert_array_equal(value, [0, 1e4, 1e4, 0])
        np.testing.assert_array_equal(grad, [0, -1, 1, 0])
        rows = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0]], np.float32)
        labels = np.array([0, 0])
        value, (grad,) = run(
            lambda x, y: losses.softmax_focal_loss(x, y, None, gamma, -100, "none"), {"x": rows, "y": labels}, ("x",)
        )
        np.testing.assert_array_equal(value, [0, 2e4])
        np.testing.assert_array_equal(grad, [[0, 0, 0], [-1, 1, 0]])

    def test_confident_right_answers_keep_their_digits(self, run: Runner) -> None:
        arrays = {"x": np.array([20.0], np.float32), "y": np.ones(1, np.float32)}
        value, (grad,) = run(lambda x, y: losses.sigmoid_focal_loss(x, y, None, 1.0, "none"), arrays, ("x",))
        q = 1 / (1 + np.exp(20.0))
        np.testing.assert_allclose(value, -q * np.log1p(-q), rtol=1e-5)
        np.testing.assert_allclose(grad, q * ((1 - q) * np.log1p(-q) - q), rtol=1e-5)

    def test_one_class(self, run: Runner) -> None:
        arrays = {"x": np.array([[3.0], [-2.0]]), "y": np.zeros(2, np.int64)}
        value, (grad,) = run(lambda x, y: losses.softmax_focal_loss(x, y, gamma=0.5), arrays, ("x",))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(grad, 0)

    def test_ignored_rows(self, run: Runner) -> None:
        arrays = {"x": np.array([[1.0, 2.0], [1e4, 3.0]]), "y": np.array([0, 7])}
        value, (grad,) = run(lambda x, y: losses.softmax_focal_loss(x, y, ignore_index=7), arrays, ("x",))
        np.testing.assert_allclose(value, softmax_focal(arrays["x"][:1], arrays["y"][:1])[0], rtol=1e-12)
        assert np.all(grad[0] != 0)
        np.testing.assert_array_equal(grad[1], 0)

    def test_batch_of_none(self, run: Runner) -> None:
        arrays = {"x": np.zeros((0, 3)), "y": np.zeros(0, np.int64)}
        value, (grad,) = run(lambda x, y: losses.softmax_focal_loss(x, y, reduction="sum"), arrays, ("x",))
        assert value == 0
        assert grad.shape == (0, 3)
        arrays = {"x": np.zeros((0, 3))}
        value, (grad,) = run(lambda x: losses.sigmoid_focal_loss(x, x, reduction="sum"), arrays, ("x",))
        assert value == 0
        assert grad.shape == (0, 3)

    def test_power_0_is_cross_entropy(self, run: Runner, rng: np.random.Generator) -> None:
        arrays = scores(rng)
        got = run(lambda x, y: losses.softmax_focal_loss(x, y, gamma=0.0), arrays, ("x",))
        want = run(lambda x, y: F.cross_entropy(x, y), arrays, ("x",))
        np.testing.assert_allclose(got[0], want[0], rtol=1e-14)
        np.testing.assert_allclose(got[1][0], want[1][0], rtol=1e-14)

    def test_infinite_logit_of_a_wrong_class(self, run: Runner) -> None:
        arrays = {"x": np.array([[-np.inf, 0.0, 0.5]]), "y": np.array([1])}
        assert finite(*run(lambda x, y: losses.softmax_focal_loss(x, y), arrays, ("x",)))

    def test_label_out_of_range(self, run: Runner) -> None:
        with pytest.raises(LabelError, match="row 1"):
            run(lambda x, y: losses.softmax_focal_loss(x, y), {"x": np.zeros((2, 3)), "y": np.array([0, 3])})


def test_one_kernel() -> None:
    element = {"x": ("float32", [None, 30]), "y": ("float32", [None, 30])}
    assert tensor_kernels(lambda x, y: losses.sigmoid_focal_loss(x, y), element, ["x"]) == 1
    row = {"x": ("float32", [None, 30]), "y": ("int64", [None])}
    assert tensor_kernels(lambda x, y: losses.softmax_focal_loss(x, y), row, ["x"]) == 1
