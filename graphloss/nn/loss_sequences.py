"""PyTorch's loss classes of sequences."""

from __future__ import annotations

from graphloss.ir.tensor import Tensor
from graphloss.nn import functional
from graphloss.nn.module import Loss

__all__ = ["CTCLoss"]


class CTCLoss(Loss):
    """−ln Σ Π_t p_t of the paths that collapse to the target; see `nn.functional.ctc_loss`.

    Example:
        >>> CTCLoss(blank=2, zero_infinity=True)
        CTCLoss()
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: object, target_lengths: object) -> Tensor:
        return functional.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
