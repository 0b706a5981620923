"""Contrastive losses and margins on cosines: formulas, one row, no rows, equal vectors, how many kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphloss import losses
from graphloss.errors import DtypeError, LabelError, ShapeError
from graphloss.nn import functional as F
from tests.losses.beyond import Case, check_case, numeric_gradient, tensor_kernels
from tests.losses.runners import RUNNERS, Array, Runner


def unit(x: Array) -> Array:
    return x / np.sqrt((x * x).sum(1, keepdims=True))


def picked(s: Array, y: Array) -> Array:
    """−log softmax of each row of s, at y."""
    m = s.max(1, keepdims=True)
    return -(np.take_along_axis(s - m, y[:, None], 1)[:, 0] - np.log(np.exp(s - m).sum(1)))


def info_nce(x: Array, y: Array, heat: float = 0.07) -> Array:
    return picked(unit(x) @ unit(y).T / heat, np.arange(len(x)))


def nt_xent(x: Array, y: Array, heat: float = 0.5) -> Array:
    v, n = unit(np.concatenate([x, y])), len(x)
    total = []
    for i in range(2 * n):
        others = [k for k in range(2 * n) if k != i]
        s = v[others] @ v[i] / heat
        total.append(np.log(np.exp(s).sum()) - v[(i + n) % (2 * n)] @ v[i] / heat)
    return np.array(total)


def supervised(x: Array, y: Array, heat: float = 0.1) -> Array:
    v, n = unit(x), len(x)
    total = []
    for i in range(n):
        others = [k for k in range(n) if k != i]
        friends = [k for k in others if y[k] == y[i]]
        norm = np.log(np.exp(v[others] @ v[i] / heat).sum())
        total.append(np.mean([norm - v[k] @ v[i] / heat for k in friends]) if friends else 0.0)
    return np.array(total)


def views(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.normal(size=(5, 3)), "y": rng.normal(size=(5, 3))}


def angular(x: Array, y: Array, m: float = 0.5, s: float = 64.0) -> Array:
    moved = x.copy()
    rows = np.arange(len(y))
    c = x[rows, y]
    moved[rows, y] = np.where(np.arccos(c) + m < math.pi, np.cos(np.arccos(c) + m), c - m * math.sin(m))
    return picked(s * moved, y)


def shifted(x: Array, y: Array, m: float = 0.35, s: float = 64.0) -> Array:
    return picked(s * (x - m * np.eye(x.shape[1])[y]), y)


def cosines(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.uniform(-0.8, 0.8, (6, 4)), "y": rng.integers(0, 4, 6)}


CASES = [
    Case("InfoNCE", lambda x, y, reduction: losses.info_nce_loss(x, y, 0.5, reduction=reduction),
         lambda x, y: info_nce(x, y, 0.5), views, ("x", "y")),
    Case("InfoNCE of both directions",
         lambda x, y, reduction: losses.info_nce_loss(x, y, 0.5, True, reduction=reduction),
         lambda x, y: 0.5 * (info_nce(x, y, 0.5) + info_nce(y, x, 0.5)), views, ("x", "y")),
    Case("InfoNCE of products", lambda x, y, reduction: losses.info_nce_loss(x, y, 2.0, False, False, reduction),
         lambda x, y: picked(x @ y.T / 2, np.arange(5)), views, ("x", "y")),
    Case("NT-Xent", lambda x, y, reduction: losses.nt_xent_loss(x, y, reduction=reduction), nt_xent, views, ("x", "y")),
    Case("supervised contrastive",
         lambda x, y, reduction: losses.supervised_contrastive_loss(x, y, 0.5, True, reduction),
         lambda x, y: supervised(x, y, 0.5),
         lambda rng: {"x": rng.normal(size=(6, 3)), "y": np.array([0, 1, 0, 2, 2, 0])}),
    Case("ArcFace", lambda x, y, reduction: losses.arcface_loss(x, y, 0.5, 8.0, -100, reduction),
         lambda x, y: angular(x, y, 0.5, 8.0), cosines),
    Case("ArcFace beyond the turn", lambda x, y, reduction: losses.arcface_loss(x, y, 0.5, 8.0, -100, reduction),
         lambda x, y: angular(x, y, 0.5, 8.0),
         lambda rng: {"x": rng.uniform(-0.98, -0.9, (4, 3)), "y": rng.integers(0, 3, 4)}),
    Case("CosFace", lambda x, y, reduction: losses.cosface_loss(x, y, 0.35, 8.0, -100, reduction),
         lambda x, y: shifted(x, y, 0.35, 8.0), cosines),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_textbook_formula(case: Case, runner: str, dtype: str, rng: np.random.Generator) -> None:
    if case.name == "supervised contrastive":  # its mean is over the rows that have a positive
        arrays = case.inputs(rng)
        arrays["x"] = arrays["x"].astype(dtype)
        exact = arrays["x"].astype(float)
        tolerance = 1e-5 if dtype == "float32" else 1e-8
        rows, (grad,) = RUNNERS[runner](lambda x, y: case.build(x, y, "none"), arrays, ("x",))
        want = case.reference(exact, arrays["y"])
        np.testing.assert_allclose(rows, want, rtol=tolerance, atol=tolerance)
        slope = numeric_gradient(lambda a: float(case.reference(a, arrays["y"]).sum()), exact)
        np.testing.assert_allclose(grad, slope, rtol=tolerance, atol=tolerance * np.abs(slope).max())
        mean, _ = RUNNERS[runner](lambda x, y: case.build(x, y, "mean"), arrays, ())
        np.testing.assert_allclose(mean, want.sum() / np.count_nonzero(want), rtol=tolerance)
    else:
        check_case(case, runner, dtype, rng)


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
class TestContrastiveEdges:
    def test_a_single_pair(self, run: Runner) -> None:
        arrays = {"x": np.array([[1.0, 2.0]]), "y": np.array([[-3.0, 1.0]])}
        for loss in (losses.info_nce_loss, losses.nt_xent_loss):
            value, grads = run(lambda x, y, f=loss: f(x, y), arrays, ("x", "y"))
            np.testing.assert_array_equal(value, 0)
            np.testing.assert_allclose(grads, 0, atol=1e-15)
        arrays = {"x": np.array([[1.0, 2.0]]), "y": np.array([3])}
        value, (grad,) = run(lambda x, y: losses.supervised_contrastive_loss(x, y), arrays, ("x",))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(grad, 0)

    def test_equal_rows_and_rows_of_zeros(self, run: Runner) -> None:
        for x in (np.ones((3, 2)), np.zeros((3, 2))):
            for loss, rest in ((losses.info_nce_loss, 3), (losses.nt_xent_loss, 5)):
                value, grads = run(lambda x, y, f=loss: f(x, y), {"x": x, "y": x.copy()}, ("x", "y"))
                np.testing.assert_allclose(value, math.log(rest), rtol=1e-14)
                np.testing.assert_allclose(grads, 0, atol=1e-14)
            arrays = {"x": x, "y": np.zeros(3, np.int64)}
            value, (grad,) = run(lambda x, y: losses.supervised_contrastive_loss(x, y), arrays, ("x",))
            np.testing.assert_allclose(value, math.log(2), rtol=1e-14)
            np.testing.assert_allclose(grad, 0, atol=1e-14)

    def test_no_two_rows_of_one_label(self, run: Runner, rng: np.random.Generator) -> None:
        arrays = {"x": rng.normal(size=(4, 3)), "y": np.arange(4)}
        value, (grad,) = run(lambda x, y: losses.supervised_contrastive_loss(x, y), arrays, ("x",))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(grad, 0)

    def test_batch_of_none(self, run: Runner) -> None:
        arrays = {"x": np.zeros((0, 3)), "y": np.zeros((0, 3))}
        for loss in (losses.info_nce_loss, losses.nt_xent_loss):
            value, (grad,) = run(lambda x, y, f=loss: f(x, y, reduction="sum"), arrays, ("x",))
            assert value == 0
            assert grad.shape == (0, 3)
        arrays["y"] = np.zeros(0, np.int64)
        value, (grad,) = run(lambda x, y: losses.supervised_contrastive_loss(x, y), arrays, ("x",))
        assert value == 0
        assert grad.shape == (0, 3)

    def test_huge_products(self, run: Runner) -> None:
        x = np.array([[100.0, 0.0], [0.0, 100.0]], np.float32)
        for sign in (1, -1):
            arrays = {"x": x, "y": sign * x}
            value, grads = run(
                lambda x, y: losses.info_nce_loss(x, y, 1.0, normalize=False, reduction="none"), arrays, ("x", "y")
            )
            np.testing.assert_array_equal(value, 0 if sign == 1 else 1e4)
            assert all(np.isfinite(g).all() for g in grads)

    def test_pairs_as_labels_are_nt_xent(self, run: Runner, rng: np.random.Generator) -> None:
        arrays = views(rng)
        value, _ = run(lambda x, y: losses.nt_xent_loss(x, y, 0.3), arrays, ())
        rows = {"v": np.concatenate([arrays["x"], arrays["y"]]), "k": np.tile(np.arange(5), 2)}
        other, _ = run(lambda v, k: losses.supervised_contrastive_loss(v, k, 0.3), rows, ())
        np.testing.assert_allclose(value, other, rtol=1e-13)


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
class TestMarginEdges:
    def test_cosines_of_1(self, run: Runner) -> None:
        arrays = {"x": np.array([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]), "y": np.zeros(3, np.int64)}
        value, (grad,) = run(lambda x, y: losses.arcface_loss(x, y, reduction="none"), arrays, ("x",))
        np.testing.assert_allclose(value, angular(arrays["x"], arrays["y"]), rtol=1e-12, atol=1e-40)
        assert np.isfinite(grad).all()
        value, (grad,) = run(lambda x, y: losses.cosface_loss(x, y, reduction="none"), arrays, ("x",))
        np.testing.assert_allclose(value, shifted(arrays["x"], arrays["y"]), rtol=1e-12, atol=1e-40)
        assert np.isfinite(grad).all()

    def test_cosines_rounded_beyond_1(self, run: Runner) -> None:
        arrays = {"x": np.array([[np.nextafter(1, 2), 0.0], [-np.nextafter(1, 2), 0.0]]), "y": np.zeros(2, np.int64)}
        value, (grad,) = run(lambda x, y: losses.arcface_loss(x, y, reduction="none"), arrays, ("x",))
        assert np.isfinite(value).all()
        assert np.isfinite(grad).all()

    def test_without_a_margin_it_is_cross_entropy(self, run: Runner, rng: np.random.Generator) -> None:
        arrays = cosines(rng)
        want, (slope,) = run(lambda x, y: F.cross_entropy(8.0 * x, y), arrays, ("x",))
        for loss in (losses.arcface_loss, losses.cosface_loss):
            value, (grad,) = run(lambda x, y, f=loss: f(x, y, 0.0, 8.0), arrays, ("x",))
            np.testing.assert_allclose(value, want, rtol=1e-13)
            np.testing.assert_allclose(grad, slope, rtol=1e-12)

    def test_ignored_rows_one_class_none(self, run: Runner) -> None:
        for loss in (losses.arcface_loss, losses.cosface_loss):
            arrays = {"x": np.array([[0.1, 0.2], [0.3, 0.4]]), "y": np.array([-100, 1])}
            value, (grad,) = run(lambda x, y, f=loss: f(x, y), arrays, ("x",))
            want, (rest,) = run(lambda x, y, f=loss: f(x, y), {n: a[1:] for n, a in arrays.items()}, ("x",))
            np.testing.assert_allclose(value, want, rtol=1e-14)
            np.testing.assert_array_equal(grad[0], 0)
            np.testing.assert_allclose(grad[1:], rest, rtol=1e-14)
            arrays = {"x": np.array([[0.5]]), "y": np.array([0])}
            value, (grad,) = run(lambda x, y, f=loss: f(x, y), arrays, ("x",))
            np.testing.assert_array_equal(value, 0)
            np.testing.assert_array_equal(grad, 0)
            arrays = {"x": np.zeros((0, 3)), "y": np.zeros(0, np.int64)}
            value, (grad,) = run(lambda x, y, f=loss: f(x, y, reduction="sum"), arrays, ("x",))
            assert value == 0
            assert grad.shape == (0, 3)
            with pytest.raises(LabelError):
                run(lambda x, y, f=loss: f(x, y), {"x": np.zeros((1, 3)), "y": np.array([-1])}, ())


def test_margins_are_one_kernel() -> None:
    inputs = {"x": ("float32", [None, 30]), "y": ("int64", [None])}
    for loss in (losses.arcface_loss, losses.cosface_loss):
        assert tensor_kernels(lambda x, y, f=loss: f(x, y), inputs, ["x"]) == 1


def test_kernels_between_matrix_products() -> None:
    """A matrix product ends a kernel: the rows' norms before it, the softmax behind, the norms' gradient at the end.

    So InfoNCE takes two kernels per input and one for the softmax; both directions are rows and columns of one matrix,
    whose gradients meet in another. NT-Xent lays both views, and their gradients, in one matrix.
    """
    inputs = {"x": ("float32", [None, 32]), "y": ("float32", [None, 32])}
    by = ["x", "y"]
    assert tensor_kernels(lambda x, y: losses.info_nce_loss(x, y), inputs, by) == 5
    assert tensor_kernels(lambda x, y: losses.info_nce_loss(x, y, normalize=False), inputs, by) == 3
    assert tensor_kernels(lambda x, y: losses.info_nce_loss(x, y, symmetric=True), inputs, by) == 8
    assert tensor_kernels(lambda x, y: losses.nt_xent_loss(x, y), inputs, by) == 6
    labelled = {"x": ("float32", [None, 32]), "y": ("int64", [None])}
    assert tensor_kernels(lambda x, y: losses.supervised_contrastive_loss(x, y), labelled, ["x"]) == 4


def test_refused() -> None:
    run = RUNNERS["eager"]
    with pytest.raises(ShapeError, match="rank 2"):
        run(lambda x: losses.info_nce_loss(x, x), {"x": np.zeros(3)}, ())
    with pytest.raises(ShapeError, match="one label per row"):
        run(
            lambda x, y: losses.supervised_contrastive_loss(x, y),
            {"x": np.zeros((3, 2)), "y": np.zeros(2, np.int64)},
            (),
        )
    with pytest.raises(DtypeError, match="integers"):
        run(lambda x, y: losses.supervised_contrastive_loss(x, y), {"x": np.zeros((3, 2)), "y": np.zeros(3)}, ())
