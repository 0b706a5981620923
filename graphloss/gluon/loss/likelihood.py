"""Gluon's losses of distributions: Kullback-Leibler, Poisson."""

from __future__ import annotations

from graphloss import ops
from graphloss.gluon.loss.base import Loss
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks, divergence, likelihood
from graphloss.losses.reduction import check_reduction

__all__ = ["KLDivLoss", "PoissonNLLLoss"]


class KLDivLoss(Loss):
    """label·(log(label + 1e-12) − log p), the mean over the non-batch axes; 0 where label = 0 meets log p = −∞.

    The mean over the classes is not the divergence of two distributions, their sum is: reduction="sum" (MXNet's own
    releases have changed between the two).

    Args:
        from_logits: pred is log p already; else log p = log_softmax(pred) along `axis`.
        axis: the class axis, used without from_logits only.
        weight, batch_axis: as in `L2Loss`.
        reduction: "mean" or "sum", over the non-batch axes.

    Call: (pred, label, sample_weight=None); label has as many elements as pred. Gives (N,).

    Raises:
        AttrError: another reduction. ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        mxnet.gluon.loss.KLDivLoss, with the mean of 1.7 and 2.0, or the sum of 1.8.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.log(np.array([[0.2, 0.5, 0.2, 0.1]])))
        ...     t = gl.dygraph.to_variable(np.array([[0.3, 0.4, 0.1, 0.2]]))
        ...     [KLDivLoss(from_logits=False, reduction=r)(x, t).numpy().round(7).tolist() for r in ("mean", "sum")]
        [[0.0254242], [0.1016968]]
    """

    def __init__(
        self,
        from_logits: bool = True,
        axis: int = -1,
        weight: float | None = None,
        batch_axis: int = 0,
        *,
        reduction: str = "mean",
        **block: object,
    ) -> None:
        super().__init__(weight, batch_axis, **block)
        self._from_logits = from_logits
        self._axis = axis
        self._reduction = check_reduction(reduction, ("mean", "sum"))

    def forward(self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        x = self._pred(pred)
        y = self._like(x, label)
        if not self._from_logits:
            x = ops.log_softmax(x, checks.axis_in_range(self._axis, x.type.rank, type(self).__name__))
        loss = divergence.kl_div_shifted(x, y, 1e-12)
        if self._reduction == "mean":
            return self._per_sample(loss, sample_weight)
        axes = self._other_axes(x.type.rank)
        weighted = self._weighted(loss, sample_weight)
        return ops.reduce_sum(weighted, axes) if axes else weighted


class PoissonNLLLoss(Loss):
    """e^x − y·x of log-rates x, without from_logits x − y·log(x + ε): one number, the mean over all elements.

    Args:
        from_logits: pred is the logarithm of the rate.
        compute_full: add Stirling's y·log y − y + ½·log(2πy) where y > 1.
        weight, batch_axis: as in `L2Loss`; the mean includes the batch axis.

    Call: (pred, target, sample_weight=None, epsilon=1e-08); target has as many elements as pred. Gives a 0-d value.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        mxnet.gluon.loss.PoissonNLLLoss of MXNet 1.x.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.0], [1.0]], [[0.0], [3.0]]))
        ...     round(float(PoissonNLLLoss()(x, y).numpy()), 7)
        0.3591409
    """

    def __init__(
        self,
        weight: float | None = None,
        from_logits: bool = True,
        batch_axis: int = 0,
        compute_full: bool = False,
        **block: object,
    ) -> None:
        super().__init__(weight, batch_axis, **block)
        self._from_logits = from_logits
        self._compute_full = compute_full

    def forward(
        self, pred: Tensor, target: Tensor, sample_weight: Tensor | None = None, epsilon: float = 1e-8
    ) -> Tensor:
        x = self._pred(pred)
        y = self._like(x, target, "target")
        loss = likelihood.poisson_nll(x, y, self._from_logits, float(epsilon), self._compute_full)
        return ops.reduce_mean(self._weighted(loss, sample_weight))
