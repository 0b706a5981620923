"""Gluon's losses with a margin, and the logistic loss."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import AttrError
from graphloss.gluon.loss.base import Loss
from graphloss.ir.tensor import Tensor
from graphloss.losses import embedding, hinge

__all__ = ["HingeLoss", "LogisticLoss", "SquaredHingeLoss", "TripletLoss"]


class HingeLoss(Loss):
    """max(0, margin − pred·label), label = ±1, the mean over the non-batch axes; gradient 0 where the slack is 0.

    Args:
        margin: see above.
        weight, batch_axis: as in `L2Loss`.

    Call: (pred, label, sample_weight=None), as in `L2Loss`. Gives (N,).

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        mxnet.gluon.loss.HingeLoss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.5], [-1.0]], [[1.0], [1.0]]))
        ...     HingeLoss()(x, y).numpy().tolist()
        [0.5, 2.0]
    """

    def __init__(self, margin: float = 1, weight: float | None = None, batch_axis: int = 0, **block: object) -> None:
        super().__init__(weight, batch_axis, **block)
        self._margin = float(margin)

    def forward(self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return self._per_sample(self._slack(pred, label), sample_weight)

    def _slack(self, pred: Tensor, label: Tensor) -> Tensor:
        x = self._pred(pred)
        return hinge.hinge(x, self._like(x, label), self._margin)


class SquaredHingeLoss(HingeLoss):
    """max(0, margin − pred·label)², label = ±1, the mean over the non-batch axes; arguments as in `HingeLoss`.

    Source:
        mxnet.gluon.loss.SquaredHingeLoss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.5], [-1.0]], [[1.0], [1.0]]))
        ...     SquaredHingeLoss()(x, y).numpy().tolist()
        [0.25, 4.0]
    """

    def forward(self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return self._per_sample(ops.square(self._slack(pred, label)), sample_weight)


class LogisticLoss(Loss):
    """log(1 + e^(−pred·label)) for label = ±1, the mean over the non-batch axes.

    Labels in between are taken for probabilities: t = (label + 1)/2 in t·softplus(−x) + (1−t)·softplus(x).

    Args:
        weight, batch_axis: as in `L2Loss`.
        label_format: "signed", labels −1 and 1, or "binary", 0 and 1.

    Call: (pred, label, sample_weight=None), as in `L2Loss`. Gives (N,).

    Raises:
        AttrError: another label_format. ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        mxnet.gluon.loss.LogisticLoss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.3], [-1e4]], [[1.0], [1.0]]))
        ...     LogisticLoss()(x, y).numpy().round(4).tolist()
        [0.5544, 10000.0]
    """

    def __init__(
        self,
        weight: float | None = None,
        batch_axis: int = 0,
        label_format: str = "signed",
        **block: object,
    ) -> None:
        super().__init__(weight, batch_axis, **block)
        if label_format not in ("signed", "binary"):
            raise AttrError("LogisticLoss: unknown label_format", expected="signed | binary", got=repr(label_format))
        self._label_format = label_format

    def forward(self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        x = self._pred(pred)
        y = self._like(x, label)
        if self._label_format == "signed":
            y = 0.5 * (y + 1.0)
        return self._per_sample(ops.bce_with_logits(x, y), sample_weight)


class TripletLoss(Loss):
    """max(0, Σ[(positive − pred)² − (negative − pred)²] + margin), the sum over the non-batch axes.

    Args:
        margin: see above.
        weight, batch_axis: as in `L2Loss`.

    Call: (pred, positive, negative, sample_weight=None), all with as many elements as pred; sample_weight is (N,).
    Gives (N,).

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        mxnet.gluon.loss.TripletLoss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, p, n = (gl.dygraph.to_variable(np.array(v)) for v in ([[0.0, 0.5]], [[0.5, 0.0]], [[1.0, 0.0]]))
        ...     TripletLoss()(a, p, n).numpy().tolist()
        [0.25]
    """

    def __init__(self, margin: float = 1, weight: float | None = None, batch_axis: int = 0, **block: object) -> None:
        super().__init__(weight, batch_axis, **block)
        self._margin = float(margin)

    def forward(self, pred: Tensor, positive: Tensor, negative: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        x = self._pred(pred)
        near, far = self._like(x, positive, "positive"), self._like(x, negative, "negative")
        loss = embedding.squared_triplet(x, near, far, self._other_axes(x.type.rank), self._margin)
        return self._weighted(loss, sample_weight)
