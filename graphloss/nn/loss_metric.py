"""PyTorch's similarities and losses of embeddings as classes: each keeps its settings and calls its function."""

from __future__ import annotations

from collections.abc import Callable

from graphloss.ir.tensor import Tensor
from graphloss.nn import functional
from graphloss.nn.module import Loss, MarginLoss, Module

__all__ = [
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "PairwiseDistance",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class CosineSimilarity(Module):
    """The cosine of the angle along `dim`; see `nn.functional.cosine_similarity`.

    Example:
        >>> CosineSimilarity().dim
        1
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return functional.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """‖x1 − x2 + ε‖_p along the last axis; see `nn.functional.pairwise_distance`.

    Example:
        >>> PairwiseDistance(p=1).norm
        1
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return functional.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineEmbeddingLoss(MarginLoss):
    """1 − cos where y = 1, max(0, cos − margin) where y = −1; see `nn.functional.cosine_embedding_loss`.

    Example:
        >>> CosineEmbeddingLoss(margin=0.5).margin
        0.5
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return functional.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class TripletMarginLoss(Loss):
    """max(0, margin + ‖a − p + ε‖_p − ‖a − n + ε‖_p); see `nn.functional.triplet_margin_loss`.

    Example:
        >>> TripletMarginLoss(swap=True).swap
        True
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return functional.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(Loss):
    """max(0, margin + d(a, p) − d(a, n)) for any d; see `nn.functional.triplet_margin_with_distance_loss`.

    Example:
        >>> TripletMarginWithDistanceLoss(margin=0.5).margin
        0.5
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.distance_function = distance_function
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return functional.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function, margin=self.margin, swap=self.swap,
            reduction=self.reduction,
        )  # fmt: skip
