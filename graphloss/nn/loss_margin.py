"""PyTorch's loss classes with a margin: each keeps its settings and calls the function of the same loss."""

from __future__ import annotations

from graphloss.ir.tensor import Tensor
from graphloss.nn import functional
from graphloss.nn.module import Loss, MarginLoss, WeightedLoss

__all__ = [
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "SoftMarginLoss",
]


class MarginRankingLoss(MarginLoss):
    """max(0, −y·(x1 − x2) + margin); see `nn.functional.margin_ranking_loss`.

    Example:
        >>> MarginRankingLoss().margin
        0.0
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return functional.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(MarginLoss):
    """x where y = 1, max(0, margin − x) where y = −1; see `nn.functional.hinge_embedding_loss`.

    Example:
        >>> HingeEmbeddingLoss().margin
        1.0
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class SoftMarginLoss(Loss):
    """log(1 + e^(−y·x)), y = ±1; see `nn.functional.soft_margin_loss`.

    Example:
        >>> SoftMarginLoss(reduction="sum").reduction
        'sum'
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.soft_margin_loss(input, target, reduction=self.reduction)


class MultiMarginLoss(MarginLoss):
    """w[y]·(1/C)·Σ_{i≠y} max(0, margin − x[y] + x[i])^p; see `nn.functional.multi_margin_loss`.

    Example:
        >>> MultiMarginLoss(p=2).p
        2
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(margin, size_average, reduce, reduction)
        self.p = p
        self.weight = weight

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MultiLabelMarginLoss(Loss):
    """(1/C)·Σ_{j in list} Σ_{i not in list} max(0, 1 − x[y_j] + x[i]); see `nn.functional.multilabel_margin_loss`.

    Example:
        >>> MultiLabelMarginLoss().reduction
        'mean'
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(WeightedLoss):
    """The mean over classes of the binary cross entropy; see `nn.functional.multilabel_soft_margin_loss`.

    Example:
        >>> MultiLabelSoftMarginLoss().reduction
        'mean'
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)
