"""The losses of the library as compiled functions: the diagonal is that of the whole Hessian, in one kernel."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import UnsupportedError

F, L, G, B = gl.nn.functional, gl.layers, gl.gluon.loss, gl.losses
RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
P = RNG.uniform(0.1, 0.9, (3, 4))
T = RNG.integers(0, 2, (3, 4)).astype(np.float64)
SIGN = 2 * T - 1
LABEL = np.array([2, 0, 3])
BOX = np.array([0.0, 0.0, 2.0, 2.0])
COLUMN = (X[:, :1], Y[:, :1])

# name: (loss, arguments); differentiated by the first argument that is not a label
LOSSES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "F.mse_loss": (F.mse_loss, (X, Y)),
    "F.l1_loss": (F.l1_loss, (X, Y)),
    "F.smooth_l1_loss": (F.smooth_l1_loss, (X, Y)),
    "F.huber_loss": (F.huber_loss, (X, Y)),
    "F.kl_div": (F.kl_div, (X, P)),
    "F.poisson_nll_loss": (F.poisson_nll_loss, (X, P)),
    "F.gaussian_nll_loss": (F.gaussian_nll_loss, (X, Y, P)),
    "F.binary_cross_entropy": (F.binary_cross_entropy, (P, T)),
    "F.binary_cross_entropy_with_logits": (F.binary_cross_entropy_with_logits, (X, T)),
    "F.soft_margin_loss": (F.soft_margin_loss, (X, SIGN)),
    "F.hinge_embedding_loss": (F.hinge_embedding_loss, (X, SIGN)),
    "F.multilabel_soft_margin_loss": (F.multilabel_soft_margin_loss, (X, T)),
    "F.multi_margin_loss": (F.multi_margin_loss, (X, LABEL)),
    "G.HuberLoss": (G.HuberLoss(), (X, Y)),
    "G.HingeLoss": (G.HingeLoss(), (X, SIGN)),
    "G.SquaredHingeLoss": (G.SquaredHingeLoss(), (X, SIGN)),
    "G.LogisticLoss": (G.LogisticLoss(), (X, SIGN)),
    "G.KLDivLoss": (G.KLDivLoss(), (X, P)),
    "G.SigmoidBCELoss": (G.SigmoidBCELoss(), (X, T)),
    "G.PoissonNLLLoss": (G.PoissonNLLLoss(), (X, P)),
    "G.SoftmaxCrossEntropyLoss": (G.SoftmaxCrossEntropyLoss(), (X, LABEL)),
    "L.log_loss": (L.log_loss, (P[:, :1], T[:, :1])),
    "L.dice_loss": (L.dice_loss, (P, LABEL[:, None])),
    "L.smooth_l1": (L.smooth_l1, (X, Y)),
    "L.kldiv_loss": (L.kldiv_loss, (X, P)),
    "L.cos_sim": (L.cos_sim, (X, Y)),
    "L.teacher_student_sigmoid_loss": (L.teacher_student_sigmoid_loss, (X[:, :1], T[:, :1])),
    "L.bpr_loss": (L.bpr_loss, (X, LABEL[:, None])),
    "log-cosh": (B.log_cosh_loss, (X, Y)),
    "expectile": (B.expectile_loss, (X, Y)),
    "quantile": (B.quantile_loss, (X, Y)),
    "msle": (B.msle_loss, (P, T)),
    "gamma": (B.gamma_deviance_loss, (P, P + 0.3)),
    "tweedie": (B.tweedie_deviance_loss, (P, P + 0.3)),
    "sigmoid focal": (B.sigmoid_focal_loss, (X, T)),
    "softmax focal": (B.softmax_focal_loss, (X, LABEL)),
    "generalised ce": (B.generalized_cross_entropy, (X, LABEL)),
    "poly-1": (B.poly1_cross_entropy, (X, LABEL)),
    "z-loss": (B.z_loss, (X,)),
    "capped ce": (B.capped_cross_entropy, (X, LABEL)),
    "distillation": (B.distillation_loss, (X, Y, LABEL)),
    "jensen-shannon": (B.jensen_shannon_loss, (X, Y)),
    "giou": (B.giou_loss, (P + BOX, P[::-1] + BOX)),
    "diou": (B.diou_loss, (P + BOX, P[::-1] + BOX)),
    "tversky": (B.tversky_loss, (X, T)),
    "jaccard": (B.jaccard_loss, (X, T)),
    "focal tversky": (B.focal_tversky_loss, (X, T)),
    "arcface": (B.arcface_loss, (X * 0.2, LABEL)),
    "cosface": (B.cosface_loss, (X * 0.2, LABEL)),
}


def reduced(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss, its mean if it has several elements; with the parameters of the loss."""

    def call(*args: Any, **kwargs: Any) -> Any:
        out = loss(*args, **kwargs)
        return out if all(d == 1 for d in out.type.shape) else L.mean(out)

    call.__signature__ = inspect.signature(getattr(loss, "forward", loss))  # type: ignore[attr-defined]
    return call


@pytest.mark.parametrize("name", LOSSES)
def test_diagonal_in_one_kernel(name: str) -> None:
    loss, (x, *rest) = LOSSES[name]
    f = gl.compile(reduced(loss))
    value, grad, h = f.value_grad_hessian_diag()(x, *rest)
    want = np.zeros_like(x)
    product = f.hessp()
    for i in np.ndindex(*x.shape):
        unit = np.zeros_like(x)
        unit[i] = 1.0
        want[i] = product(unit, x, *rest)[i]
    np.testing.assert_allclose(h, want, rtol=1e-9, atol=1e-13)
    np.testing.assert_array_equal(f.grad()(x, *rest), grad)
    np.testing.assert_allclose(f(x, *rest), value, rtol=1e-13)
    kernels = f.value_grad_hessian_diag().explain().kernels
    assert sum(any(b.role == "output" and b.shape and len(b.shape) > 1 for b in k.buffers) for k in kernels) == 1


@pytest.mark.parametrize(
    ("loss", "args"),
    [(B.info_nce_loss, (X, Y)), (B.supervised_contrastive_loss, (X, LABEL)), (L.npair_loss, (X, Y, LABEL))],
    ids=["InfoNCE", "supervised contrastive", "npair"],
)
def test_products_of_the_batch_with_itself_are_refused(loss: Callable[..., Any], args: tuple[Any, ...]) -> None:
    f = gl.compile(reduced(loss))
    with pytest.raises(UnsupportedError, match="matmul mixes elements of it"):
        f.hessian_diag()(*args)
    # four matrix products and the kernels between them: the first call already finds every operand written
    step, grad = 1e-5, f.grad()
    near = (grad(args[0] + step, *args[1:]) - grad(args[0] - step, *args[1:])) / (2 * step)
    np.testing.assert_allclose(f.hessp()(np.ones_like(X), *args), near, rtol=1e-5, atol=1e-7)
