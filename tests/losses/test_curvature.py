"""hessian_diag of every elementwise loss, and of softmax cross entropy, against second derivatives in 50 digits.

The reference is the graph of the loss as it is written, evaluated exactly with its first derivative; the second is the
difference of two of these. No rule of the library's own differentiation is in it. The deviances are in
test_beyond_curvature.
"""

from __future__ import annotations

import inspect
from typing import Any

import mpmath
import numpy as np
import pytest

import graphloss as gl
from graphloss import dygraph, layers, losses
from graphloss.errors import UnsupportedError
from graphloss.gluon import loss as gluon
from graphloss.nn import functional as F
from tests import exact
from tests.losses import extremes
from tests.losses.runners import Array, Build
from tests.rules.graphs import build

RNG = np.random.default_rng(23)
SHAPE = (3, 4)
X, Y = RNG.normal(size=SHAPE) * 1.5, RNG.normal(size=SHAPE)
P, Q = RNG.uniform(0.1, 0.9, SHAPE), RNG.uniform(0.1, 0.9, SHAPE)
T = RNG.integers(0, 2, SHAPE).astype(np.float64)
S = 2 * T - 1
W = RNG.uniform(0.5, 2.0, 4)
LABEL, COLUMN = np.array([2, 0, 3]), np.array([[2], [0], [3]])
ONE = (slice(None), slice(0, 1))

Inputs = tuple[Array, ...]

ELEMENTWISE: dict[str, tuple[Build, Inputs]] = {
    "F.mse_loss": (F.mse_loss, (X, Y)),
    "F.mse_loss weighted": (lambda x, y, w: F.mse_loss(x, y, weight=w), (X, Y, P)),
    "F.l1_loss": (F.l1_loss, (X, Y)),
    "F.smooth_l1_loss": (lambda x, y: F.smooth_l1_loss(x, y, beta=0.7), (X, Y)),
    "F.huber_loss": (lambda x, y: F.huber_loss(x, y, delta=0.7), (X, Y)),
    "F.kl_div": (F.kl_div, (X, P)),
    "F.kl_div by target": (lambda t, x: F.kl_div(x, t), (P, X)),
    "F.kl_div log_target": (lambda x, y: F.kl_div(x, y, log_target=True), (X, Y)),
    "F.kl_div by log_target": (lambda y, x: F.kl_div(x, y, log_target=True), (Y, X)),
    "F.poisson_nll_loss": (F.poisson_nll_loss, (X, P)),
    "F.poisson_nll_loss of rates": (lambda x, y: F.poisson_nll_loss(x, y, log_input=False), (P, Q)),
    "F.gaussian_nll_loss": (F.gaussian_nll_loss, (X, Y, P)),
    "F.gaussian_nll_loss by variance": (lambda v, x, y: F.gaussian_nll_loss(x, y, v, full=True), (P, X, Y)),
    "F.binary_cross_entropy": (F.binary_cross_entropy, (P, T)),
    "F.binary_cross_entropy weighted": (F.binary_cross_entropy, (P, Q, W)),
    "F.bce_with_logits": (F.binary_cross_entropy_with_logits, (X, Q)),
    "F.bce_with_logits weighted": (
        lambda x, t, w: F.binary_cross_entropy_with_logits(x, t, w, pos_weight=w), (X, Q, W)),
    "F.soft_margin_loss": (F.soft_margin_loss, (X, S)),
    "F.hinge_embedding_loss": (F.hinge_embedding_loss, (X, S)),
    "F.margin_ranking_loss": (lambda x, y, s: F.margin_ranking_loss(x, y, s, 0.5), (X, Y, S)),
    "F.multilabel_soft_margin_loss": (F.multilabel_soft_margin_loss, (X, T, W)),
    "layers.square_error_cost": (layers.square_error_cost, (X, Y)),
    "layers.mse_loss": (layers.mse_loss, (X, Y)),
    "layers.smooth_l1": (lambda x, y, i, o: layers.smooth_l1(x, y, i, o, 1.3), (X, Y, P, Q)),
    "layers.huber_loss": (lambda x, y: layers.huber_loss(x, y, 0.7), (X, Y)),
    "layers.log_loss": (layers.log_loss, (P[ONE], T[ONE])),
    "layers.kldiv_loss": (layers.kldiv_loss, (X, P)),
    "layers.sigmoid_cross_entropy_with_logits": (layers.sigmoid_cross_entropy_with_logits, (X, Q)),
    "layers.sigmoid_cross_entropy_with_logits normalized": (
        lambda x, t: layers.sigmoid_cross_entropy_with_logits(x, t, 0, normalize=True), (X, T)),
    "layers.rank_loss": (lambda x, t, y: layers.rank_loss(t, x, y), (X[ONE], T[ONE], Y[ONE])),
    "layers.margin_rank_loss": (lambda x, s, y: layers.margin_rank_loss(s, x, y, 0.5), (X[ONE], S[ONE], Y[ONE])),
    "layers.teacher_student_sigmoid_loss": (layers.teacher_student_sigmoid_loss, (X[ONE], Y[ONE])),
    "layers.sigmoid_focal_loss": (
        lambda x, y, n: layers.sigmoid_focal_loss(x, y, n, 1.5, 0.3), (X, COLUMN, np.array([2]))),
    "dygraph.MSELoss": (dygraph.MSELoss(), (X, Y)),
    "dygraph.L1Loss": (dygraph.L1Loss(), (X, Y)),
    "dygraph.BCELoss": (dygraph.BCELoss(), (P, T)),
    "gluon.L2Loss": (gluon.L2Loss(), (X, Y)),
    "gluon.L1Loss": (gluon.L1Loss(), (X, Y)),
    "gluon.HuberLoss": (gluon.HuberLoss(0.7), (X, Y)),
    "gluon.SigmoidBCELoss": (gluon.SigmoidBCELoss(), (X, Q)),
    "gluon.SigmoidBCELoss from_sigmoid": (gluon.SigmoidBCELoss(from_sigmoid=True), (P, Q)),
    "gluon.KLDivLoss": (gluon.KLDivLoss(), (X, P)),
    "gluon.HingeLoss": (gluon.HingeLoss(0.7), (X, S)),
    "gluon.SquaredHingeLoss": (gluon.SquaredHingeLoss(), (X, S)),
    "gluon.LogisticLoss": (gluon.LogisticLoss(), (X, S)),
    "gluon.PoissonNLLLoss": (gluon.PoissonNLLLoss(), (X, P)),
    "gluon.PoissonNLLLoss of rates": (gluon.PoissonNLLLoss(from_logits=False), (P, Q)),
    "losses.quantile_loss": (lambda x, y: losses.quantile_loss(x, y, 0.3), (X, Y)),
    "losses.expectile_loss": (lambda x, y: losses.expectile_loss(x, y, 0.3), (X, Y)),
    "losses.log_cosh_loss": (losses.log_cosh_loss, (X, Y)),
    "losses.mape_loss": (losses.mape_loss, (X, Y)),
    "losses.msle_loss": (losses.msle_loss, (P, Q)),
    "losses.sigmoid_focal_loss": (lambda x, y: losses.sigmoid_focal_loss(x, y, 0.3, 1.5), (X, T)),
    "losses.dpo_loss": (lambda x, y, r, s: losses.dpo_loss(x, y, r, s, 0.5, 0.1), (X[0], Y[0], P[0], Q[0])),
}  # fmt: skip

SOFTMAX: dict[str, tuple[Build, Inputs]] = {
    "F.cross_entropy": (F.cross_entropy, (X, LABEL)),
    "F.cross_entropy weighted and smoothed": (
        lambda x, y, w: F.cross_entropy(x, y, w, label_smoothing=0.2), (X, LABEL, W)),
    "F.cross_entropy of distributions": (F.cross_entropy, (X, Q)),
    "layers.softmax_with_cross_entropy": (layers.softmax_with_cross_entropy, (X, COLUMN)),
    "layers.softmax_with_cross_entropy of soft labels": (
        lambda x, t: layers.softmax_with_cross_entropy(x, t, soft_label=True), (X, Q)),
    "layers.cross_entropy of softmax": (lambda x, y: layers.cross_entropy(layers.softmax(x), y), (X, COLUMN)),
    "dygraph.CrossEntropyLoss": (dygraph.CrossEntropyLoss(), (X, LABEL)),
    "gluon.SoftmaxCELoss": (gluon.SoftmaxCELoss(), (X, LABEL)),
    "gluon.KLDivLoss of logits": (gluon.KLDivLoss(from_logits=False), (X, P / P.sum(1, keepdims=True))),
    "losses.capped_cross_entropy": (lambda x, y: losses.capped_cross_entropy(x, y, 0.1, 5.0), (X, LABEL)),
    "losses.softmax_focal_loss": (losses.softmax_focal_loss, (X, LABEL)),
    "losses.poly1_cross_entropy": (losses.poly1_cross_entropy, (X, LABEL)),
    "losses.generalized_cross_entropy": (losses.generalized_cross_entropy, (X, LABEL)),
    "losses.z_loss": (losses.z_loss, (X,)),
    "losses.distillation_loss": (losses.distillation_loss, (X, Y, LABEL)),
    "losses.jensen_shannon_loss": (losses.jensen_shannon_loss, (X, Y)),
}  # fmt: skip
CASES = {**ELEMENTWISE, **SOFTMAX}


def whole(loss: Build) -> Build:
    """Its sum, as one number: what is differentiated."""
    return lambda *args: layers.reduce_sum(loss(*args))


def named(loss: Build, names: list[str]) -> Build:
    """The loss as a function of parameters with these names, in their order."""

    def call(*args: Any, **named: Any) -> Any:
        return loss(*args, **named) if args else loss(*named.values())

    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names]
    )
    return call


def names_of(rest: Inputs) -> list[str]:
    return ["x", *(f"a{i}" for i in range(len(rest)))]


def second_derivatives(loss: Build, x: Array, rest: Inputs) -> Array:
    names, kinds = names_of(rest), {"f": "f64", "i": "i64"}
    types = {n: f"{kinds[a.dtype.kind]}{list(a.shape)}" for n, a in zip(names, (x, *rest), strict=True)}
    graph = build(types, named(whole(loss), names))
    feeds = dict(zip(names, (x, *rest), strict=True))
    step = mpmath.mpf(10) ** -15

    def slope(at: tuple[int, ...], moved: Any) -> Any:
        point = np.empty(x.shape, dtype=object)
        for k, i in enumerate(np.ndindex(*x.shape)):
            point[i] = exact.Dual(mpmath.mpf(float(x[i])) + (moved if i == at else 0), {k: mpmath.mpf(1)})
        total = exact.evaluate(graph, {**feeds, "x": point})[graph.fetches[0]].item()
        return total.slope.get(int(np.ravel_multi_index(at, x.shape)), mpmath.mpf(0))

    found = np.zeros(x.shape)
    with mpmath.workdps(60):
        for i in np.ndindex(*x.shape):
            found[i] = float((slope(i, step) - slope(i, -step)) / (2 * step))
    return found


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives(name: str) -> None:
    loss, (x, *rest) = CASES[name]
    f = gl.compile(named(whole(loss), names_of(tuple(rest))))
    got = f.hessian_diag()(x, *rest)
    np.testing.assert_allclose(got, second_derivatives(loss, x, tuple(rest)), rtol=1e-8, atol=1e-12)


# Their rows or elements meet in products, sums with weights of their own, or alignments.
NO_DIAGONAL = {
    "F.multilabel_margin_loss": "pick", "F.ctc_loss": "ctc", "F.linear_cross_entropy": "matmul",
    "layers.npair_loss": "matmul", "layers.warpctc": "ctc_with_logits", "gluon.SDMLLoss": "reduce_sum",
    "gluon.CTCLoss": "ctc_with_logits", "losses.dice_cross_entropy_loss": "reduce_sum",
    "losses.info_nce_loss": "matmul", "losses.nt_xent_loss": "concat", "losses.supervised_contrastive_loss": "matmul",
    "losses.sampled_softmax_loss": "matmul", "losses.nce_loss": "reduce_sum",
    "losses.hierarchical_softmax_loss": "reduce_sum",
}  # fmt: skip


def in_order(case: extremes.Case, arrays: dict[str, Array]) -> Build:
    return named(lambda *args: layers.reduce_sum(case.build(**dict(zip(arrays, args, strict=True)))), list(arrays))


@pytest.mark.parametrize("name", NO_DIAGONAL)
def test_no_diagonal_is_refused_with_the_reason(name: str) -> None:
    case = next(c for c in extremes.CASES if c.name == name)
    arrays = case.draw(np.random.default_rng(1), 3, 4)
    f = gl.compile(in_order(case, arrays))
    with pytest.raises(UnsupportedError) as caught:
        f.hessian_diag(wrt=case.by[0])(*arrays.values())
    text = str(caught.value)
    assert f"has no form of its own: {NO_DIAGONAL[name]} mixes elements of it; " in text
    assert "hint: products with the whole Hessian" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({c.name for c in extremes.CASES} - set(NO_DIAGONAL)))
def test_every_other_loss_has_a_diagonal(name: str) -> None:
    """That of the whole Hessian, column by column."""
    case = next(c for c in extremes.CASES if c.name == name)
    rng = np.random.default_rng(2)
    arrays = case.draw(rng, 3, 4)
    for n in case.by:
        arrays[n] = np.sort(rng.uniform(0.2, 0.8, arrays[n].shape), axis=-1)  # corners of boxes are in order
    f = gl.compile(in_order(case, arrays))
    x, args = arrays[case.by[0]], list(arrays.values())
    product, want = f.hessp(wrt=case.by[0]), np.zeros(arrays[case.by[0]].shape)
    for i in np.ndindex(*x.shape):
        unit = np.zeros_like(x)
        unit[i] = 1
        want[i] = product(unit, *args)[i]
    np.testing.assert_allclose(f.hessian_diag(wrt=case.by[0])(*args), want, rtol=1e-8, atol=1e-9)
