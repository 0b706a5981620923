"""MXNet Gluon's loss classes: called with (pred, label, sample_weight=None), they give one number per sample."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import ArgumentTypeError
from graphloss.gluon.base import Loss
from graphloss.gluon.likelihood import KLDivLoss, PoissonNLLLoss
from graphloss.gluon.margin import HingeLoss, LogisticLoss, SquaredHingeLoss, TripletLoss
from graphloss.gluon.metric import CosineEmbeddingLoss, SDMLLoss
from graphloss.gluon.sequences import CTCLoss
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import binary, checks, distance
from graphloss.losses import cross_entropy as ce
from graphloss.losses import nll as likelihood

__all__ = [
    "CTCLoss",
    "CosineEmbeddingLoss",
    "HingeLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "L2Loss",
    "LogisticLoss",
    "Loss",
    "PoissonNLLLoss",
    "SDMLLoss",
    "SigmoidBCELoss",
    "SigmoidBinaryCrossEntropyLoss",
    "SoftmaxCELoss",
    "SoftmaxCrossEntropyLoss",
    "SquaredHingeLoss",
    "TripletLoss",
]


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


class SigmoidBinaryCrossEntropyLoss(Loss):
    """Binary cross entropy, the mean over the non-batch axes.

    Of logits z: p·y·softplus(−z) + (1−y)·softplus(z). With from_sigmoid, of probabilities q:
    −[p·y·log(q + 1e-12) + (1−y)·log(1 − q + 1e-12)].

    Args:
        from_sigmoid: pred is a probability.
        weight, batch_axis: as in `L2Loss`.

    Call: (pred, label, sample_weight=None, pos_weight=None); pos_weight p broadcasts to pred, as a rule (1, C).
    Gives (N,). Raises as `L2Loss` does; ValueRangeError (in the run, where values are checked): a probability outside
    [0, 1].

    Source:
        mxnet.gluon.loss.SigmoidBinaryCrossEntropyLoss.

    Example:
        >>> SigmoidBCELoss is SigmoidBinaryCrossEntropyLoss
        True
    """

    def __init__(
        self,
        from_sigmoid: bool = False,
        weight: float | None = None,
        batch_axis: int = 0,
        **block: object,
    ) -> None:
        super().__init__(weight, batch_axis, **block)
        self._from_sigmoid = from_sigmoid

    def forward(
        self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None, pos_weight: Tensor | None = None
    ) -> Tensor:
        x = self._pred(pred)
        y = self._like(x, label)
        positive = checks.optional_tensor(pos_weight, "pos_weight", type(self).__name__)
        if positive is not None:
            positive = cast(positive, x.type.dtype)
        if self._from_sigmoid:
            loss = binary.binary_cross_entropy_shifted(x, y, 1e-12, positive)
        else:
            loss = binary.binary_cross_entropy_with_logits(x, y, None, positive)
        return self._per_sample(loss, sample_weight)


SigmoidBCELoss = SigmoidBinaryCrossEntropyLoss


class SoftmaxCrossEntropyLoss(Loss):
    """−log softmax(pred)[label], or −Σ_c label_c·log softmax(pred)_c, the mean over the non-batch axes.

    Args:
        axis: the class axis.
        sparse_label: labels are class numbers (of any dtype) in pred's shape without `axis`; else a distribution of
            pred's size.
        from_logits: pred is log-probabilities already.
        weight, batch_axis: as in `L2Loss`.

    Call: (pred, label, sample_weight=None); sample_weight broadcasts to pred's shape with `axis` of size 1.

    Raises:
        LabelError (in the run): a label outside [0, C).

    Source:
        mxnet.gluon.loss.SoftmaxCrossEntropyLoss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     pred, label = (gl.dygraph.to_variable(np.array(a)) for a in ([[1.0, 10.0], [8.0, 2.0]], [0, 1]))
        ...     SoftmaxCELoss()(pred, label).numpy().round(4).tolist()
        [9.0001, 6.0025]
    """

    def __init__(
        self,
        axis: int = -1,
        sparse_label: bool = True,
        from_logits: bool = False,
        weight: float | None = None,
        batch_axis: int = 0,
        **block: object,
    ) -> None:
        super().__init__(weight, batch_axis, **block)
        self._axis = axis
        self._sparse_label = sparse_label
        self._from_logits = from_logits

    def forward(self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        x = self._pred(pred)
        axis = checks.axis_in_range(self._axis, x.type.rank, type(self).__name__)
        if self._sparse_label:
            y = checks.tensor(label, "label", type(self).__name__)
            checks.require_labels_of(x, y, axis, type(self).__name__)
            rows = (
                likelihood.nll(x, y, axis, None, None)
                if self._from_logits
                else ce.cross_entropy(x, y, axis, None, None)
            )
            return self._per_sample(ops.unsqueeze(rows.loss, (axis,)), sample_weight)
        y = self._like(x, label)
        if self._from_logits:
            return self._per_sample(likelihood.soft_nll(x, y, axis, keepdims=True), sample_weight)
        return self._per_sample(ce.soft_cross_entropy(x, y, axis, keepdims=True), sample_weight)


SoftmaxCELoss = SoftmaxCrossEntropyLoss
