"""Every public loss at a size of daily work, with the gradients that are asked of it, as a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import graphloss as gl
from graphloss import dygraph, layers, losses
from graphloss.gluon import loss as gluon
from graphloss.ir.graph import Graph
from graphloss.nn import functional as F
from graphloss.options import CompileOptions
from graphloss.passes.pipelines import optimise
from graphloss.schedule.launches import parts
from graphloss.schedule.nest import Native
from graphloss.schedule.plan import Plan, schedule

Shape: TypeAlias = tuple[int, ...]

INTS = "int64"
# Elements of a batch; rows of scores and one class each; one number per sample; boxes; masks of pixels; embeddings.
ROWS: Shape = (8192, 1000)
VECTOR: Shape = (8192,)
COLUMN: Shape = (65536, 1)
BOXES: Shape = (65536, 4)
PIXELS: Shape = (8, 21, 256, 256)
MASK: Shape = (8, 256, 256)
POINTS: Shape = (512, 128)
FEW: Shape = (1024, 40)


@dataclass(frozen=True)
class Case:
    """`build` of variables of these shapes (or of a shape and dtype); the gradient is by those in `by`."""

    name: str
    build: Callable[..., Any]
    shapes: Mapping[str, Any]
    by: tuple[str, ...]
    label: str = ""

    @property
    def id(self) -> str:
        return f"{self.name} {self.label}".strip()

    def graph(self, *, any_batch: bool = False) -> Graph:
        main = gl.Program()
        with gl.program_guard(main, gl.Program()):
            given = {}
            for name, spec in self.shapes.items():
                shape, dtype = (spec[0], spec[1]) if spec and isinstance(spec[0], tuple) else (spec, "float32")
                sizes = [None, *shape[1:]] if any_batch and shape[0] != 1 else list(shape)
                given[name] = gl.data(name, sizes, dtype)
            loss = self.build(**given)
            grads = [g for g in gl.gradients([loss], [given[n] for n in self.by]) if g is not None]
            assert len(grads) == len(self.by)
        return main.snapshot([v.name for v in dict.fromkeys((loss, *grads))])

    def plan(self, *, any_batch: bool = False) -> Plan:
        return schedule(optimise(self.graph(any_batch=any_batch), CompileOptions()))


def walking(plan: Plan) -> list[Native]:
    """The kernels, without the small steps that begin or finish one."""
    small = parts(plan.steps)
    return [k for k in plan.kernels if k.name not in small]


def nn(name: str, shapes: Mapping[str, Any], by: tuple[str, ...] = ("input",), label: str = "", **options: Any) -> Case:
    function = getattr(F, name)
    return Case(f"nn.functional.{name}", lambda **i: function(**i, **options), shapes, by, label)


def fluid(name: str, shapes: Mapping[str, Any], by: tuple[str, ...], label: str = "", **options: Any) -> Case:
    function = getattr(layers, name)
    return Case(f"layers.{name}", lambda **i: layers.mean(function(**i, **options)), shapes, by, label)


def mx(loss: gluon.Loss, shapes: Mapping[str, Any], by: tuple[str, ...] = ("pred",), label: str = "") -> Case:
    return Case(f"gluon.loss.{type(loss).__name__}", lambda **i: loss(**i), shapes, by, label)


def own(
    name: str, shapes: Mapping[str, Any], by: tuple[str, ...] = ("input",), label: str = "", **options: Any
) -> Case:
    function = getattr(losses, name)
    return Case(f"losses.{name}", lambda **i: function(**i, **options), shapes, by, label)


PAIR = {"input": ROWS, "target": ROWS}
CLASSES = {"input": ROWS, "target": (VECTOR, INTS)}
LOGITS = {"logits": ROWS, "target": (VECTOR, INTS)}
THREE = dict.fromkeys(("anchor", "positive", "negative"), ROWS)
LABELLED = {"pred": ROWS, "label": ROWS}
CASES = [
    *(nn(n, PAIR) for n in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
      "binary_cross_entropy_with_logits", "kl_div", "poisson_nll_loss", "hinge_embedding_loss", "soft_margin_loss",
      "multilabel_soft_margin_loss")),
    *(nn(n, CLASSES) for n in ("nll_loss", "cross_entropy", "multi_margin_loss")),
    nn("cross_entropy", PAIR, label="probabilities"),
    nn("cross_entropy", CLASSES, label="reduction=\"sum\"", reduction="sum"),
    nn("cross_entropy", {"input": PIXELS, "target": (MASK, INTS)}, label="of pixels"),
    nn("kl_div", PAIR, label="log_target", log_target=True),
    nn("poisson_nll_loss", PAIR, ("input", "target"), "full, by both", log_input=False, full=True),
    nn("multi_margin_loss", CLASSES, label="p=2", p=2),
    nn("gaussian_nll_loss", {**PAIR, "var": ROWS}, ("input", "var")),
    nn("margin_ranking_loss", {"input1": ROWS, "input2": ROWS, "target": ROWS}, ("input1", "input2")),
    nn("cosine_embedding_loss", {"input1": ROWS, "input2": ROWS, "target": VECTOR}, ("input1", "input2")),
    *(nn("triplet_margin_loss", THREE, tuple(THREE), f"p={p}{', swap' * s}", p=p, swap=s)
      for p in (1, 2, 3, float("inf")) for s in (False, True)),
    nn("triplet_margin_with_distance_loss", THREE, tuple(THREE)),
    nn("multilabel_margin_loss", {"input": FEW, "target": (FEW, INTS)}),
    Case("nn.functional.cosine_similarity", lambda x1, x2: F.cosine_similarity(x1, x2), {"x1": ROWS, "x2": ROWS},
         ("x1", "x2")),
    Case("nn.functional.pairwise_distance", lambda x1, x2: F.pairwise_distance(x1, x2), {"x1": ROWS, "x2": ROWS},
         ("x1", "x2")),
    Case("nn.functional.normalize", lambda x, w: layers.reduce_sum(w * F.normalize(x)), {"x": ROWS, "w": ROWS}, ("x",)),
    fluid("mse_loss", {"input": ROWS, "label": ROWS}, ("input",)),
    fluid("square_error_cost", {"input": ROWS, "label": ROWS}, ("input",)),
    fluid("huber_loss", {"input": ROWS, "label": ROWS}, ("input",), delta=1.0),
    fluid("smooth_l1", {"x": ROWS, "y": ROWS}, ("x",)),
    fluid("cross_entropy", {"input": ROWS, "label": ((8192, 1), INTS)}, ("input",)),
    fluid("cross_entropy", {"input": ROWS, "label": ROWS}, ("input",), "soft_label", soft_label=True),
    fluid("softmax_with_cross_entropy", {"logits": ROWS, "label": ((8192, 1), INTS)}, ("logits",)),
    fluid("softmax_with_cross_entropy", {"logits": ROWS, "label": ROWS}, ("logits",), "soft_label", soft_label=True),
    fluid("sigmoid_cross_entropy_with_logits", {"x": ROWS, "label": ROWS}, ("x",)),
    fluid("sigmoid_cross_entropy_with_logits", {"x": ROWS, "label": ROWS}, ("x",), "normalize", normalize=True),
    fluid("log_loss", {"input": COLUMN, "label": COLUMN}, ("input",)),
    fluid("rank_loss", {"label": COLUMN, "left": COLUMN, "right": COLUMN}, ("left", "right")),
    fluid("margin_rank_loss", {"label": COLUMN, "left": COLUMN, "right": COLUMN}, ("left", "right")),
    fluid("bpr_loss", {"input": ROWS, "label": ((8192, 1), INTS)}, ("input",)),
    fluid("teacher_student_sigmoid_loss", {"input": COLUMN, "label": COLUMN}, ("input",)),
    fluid("sigmoid_focal_loss", {"x": (65536, 80), "label": (COLUMN, "int32"), "fg_num": ((1,), "int32")}, ("x",)),
    fluid("kldiv_loss", {"x": ROWS, "target": ROWS}, ("x",)),
    fluid("npair_loss", {"anchor": POINTS, "positive": POINTS, "labels": ((512,), INTS)}, ("anchor", "positive")),
    fluid("dice_loss", {"input": (8, 65536, 3), "label": ((8, 65536, 1), INTS)}, ("input",)),
    fluid("dice_loss", {"input": (8, 65536, 1), "label": (8, 65536, 1)}, ("input",), "of one mask"),
    Case("layers.center_loss", lambda input, label: layers.mean(layers.center_loss(input, label, 100, 0.1, None)),
         {"input": (8192, 64), "label": ((8192, 1), INTS)}, ("input",)),
    fluid("cos_sim", {"X": ROWS, "Y": ROWS}, ("X", "Y")),
    Case("layers.l2_normalize", lambda x, w: layers.reduce_sum(w * layers.l2_normalize(x, 1)), {"x": ROWS, "w": ROWS},
         ("x",)),
    *(Case(f"dygraph.{n}", lambda x, y, f=f: f()(x, y), {"x": ROWS, "y": ROWS}, ("x",))
      for n, f in (("BCELoss", dygraph.BCELoss), ("L1Loss", dygraph.L1Loss), ("MSELoss", dygraph.MSELoss))),
    *(Case(f"dygraph.{n}", lambda x, y, f=f: f()(x, y), {"x": ROWS, "y": (VECTOR, INTS)}, ("x",))
      for n, f in (("CrossEntropyLoss", dygraph.CrossEntropyLoss), ("NLLLoss", dygraph.NLLLoss))),
    *(mx(loss, LABELLED) for loss in (gluon.L2Loss(), gluon.L1Loss(), gluon.HuberLoss(), gluon.SigmoidBCELoss(),
      gluon.HingeLoss(), gluon.SquaredHingeLoss(), gluon.LogisticLoss(), gluon.KLDivLoss())),
    mx(gluon.KLDivLoss(from_logits=False), LABELLED, label="from_logits=False"),
    mx(gluon.SoftmaxCELoss(), {"pred": ROWS, "label": VECTOR}),
    mx(gluon.PoissonNLLLoss(), {"pred": ROWS, "target": ROWS}),
    mx(gluon.TripletLoss(), dict.fromkeys(("pred", "positive", "negative"), ROWS), ("pred", "positive", "negative")),
    mx(gluon.CosineEmbeddingLoss(), {"input1": ROWS, "input2": ROWS, "label": VECTOR}, ("input1", "input2")),
    mx(gluon.SDMLLoss(), {"x1": POINTS, "x2": POINTS}, ("x1", "x2")),
    *(own(n, PAIR) for n in ("quantile_loss", "expectile_loss", "log_cosh_loss", "mape_loss", "msle_loss",
      "gamma_deviance_loss", "tweedie_deviance_loss", "sigmoid_focal_loss")),
    *(own(n, LOGITS, ("logits",)) for n in ("softmax_focal_loss", "generalized_cross_entropy", "poly1_cross_entropy",
      "capped_cross_entropy")),
    own("z_loss", {"logits": ROWS}, ("logits",)),
    own("distillation_loss", {"logits": ROWS, "teacher_logits": ROWS}, ("logits",)),
    own("distillation_loss", {"logits": ROWS, "teacher_logits": ROWS, "target": (VECTOR, INTS)}, ("logits",),
        "with labels"),
    own("jensen_shannon_loss", {"logits": ROWS, "other_logits": ROWS}, ("logits", "other_logits")),
    own("dpo_loss", dict.fromkeys(("chosen", "rejected", "reference_chosen", "reference_rejected"), (65536,)),
        ("chosen", "rejected")),
    *(own(n, {"cosine": ROWS, "target": (VECTOR, INTS)}, ("cosine",)) for n in ("arcface_loss", "cosface_loss")),
    *(own(n, {"input": BOXES, "target": BOXES}) for n in ("giou_loss", "diou_loss", "ciou_loss")),
    *(own(n, {"input": PIXELS, "target": PIXELS}) for n in ("tversky_loss", "focal_tversky_loss", "jaccard_loss",
      "generalized_dice_loss")),
    own("dice_cross_entropy_loss", {"logits": PIXELS, "target": (MASK, INTS)}, ("logits",)),
    own("info_nce_loss", {"query": POINTS, "positive": POINTS}, ("query", "positive")),
    own("info_nce_loss", {"query": POINTS, "positive": POINTS}, ("query", "positive"), "symmetric", symmetric=True),
    own("nt_xent_loss", {"input": POINTS, "other": POINTS}, ("input", "other")),
    own("supervised_contrastive_loss", {"features": POINTS, "labels": ((512,), INTS)}, ("features",)),
]  # fmt: skip
