"""PyTorch's loss classes of distributions: each keeps its settings and calls the function of the same loss."""

from __future__ import annotations

from graphloss.ir.tensor import Tensor
from graphloss.nn import functional
from graphloss.nn.module import Loss

__all__ = ["GaussianNLLLoss", "KLDivLoss", "PoissonNLLLoss"]


class KLDivLoss(Loss):
    """y·(log y − x) of log-probabilities x; see `nn.functional.kl_div`.

    Example:
        >>> KLDivLoss(reduction="batchmean", log_target=True).log_target
        True
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return functional.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(Loss):
    """e^x − y·x of log-rates x; see `nn.functional.poisson_nll_loss`.

    Example:
        >>> PoissonNLLLoss(log_input=False).eps
        1e-08
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return functional.poisson_nll_loss(
            log_input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(Loss):
    """½(log v + (x − y)²/v), v = max(var, ε); see `nn.functional.gaussian_nll_loss`.

    Example:
        >>> GaussianNLLLoss(full=True).eps
        1e-06
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return functional.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)
