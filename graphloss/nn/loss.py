"""PyTorch's loss classes: each keeps its settings and calls the function of the same loss."""

from __future__ import annotations

from graphloss.ir.tensor import Tensor
from graphloss.nn import functional
from graphloss.nn.module import Loss, WeightedLoss

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "NLLLoss2d",
    "SmoothL1Loss",
]


class L1Loss(Loss):
    """|x − y|; see `nn.functional.l1_loss`.

    Example:
        >>> L1Loss(reduction="sum").reduction
        'sum'
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.l1_loss(input, target, reduction=self.reduction)


class MSELoss(Loss):
    """(x − y)²; see `nn.functional.mse_loss`.

    Example:
        >>> MSELoss()
        MSELoss()
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """d²/(2β) near 0, |d| − β/2 elsewhere; see `nn.functional.smooth_l1_loss`.

    Example:
        >>> SmoothL1Loss(beta=0.5).beta
        0.5
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Loss):
    """d²/2 near 0, δ(|d| − δ/2) elsewhere; see `nn.functional.huber_loss`.

    Example:
        >>> HuberLoss(delta=2.0)
        HuberLoss(delta=2.0)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def extra_repr(self) -> str:
        return f"delta={self.delta}"

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class NLLLoss(WeightedLoss):
    """−w[y]·x[y] of log-probabilities x; see `nn.functional.nll_loss`.

    Example:
        >>> NLLLoss(ignore_index=0).ignore_index
        0
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        *,
        empty_mean: str = "nan",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.empty_mean = empty_mean

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            empty_mean=self.empty_mean,
        )


NLLLoss2d = NLLLoss


class CrossEntropyLoss(WeightedLoss):
    """−log softmax(x)[y] of logits x; see `nn.functional.cross_entropy`.

    Example:
        >>> CrossEntropyLoss(label_smoothing=0.1).label_smoothing
        0.1
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        *,
        empty_mean: str = "nan",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.empty_mean = empty_mean

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing, empty_mean=self.empty_mean,
        )  # fmt: skip


class BCELoss(WeightedLoss):
    """Binary cross entropy of probabilities; see `nn.functional.binary_cross_entropy`.

    Example:
        >>> BCELoss()
        BCELoss()
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(WeightedLoss):
    """Binary cross entropy of logits; see `nn.functional.binary_cross_entropy_with_logits`.

    Example:
        >>> BCEWithLogitsLoss(reduction="none").reduction
        'none'
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.pos_weight = pos_weight

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )
