"""Weight decay: what an optimiser adds to a gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod

from graphloss import ops
from graphloss.ir.tensor import Tensor


class Regularizer(ABC):
    """Base: `__call__` gives the regularised gradient of a parameter."""

    def __init__(self, regularization_coeff: float = 0.0) -> None:
        self.coefficient = float(regularization_coeff)

    @abstractmethod
    def __call__(self, parameter: Tensor, grad: Tensor) -> Tensor:
        """The gradient with that of the penalty."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.coefficient})"


class L2Decay(Regularizer):
    """g + c·w.

    Example:
        >>> L2Decay(1e-4)
        L2Decay(0.0001)
    """

    def __call__(self, parameter: Tensor, grad: Tensor) -> Tensor:
        return grad + self.coefficient * parameter


class L1Decay(Regularizer):
    """g + c·sign(w)."""

    def __call__(self, parameter: Tensor, grad: Tensor) -> Tensor:
        return grad + self.coefficient * ops.sign(parameter)


L2DecayRegularizer = L2Decay
L1DecayRegularizer = L1Decay
