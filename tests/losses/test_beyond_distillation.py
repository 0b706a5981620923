"""Distillation, Jensen-Shannon and DPO: formulas, extreme logits, one kernel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphloss import losses
from graphloss.errors import AttrError, ShapeError
from tests.losses.beyond import Case, check_case, tensor_kernels
from tests.losses.runners import RUNNERS, Array, Runner


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def distillation(x: Array, t: Array, y: Array | None = None, heat: float = 2.0, alpha: float = 0.5) -> Array:
    p, q = softmax(t / heat), softmax(x / heat)
    soft = heat**2 * (p * np.log(p / q)).sum(1)
    if y is None:
        return soft
    hard = -np.log(np.take_along_axis(softmax(x), y[:, None], 1)[:, 0])
    return alpha * soft + (1 - alpha) * hard


def jensen_shannon(x: Array, t: Array) -> Array:
    p, q = softmax(x), softmax(t)
    m = (p + q) / 2
    return 0.5 * (p * np.log(p / m) + q * np.log(q / m)).sum(1)


def two(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.normal(size=(4, 5)) * 2, "t": rng.normal(size=(4, 5)) * 2}


def dpo(a: Array, b: Array, c: Array, d: Array, beta: float = 0.1, noise: float = 0.0) -> Array:
    s = 1 / (1 + np.exp(-beta * ((a - c) - (b - d))))
    return -(1 - noise) * np.log(s) - noise * np.log(1 - s)


def log_probabilities(rng: np.random.Generator) -> dict[str, Array]:
    return {n: -rng.uniform(5, 30, 6) for n in "abcd"}


CASES = [
    Case(
        "distillation", lambda x, t, reduction: losses.distillation_loss(x, t, temperature=3.0, reduction=reduction),
        lambda x, t: distillation(x, t, heat=3.0), two,
    ),
    Case(
        "distillation with labels",
        lambda x, t, y, reduction: losses.distillation_loss(x, t, y, 4.0, 0.3, reduction=reduction),
        lambda x, t, y: distillation(x, t, y, 4.0, 0.3), lambda rng: {**two(rng), "y": rng.integers(0, 5, 4)},
    ),
    Case(
        "Jensen-Shannon", lambda x, t, reduction: losses.jensen_shannon_loss(x, t, reduction=reduction),
        jensen_shannon, two, ("x", "t"),
    ),
    Case(
        "DPO", lambda a, b, c, d, reduction: losses.dpo_loss(a, b, c, d, reduction=reduction), dpo,
        log_probabilities, ("a", "b"),
    ),
    Case(
        "DPO with noise", lambda a, b, c, d, reduction: losses.dpo_loss(a, b, c, d, 0.5, 0.1, reduction),
        lambda a, b, c, d: dpo(a, b, c, d, 0.5, 0.1), log_probabilities, ("a", "b"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_textbook_formula(case: Case, runner: str, dtype: str, rng: np.random.Generator) -> None:
    check_case(case, runner, dtype, rng)


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
class TestEdges:
    def test_huge_logits(self, run: Runner) -> None:
        x = np.array([[1e4, -1e4], [1e4, -1e4], [0, 0]], np.float32)
        t = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, -1e4]], np.float32)
        arrays = {"x": x, "t": t}
        value, (grad,) = run(
            lambda x, t: losses.distillation_loss(x, t, temperature=1.0, reduction="none"), arrays, ("x",)
        )
        np.testing.assert_allclose(value, [0, 2e4, math.log(2)], rtol=1e-6)
        np.testing.assert_array_equal(grad, [[0, 0], [1, -1], [-0.5, 0.5]])
        value, grads = run(lambda x, t: losses.jensen_shannon_loss(x, t, reduction="none"), arrays, ("x", "t"))
        np.testing.assert_allclose(value, [0, math.log(2), 0.75 * math.log(4 / 3)], rtol=1e-6)
        assert all(np.isfinite(g).all() for g in grads)

    def test_probabilities_of_0(self, run: Runner) -> None:
        """−∞ as the logarithm of a probability 0, in either or in both."""
        half, never = math.log(0.5), -math.inf
        arrays = {"x": np.array([[0.0, never, never]]), "t": np.array([[half, half, never]])}
        value, grads = run(lambda x, t: losses.jensen_shannon_loss(x, t), arrays, ("x", "t"))
        want = 0.5 * (math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2))
        np.testing.assert_allclose(value, want, rtol=1e-14)
        assert not any(np.isnan(g).any() for g in grads)
        value, (grad,) = run(
            lambda x, t: losses.distillation_loss(t, x, temperature=1.0), arrays, ("t",)
        )  # the student gives the teacher's only class a half
        np.testing.assert_allclose(value, math.log(2), rtol=1e-14)
        np.testing.assert_allclose(grad, [[-0.5, 0.5, 0]], atol=1e-15)

    def test_equal_distributions(self, run: Runner, rng: np.random.Generator) -> None:
        x = two(rng)["x"]
        value, grads = run(lambda x, t: losses.jensen_shannon_loss(x, t), {"x": x, "t": x + 3.0}, ("x", "t"))
        np.testing.assert_allclose(value, 0, atol=1e-15)
        np.testing.assert_allclose(grads, 0, atol=1e-15)

    def test_the_teacher_and_the_reference_are_held(self, run: Runner, rng: np.random.Generator) -> None:
        _, (grad,) = run(lambda x, t: losses.distillation_loss(x, t), two(rng), ("t",))
        np.testing.assert_array_equal(grad, 0)
        _, grads = run(lambda a, b, c, d: losses.dpo_loss(a, b, c, d), log_probabilities(rng), ("c", "d"))
        np.testing.assert_array_equal(grads, 0)

    def test_far_apart_preferences(self, run: Runner) -> None:
        arrays = {n: np.array(a, np.float32) for n, a in (("a", [0, -1e4]), ("b", [-1e4, 0]), ("c", [0, 0]))}
        value, (grad,) = run(lambda a, b, c: losses.dpo_loss(a, b, c, c, 1.0, reduction="none"), arrays, ("a",))
        np.testing.assert_array_equal(value, [0, 1e4])
        np.testing.assert_array_equal(grad, [0, -1])

    def test_ignored_rows_and_none(self, run: Runner, rng: np.random.Generator) -> None:
        arrays = {**two(rng), "y": np.array([1, -100, 0, 2])}
        value, (grad,) = run(lambda x, t, y: losses.distillation_loss(x, t, y), arrays, ("x",))
        kept = {n: a[[0, 2, 3]] for n, a in arrays.items()}
        want, (rest,) = run(lambda x, t, y: losses.distillation_loss(x, t, y), kept, ("x",))
        np.testing.assert_allclose(value, want, rtol=1e-14)
        np.testing.assert_allclose(grad[[0, 2, 3]], rest, rtol=1e-13)
        np.testing.assert_array_equal(grad[1], 0)
        arrays = {"x": np.zeros((0, 3)), "t": np.zeros((0, 3))}
        for loss in (losses.distillation_loss, losses.jensen_shannon_loss):
            value, (grad,) = run(lambda x, t, f=loss: f(x, t, reduction="sum"), arrays, ("x",))
            assert value == 0
            assert grad.shape == (0, 3)

    def test_one_class(self, run: Runner) -> None:
        arrays = {"x": np.array([[3.0]]), "t": np.array([[-2.0]])}
        for loss in (losses.distillation_loss, losses.jensen_shannon_loss):
            value, (grad,) = run(lambda x, t, f=loss: f(x, t), arrays, ("x",))
            np.testing.assert_allclose(value, 0, atol=4e-16)
            np.testing.assert_array_equal(grad, 0)


def test_one_kernel() -> None:
    rows = {"x": ("float32", [None, 30]), "t": ("float32", [None, 30])}
    assert tensor_kernels(lambda x, t: losses.distillation_loss(x, t), rows, ["x"]) == 1
    assert tensor_kernels(lambda x, t: losses.jensen_shannon_loss(x, t), rows, ["x", "t"]) == 1
    labelled = {**rows, "y": ("int64", [None])}
    assert tensor_kernels(lambda x, t, y: losses.distillation_loss(x, t, y), labelled, ["x"]) == 1
    pairs = {n: ("float32", [None]) for n in "abcd"}
    assert tensor_kernels(lambda a, b, c, d: losses.dpo_loss(a, b, c, d), pairs, ["a", "b"]) == 1


def test_refused() -> None:
    arrays = {"x": np.zeros((1, 2))}
    for call, words in (
        (lambda x: losses.distillation_loss(x, x, temperature=0.0), "temperature is out of range"),
        (lambda x: losses.dpo_loss(x, x, x, x, label_smoothing=0.6), "label_smoothing is out of range"),
    ):
        with pytest.raises(AttrError, match=words):
            RUNNERS["eager"](call, arrays, ())
    with pytest.raises(ShapeError, match="other_logits and logits"):
        RUNNERS["eager"](lambda x, t: losses.jensen_shannon_loss(x, t), {**arrays, "t": np.zeros((1, 3))}, ())
