"""Generalised cross entropy, Poly-1, z-loss and soft-capping: formulas, extreme logits, one kernel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphloss import losses
from graphloss.errors import AttrError, LabelError
from graphloss.ir.tensor import Tensor
from graphloss.nn import functional as F
from tests.losses.beyond import Case, Reference, check_case, tensor_kernels
from tests.losses.runners import RUNNERS, Array, Build, Runner


def probabilities(x: Array, y: Array) -> Array:
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    return np.take_along_axis(p, y[:, None], 1)[:, 0]


def scores(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.normal(size=(5, 4)) * 2, "y": rng.integers(0, 4, 5)}


def labelled(name: str, build: Build, of_p: Reference) -> Case:
    return Case(name, build, lambda x, y: of_p(probabilities(x, y)), scores)


def capped(x: Array, y: Array, weight: float, cap: float) -> Array:
    c = cap * np.tanh(x / cap)
    return -np.log(probabilities(c, y)) + weight * np.log(np.exp(c).sum(1)) ** 2


CASES = [
    labelled(
        "generalised", lambda x, y, reduction: losses.generalized_cross_entropy(x, y, reduction=reduction),
        lambda p: (1 - p**0.7) / 0.7,
    ),
    labelled(
        "generalised, q = 1", lambda x, y, reduction: losses.generalized_cross_entropy(x, y, 1.0, -100, reduction),
        lambda p: 1 - p,
    ),
    labelled(
        "generalised, q = 0", lambda x, y, reduction: losses.generalized_cross_entropy(x, y, 0.0, -100, reduction),
        lambda p: -np.log(p),
    ),
    labelled(
        "Poly-1", lambda x, y, reduction: losses.poly1_cross_entropy(x, y, 2.0, -100, reduction),
        lambda p: -np.log(p) + 2 * (1 - p),
    ),
    Case(
        "z-loss", lambda x, reduction: losses.z_loss(x, 1, reduction), lambda x: np.log(np.exp(x).sum(1)) ** 2,
        lambda rng: {"x": rng.normal(size=(3, 4, 2))},
    ),
    Case(
        "CE with z-loss", lambda x, y, reduction: losses.capped_cross_entropy(x, y, 0.1, reduction=reduction),
        lambda x, y: -np.log(probabilities(x, y)) + 0.1 * np.log(np.exp(x).sum(1)) ** 2, scores,
    ),
    Case(
        "CE with both", lambda x, y, reduction: losses.capped_cross_entropy(x, y, 0.1, 3.0, -100, reduction),
        lambda x, y: capped(x, y, 0.1, 3.0), scores,
    ),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_textbook_formula(case: Case, runner: str, dtype: str, rng: np.random.Generator) -> None:
    check_case(case, runner, dtype, rng)


LABELLED = [losses.generalized_cross_entropy, losses.poly1_cross_entropy, losses.capped_cross_entropy]


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
class TestEdges:
    def test_huge_logits(self, run: Runner) -> None:
        arrays = {"x": np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0]], np.float32), "y": np.array([0, 0])}
        value, (grad,) = run(lambda x, y: losses.generalized_cross_entropy(x, y, 0.5, reduction="none"), arrays, ("x",))
        np.testing.assert_array_equal(value, [0, 2])
        np.testing.assert_array_equal(grad, 0)
        value, (grad,) = run(lambda x, y: losses.poly1_cross_entropy(x, y, reduction="none"), arrays, ("x",))
        np.testing.assert_array_equal(value, [0, 20001])
        np.testing.assert_array_equal(grad, [[0, 0, 0], [-1, 1, 0]])
        value, (grad,) = run(
            lambda x, y: losses.capped_cross_entropy(x, y, 0.0, 30.0, reduction="none"), arrays, ("x",)
        )
        np.testing.assert_allclose(value, [0, 60], atol=1e-6)
        np.testing.assert_array_equal(grad[:, :2], 0)  # the cap holds them
        value, (grad,) = run(lambda x: losses.z_loss(x, reduction="none"), {"x": arrays["x"]}, ("x",))
        np.testing.assert_array_equal(value, np.float32(1e8))
        np.testing.assert_array_equal(grad, [[2e4, 0, 0], [0, 2e4, 0]])

    def test_probability_0(self, run: Runner) -> None:
        arrays = {"x": np.array([[-math.inf, 0.0]]), "y": np.array([0])}
        value, (grad,) = run(lambda x, y: losses.generalized_cross_entropy(x, y, 0.5), arrays, ("x",))
        np.testing.assert_array_equal(value, 2)
        assert not np.isnan(grad).any()

    def test_small_q_keeps_its_digits(self, run: Runner) -> None:
        arrays = {"x": np.array([[0.0, 1.0]], np.float32), "y": np.array([0])}
        value, _ = run(lambda x, y: losses.generalized_cross_entropy(x, y, 1e-6), arrays, ())
        np.testing.assert_allclose(value, math.log1p(math.e), rtol=2e-6)

    @pytest.mark.parametrize("loss", LABELLED)
    def test_one_class_and_none_and_ignored(self, run: Runner, loss: Build) -> None:
        also = {"z_weight": 0.0} if loss is losses.capped_cross_entropy else {}
        arrays = {"x": np.array([[3.0], [-2.0]]), "y": np.zeros(2, np.int64)}
        value, (grad,) = run(lambda x, y: loss(x, y, **also), arrays, ("x",))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(grad, 0)
        arrays = {"x": np.zeros((0, 3)), "y": np.zeros(0, np.int64)}
        value, (grad,) = run(lambda x, y: loss(x, y, reduction="sum"), arrays, ("x",))
        assert value == 0
        assert grad.shape == (0, 3)
        arrays = {"x": np.array([[1.0, 2.0], [1e4, -1e4]]), "y": np.array([0, -100])}
        value, (grad,) = run(loss_of := lambda x, y: loss(x, y), arrays, ("x",))
        want, (first,) = run(loss_of, {n: a[:1] for n, a in arrays.items()}, ("x",))
        np.testing.assert_allclose(value, want, rtol=1e-14)
        np.testing.assert_allclose(grad[:1], first, rtol=1e-14)
        np.testing.assert_array_equal(grad[1], 0)

    @pytest.mark.parametrize("loss", LABELLED)
    def test_label_out_of_range(self, run: Runner, loss: Build) -> None:
        with pytest.raises(LabelError, match="row 1"):
            run(lambda x, y: loss(x, y), {"x": np.zeros((2, 3)), "y": np.array([0, 3])}, ())

    def test_without_either_it_is_cross_entropy(self, run: Runner, rng: np.random.Generator) -> None:
        arrays = scores(rng)
        value, (grad,) = run(lambda x, y: losses.capped_cross_entropy(x, y, 0.0), arrays, ("x",))
        want, (slope,) = run(lambda x, y: F.cross_entropy(x, y), arrays, ("x",))
        np.testing.assert_allclose(value, want, rtol=1e-14)
        np.testing.assert_allclose(grad, slope, rtol=1e-13)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_one_kernel(case: Case) -> None:
    inputs: dict[str, tuple[str, list[int | None]]] = {"x": ("float32", [None, 30]), "y": ("int64", [None])}
    if case.name == "z-loss":
        del inputs["y"]
    assert tensor_kernels(lambda **i: case.build(**i, reduction="mean"), inputs, ["x"]) == 1


def test_weighted_sums_of_losses_are_one_kernel() -> None:
    inputs = {"x": ("float32", [None, 30]), "t": ("float32", [None, 30]), "y": ("int64", [None])}

    def several(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        own = losses.poly1_cross_entropy(x, y) + 0.5 * losses.softmax_focal_loss(x, y) + 1e-4 * losses.z_loss(x)
        return own + 0.1 * losses.distillation_loss(x, t)

    assert tensor_kernels(several, inputs, ["x"]) == 1


def test_refused() -> None:
    arrays = {"x": np.zeros((1, 2)), "y": np.zeros(1, np.int64)}
    for call, words in (
        (lambda x, y: losses.generalized_cross_entropy(x, y, 1.5), "q is out of range"),
        (lambda x, y: losses.capped_cross_entropy(x, y, cap=0.0), "cap is out of range"),
        (lambda x, y: losses.z_loss(x, 2), "axis is out of range"),
    ):
        with pytest.raises(AttrError, match=words):
            RUNNERS["eager"](call, arrays, ())
