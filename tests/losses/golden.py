"""The worked examples: which call of graphloss each printed result belongs to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss import dygraph, layers, ops
from graphloss.gluon import loss as gluon
from graphloss.nn import functional as F
from tests.losses.runners import Build

Array = npt.NDArray[Any]
DATA = json.loads((Path(__file__).parent.parent / "data" / "loss-golden.json").read_text())
EXAMPLES = {entry["key"]: entry for entry in DATA}


@dataclass(frozen=True)
class Case:
    """`build(**inputs)` gives result `value`; the gradient of its sum by an input is the result that `grads` names."""

    key: str
    value: str
    build: Build
    grads: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()  # inputs of the example that the loss does not take
    also: dict[str, Any] = field(default_factory=dict)  # inputs that the example names in its result only

    @property
    def id(self) -> str:
        return f"{self.key}: {self.value}"

    def arrays(self, dtype: str) -> dict[str, Array]:
        given = {**EXAMPLES[self.key]["inputs"], **self.also}
        taken = {n: v for n, v in given.items() if n in self.also or (isinstance(v, list) and n not in self.without)}
        found = {n: np.array(v) for n, v in taken.items()}
        return {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in found.items()}

    def result(self, name: str) -> Array:
        return np.array(EXAMPLES[self.key]["results"][name], dtype=np.float64)


def reductions(key: str, loss: Build, grads: dict[str, str], mean: str = "mean") -> list[Case]:
    """The three reductions of a PyTorch loss, with gradients of the mean."""
    return [
        Case(key, "none", lambda **i: loss(**i, reduction="none")),
        Case(key, "sum", lambda **i: loss(**i, reduction="sum")),
        Case(key, mean, lambda **i: loss(**i, reduction="mean"), grads),
    ]


XY = {"x": "d mean/dx", "y": "d mean/dy"}
X = {"x": "d mean/dx"}


def torch_cases() -> list[Case]:
    found: list[Case] = []
    found += reductions("mse", lambda x, y, reduction: F.mse_loss(x, y, reduction=reduction), XY)
    found += reductions("l1", lambda x, y, reduction: F.l1_loss(x, y, reduction=reduction), XY)
    found += reductions("smoothl1_seed", lambda x, y, reduction: F.smooth_l1_loss(x, y, reduction=reduction), XY)
    found += reductions("smoothl1_b", lambda x, y, reduction: F.smooth_l1_loss(x, y, reduction=reduction, beta=0.5), XY)
    found += reductions("huber", lambda x, y, reduction: F.huber_loss(x, y, reduction=reduction, delta=0.5), XY)
    nll = F.nll_loss
    found += reductions("nll", lambda x, y, reduction: nll(x, y, reduction=reduction), X)
    found += reductions("nll_w", lambda x, y, weight, reduction: nll(x, y, weight, reduction=reduction), X)
    found += reductions(
        "nll_w_ign", lambda x, y, weight, reduction: nll(x, y, weight, ignore_index=1, reduction=reduction), X
    )
    found += reductions("nll_2d", lambda x, y, reduction: nll(x, y, reduction=reduction), X)
    ce = F.cross_entropy
    found += reductions("ce_seed", lambda x, y, reduction: ce(x, y, reduction=reduction), X)
    found += reductions("ce_ls", lambda x, y, reduction: ce(x, y, reduction=reduction, label_smoothing=0.1), X)
    found += reductions(
        "ce_w_ign_ls", lambda x, y, weight, reduction: ce(x, y, weight, reduction=reduction, label_smoothing=0.1), X
    )
    found += reductions("ce_prob", lambda x, y, reduction: ce(x, y, reduction=reduction), XY)
    found += reductions(
        "ce_prob_w_ls", lambda x, y, weight, reduction: ce(x, y, weight, reduction=reduction, label_smoothing=0.1), XY
    )
    bce = F.binary_cross_entropy
    found += [
        Case("bce_seed", "sigmoid", lambda raw_output, y: ops.sigmoid(raw_output)),
        Case("bce_seed", "none", lambda raw_output, y: bce(ops.sigmoid(raw_output), y, reduction="none")),
        Case("bce_seed", "sum", lambda raw_output, y: bce(ops.sigmoid(raw_output), y, reduction="sum")),
        Case(
            "bce_seed", "mean", lambda raw_output, y: bce(ops.sigmoid(raw_output), y),
            {"raw_output": "d mean/d raw_output"},
        ),
        Case(
            "bce_seed", "mean", lambda raw_output, y: F.binary_cross_entropy_with_logits(raw_output, y),
            {"raw_output": "d mean/d raw_output"},
        ),
        Case(
            "bce_seed", "mean", lambda p, y: bce(p, y), {"p": "d mean/dp"}, without=("raw_output",),
            also={"p": EXAMPLES["bce_seed"]["results"]["sigmoid"]},
        ),
        Case("bce_w", "mean without weight", lambda p, y: bce(p, y), without=("weight",)),
        Case("bce_edge", "none", lambda p, y: bce(p, y, reduction="none"), {"p": "d sum/dp"}),
    ]  # fmt: skip
    found += reductions(
        "bce_w", lambda p, y, weight, reduction: bce(p, y, weight, reduction=reduction),
        {"p": "d mean/dp"}, "mean (divides by 3)",
    )  # fmt: skip
    logits = F.binary_cross_entropy_with_logits
    for key in ("bcel_pw10", "bcel_pw3"):
        found += reductions(
            key, lambda z, y, pos_weight, reduction: logits(z, y, pos_weight=pos_weight, reduction=reduction),
            {"z": "d mean/dz"},
        )  # fmt: skip
    found += reductions(
        "bcel_full",
        lambda z, y, weight, pos_weight, reduction: logits(z, y, weight, None, None, reduction, pos_weight),
        {"z": "d mean/dz", "y": "d mean/dy"}, "mean (divides by 4)",
    )  # fmt: skip
    found.append(Case("bcel_extreme", "none", lambda z, y: logits(z, y, reduction="none"), {"z": "d sum/dz"}))
    return found


def fluid_cases() -> list[Case]:
    ce, swce = layers.cross_entropy, layers.softmax_with_cross_entropy
    sce = layers.sigmoid_cross_entropy_with_logits

    def mean_of(loss: Build) -> Build:
        return lambda **inputs: layers.mean(loss(**inputs))

    def smooth(x: Any, y: Any, inside_weight: Any = None, outside_weight: Any = None) -> Any:
        return layers.smooth_l1(x, y, inside_weight, outside_weight, sigma=2.0)

    return [
        Case("mse", "none", lambda x, y: layers.square_error_cost(x, y)),
        Case("mse", "mean", lambda x, y: layers.mse_loss(x, y), XY),
        Case("mse", "mean", lambda x, y: dygraph.MSELoss()(x, y), XY),
        Case("l1", "sum", lambda x, y: dygraph.L1Loss("sum")(x, y)),
        Case("l1", "mean", lambda x, y: dygraph.L1Loss()(x, y), XY),
        Case(
            "huber_fluid_doc", "out", lambda input, label: layers.huber_loss(input, label, 1.0),
            {"input": "d sum/d input"},
        ),
        Case("smooth_l1_fluid", "out", smooth, {"x": "d sum/dx"}),
        Case("smooth_l1_fluid_w", "out", smooth, {"x": "d sum/dx"}),
        Case("nll", "mean", lambda x, y: dygraph.NLLLoss()(x, y), X),
        Case("nll_w", "mean", lambda x, y, weight: dygraph.NLLLoss(weight)(x, y), X),
        Case("nll_w_ign", "mean", lambda x, y, weight: dygraph.NLLLoss(weight, ignore_index=1)(x, y), X),
        Case("nll_w_ign", "none", lambda x, y, weight: dygraph.NLLLoss(weight, "none", 1)(x, y)),
        Case("nll_2d", "mean", lambda x, y: dygraph.NLLLoss()(x, y), X),
        Case("ce_seed", "mean", lambda x, y: dygraph.CrossEntropyLoss()(x, y), X),
        Case("fluid_ce_hard", "out [N,1]", lambda input, label: ce(input, label)),
        Case("fluid_ce_hard", "mean(out)", mean_of(ce), {"input": "d mean/dinput"}),
        Case("fluid_ce_ign", "out", lambda input, label: ce(input, label)),
        Case(
            "fluid_ce_ign", "mean(out) (divides by N, not by the kept count)", mean_of(ce), {"input": "d mean/dinput"}
        ),
        Case("fluid_ce_soft", "out", lambda input, label: ce(input, label, soft_label=True)),
        Case(
            "fluid_ce_soft", "mean(out)", mean_of(lambda input, label: ce(input, label, soft_label=True)),
            {"input": "d mean/dinput"},
        ),
        Case("fluid_ce_zero", "out", lambda input, label: ce(input, label), {"input": "d/dinput"}),
        Case("fluid_swce", "loss [N,1]", lambda logits, label: swce(logits, label)),
        Case("fluid_swce", "softmax", lambda logits, label: swce(logits, label, return_softmax=True)[1]),
        Case("fluid_swce", "mean(loss)", mean_of(swce), {"logits": "d mean/dlogits"}),
        Case(
            "fluid_swce_soft", "loss", lambda logits, label: swce(logits, label, soft_label=True),
            {"logits": "d sum/dlogits"},
        ),
        Case(
            "fluid_swce_axis", "loss [2,1,2]", lambda logits, label: swce(logits, label, axis=1),
            {"logits": "d sum/dlogits"},
        ),
        Case("label_smooth", "out", lambda label: layers.label_smooth(label)),
        Case(
            "label_smooth", "with prior_dist=[[0.5,0.3,0.2]]", lambda label, prior: layers.label_smooth(label, prior),
            also={"prior": [[0.5, 0.3, 0.2]]},
        ),
        Case("bce_w", "mean (divides by 3)", lambda p, y, weight: dygraph.BCELoss(weight)(p, y), {"p": "d mean/dp"}),
        Case(
            "fluid_sce", "out, normalize=False", lambda x, label: sce(x, label, ignore_index=-1),
            {"x": "d sum/dx, normalize=False"},
        ),
        Case(
            "fluid_sce", "out, normalize=True (/3)", lambda x, label: sce(x, label, ignore_index=-1, normalize=True),
            {"x": "d sum/dx, normalize=True"},
        ),
    ]  # fmt: skip


def gluon_cases() -> list[Case]:
    l2, bce, smce = gluon.L2Loss(), gluon.SigmoidBCELoss(), gluon.SoftmaxCELoss()
    return [
        Case("gluon_l2", "L2Loss()", l2, {"pred": "d sum(L2)/dpred"}),
        Case("gluon_l2", "L2Loss(weight=0.25)", gluon.L2Loss(weight=0.25)),
        Case(
            "gluon_l2", "L2Loss()(.., sample_weight=[[1],[2]])", l2, also={"sample_weight": [[1.0], [2.0]]},
        ),
        Case("gluon_l2", "L1Loss()", gluon.L1Loss()),
        Case("gluon_l2", "L2Loss(batch_axis=1)", gluon.L2Loss(batch_axis=1)),
        Case("gluon_l2_seed", "L2Loss()", l2, {"pred": "d sum/dpred (no weight)"}),
        Case("gluon_l2_seed", "with sample_weight=[1,2]", l2, also={"sample_weight": [1.0, 2.0]}),
        Case("gluon_huber", "out", gluon.HuberLoss(rho=0.5), {"pred": "d sum/dpred"}),
        Case("gluon_smce_seed", "out", smce, {"pred": "d sum/dpred"}),
        Case(
            "gluon_smce_axis", "out (mean over the 2 positions)", gluon.SoftmaxCELoss(axis=1), {"pred": "d sum/dpred"}
        ),
        Case(
            "gluon_smce_axis", "with sample_weight=[[[1]],[[2]]]", gluon.SoftmaxCELoss(axis=1),
            also={"sample_weight": [[[1.0]], [[2.0]]]},
        ),
        Case("gluon_bce", "SigmoidBCELoss()", bce, {"pred": "d sum/dpred (logits form)"}),
        Case(
            "gluon_bce", "pos_weight=[[2,0.5]]", bce, {"pred": "d sum/dpred with pos_weight"},
            also={"pos_weight": [[2.0, 0.5]]},
        ),
        Case(
            "gluon_bce", "from_sigmoid=True on p=[[0.5744, 0.2315], [0.8808, 0.5]]",
            gluon.SigmoidBCELoss(from_sigmoid=True), {"pred": "d sum/dpred (from_sigmoid, at p)"},
            also={"pred": [[0.5744, 0.2315], [0.8808, 0.5]]},
        ),
        Case("reduce", "mean(x) [1]", lambda x: layers.mean(x), X),
        Case("reduce", "reduce_sum(x, dim=1)", lambda x: layers.reduce_sum(x, dim=1)),
        Case("reduce", "reduce_mean(x, dim=0, keep_dim=True)", lambda x: layers.reduce_mean(x, dim=0, keep_dim=True)),
        Case("reduce", "reduce_prod(x) [1]", lambda x: layers.reduce_prod(x), {"x": "d reduce_prod/dx"}),
    ]  # fmt: skip


CASES = [*torch_cases(), *fluid_cases(), *gluon_cases()]
