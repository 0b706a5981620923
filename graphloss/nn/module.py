"""What the loss classes of this dialect have in common: they are called, and they print their settings."""

from __future__ import annotations

from typing import Any

from graphloss.errors import UnsupportedError
from graphloss.ir.tensor import Tensor
from graphloss.nn.arguments import reduction_of

__all__ = ["Module"]


class Module:
    """Something with a `forward` that is called; holds no state but its settings."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """What a call computes; a subclass defines it."""
        raise UnsupportedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.forward(*args, **kwargs)

    def extra_repr(self) -> str:
        """The settings, for `repr`."""
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class Loss(Module):
    """A module with a reduction."""

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean") -> None:
        self.reduction = reduction_of(size_average, reduce, reduction)


class WeightedLoss(Loss):
    """A loss with weights of classes or elements."""

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.weight = weight


class MarginLoss(Loss):
    """A loss with a margin."""

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin
