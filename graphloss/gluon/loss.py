"""MXNet Gluon's loss classes: called with (pred, label, sample_weight=None), they give one number per sample."""

from __future__ import annotations

from typing import Any

from graphloss import ops
from graphloss.errors import ArgumentTypeError, ShapeError, UnsupportedError
from graphloss.ir import dims
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import binary, checks, distance
from graphloss.losses import cross_entropy as ce
from graphloss.losses import nll as likelihood
from graphloss.losses.reduction import mean_except

__all__ = [
    "HuberLoss",
    "L1Loss",
    "L2Loss",
    "Loss",
    "SigmoidBCELoss",
    "SigmoidBinaryCrossEntropyLoss",
    "SoftmaxCELoss",
    "SoftmaxCrossEntropyLoss",
]


class Loss:
    """Base: the loss of each element × sample_weight × weight, then the mean over all axes but one: (N,).

    Args:
        weight: a Python number, or None for 1.
        batch_axis: the axis of the samples.
    """

    def __init__(self, weight: float | None, batch_axis: int, prefix: str | None = None, params: object = None) -> None:
        if weight is not None and (isinstance(weight, bool) or not isinstance(weight, (int, float))):
            raise ArgumentTypeError(
                f"{type(self).__name__}: weight is one number for the whole loss",
                "int or float",
                type(weight).__name__,
                hint="weights of samples are the argument sample_weight of the call",
            )
        self._weight = weight
        self._batch_axis = batch_axis

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """What a call computes; each class defines it."""
        raise UnsupportedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return checks.located(self.forward, type(self).__name__)(*args, **kwargs)

    def hybridize(self, active: bool = True, **kwargs: object) -> None:
        """Nothing to do: a program is compiled as it runs, and eager mode is what `dygraph.guard()` is for."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_axis={self._batch_axis}, w={self._weight})"

    def _per_sample(self, loss: Tensor, sample_weight: object) -> Tensor:
        where = type(self).__name__
        given = checks.optional_tensor(sample_weight, "sample_weight", where)
        if given is not None:
            given = cast(given, loss.type.dtype)
            fits = given.type.rank == loss.type.rank and all(
                a == 1 or checks.may_be_equal(a, b) for a, b in zip(given.type.shape, loss.type.shape, strict=True)
            )
            if not fits:
                raise ShapeError(
                    f"{where}: sample_weight does not broadcast to the loss",
                    expected=checks.shape_text(loss),
                    got=checks.shape_text(given),
                    hint="it has the same rank, each dimension equal or 1",
                )
            loss = loss * given
        if self._weight is not None:
            loss = loss * float(self._weight)
        return mean_except(loss, checks.axis_in_range(self._batch_axis, loss.type.rank, where))

    def _like(self, pred: Tensor, label: object) -> Tensor:
        """The label in pred's shape and dtype; only the numbers of elements must agree."""
        y = cast(checks.tensor(label, "label", type(self).__name__), pred.type.dtype)
        if y.type.shape == pred.type.shape:
            return y
        if isinstance(dims.sub(y.type.size, pred.type.size), int) and y.type.size != pred.type.size:
            raise ShapeError(
                f"{type(self).__name__}: label has another number of elements than pred",
                expected=checks.shape_text(pred),
                got=checks.shape_text(y),
            )
        return ops.reshape(y, pred.type.shape)

    def _pred(self, pred: object) -> Tensor:
        x = checks.tensor(pred, "pred", type(self).__name__)
        checks.require_float(x, type(self).__name__, "pred")
        return x


class L2Loss(Loss):
    """½·weight·(pred − label)², the mean over the non-batch axes.

    Args:
        weight: a number; the loss is multiplied by half of it.
        batch_axis: the axis of the samples.

    Call: (pred, label, sample_weight=None); label has as many elements as pred; sample_weight broadcasts to pred.
    Gives (N,).

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call; ArgumentTypeError for a weight that is no number.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     pred, label = (gl.dygraph.to_variable(np.array(a)) for a in ([1.0, 1.0], [2.0, 2.0]))
        ...     L2Loss()(pred, label).numpy().tolist()
        [0.5, 0.5]
    """

    def __init__(
        self, weight: float = 1.0, batch_axis: int = 0, prefix: str | None = None, params: object = None
    ) -> None:
        super().__init__(weight, batch_axis, prefix, params)
        if self._weight is None:
            raise ArgumentTypeError("L2Loss: weight is halved, so it must be a number", "int or float", "None")

    def forward(self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        x = self._pred(pred)
        return self._per_sample(0.5 * distance.squared_error(x, self._like(x, label)), sample_weight)


class L1Loss(Loss):
    """weight·|pred − label|, the mean over the non-batch axes; arguments as in `L2Loss`.

    Example:
        >>> L1Loss()
        L1Loss(batch_axis=0, w=None)
    """

    def __init__(
        self, weight: float | None = None, batch_axis: int = 0, prefix: str | None = None, params: object = None
    ) -> None:
        super().__init__(weight, batch_axis, prefix, params)

    def forward(self, pred: Tensor, label: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        x = self._pred(pred)
        return self._per_sample(distance.absolute_error(x, self._like(x, label)), sample_weight)


class HuberLoss(Loss):
    """d²/(2ρ) where |d| ≤ ρ, else |d| − ρ/2 (slope 1 far out), the mean over the non-batch axes; as `L2Loss`.

    Example:
        >>> HuberLoss(rho=0.5)
        HuberLoss(batch_axis=0, w=None)
    """

    def __init__(
        self,
        rho: float = 1,
        weight: float | None = None,
        batch_axis: int = 0,
        prefix: str | None = None,
        params: object = None,
    ) -> None:
        super().__init__(weight, batch_axis, prefix, params)
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

    Example:
        >>> SigmoidBCELoss is SigmoidBinaryCrossEntropyLoss
        True
    """

    def __init__(
        self,
        from_sigmoid: bool = False,
        weight: float | None = None,
        batch_axis: int = 0,
        prefix: str | None = None,
        params: object = None,
    ) -> None:
        super().__init__(weight, batch_axis, prefix, params)
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
        prefix: str | None = None,
        params: object = None,
    ) -> None:
        super().__init__(weight, batch_axis, prefix, params)
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
