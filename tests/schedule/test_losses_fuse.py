"""Value and gradient of each elementwise or row-wise loss are one kernel that walks over the tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

import graphloss as gl
from graphloss import dygraph, layers
from graphloss.gluon import loss as gluon
from graphloss.inspect.explain import Explanation
from graphloss.nn import functional as F
from graphloss.schedule.kernel import Buffer, Kernel

Shape = tuple[int | None, ...]
ROWS: Shape = (None, 40)
COLUMN: Shape = (None, 1)
VECTOR: Shape = (None,)
INTS = "int64"


@dataclass(frozen=True)
class Case:
    """`build` of variables of these shapes (or of a shape and dtype); the gradient is by those in `by`."""

    name: str
    build: Callable[..., Any]
    shapes: Mapping[str, Any]
    by: tuple[str, ...]


def explained(case: Case) -> Explanation:
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        given = {}
        for name, spec in case.shapes.items():
            shape, dtype = (spec[0], spec[1]) if spec and isinstance(spec[0], tuple) else (spec, "float32")
            given[name] = gl.data(name, list(shape), dtype)
        loss = case.build(**given)
        grads = [g for g in gl.gradients([loss], [given[n] for n in case.by]) if g is not None]
        assert len(grads) == len(case.by)
    return gl.explain(main, [loss, *grads])


def walking(found: Explanation) -> list[Kernel]:
    """The kernels that read or write a tensor; what combines partial results and finishes scalars is left out."""

    def tensor(b: Buffer) -> bool:
        return b.role == "input" or (len(b.shape) > 1 and b.role != "partial")

    return [k for k in found.kernels if any(map(tensor, k.buffers))]


def nn(name: str, shapes: Mapping[str, Any], by: tuple[str, ...] = ("input",), label: str = "", **options: Any) -> Case:
    function = getattr(F, name)
    return Case(f"nn {name}{label}", lambda **i: function(**i, **options), shapes, by)


def fluid(name: str, shapes: Mapping[str, Any], by: tuple[str, ...], **options: Any) -> Case:
    function = getattr(layers, name)
    return Case(f"layers {name}", lambda **i: layers.mean(function(**i, **options)), shapes, by)


def mx(loss: gluon.Loss, shapes: Mapping[str, Any], by: tuple[str, ...]) -> Case:
    return Case(f"gluon {type(loss).__name__}", lambda **i: loss(**i), shapes, by)


PAIR = {"input": ROWS, "target": ROWS}
CLASSES = {"input": ROWS, "target": (VECTOR, INTS)}
THREE = dict.fromkeys(("anchor", "positive", "negative"), ROWS)
LABELLED = {"pred": ROWS, "label": ROWS}
CASES = [
    *(nn(n, PAIR) for n in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
      "binary_cross_entropy_with_logits", "kl_div", "poisson_nll_loss", "hinge_embedding_loss", "soft_margin_loss",
      "multilabel_soft_margin_loss")),
    *(nn(n, CLASSES) for n in ("nll_loss", "cross_entropy", "multi_margin_loss")),
    nn("cross_entropy", PAIR, label=" of probabilities"),
    nn("kl_div", PAIR, label=" of logarithms", log_target=True),
    nn("poisson_nll_loss", PAIR, ("input", "target"), " full", log_input=False, full=True),
    nn("multi_margin_loss", CLASSES, label=" squared", p=2),
    nn("gaussian_nll_loss", {**PAIR, "var": ROWS}, ("input", "var")),
    nn("margin_ranking_loss", {"input1": ROWS, "input2": ROWS, "target": ROWS}, ("input1", "input2")),
    nn("cosine_embedding_loss", {"input1": ROWS, "input2": ROWS, "target": VECTOR}, ("input1", "input2")),
    *(nn("triplet_margin_loss", THREE, tuple(THREE), f" p={p} swap={s}", p=p, swap=s) for p in (1, 2, 3, float("inf"))
      for s in (False, True)),
    nn("triplet_margin_with_distance_loss", THREE, tuple(THREE)),
    Case("nn cosine_similarity", lambda x1, x2: F.cosine_similarity(x1, x2), {"x1": ROWS, "x2": ROWS}, ("x1", "x2")),
    Case("nn pairwise_distance", lambda x1, x2: F.pairwise_distance(x1, x2), {"x1": ROWS, "x2": ROWS}, ("x1", "x2")),
    Case("nn normalize", lambda x, w: layers.reduce_sum(w * F.normalize(x)),
         {"x": ROWS, "w": ROWS}, ("x",)),
    fluid("square_error_cost", {"input": ROWS, "label": ROWS}, ("input",)),
    fluid("huber_loss", {"input": ROWS, "label": ROWS}, ("input",), delta=1.0),
    fluid("smooth_l1", {"x": ROWS, "y": ROWS}, ("x",)),
    fluid("cross_entropy", {"input": ROWS, "label": (COLUMN, INTS)}, ("input",)),
    fluid("softmax_with_cross_entropy", {"logits": ROWS, "label": (COLUMN, INTS)}, ("logits",)),
    fluid("sigmoid_cross_entropy_with_logits", {"x": ROWS, "label": ROWS}, ("x",)),
    fluid("log_loss", {"input": COLUMN, "label": COLUMN}, ("input",)),
    fluid("rank_loss", {"label": COLUMN, "left": COLUMN, "right": COLUMN}, ("left", "right")),
    fluid("margin_rank_loss", {"label": COLUMN, "left": COLUMN, "right": COLUMN}, ("left", "right")),
    fluid("bpr_loss", {"input": ROWS, "label": (COLUMN, INTS)}, ("input",)),
    fluid("teacher_student_sigmoid_loss", {"input": COLUMN, "label": COLUMN}, ("input",)),
    fluid("sigmoid_focal_loss", {"x": ROWS, "label": (COLUMN, "int32"), "fg_num": ((1,), "int32")}, ("x",)),
    fluid("kldiv_loss", {"x": ROWS, "target": ROWS}, ("x",)),
    fluid("dice_loss", {"input": (None, None, 3), "label": ((None, None, 1), INTS)}, ("input",)),
    fluid("cos_sim", {"X": ROWS, "Y": ROWS}, ("X", "Y")),
    Case("dygraph NLLLoss", lambda x, y: dygraph.NLLLoss()(x, y), {"x": ROWS, "y": (VECTOR, INTS)}, ("x",)),
    *(mx(loss, LABELLED, ("pred",)) for loss in (gluon.L2Loss(), gluon.L1Loss(), gluon.HuberLoss(),
      gluon.SigmoidBCELoss(), gluon.HingeLoss(), gluon.SquaredHingeLoss(), gluon.LogisticLoss(), gluon.KLDivLoss(),
      gluon.KLDivLoss(from_logits=False))),
    mx(gluon.SoftmaxCELoss(), {"pred": ROWS, "label": VECTOR}, ("pred",)),
    mx(gluon.PoissonNLLLoss(), {"pred": ROWS, "target": ROWS}, ("pred",)),
    mx(gluon.TripletLoss(), dict.fromkeys(("pred", "positive", "negative"), ROWS), ("pred", "positive", "negative")),
    nn("multilabel_margin_loss", {"input": ROWS, "target": (ROWS, INTS)}),
    fluid("npair_loss", {"anchor": ROWS, "positive": ROWS, "labels": (VECTOR, INTS)}, ("anchor", "positive")),
    mx(gluon.SDMLLoss(), {"x1": ROWS, "x2": ROWS}, ("x1", "x2")),
    mx(gluon.CosineEmbeddingLoss(), {"input1": ROWS, "input2": ROWS, "label": VECTOR}, ("input1", "input2")),
]  # fmt: skip


# losses that take more: how many kernels, how many calls of NumPy (matrix products, scatters), and why
SEVERAL: dict[str, tuple[int, int, str]] = {
    "nn cross_entropy": (2, 0, "the divisor, a sum over the labels alone, comes before the gradient"),
    "nn nll_loss": (3, 0, "the divisor as of cross_entropy, then as of layers cross_entropy"),
    "dygraph NLLLoss": (3, 0, "as nll_loss"),
    "layers cross_entropy": (2, 0, "the value picks one element per row, the gradient writes all"),
    "layers dice_loss": (3, 0, "sums over the classes, then over the positions; the gradient reads the labels only"),
    "nn multilabel_margin_loss": (5, 0, "pairs of classes: sums over the one, over the other and over the list"),
    "layers npair_loss": (5, 3, "matrix products: the sizes of both, the rows, the sums of two gradients each"),
    "gluon SDMLLoss": (4, 0, "pairs of rows: their distances, their softmax, and a sum over each side"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_one_kernel_walks_over_the_tensors(case: Case) -> None:
    found = explained(case)
    kernels, calls, why = SEVERAL.get(case.name, (1, 0, ""))
    assert len(walking(found)) == kernels, why + found.loops()
    assert len(found.code.plan.steps) - len(found.kernels) == calls, "calls of NumPy between kernels"
