"""Losses of three libraries that are the same function, on random input: value and gradient, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphloss import dygraph, layers, ops
from graphloss.gluon import loss as gluon
from graphloss.nn import functional as F
from tests.losses.runners import RUNNERS, Array

Build = Callable[..., Any]
Make = Callable[[np.random.Generator, int, int], dict[str, Array]]


def logits(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    return {"x": rng.normal(size=(n, c)) * 5, "y": rng.integers(0, c, n)}


def pairs(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    return {"x": rng.normal(size=(n, c)) * 3, "y": rng.normal(size=(n, c)) * 3}


def targets(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    return {"x": rng.normal(size=(n, c)) * 5, "y": rng.uniform(size=(n, c))}


def signs(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    return {"x": rng.normal(size=(n, c)) * 5, "y": rng.choice([-1.0, 1.0], (n, c))}


def distributions(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    return {"x": rng.normal(size=(n, c)) * 5, "y": rng.dirichlet(np.ones(c), n)}


def two_classes(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    return {"x": rng.normal(size=(n, 2)) * 5, "y": rng.integers(0, 2, n)}


def triplets(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    return {k: rng.normal(size=(n, c)) for k in ("x", "y", "z")}


def frames(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    """Six frames of c + 1 classes; up to two symbols, which five frames are enough for."""
    return {"x": rng.normal(size=(6, n, c + 1)) * 3, "y": rng.integers(0, c, (n, 2)), "t": rng.integers(5, 7, n),
            "s": rng.integers(0, 3, n)}  # fmt: skip


def column(y: Any) -> Any:
    return layers.unsqueeze(y, [1])


def flat(x: Any) -> Any:
    return layers.squeeze(x, [1])


def entropy(y: Any) -> Any:
    return -ops.reduce_sum(ops.xlogy(y, y), 1)


def half(y: Any) -> Any:
    return 0.5 * (y + 1.0)


def bce(x: Any, y: Any, **options: Any) -> Any:
    return F.binary_cross_entropy_with_logits(x, y, **options)


def mean_of_others(x: Any, y: Any) -> Any:
    """The mean of softplus(x_j − x_y) over the classes j other than y."""
    others = 1.0 - ops.one_hot(y, x.type.shape[1], dtype=x.type.dtype)
    pair = ops.softplus(x - column(ops.pick(x, y)))
    return ops.reduce_sum(others * pair, 1) / (ops.size((x.type.shape[1],), x.type.dtype) - 1.0)


# what, the one, the other, inputs
SAME: list[tuple[str, Build, Build, Make]] = [
    ("CE = NLL of log_softmax", lambda x, y: F.cross_entropy(x, y), lambda x, y: F.nll_loss(F.log_softmax(x, 1), y),
     logits),
    ("softmax_with_cross_entropy = cross_entropy", lambda x, y: flat(layers.softmax_with_cross_entropy(x, column(y))),
     lambda x, y: F.cross_entropy(x, y, reduction="none"), logits),
    ("Fluid's cross_entropy of softmax", lambda x, y: layers.cross_entropy(layers.softmax(x), column(y)),
     lambda x, y: layers.softmax_with_cross_entropy(x, column(y)), logits),
    ("dygraph CrossEntropyLoss", lambda x, y: dygraph.CrossEntropyLoss()(x, y), lambda x, y: F.cross_entropy(x, y),
     logits),
    ("Gluon's softmax CE", gluon.SoftmaxCELoss(), lambda x, y: F.cross_entropy(x, y, reduction="none"), logits),
    ("BCE of sigmoid", lambda x, y: F.binary_cross_entropy(F.sigmoid(x), y), bce, targets),
    ("Fluid's sigmoid CE", lambda x, y: layers.sigmoid_cross_entropy_with_logits(x, y),
     lambda x, y: bce(x, y, reduction="none"), targets),
    ("rank_loss = BCE of the difference", lambda x, y, z: layers.rank_loss(y, x, z),
     lambda x, y, z: bce(x - z, y, reduction="none"), triplets),
    ("soft margin = BCE", lambda x, y: F.soft_margin_loss(x, y), lambda x, y: bce(x, half(y)), signs),
    ("Gluon's logistic = BCE", gluon.LogisticLoss(),
     lambda x, y: ops.reduce_mean(bce(x, half(y), reduction="none"), 1), signs),
    ("Gluon's logistic, binary = signed", lambda x, y: gluon.LogisticLoss(label_format="binary")(x, half(y)),
     gluon.LogisticLoss(), signs),
    ("multi-label soft margin = mean of BCE", lambda x, y: F.multilabel_soft_margin_loss(x, y, reduction="none"),
     lambda x, y: ops.reduce_mean(bce(x, y, reduction="none"), 1), targets),
    ("CE of two classes = BCE", lambda x, y: F.cross_entropy(x, y),
     lambda x, y: bce(x[:, 1] - x[:, 0], layers.cast(y, "float64")), two_classes),
    ("Gluon's L2 = half of MSE", gluon.L2Loss(),
     lambda x, y: 0.5 * ops.reduce_mean(F.mse_loss(x, y, reduction="none"), 1), pairs),
    ("Gluon's Huber = smooth L1", gluon.HuberLoss(0.7),
     lambda x, y: ops.reduce_mean(F.smooth_l1_loss(x, y, reduction="none", beta=0.7), 1), pairs),
    ("Fluid's smooth_l1 = sum of smooth L1", lambda x, y: flat(layers.smooth_l1(x, y, sigma=2.0)),
     lambda x, y: ops.reduce_sum(F.smooth_l1_loss(x, y, reduction="none", beta=0.25), 1), pairs),
    ("Huber = δ · smooth L1", lambda x, y: F.huber_loss(x, y, delta=0.7),
     lambda x, y: 0.7 * F.smooth_l1_loss(x, y, beta=0.7), pairs),
    ("Fluid's huber_loss = Huber", lambda x, y: layers.huber_loss(x, y, 0.7),
     lambda x, y: F.huber_loss(x, y, "none", 0.7), pairs),
    ("smooth L1 with β = 0 is L1", lambda x, y: F.smooth_l1_loss(x, y, beta=0), lambda x, y: F.l1_loss(x, y), pairs),
    ("bpr = mean of softplus", lambda x, y: flat(layers.bpr_loss(x, column(y))), mean_of_others, logits),
    ("KL = CE - entropy", lambda x, y: ops.reduce_sum(F.kl_div(F.log_softmax(x, 1), y, reduction="none"), 1),
     lambda x, y: F.cross_entropy(x, y, reduction="none") - entropy(y), distributions),
    ("Fluid's KL = PyTorch's", lambda x, y: layers.kldiv_loss(x, y, "batchmean"),
     lambda x, y: F.kl_div(x, y, reduction="batchmean"), distributions),
    ("KL of logarithms", lambda x, y: F.kl_div(x, layers.log(y), log_target=True), lambda x, y: F.kl_div(x, y),
     distributions),
    ("Gluon's KL = rows of KL", gluon.KLDivLoss(from_logits=False, reduction="sum"),
     lambda x, y: ops.reduce_sum(F.kl_div(F.log_softmax(x, 1), y, reduction="none"), 1), distributions),
    ("Gluon's triplet = relu of squared differences", gluon.TripletLoss(),
     lambda x, y, z: layers.relu(ops.reduce_sum((y - x) ** 2.0 - (z - x) ** 2.0, 1) + 1.0), triplets),
    ("squared hinge = square of hinge, one score", lambda x, y: gluon.SquaredHingeLoss()(x[:, :1], y[:, :1]),
     lambda x, y: ops.square(gluon.HingeLoss()(x[:, :1], y[:, :1])), signs),
    ("triplet with pairwise_distance", lambda x, y, z: F.triplet_margin_loss(x, y, z, swap=True),
     lambda x, y, z: F.triplet_margin_with_distance_loss(x, y, z, swap=True), triplets),
    ("cos_sim = cosine_similarity", lambda x, y: flat(layers.cos_sim(x, y)), lambda x, y: F.cosine_similarity(x, y),
     pairs),
    ("dot of normalized = cosine", lambda x, y: ops.reduce_sum(F.normalize(x) * F.normalize(y), 1),
     lambda x, y: F.cosine_similarity(x, y), pairs),
    ("label smoothing = smoothed labels", lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1),
     lambda x, y: F.cross_entropy(x, layers.label_smooth(ops.one_hot(y, x.type.shape[1], dtype="float64"))), logits),
    ("warpctc = CTC of log_softmax", lambda x, y, t, s: flat(layers.warpctc(x, y + 1, 0, False, t, s)),
     lambda x, y, t, s: F.ctc_loss(F.log_softmax(x, 2), y + 1, t, s, reduction="none"), frames),
    ("Gluon's CTC = warpctc with the last class as blank", lambda x, y, t, s: gluon.CTCLoss("TNC")(x, y, t, s),
     lambda x, y, t, s: flat(layers.warpctc(x, y, int(x.type.shape[2]) - 1, False, t, s)), frames),
    ("margin ranking with labels 1 = hinge of the difference", lambda x, y: F.margin_ranking_loss(x, y, x * 0 + 1, 1.0),
     lambda x, y: ops.reduce_mean(ops.clamp_min(1.0 - (x - y), 0.0)), pairs),
]  # fmt: skip


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(("name", "one", "other", "make"), SAME, ids=[s[0] for s in SAME])
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 9), c=st.integers(2, 20))
def test_same_loss(name: str, one: Build, other: Build, make: Make, runner: str, seed: int, n: int, c: int) -> None:
    arrays = make(np.random.default_rng(seed), n, c)
    values = []
    for build in (one, other):
        value, (grad,) = RUNNERS[runner](lambda *a, build=build, **i: build(*i.values()), arrays, ("x",))
        values.append((value.reshape(-1), grad))
    np.testing.assert_allclose(values[0][0], values[1][0], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(values[0][1], values[1][1], rtol=1e-8, atol=1e-9)
