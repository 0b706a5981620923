"""The worked examples of Fluid's and Gluon's further losses."""

from __future__ import annotations

from typing import Any

from graphloss import layers
from graphloss.gluon import loss as gluon
from tests.losses.golden import Case


def scores() -> list[Case]:
    return [
        Case("log_loss", "out", lambda input, label: layers.log_loss(input, label), {"input": "d sum/dinput"}),
        Case(
            "rank_loss", "out", lambda label, left, right: layers.rank_loss(label, left, right),
            {"left": "d sum/dleft", "right": "d sum/dright"},
        ),
        Case(
            "margin_rank", "fluid margin_rank_loss, margin=0.1",
            lambda y, x1, x2: layers.margin_rank_loss(y, x1, x2),
        ),
        Case("bpr", "out [N,1]", lambda input, label: layers.bpr_loss(input, label), {"input": "d sum/dinput"}),
        Case(
            "teacher_student", "out", lambda input, label: layers.teacher_student_sigmoid_loss(input, label),
            {"input": "d sum/dinput"},
        ),
        Case(
            "focal", "out", lambda x, label, fg_num: layers.sigmoid_focal_loss(x, label, fg_num), {"x": "d sum/dx"},
        ),
    ]  # fmt: skip


def regions() -> list[Case]:
    kl = layers.kldiv_loss
    found = [
        Case("dice_onehot", "out [1]", lambda input, label: layers.dice_loss(input, label), {"input": "d/dinput"}),
        Case(
            "dice_binary", "out (label used as is)", lambda input, label: layers.dice_loss(input, label),
            {"input": "d/dinput"},
        ),
        Case("kl", "batchmean", lambda x, y: kl(x, y, "batchmean"), {"x": "d batchmean/dx"}),
        Case("cosine", "cos", lambda x1, x2, y: layers.cos_sim(x1, x2)),
        Case(
            "npair", "out [1]", lambda anchor, positive, labels: layers.npair_loss(anchor, positive, labels),
            {"anchor": "d/danchor", "positive": "d/dpositive"},
        ),
        Case(
            "npair", "L2 part",
            lambda anchor, positive, labels: layers.npair_loss(anchor, positive, labels)
            - layers.npair_loss(anchor, positive, labels, l2_reg=0.0),
        ),
        Case(
            "frcnn", "mean(softmax_ce) + 2*mean(smooth_l1)",
            lambda cls_logits, cls_label, box, box_t: layers.mean(
                layers.softmax_with_cross_entropy(cls_logits, cls_label)
            ) + 2 * layers.mean(layers.smooth_l1(box, box_t)),
        ),
    ]  # fmt: skip
    return found + [Case("kl", r, lambda x, y, r=r: kl(x, y, r)) for r in ("none", "sum", "mean")]


def gluon_cases() -> list[Case]:
    three = {n: f"d sum/d{n}" for n in ("pred", "positive", "negative")}

    def kl(reduction: str) -> Any:
        loss = gluon.KLDivLoss(from_logits=False, reduction=reduction)
        return lambda output, target_dist: loss(output, target_dist)

    return [
        Case("gluon_hinge", "HingeLoss", gluon.HingeLoss(), {"pred": "d sum/dpred"}),
        Case("gluon_hinge", "SquaredHingeLoss", gluon.SquaredHingeLoss(), {"pred": "d sum/dpred (sq)"}),
        Case("logistic", "gluon LogisticLoss() (signed) per sample", lambda x, y: gluon.LogisticLoss()(x, y)),
        Case("triplet_gluon", "out", gluon.TripletLoss(), three),
        Case("kl_seed", "mean over classes (MXNet<=1.7, 2.0)", kl("mean"), {"output": "d KL_mean/d output"}),
        Case("kl_seed", "with +1e-12, sum (MXNet 1.8/1.9)", kl("sum"), {"output": "d KL_sum/d output"}),
        Case(
            "gluon_poisson", "1.x out (scalar mean of everything)", gluon.PoissonNLLLoss(),
            {"pred": "1.x d out/dpred", "target": "1.x d out/dtarget"},
        ),
        Case(
            "cosine_gluon", "1.x out (N,1)", gluon.CosineEmbeddingLoss(margin=0.2),
            {"input1": "d sum/dinput1 = 3 x the T mean gradient"},
        ),
        Case(
            "cosine_seed", "label=1, y_same", lambda x, y_same, y_other, y: gluon.CosineEmbeddingLoss()(x, y_same, y),
            also={"y": [1.0], "x": [1.0, 0, 1, 0, 1, 0], "y_same": [1.0, 0, 1, 0, 1, 0]},
        ),
        Case("sdml", "1.7-1.9 (row sums)", gluon.SDMLLoss(), {"x1": "d sum(1.9)/dx1", "x2": "d sum(1.9)/dx2"}),
    ]  # fmt: skip


CASES = [*scores(), *regions(), *gluon_cases()]
