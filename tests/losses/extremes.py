"""Every public loss with inputs of any number of rows and classes, drawn from extreme values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphloss import dygraph, layers, losses
from graphloss.gluon import loss as gluon
from graphloss.nn import functional as F
from tests.losses.runners import Array, Build

Draw = Callable[[np.random.Generator, int, int], dict[str, Array]]  # of so many rows and classes

LOGITS = np.array([1e4, -1e4, 0.0, -0.0, 88.8, -104.0, 1e-30, 1.0])
PROBABILITIES = np.array([0.0, 1.0, 0.5, 1e-30, 1 - 2**-24])
LOG_PROBABILITIES = np.array([0.0, -1e4, -104.0, -30.0, -0.5])
POSITIVE = np.array([1e-6, 1.0, 1e4, 3.0])
COORDINATES = np.array([0.0, 1.0, -1e4, 1e4, 0.5])
COMPONENTS = np.array([0.0, 0.0, 1.0, -1.0, 64.0])  # of vectors: some are zero, some are equal
COSINES = np.array([1.0, -1.0, 0.0, 0.5, -0.9, 1 - 2**-24])


def of(**values: Array) -> Draw:
    """(rows, classes) of each."""
    return lambda rng, n, c: {name: rng.choice(v, (n, c)) for name, v in values.items()}


def column(**values: Array) -> Draw:
    """(rows, 1) of each."""
    return lambda rng, n, c: {name: rng.choice(v, (n, 1)) for name, v in values.items()}


def both(first: Draw, second: Draw) -> Draw:
    return lambda rng, n, c: {**first(rng, n, c), **second(rng, n, c)}


def labels(name: str, ndim: int = 1, ignored: int | None = None) -> Draw:
    """A class per row, of shape (rows,) or (rows, 1); some are `ignored`."""

    def draw(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
        found = rng.integers(0, c, n)
        if ignored is not None:
            found[rng.random(n) < 0.3] = ignored
        return {name: found.reshape((n,) + (1,) * (ndim - 1))}

    return draw


def per_class(**values: Array) -> Draw:
    return lambda rng, n, c: {name: rng.choice(v, c) for name, v in values.items()}


def per_row(**values: Array) -> Draw:
    return lambda rng, n, c: {name: rng.choice(v, n) for name, v in values.items()}


def distribution(name: str) -> Draw:
    """Rows that add up to 1; some are certain."""

    def draw(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
        found = rng.dirichlet(np.ones(c), n).reshape(n, c)
        return {name: np.where(rng.random((n, 1)) < 0.5, np.eye(c)[rng.integers(0, c, n)].reshape(n, c), found)}

    return draw


def masks(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    """Probabilities and masks of three pixels; some masks are empty."""
    y = (rng.random((n, c, 3)) < 0.4) & (rng.random((n, 1, 1)) < 0.7)
    return {"x": rng.choice(PROBABILITIES, (n, c, 3)), "y": y.astype(float)}


def boxes(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    corners = rng.choice(COORDINATES, (2, n, 2, 2))
    found = np.concatenate([corners.min(2), corners.max(2)], -1)
    return {"x": found[0], "y": found[1]}


def listed(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    """Lists of classes that -1 ends, none or all of them."""
    y = np.argsort(rng.random((n, c)), axis=1)
    y[np.arange(c) >= rng.integers(0, c + 1, (n, 1))] = -1
    return {"x": rng.choice(LOGITS, (n, c)), "y": y}


def pixels(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    y = rng.integers(0, c, (n, 5))
    y[rng.random((n, 5)) < 0.2] = -100
    return {"x": rng.choice(LOGITS, (n, c, 5)), "y": y}


def frames(time_first: bool, logarithm: bool) -> Draw:
    """Four frames of classes 0 (blank) to c, and two labels of each row; some fit no alignment."""

    def draw(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
        x = rng.choice(LOG_PROBABILITIES if logarithm else LOGITS, (4, n, c + 1))
        return {"x": x if time_first else x.swapaxes(0, 1), "y": rng.integers(1, c + 1, (n, 2)),
                "t": rng.integers(1, 5, n), "s": rng.integers(0, 3, n)}  # fmt: skip

    return draw


def weights(rng: np.random.Generator, n: int, c: int) -> dict[str, Array]:
    """Rows of three features, a class of each, and the weights of the classes."""
    return {"x": rng.choice(LOGITS, (n, 3)), "y": rng.integers(0, c, n), "w": rng.choice(COSINES, (c, 3)),
            "b": rng.choice(LOGITS, c)}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A loss and its inputs; the gradients are by `by`."""

    name: str
    build: Build
    draw: Draw
    by: tuple[str, ...] = ("x",)
    least: int = 1  # number of classes
    first: bool = True  # of its reductions

    @property
    def id(self) -> str:
        return self.name


REDUCTIONS = ("none", "mean", "sum")


def reductions(
    name: str,
    loss: Callable[..., Any],
    draw: Draw,
    by: tuple[str, ...] = ("x",),
    among: tuple[str, ...] = REDUCTIONS,
    least: int = 1,
    **options: Any,
) -> list[Case]:
    """One case for each reduction; the inputs go to the loss in their order."""
    return [
        Case(
            name,
            lambda reduction=r, **i: loss(*i.values(), reduction=reduction, **options),
            draw,
            by,
            least,
            r == among[0],
        )
        for r in among
    ]


XY = of(x=LOGITS, y=LOGITS)
SIGNS = np.array([1.0, -1.0])
HITS = np.array([0.0, 1.0])
PAIR = ("x", "y")
LABELLED = both(of(x=LOGITS), labels("y", ignored=-100))
TRIPLE = of(a=COMPONENTS, p=COMPONENTS, n=COMPONENTS)


def of_torch() -> list[Case]:
    found: list[Case] = []
    for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss):
        found += reductions(f"F.{loss.__name__}", loss, XY, PAIR)
    found += reductions("F.smooth_l1_loss", F.smooth_l1_loss, XY, PAIR, beta=0)
    found += reductions("F.nll_loss", F.nll_loss, both(of(x=LOG_PROBABILITIES), labels("y", ignored=-100)))
    found += reductions("F.nll_loss", F.nll_loss, both(LABELLED, per_class(w=HITS)))
    found += reductions("F.cross_entropy", F.cross_entropy, LABELLED)
    found += reductions("F.cross_entropy", F.cross_entropy, LABELLED, label_smoothing=0.1)
    found += reductions("F.cross_entropy", F.cross_entropy, both(LABELLED, per_class(w=POSITIVE)), label_smoothing=0.1)
    found += reductions("F.cross_entropy", F.cross_entropy, both(of(x=LOGITS), distribution("y")), PAIR)
    found += reductions("F.cross_entropy", F.cross_entropy, pixels)
    found += reductions("F.kl_div", F.kl_div, both(of(x=LOG_PROBABILITIES), distribution("y")), PAIR)
    found += reductions("F.kl_div", F.kl_div, of(x=LOG_PROBABILITIES, y=LOG_PROBABILITIES), PAIR, log_target=True)
    found.append(Case("F.kl_div", lambda x, y: F.kl_div(x, y, reduction="batchmean"),
                      both(of(x=LOG_PROBABILITIES), distribution("y")), PAIR))  # fmt: skip
    small = np.array([-1e4, -104.0, 0.0, 1.0, 80.0])
    for full in (False, True):
        found += reductions("F.poisson_nll_loss", F.poisson_nll_loss, of(x=small, y=np.array([0.0, 1, 2, 1e4])), PAIR,
                            full=full)  # fmt: skip
        found += reductions("F.poisson_nll_loss", F.poisson_nll_loss,
                            of(x=np.array([0.0, 1e-30, 1, 1e4]), y=np.array([0.0, 1, 2, 1e4])), PAIR,
                            log_input=False, full=full)  # fmt: skip
    found += reductions("F.gaussian_nll_loss", F.gaussian_nll_loss, of(x=LOGITS, y=LOGITS, v=POSITIVE),
                        ("x", "y", "v"))  # fmt: skip
    found += reductions("F.gaussian_nll_loss", F.gaussian_nll_loss, of(x=LOGITS, y=LOGITS, v=np.array([0.0, 1.0])),
                        ("x", "y", "v"), full=True)  # fmt: skip
    found += reductions("F.binary_cross_entropy", F.binary_cross_entropy, of(x=PROBABILITIES, y=PROBABILITIES))
    found += reductions("F.binary_cross_entropy", F.binary_cross_entropy,
                        both(of(x=PROBABILITIES, y=HITS), per_class(w=POSITIVE)))  # fmt: skip
    bce = F.binary_cross_entropy_with_logits
    found += reductions("F.binary_cross_entropy_with_logits", bce, of(x=LOGITS, y=PROBABILITIES), PAIR)
    found += [
        Case("F.binary_cross_entropy_with_logits",
             lambda x, y, w, p, r=r: bce(x, y, w, pos_weight=p, reduction=r),
             both(of(x=LOGITS, y=PROBABILITIES), per_class(w=POSITIVE, p=POSITIVE)), PAIR)
        for r in ("none", "mean", "sum")
    ]  # fmt: skip
    found += reductions("F.hinge_embedding_loss", F.hinge_embedding_loss, of(x=LOGITS, y=SIGNS))
    found += reductions("F.soft_margin_loss", F.soft_margin_loss, of(x=LOGITS, y=SIGNS))
    found += reductions("F.multilabel_soft_margin_loss", F.multilabel_soft_margin_loss, of(x=LOGITS, y=HITS))
    found += reductions("F.multilabel_margin_loss", F.multilabel_margin_loss, listed)
    for p in (1, 2):
        found += reductions("F.multi_margin_loss", F.multi_margin_loss, both(of(x=LOGITS), labels("y")), p=p)
    found += reductions("F.margin_ranking_loss", F.margin_ranking_loss, of(x=LOGITS, y=LOGITS, t=SIGNS), PAIR)
    found += reductions("F.cosine_embedding_loss", F.cosine_embedding_loss,
                        both(of(x=COMPONENTS, y=COMPONENTS), per_row(t=SIGNS)), PAIR)  # fmt: skip
    for p in (0.5, 1, 2, 3, float("inf")):
        for swap in (False, True):
            found += reductions("F.triplet_margin_loss", F.triplet_margin_loss, TRIPLE, ("a", "p", "n"), p=p, swap=swap,
                                eps=0.0)  # fmt: skip
        found.append(Case("F.pairwise_distance", lambda x, y, p=p: F.pairwise_distance(x, y, p, eps=0.0),
                          of(x=COMPONENTS, y=COMPONENTS), PAIR))  # fmt: skip
        found.append(Case("F.normalize", lambda x, p=p: F.normalize(x, p), of(x=COMPONENTS)))
    found += reductions("F.triplet_margin_loss", F.triplet_margin_loss, TRIPLE, ("a", "p", "n"))
    found += [
        Case("F.triplet_margin_with_distance_loss",
             lambda a, p, n, r=r: F.triplet_margin_with_distance_loss(
                 a, p, n, distance_function=lambda u, v: 1 - F.cosine_similarity(u, v), swap=True, reduction=r),
             TRIPLE, ("a", "p", "n"))
        for r in ("none", "mean", "sum")
    ]  # fmt: skip
    found.append(Case("F.cosine_similarity", F.cosine_similarity, of(x1=COMPONENTS, x2=COMPONENTS), ("x1", "x2")))
    for zero in (False, True):
        found += [Case("F.ctc_loss", lambda x, y, t, s, r=r, z=zero: F.ctc_loss(x, y, t, s, 0, r, z),
                       frames(True, True)) for r in ("none", "mean", "sum")]  # fmt: skip
    found += [Case("F.linear_cross_entropy",
                   lambda x, y, w, b, r=r: F.linear_cross_entropy(x, w, y, linear_bias=b, reduction=r), weights,
                   ("x", "w", "b")) for r in ("none", "mean", "sum")]  # fmt: skip
    return found


def of_fluid() -> list[Case]:
    soft = both(of(x=LOGITS), distribution("y"))
    found = [
        Case("layers.square_error_cost", layers.square_error_cost, of(input=LOGITS, label=LOGITS), ("input", "label")),
        Case("layers.mse_loss", layers.mse_loss, of(input=LOGITS, label=LOGITS), ("input", "label")),
        Case("layers.smooth_l1", layers.smooth_l1, XY),
        Case("layers.smooth_l1", lambda x, y, i, o: layers.smooth_l1(x, y, i, o, 2.0),
             of(x=LOGITS, y=LOGITS, i=POSITIVE, o=POSITIVE)),
        Case("layers.huber_loss", lambda x, y: layers.huber_loss(x, y, 0.5), XY),
        Case("layers.cross_entropy", layers.cross_entropy,
             both(of(input=PROBABILITIES), labels("label", 2, -100)), ("input",)),
        Case("layers.cross_entropy", lambda x, y: layers.cross_entropy(x, y, soft_label=True),
             both(of(x=PROBABILITIES), distribution("y"))),
        Case("layers.softmax_with_cross_entropy", layers.softmax_with_cross_entropy,
             both(of(logits=LOGITS), labels("label", 2, -100)), ("logits",)),
        Case("layers.softmax_with_cross_entropy",
             lambda x, y: layers.softmax_with_cross_entropy(x, y, soft_label=True), soft),
        Case("layers.label_smooth", lambda x: layers.label_smooth(x, dtype="float64"), of(x=PROBABILITIES)),
        Case("layers.log_loss", lambda x, y: layers.log_loss(x, y), column(x=PROBABILITIES, y=HITS)),
        Case("layers.rank_loss", lambda t, x, y: layers.rank_loss(t, x, y),
             column(t=PROBABILITIES, x=LOGITS, y=LOGITS), PAIR),
        Case("layers.margin_rank_loss", lambda t, x, y: layers.margin_rank_loss(t, x, y),
             column(t=SIGNS, x=LOGITS, y=LOGITS), PAIR),
        Case("layers.bpr_loss", lambda x, y: layers.bpr_loss(x, y), both(of(x=LOGITS), labels("y", 2))),
        Case("layers.dice_loss", layers.dice_loss, lambda rng, n, c: {
            "input": rng.choice(PROBABILITIES, (n, 3, c)), "label": rng.integers(0, max(c, 2), (n, 3, 1))},
             ("input",)),
        Case("layers.teacher_student_sigmoid_loss", layers.teacher_student_sigmoid_loss,
             column(input=LOGITS, label=np.array([-2.0, -1.0, 0.0, 1.0, 1.5])), ("input",)),
        Case("layers.sigmoid_focal_loss", lambda x, y, n: layers.sigmoid_focal_loss(x, y, n),
             lambda rng, n, c: {"x": rng.choice(LOGITS, (n, c)), "y": rng.integers(-1, c + 1, (n, 1)),
                                "n": rng.integers(0, 3, 1)}),
        Case("layers.npair_loss", lambda x, y, t: layers.npair_loss(x, y, t),
             both(of(x=COMPONENTS, y=COMPONENTS), labels("t")), PAIR),
        Case("layers.cos_sim", lambda x, y: layers.cos_sim(x, y), of(x=COMPONENTS, y=COMPONENTS), PAIR),
        Case("layers.l2_normalize", lambda x: layers.l2_normalize(x, 1), of(x=COMPONENTS)),
        Case("layers.warpctc", lambda x, y, t, s: layers.warpctc(x, y, 0, False, t, s), frames(True, False)),
        Case("layers.warpctc", lambda x, y, t, s: layers.warpctc(x, y, 0, True, t, s), frames(True, False)),
    ]  # fmt: skip
    for normalize in (False, True):
        found.append(
            Case("layers.sigmoid_cross_entropy_with_logits",
                 lambda x, y, n=normalize: layers.sigmoid_cross_entropy_with_logits(x, y, -1, normalize=n),
                 of(x=LOGITS, y=np.array([-1.0, 0.0, 1.0, 0.5])))
        )  # fmt: skip
    for r in ("none", "mean", "sum", "batchmean"):
        draw = both(of(x=LOG_PROBABILITIES), distribution("y"))
        found.append(Case("layers.kldiv_loss", lambda x, y, r=r: layers.kldiv_loss(x, y, r), draw))
    for r in ("none", "mean", "sum"):
        found += [
            Case("dygraph.MSELoss", dygraph.MSELoss(r), of(input=LOGITS, label=LOGITS), ("input", "label")),
            Case("dygraph.L1Loss", dygraph.L1Loss(r), of(input=LOGITS, label=LOGITS), ("input", "label")),
            Case("dygraph.BCELoss", dygraph.BCELoss(reduction=r), of(input=PROBABILITIES, label=HITS), ("input",)),
            Case("dygraph.NLLLoss", dygraph.NLLLoss(reduction=r),
                 both(of(input=LOG_PROBABILITIES), labels("label", ignored=-100)), ("input",)),
            Case("dygraph.CrossEntropyLoss", dygraph.CrossEntropyLoss(reduction=r),
                 both(of(input=LOGITS), labels("label", ignored=-100)), ("input",)),
        ]  # fmt: skip
    return found


def of_gluon() -> list[Case]:
    def case(name: str, draw: Draw, by: tuple[str, ...] = ("x",), **options: Any) -> Case:
        loss = getattr(gluon, name)(**options)
        return Case(f"gluon.{name}", lambda **i: loss(*i.values()), draw, by)

    return [
        case("L2Loss", XY, PAIR), case("L1Loss", XY, PAIR), case("HuberLoss", XY, PAIR),
        case("SigmoidBCELoss", of(x=LOGITS, y=PROBABILITIES), PAIR),
        case("SigmoidBCELoss", of(x=PROBABILITIES, y=HITS), from_sigmoid=True),
        Case("gluon.SigmoidBCELoss", lambda x, y, p: gluon.SigmoidBCELoss()(x, y, None, p),
             both(of(x=LOGITS, y=PROBABILITIES), per_class(p=POSITIVE)), PAIR),
        case("SoftmaxCELoss", both(of(x=LOGITS), labels("y"))),
        case("SoftmaxCELoss", both(of(x=LOGITS), distribution("y")), PAIR, sparse_label=False),
        case("SoftmaxCELoss", both(of(x=LOG_PROBABILITIES), labels("y")), from_logits=True),
        case("KLDivLoss", both(of(x=LOG_PROBABILITIES), distribution("y")), PAIR),
        case("KLDivLoss", both(of(x=LOGITS), distribution("y")), PAIR, from_logits=False),
        case("HingeLoss", of(x=LOGITS, y=SIGNS)), case("SquaredHingeLoss", of(x=LOGITS, y=SIGNS)),
        case("LogisticLoss", of(x=LOGITS, y=SIGNS)), case("LogisticLoss", of(x=LOGITS, y=HITS), label_format="binary"),
        case("TripletLoss", TRIPLE, ("a", "p", "n")),
        case("PoissonNLLLoss", of(x=np.array([-1e4, 0.0, 1.0, 80.0]), y=np.array([0.0, 1, 2, 1e4])), PAIR,
             compute_full=True),
        case("PoissonNLLLoss", of(x=np.array([0.0, 1, 1e-30, 1e4]), y=np.array([0.0, 1, 2, 1e4])), PAIR,
             from_logits=False),
        case("CosineEmbeddingLoss", both(of(x=COMPONENTS, y=COMPONENTS), per_row(t=SIGNS)), PAIR),
        case("SDMLLoss", of(x=COMPONENTS, y=COMPONENTS), PAIR),
        case("SDMLLoss", of(x=COMPONENTS, y=COMPONENTS), PAIR, smoothing_parameter=0.0),
        Case("gluon.CTCLoss", lambda x, y, t, s: gluon.CTCLoss()(x, y - 1, t, s), frames(False, False)),
    ]  # fmt: skip


def further() -> list[Case]:
    labelled = LABELLED
    cosines = both(of(x=COSINES), labels("y", ignored=-100))
    positive = of(x=POSITIVE, y=POSITIVE)
    vectors = of(x=COMPONENTS, y=COMPONENTS)
    found: list[Case] = []

    def add(name: str, draw: Draw, by: tuple[str, ...] = ("x",), **options: Any) -> None:
        found.extend(reductions(f"losses.{name}", getattr(losses, name), draw, by, **options))

    for name in ("quantile_loss", "expectile_loss", "log_cosh_loss", "mape_loss"):
        add(name, XY, PAIR)
    add("msle_loss", of(x=np.abs(LOGITS), y=np.abs(LOGITS)), PAIR)
    add("gamma_deviance_loss", positive, PAIR)
    for power in (-1.0, 0.0, 1.0, 1.5, 2.0, 2.5, 3.0):
        add("tweedie_deviance_loss", positive, PAIR, power=power)
    for power in (1.0, 1.5):
        add("tweedie_deviance_loss", of(x=POSITIVE, y=np.array([0.0, 1.0, 1e4])), power=power)
    for gamma in (0.0, 0.3, 2.0):
        add("sigmoid_focal_loss", of(x=LOGITS, y=HITS), gamma=gamma)
        add("softmax_focal_loss", labelled, gamma=gamma)
    add("softmax_focal_loss", both(labelled, per_class(w=POSITIVE)))
    for q in (0.3, 0.7, 1.0):
        add("generalized_cross_entropy", labelled, q=q)
    add("poly1_cross_entropy", labelled)
    add("capped_cross_entropy", labelled)
    add("capped_cross_entropy", labelled, cap=30.0)
    add("z_loss", of(x=LOGITS))
    add("arcface_loss", cosines)
    add("cosface_loss", cosines)
    add("distillation_loss", of(x=LOGITS, t=LOGITS))
    add("distillation_loss", both(of(x=LOGITS, t=LOGITS), labels("y", ignored=-100)))
    add("jensen_shannon_loss", XY, PAIR)
    add("dpo_loss", lambda rng, n, c: {k: rng.choice(LOGITS, n) for k in "abrs"}, ("a", "b"))
    add("dpo_loss", lambda rng, n, c: {k: rng.choice(LOGITS, n) for k in "abrs"}, ("a", "b"), label_smoothing=0.1)
    for name in ("tversky_loss", "jaccard_loss", "focal_tversky_loss"):
        for per in (False, True):
            for smooth in (0.0, 1.0):
                add(name, masks, per_class=per, smooth=smooth)
    add("focal_tversky_loss", masks, gamma=3.0, smooth=0.0)
    add("generalized_dice_loss", masks)
    add("generalized_dice_loss", masks, smooth=1.0)
    add("dice_cross_entropy_loss", pixels, among=("mean", "sum"))  # it has no value per element
    for name in ("giou_loss", "diou_loss", "ciou_loss"):
        add(name, boxes, PAIR)
    for symmetric in (False, True):
        add("info_nce_loss", vectors, PAIR, symmetric=symmetric)
        add("info_nce_loss", vectors, PAIR, symmetric=symmetric, normalize=False)
    add("nt_xent_loss", vectors, PAIR)
    add("nt_xent_loss", vectors, PAIR, normalize=False)
    add("supervised_contrastive_loss", both(of(x=COMPONENTS), labels("y")))
    add("supervised_contrastive_loss", both(of(x=COMPONENTS), labels("y")), normalize=False)
    add("sampled_softmax_loss", weights, ("x", "w", "b"), num_samples=3, seed=3, least=4)
    add("nce_loss", weights, ("x", "w", "b"), num_samples=4, seed=3, least=2)
    add("hierarchical_softmax_loss", lambda rng, n, c: {**weights(rng, n, c),
        "w": rng.choice(COSINES, (c - 1, 3)), "b": rng.choice(LOGITS, c - 1)}, ("x", "w", "b"), least=2)  # fmt: skip
    return found


CASES = [*of_torch(), *of_fluid(), *of_gluon(), *further()]
