"""The worked examples of PyTorch's losses of distributions, margins and embeddings."""

from __future__ import annotations

from typing import Any

from graphloss import ops
from graphloss.nn import functional as F
from tests.losses.golden import Case, reductions


def distributions() -> list[Case]:
    kl, poisson, gaussian = F.kl_div, F.poisson_nll_loss, F.gaussian_nll_loss

    def of_logits(reduction: str) -> Any:
        return lambda output, target_dist: kl(F.log_softmax(output, 1), target_dist, reduction=reduction)

    found = [
        Case("kl_seed", "softmax(output)", lambda output, target_dist: F.softmax(output, 1)),
        Case("kl_seed", "elementwise", of_logits("none")),
        Case("kl_seed", "sum over classes (true KL)", of_logits("sum"), {"output": "d KL_sum/d output"}),
        Case("kl_seed", "mean over classes (MXNet<=1.7, 2.0)", of_logits("mean"), {"output": "d KL_mean/d output"}),
        Case("kl", "batchmean", lambda x, y: kl(x, y, reduction="batchmean"), {"x": "d batchmean/dx"}),
        Case(
            "kl_logt", "batchmean", lambda x, y: kl(x, y, reduction="batchmean", log_target=True),
            {"x": "d batchmean/dx", "y": "d batchmean/dy"},
        ),
    ]  # fmt: skip
    found += [Case("kl", r, lambda x, y, r=r: kl(x, y, reduction=r)) for r in ("none", "sum", "mean")]
    found += [
        Case("kl_logt", r, lambda x, y, r=r: kl(x, y, reduction=r, log_target=True)) for r in ("none", "mean")
    ]
    both = {"input": "d mean/dinput", "target": "d mean/dtarget"}
    found += reductions("poisson_log", lambda input, target, reduction: poisson(input, target, reduction=reduction),
                        both)  # fmt: skip
    found += reductions(
        "poisson_nolog", lambda input, target, reduction: poisson(input, target, False, reduction=reduction), both
    )
    found += reductions(
        "poisson_full", lambda input, target, reduction: poisson(input, target, full=True, reduction=reduction),
        {"input": "d mean/dinput", "target": "d mean/dtarget (y=1 uses the constant branch)"},
    )  # fmt: skip
    found.append(
        Case(
            "poisson_full", "stirling term",
            lambda input, target: poisson(input, target, full=True, reduction="none")
            - poisson(input, target, reduction="none"),
        )
    )  # fmt: skip
    found += reductions(
        "gaussian", lambda input, target, var, reduction: gaussian(input, target, var, reduction=reduction),
        {**both, "var": "d mean/dvar"},
    )  # fmt: skip
    found.append(Case("gaussian", "mean, full=True", lambda input, target, var: gaussian(input, target, var, True)))
    return found


def margins() -> list[Case]:
    found = [
        Case("mlsm", "mean with weight=[1,2,0.5]", lambda x, y, w: F.multilabel_soft_margin_loss(x, y, w),
             also={"w": [1.0, 2.0, 0.5]}),
        Case("logistic", "torch SoftMarginLoss none", lambda x, y: F.soft_margin_loss(x, y, reduction="none")),
        Case("logistic", "sum", lambda x, y: F.soft_margin_loss(x, y, reduction="sum")),
        Case("logistic", "mean", lambda x, y: F.soft_margin_loss(x, y), {"x": "d mean/dx"}),
    ]  # fmt: skip
    by = {"x": "d mean/dx"}
    found += reductions("mlsm", lambda x, y, reduction: F.multilabel_soft_margin_loss(x, y, reduction=reduction), by)
    found += [
        Case(
            "margin_rank", label, lambda y, x1, x2, r=r: F.margin_ranking_loss(x1, x2, y, 0.5, reduction=r),
            {"x1": "d mean/dx1", "x2": "d mean/dx2"} if r == "mean" else {},
        )
        for label, r in (("torch margin=0.5: none", "none"), ("sum", "sum"), ("mean", "mean"))
    ]  # fmt: skip
    found += reductions("hinge_emb", lambda x, y, reduction: F.hinge_embedding_loss(x, y, reduction=reduction), by)
    found += reductions("multi_margin_p1", lambda x, y, reduction: F.multi_margin_loss(x, y, reduction=reduction), by)
    found += reductions(
        "multi_margin_p2_w",
        lambda x, y, weight, reduction: F.multi_margin_loss(x, y, 2, 1.0, weight, reduction=reduction), by,
    )  # fmt: skip
    found += reductions(
        "multilabel_margin", lambda x, y, reduction: F.multilabel_margin_loss(x, y, reduction=reduction), by
    )
    return found


def embeddings() -> list[Case]:
    found = [
        Case("cosine", "cos", lambda x1, x2, y: F.cosine_similarity(x1, x2)),
        Case("cosine_seed", "label=1, y_same", lambda x, y_same, y_other, y: F.cosine_embedding_loss(x, y_same, y),
             also={"y": 1.0, "x": [1.0, 0, 1, 0, 1, 0], "y_same": [1.0, 0, 1, 0, 1, 0]}),
        Case("cosine_seed", "label=-1, y_other (cos=0)",
             lambda x, y_same, y_other, y: F.cosine_embedding_loss(x, y_other, y),
             also={"y": -1.0, "x": [1.0, 0, 1, 0, 1, 0], "y_other": [0.0, 1, 0, 1, 0, 1]}),
    ]  # fmt: skip
    found += reductions(
        "cosine", lambda x1, x2, y, reduction: F.cosine_embedding_loss(x1, x2, y, 0.2, reduction=reduction),
        {"x1": "d mean/dx1", "x2": "d mean/dx2"},
    )  # fmt: skip
    three = {n: f"d mean/d{n}" for n in ("anchor", "positive", "negative")}
    for key, options in (
        ("triplet_p2", {}), ("triplet_p1", {"margin": 2.0, "p": 1}), ("triplet_swap", {"swap": True}),
        ("triplet_p1", {"margin": 2.0, "p": 1.0000000001}), ("triplet_p2", {"p": 2.0000000001}),
    ):  # fmt: skip
        found += reductions(
            key,
            lambda anchor, positive, negative, reduction, options=options: F.triplet_margin_loss(
                anchor, positive, negative, **options, reduction=reduction
            ),
            three,
        )

    def by_cosine(anchor: Any, positive: Any, negative: Any, reduction: str) -> Any:
        return F.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=lambda u, v: 1 - F.cosine_similarity(u, v), margin=0.5,
            reduction=reduction,
        )  # fmt: skip

    def by_root(anchor: Any, positive: Any, negative: Any, reduction: str) -> Any:
        return F.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=lambda u, v: ops.sqrt(ops.reduce_sum((u - v + 1e-6) ** 2, 1)),
            margin=1.0, reduction=reduction,
        )  # fmt: skip

    found += [c for c in reductions("triplet_dist", by_cosine, three) if c.value != "sum"]
    found += reductions("triplet_p2", by_root, three)
    return found


def layers() -> list[Case]:
    return [
        Case(
            "linear_ce", "mean", lambda x, y, linear_weight: F.linear_cross_entropy(x, linear_weight, y),
            {"x": "d mean/dx", "linear_weight": "d mean/dW"},
        )
    ]  # fmt: skip


CASES = [*distributions(), *margins(), *embeddings(), *layers()]
