"""Gluon's losses of a difference: squared, absolute, Huber."""

from __future__ import annotations

from graphloss.errors import ArgumentTypeError
from graphloss.gluon.loss.base import Loss
from graphloss.ir.tensor import Tensor
from graphloss.losses import distance

__all__ = ["HuberLoss", "L1Loss", "L2Loss"]


class L2Loss(Loss):
    """½·weight·(pred − label)², the mean over the non-batch axes.

    Args:
        weight: a number; the loss is multiplied by half of it.
        batch_axis: the axis of the samples.

    Call: (pred, label, sample_weight=None); label has as many elements as pred; sample_weight broadcasts to pred.
    Gives (N,).

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call; ArgumentTypeError for a weight that is no number.

    Source:
        mxnet.gluon.loss.L2Loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     pred, label = (gl.dygraph.to_variable(np.array(a)) for a in ([1.0, 1.0], [2.0, 2.0]))
        ...     L2Loss()(pred, label).numpy().tolist()
        [0.5, 0.5]
    """

    def __init__(self, weight: float = 1.0, batch_axis: int = 0, **block: object) -> None:
        super().__init__(weight, batch_axis, **block)
        if self._weight is None:
            raise ArgumentTypeError("L2Loss: weight is halved, so it must be a number", "int or float", "None")

    def forward(self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        x = self._pred(pred)
        return self._per_sample(0.5 * distance.squared_error(x, self._like(x, label)), sample_weight)


class L1Loss(Loss):
    """weight·|pred − label|, the mean over the non-batch axes; arguments as in `L2Loss`.

    Source:
        mxnet.gluon.loss.L1Loss.

    Example:
        >>> L1Loss()
        L1Loss(batch_axis=0, w=None)
    """

    def __init__(self, weight: float | None = None, batch_axis: int = 0, **block: object) -> None:
        super().__init__(weight, batch_axis, **block)

    def forward(self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        x = self._pred(pred)
        return self._per_sample(distance.absolute_error(x, self._like(x, label)), sample_weight)


class HuberLoss(Loss):
    """d²/(2ρ) where |d| ≤ ρ, else |d| − ρ/2 (slope 1 far out), the mean over the non-batch axes; as `L2Loss`.

    Source:
        Huber, Robust estimation of a location parameter, 1964; mxnet.gluon.loss.HuberLoss.

    Example:
        >>> HuberLoss(rho=0.5)
        HuberLoss(batch_axis=0, w=None)
    """

    def __init__(self, rho: float = 1, weight: float | None = None, batch_axis: int = 0, **block: object) -> None:
        super().__init__(weight, batch_axis, **block)
        self._rho = float(rho)

    def forward(self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        x = self._pred(pred)
        return self._per_sample(distance.smooth_l1(x - self._like(x, label), self._rho), sample_weight)
