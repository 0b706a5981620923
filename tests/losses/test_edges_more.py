"""Extreme and degenerate inputs of the losses of distributions, margins, embeddings and regions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import layers
from graphloss.gluon import loss as gluon
from graphloss.nn import functional as F
from tests.losses.runners import RUNNERS, Array, Runner

pytestmark = pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)

BIG = np.array([[1e4, -1e4, 0.0, 30.0], [-1e4, 1e4, 1e4, -30.0]], np.float32)
SIGN = np.array([[1, 1, -1, 1], [1, 1, -1, -1]], np.float32)
HALF = np.array([[1, 0, 1, 1], [1, 0, 0.5, 0]], np.float32)
LOG_P = np.array([[0.0, -math.inf, -1e4, -30.0], [-1e4, 0.0, -0.5, -1.0]], np.float32)
SURE = np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.float32)
LABELS = np.array([1, 0])

Build = Callable[..., Any]
# what, the loss, its inputs, those that get a gradient: finite everywhere
FINITE: list[tuple[str, Build, dict[str, Array], tuple[str, ...]]] = [
    ("soft_margin", lambda x, y: F.soft_margin_loss(x, y), {"x": BIG, "y": SIGN}, ("x",)),
    ("multilabel_soft_margin", lambda x, y: F.multilabel_soft_margin_loss(x, y), {"x": BIG, "y": HALF}, ("x", "y")),
    ("multi_margin", lambda x, y: F.multi_margin_loss(x, y, p=2), {"x": BIG, "y": LABELS}, ("x",)),
    ("multilabel_margin", lambda x, y: F.multilabel_margin_loss(x, y),
     {"x": BIG, "y": np.array([[1, 2, -1, 0], [-1, 3, 3, 3]])}, ("x",)),
    ("hinge_embedding", lambda x, y: F.hinge_embedding_loss(x, y), {"x": BIG, "y": SIGN}, ("x",)),
    ("margin_ranking", lambda a, b, y: F.margin_ranking_loss(a, b, y), {"a": BIG, "b": -BIG, "y": SIGN}, ("a", "b")),
    ("cosine_embedding", lambda a, b, y: F.cosine_embedding_loss(a, b, y),
     {"a": BIG * 1e6, "b": -BIG * 1e6, "y": SIGN[0, 2:]}, ("a", "b")),
    ("cosine of a zero vector", lambda a, b, y: F.cosine_embedding_loss(a, b, y),
     {"a": BIG * 0, "b": BIG, "y": SIGN[0, 2:]}, ("a", "b")),
    ("cosine_similarity of zero vectors", lambda a, b: F.cosine_similarity(a, b), {"a": BIG * 0, "b": BIG * 0},
     ("a", "b")),
    ("normalize of a zero vector", lambda x: F.normalize(x), {"x": BIG * 0}, ("x",)),
    *((f"triplet of equal vectors, p = {p}",
       lambda a, b, c, p=p: F.triplet_margin_loss(a, b, c, p=p, eps=0.0, swap=True),
       {"a": BIG, "b": BIG, "c": BIG}, ("a", "b", "c")) for p in (0.5, 1, 2, 3, math.inf)),
    ("kl_div of impossible classes", lambda x, y: F.kl_div(x, y), {"x": LOG_P, "y": SURE}, ("x", "y")),
    ("kl_div of impossible targets", lambda x, y: F.kl_div(x, y, log_target=True),
     {"x": np.maximum(LOG_P, -1e4), "y": LOG_P}, ("x", "y")),
    ("poisson, full, y = 0", lambda x, y: F.poisson_nll_loss(x, y, full=True),
     {"x": BIG * 1e-3, "y": np.array([[0, 1, 2, 0], [0, 0, 1, 3]], np.float32)}, ("x", "y")),
    ("poisson of rate 0", lambda x, y: F.poisson_nll_loss(x, y, log_input=False, full=True),
     {"x": BIG * 0, "y": BIG * 0}, ("x", "y")),
    ("gaussian of variance 0", lambda x, y, v: F.gaussian_nll_loss(x, y, v), {"x": BIG, "y": BIG, "v": BIG * 0},
     ("x", "y", "v")),
    ("rank_loss", lambda p, a, b: layers.rank_loss(p, a, b), {"p": HALF, "a": BIG, "b": -BIG}, ("a", "b")),
    ("bpr_loss", lambda x, y: layers.bpr_loss(x, y), {"x": BIG, "y": LABELS[:, None]}, ("x",)),
    ("log_loss", lambda p, y: layers.log_loss(p, y), {"p": HALF, "y": 1 - HALF}, ("p",)),
    ("teacher_student", lambda x, y: layers.teacher_student_sigmoid_loss(x, y), {"x": BIG, "y": SIGN * 1.5}, ("x",)),
    ("focal", lambda x, y, n: layers.sigmoid_focal_loss(x, y, n),
     {"x": BIG, "y": np.array([[0], [-1]], np.int32), "n": np.array([0], np.int32)}, ("x",)),
    ("cos_sim of a zero vector", lambda a, b: layers.cos_sim(a, b), {"a": BIG, "b": BIG[:1] * 0}, ("a", "b")),
    ("npair", lambda a, p, y: layers.npair_loss(a, p, y), {"a": BIG[:, 2:], "p": BIG[:, 2:], "y": LABELS}, ("a", "p")),
    ("kldiv of impossible classes", lambda x, y: layers.kldiv_loss(x, y),
     {"x": LOG_P, "y": np.array([[1, 0, 0, 0], [-1, 1, 0, 0]], np.float32)}, ("x",)),
    ("dice of empty masks", lambda p, y: layers.dice_loss(p, y), {"p": BIG[..., None] * 0, "y": BIG[..., None] * 0},
     ("p",)),
    ("logistic", gluon.LogisticLoss(), {"pred": BIG, "label": SIGN}, ("pred",)),
    ("squared hinge", gluon.SquaredHingeLoss(), {"pred": BIG, "label": SIGN}, ("pred",)),
    ("KLDivLoss", gluon.KLDivLoss(from_logits=False), {"pred": BIG, "label": HALF}, ("pred", "label")),
    ("KLDivLoss of impossible classes", gluon.KLDivLoss(), {"pred": LOG_P, "label": SURE}, ("pred", "label")),
    ("Gluon cosine of a zero vector", gluon.CosineEmbeddingLoss(),
     {"input1": BIG * 0, "input2": BIG, "label": SIGN[0, 2:]}, ("input1", "input2")),
    ("triplet of equal vectors", gluon.TripletLoss(), {"pred": BIG, "positive": BIG, "negative": BIG}, ("pred",)),
    ("SDML of equal rows", gluon.SDMLLoss(), {"x1": BIG, "x2": BIG}, ("x1", "x2")),
    ("SDML of one row", gluon.SDMLLoss(), {"x1": BIG[:1], "x2": BIG[:1]}, ("x1", "x2")),
    ("SDML without smoothing", gluon.SDMLLoss(0.0), {"x1": BIG[:, 2:], "x2": BIG[:, 2:]}, ("x1", "x2")),
    ("one class", lambda x, y: F.multi_margin_loss(x, y), {"x": BIG[:, :1], "y": LABELS * 0}, ("x",)),
    ("one class of several", lambda x, y: F.multilabel_margin_loss(x, y), {"x": BIG[:, :1], "y": LABELS[:, None] - 1},
     ("x",)),
    ("bpr of one class", lambda x, y: layers.bpr_loss(x, y), {"x": BIG[:, :1], "y": LABELS[:, None] * 0}, ("x",)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "build", "arrays", "by"), FINITE, ids=[f[0] for f in FINITE])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_where_the_exact_answer_is(
    run: Runner, name: str, build: Build, arrays: dict[str, Array], by: tuple[str, ...], dtype: str
) -> None:
    given = {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    value, grads = run(build, given, by)
    assert np.all(np.isfinite(value)), value
    for n, grad in zip(by, grads, strict=True):
        assert np.all(np.isfinite(grad)), f"{n}: {grad}"


def test_values_at_huge_scores(run: Runner) -> None:
    value, (grad,) = run(lambda x, y: F.soft_margin_loss(x, y, reduction="none"), {"x": BIG, "y": SIGN}, ("x",))
    tiny = math.log1p(math.exp(-30))
    np.testing.assert_allclose(value, [[0, 1e4, math.log(2), tiny], [1e4, 0, 1e4, tiny]], rtol=1e-5)
    np.testing.assert_allclose(grad, [[0, -1, 0.5, -tiny], [-1, 0, 1, tiny]], rtol=1e-5)
    value, (grad,) = run(lambda x, y: layers.bpr_loss(x, y), {"x": BIG, "y": LABELS[:, None]}, ("x",))
    np.testing.assert_allclose(value, [[(2e4 + 1e4 + 1e4 + 30) / 3], [(2e4 + 2e4 + 1e4 - 30) / 3]], rtol=1e-6)
    np.testing.assert_allclose(grad, np.array([[1, -3, 1, 1], [-3, 1, 1, 1]]) / 3, rtol=1e-6)


def test_focal_loss_of_huge_logits(run: Runner) -> None:
    arrays = {"x": np.array([[1e4, -1e4, 1e4, -1e4]], np.float32), "y": np.array([[2]], np.int32),
              "n": np.array([1], np.int32)}  # fmt: skip
    value, (grad,) = run(lambda x, y, n: layers.sigmoid_focal_loss(x, y, n), arrays, ("x",))
    np.testing.assert_allclose(value, [[7500, 2500, 7500, 0]], rtol=1e-6)
    np.testing.assert_allclose(grad, [[0.75, -0.25, 0.75, 0]], rtol=1e-6)


def test_ignored_rows_of_focal_loss(run: Runner) -> None:
    x = np.array([[1.0, math.nan], [0.5, 2.0]])
    arrays = {"x": x, "y": np.array([[-1], [0]]), "n": np.array([4])}
    value, (grad,) = run(lambda x, y, n: layers.sigmoid_focal_loss(x, y, n), arrays, ("x",))
    np.testing.assert_array_equal(value[0], 0)
    np.testing.assert_array_equal(grad[0], 0)
    assert np.all(value[1] > 0)


def test_cosine_keeps_its_digits_for_long_vectors(run: Runner) -> None:
    """x·x·y·y overflows in float32 from lengths of 1e10 on; the cosine does not."""
    a, b = np.array([[3e12, 4e12]], np.float32), np.array([[4e12, 3e12]], np.float32)
    value, _ = run(lambda a, b, y: F.cosine_embedding_loss(a, b, y), {"a": a, "b": b, "y": np.ones(1, np.float32)}, ())
    np.testing.assert_allclose(value, 0.04, rtol=1e-5)
    value, _ = run(lambda a, b: layers.cos_sim(a, b), {"a": a, "b": b}, ())
    np.testing.assert_allclose(value, [[0.96]], rtol=1e-6)


def test_variance_below_epsilon_still_learns(run: Runner) -> None:
    """The clamp of the variance is not differentiated: ½(1/v − d²/v²) at v = ε."""
    arrays = {"x": np.array([1.0]), "y": np.array([0.0]), "v": np.array([1e-9])}
    value, (grad,) = run(lambda x, y, v: F.gaussian_nll_loss(x, y, v, eps=0.1), arrays, ("v",))
    np.testing.assert_allclose(value, 0.5 * (math.log(0.1) + 10))
    np.testing.assert_allclose(grad, [0.5 * (10 - 100)])


def test_negative_variance_is_nan(run: Runner) -> None:
    arrays = {"x": np.zeros(2), "y": np.zeros(2), "v": np.array([-1.0, 1.0])}
    value, _ = run(lambda x, y, v: F.gaussian_nll_loss(x, y, v, reduction="none"), arrays, ())
    np.testing.assert_array_equal(value, [math.nan, 0])


def test_nan_stays_in_its_row(run: Runner) -> None:
    x = np.array([[1.0, math.nan, 2.0], [1.0, 0.5, 2.0]])
    for build, arrays in (
        (lambda x, y: F.multi_margin_loss(x, y, reduction="none"), {"y": np.array([0, 0])}),
        (lambda x, y: F.pairwise_distance(x, y), {"y": np.zeros((2, 3))}),
        (lambda x, y: F.cosine_similarity(x, y), {"y": np.ones((2, 3))}),
        (lambda x, y: F.multilabel_soft_margin_loss(x, y, reduction="none"), {"y": np.ones((2, 3))}),
        (lambda x, y: layers.cos_sim(x, y), {"y": np.ones((2, 3))}),
        (lambda x, y: layers.bpr_loss(x, y), {"y": np.array([[0], [0]])}),
        (gluon.HingeLoss(), {"y": np.ones((2, 3))}),
        (gluon.KLDivLoss(from_logits=False), {"y": np.full((2, 3), 1 / 3)}),
    ):
        value, _ = run(lambda x, y, build=build: build(x, y), {"x": x, **arrays}, ())
        np.testing.assert_array_equal(np.isnan(value).reshape(2), [True, False])


def test_empty_batch(run: Runner) -> None:
    x, y, v = np.zeros((0, 3)), np.zeros(0, np.int64), np.zeros(0)
    for build, arrays in (
        (lambda x, y: F.kl_div(x, y), {"x": x, "y": x}),
        (lambda x, y: F.poisson_nll_loss(x, y), {"x": x, "y": x}),
        (lambda x, y: F.soft_margin_loss(x, y), {"x": x, "y": x}),
        (lambda x, y: F.hinge_embedding_loss(x, y), {"x": x, "y": x}),
        (lambda x, y: F.multi_margin_loss(x, y), {"x": x, "y": y}),
        (lambda x, y: F.multilabel_margin_loss(x, y), {"x": x, "y": np.zeros((0, 3), np.int64)}),
        (lambda x, y: F.multilabel_soft_margin_loss(x, y), {"x": x, "y": x}),
        (lambda x, y: F.triplet_margin_loss(x, y, y), {"x": x, "y": x}),
        (lambda x, y, z: F.cosine_embedding_loss(x, y, z), {"x": x, "y": x, "z": v}),
        (lambda x, y: layers.dice_loss(x, y), {"x": x, "y": np.zeros((0, 1), np.int64)}),
        (lambda x, y: layers.kldiv_loss(x, y), {"x": x, "y": x}),
        (gluon.PoissonNLLLoss(), {"pred": x, "target": x}),
    ):
        value, grads = run(build, arrays, tuple(arrays)[:1])
        assert np.isnan(value).all()
        assert grads[0].shape == (0, 3)
    for loss, arrays in (
        (gluon.HingeLoss(), {"pred": x, "label": x}),
        (gluon.TripletLoss(), {"pred": x, "positive": x, "negative": x}),
        (gluon.SDMLLoss(), {"x1": x, "x2": x}),
    ):
        value, _ = run(loss, arrays, ())
        assert value.shape == (0,)
    value, _ = run(lambda x, y: F.kl_div(x, y, reduction="sum"), {"x": x, "y": x}, ())
    assert value == 0


def focal_of_one(x: Any, y: Any) -> Any:
    return layers.sigmoid_focal_loss(x, y, layers.fill_constant([1], "int64", 1))


def test_labels_out_of_range(run: Runner) -> None:
    x = np.zeros((3, 4))
    for build, label in (
        (lambda x, y: F.multi_margin_loss(x, y), np.array([0, 4, 1])),
        (lambda x, y: layers.bpr_loss(x, y), np.array([[0], [-1], [1]])),
        (lambda x, y: layers.dice_loss(x, y), np.array([[0], [7], [1]])),
        (lambda x, y: F.multilabel_margin_loss(x, y), np.array([[0, -1, 0, 0], [1, -1, 4, 0], [-1, 0, 0, 0]])),
        (lambda x, y: F.multilabel_margin_loss(x, y), np.array([[0, -1, 0, 0], [1, -1, -2, 0], [-1, 0, 0, 0]])),
        (focal_of_one, np.array([[0], [5], [1]])),
        (focal_of_one, np.array([[4], [-2], [1]])),
    ):
        with pytest.raises(gl.errors.LabelError, match="row 1"):
            run(build, {"x": x, "y": label}, ())


def test_list_after_its_end_is_not_used(run: Runner) -> None:
    x = np.random.default_rng(4).normal(size=(2, 4))
    build = lambda x, y: F.multilabel_margin_loss(x, y, reduction="none")  # noqa: E731
    value, _ = run(build, {"x": x, "y": np.array([[2, -1, 1, 3], [-1, 0, 1, 2]])}, ())
    want, _ = run(build, {"x": x, "y": np.array([[2, -1, -1, -1], [-1, -1, -1, -1]])}, ())
    np.testing.assert_array_equal(value, want)
    assert value[1] == 0
    twice, _ = run(build, {"x": x, "y": np.array([[2, 2, -1, 0], [-1, 0, 0, 0]])}, ())
    np.testing.assert_allclose(twice[0], 2 * value[0])


def test_ties_of_the_largest_coordinate(run: Runner) -> None:
    """The largest coordinate of ‖·‖_∞ gets the gradient, shared where several are the largest."""
    arrays = {"a": np.array([[2.0, -2.0, 1.0]]), "b": np.zeros((1, 3))}
    _, (grad,) = run(lambda a, b: F.pairwise_distance(a, b, p=math.inf, eps=0.0), arrays, ("a",))
    np.testing.assert_array_equal(grad, [[0.5, -0.5, 0]])
