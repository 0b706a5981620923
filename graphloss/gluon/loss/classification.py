"""Gluon's cross entropies: of the sigmoid, of the softmax."""

from __future__ import annotations

from graphloss import ops
from graphloss.gluon.loss.base import Loss
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import binary, checks
from graphloss.losses import cross_entropy as ce

__all__ = ["SigmoidBCELoss", "SigmoidBinaryCrossEntropyLoss", "SoftmaxCELoss", "SoftmaxCrossEntropyLoss"]


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
            rows = ce.nll(x, y, axis, None, None) if self._from_logits else ce.cross_entropy(x, y, axis, None, None)
            return self._per_sample(ops.unsqueeze(rows.loss, (axis,)), sample_weight)
        y = self._like(x, label)
        if self._from_logits:
            return self._per_sample(ce.soft_nll(x, y, axis, keepdims=True), sample_weight)
        return self._per_sample(ce.soft_cross_entropy(x, y, axis, keepdims=True), sample_weight)


SoftmaxCELoss = SoftmaxCrossEntropyLoss
