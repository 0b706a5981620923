"""Fluid's loss classes: one object works on program variables and on eager arrays; scalars have shape [1]."""

from __future__ import annotations

from abc import ABC, abstractmethod

from graphloss import ops
from graphloss.dygraph.layer import Layer
from graphloss.errors import ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.losses import binary, checks, distance
from graphloss.losses import cross_entropy as ce
from graphloss.losses.labels import held
from graphloss.losses.reduction import check_reduction, reduced, reduced_rows

__all__ = ["BCELoss", "CrossEntropyLoss", "L1Loss", "MSELoss", "NLLLoss"]


class _Loss(Layer, ABC):
    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Tensor, label: Tensor) -> Tensor:
        """The loss of (input, label)."""
        return checks.located(self._reduced, type(self).__name__)(input, label)

    def _reduced(self, input: Tensor, label: Tensor) -> Tensor:
        where = type(self).__name__
        return as_vector(self._loss(checks.tensor(input, "input", where), checks.tensor(label, "label", where)))

    @abstractmethod
    def _loss(self, input: Tensor, label: Tensor) -> Tensor:
        """The loss of each element, or of all as `reduction` says."""


class MSELoss(_Loss):
    """(input − label)², reduced.

    Args:
        reduction: "none", "mean" (over all elements) or "sum"; checked here.

    Call: (input, label) of one shape, or broadcasting. Gives [1], or for "none" their shape.

    Raises:
        AttrError: another reduction. ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.dygraph.MSELoss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([1.5, 2.0], [1.0, 2.0]))
        ...     gl.dygraph.MSELoss()(x, y).numpy().tolist()
        [0.125]
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(check_reduction(reduction))

    def _loss(self, input: Tensor, label: Tensor) -> Tensor:
        return reduced(distance.squared_error(input, label), self.reduction)


class L1Loss(_Loss):
    """|input − label|, reduced; as `MSELoss`.

    Source:
        paddle.fluid.dygraph.L1Loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([1.5, 2.0], [1.0, 2.0]))
        ...     gl.dygraph.L1Loss("sum")(x, y).numpy().tolist()
        [0.5]
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(check_reduction(reduction))

    def _loss(self, input: Tensor, label: Tensor) -> Tensor:
        return reduced(distance.absolute_error(input, label), self.reduction)


class BCELoss(_Loss):
    """−w·[y·log p + (1−y)·log(1−p)], each log at least −100; the gradient is w(p−y)/max(p(1−p), 1e-12).

    Args:
        weight: a Variable that broadcasts to the loss, or None; does not enter the divisor of a mean.
        reduction: "none", "mean" (over all elements) or "sum"; checked here.

    Call: (input, label) of one shape and dtype. Gives [1], or for "none" their shape.

    Raises:
        AttrError: another reduction. ShapeError, DtypeError, ArgumentTypeError: at the call. ValueRangeError (in the
            run, where values are checked): a probability or label outside [0, 1].

    Source:
        paddle.fluid.dygraph.BCELoss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.5, 0.0], [1.0, 1.0]))
        ...     gl.dygraph.BCELoss(reduction="none")(p, y).numpy().round(4).tolist()
        [0.6931, 100.0]
    """

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(check_reduction(reduction))
        self.weight = checks.optional_tensor(weight, "weight", "BCELoss")

    def _loss(self, input: Tensor, label: Tensor) -> Tensor:
        checks.require_float(input, "BCELoss")
        checks.require_same_dtype(input, label, "BCELoss", "label")
        checks.require_same_shape(input, label, "BCELoss", "label")
        weight = None if self.weight is None else held(self.weight)
        return reduced(binary.binary_cross_entropy(input, label, weight), self.reduction)


class NLLLoss(_Loss):
    """−w[y]·x[y] of log-probabilities x, averaged over Σ w[y] of the rows that are not ignored.

    Args:
        weight: a Variable [C] of x's dtype, or None; gets no gradient.
        reduction: "none", "mean" or "sum"; checked at the call.
        ignore_index: label of rows that count for nothing: loss and gradient exactly 0.
        empty_mean: the mean where all rows are ignored: "zero", "nan" or "error".

    Call: (input, label), [N, C] and [N], or [N, C, d1, …] and [N, d1, …]; labels int64 or int32. Gives [1], or for
    "none" label's shape.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).

    Source:
        paddle.fluid.dygraph.NLLLoss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[-1.0, -2.0], [-3.0, -4.0]]))
        ...     y = gl.dygraph.to_variable(np.array([0, 1]))
        ...     gl.dygraph.NLLLoss()(x, y).numpy().tolist()
        [2.5]
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        ignore_index: int = -100,
        *,
        empty_mean: str = "zero",
    ) -> None:
        super().__init__(reduction)
        self.weight = checks.optional_tensor(weight, "weight", type(self).__name__)
        self.ignore_index = ignore_index
        self.empty_mean = empty_mean

    def _loss(self, input: Tensor, label: Tensor) -> Tensor:
        where = type(self).__name__
        check_reduction(self.reduction)
        checks.require_float(input, where)
        if input.type.rank < 2:
            raise ShapeError(
                f"{where}: the input has no batch", expected="[N, C] or [N, C, d1, …]", got=checks.shape_text(input)
            )
        checks.require_labels_of(input, label, 1, where)
        checks.require_class_dtype(label, where)
        weight = checks.class_weight(self.weight, input, 1, where)
        log_p = self._log_probabilities(input)
        return reduced_rows(ce.nll(log_p, label, 1, weight, self.ignore_index), self.reduction, self.empty_mean)

    def _log_probabilities(self, input: Tensor) -> Tensor:
        return input


class CrossEntropyLoss(NLLLoss):
    """−w[y]·log softmax(x)[y] of logits x, with the classes on axis 1; otherwise as `NLLLoss`.

    Source:
        paddle.nn.CrossEntropyLoss, which takes the last axis instead.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = gl.dygraph.to_variable(np.zeros((3, 4))), gl.dygraph.to_variable(np.array([0, 1, -100]))
        ...     gl.dygraph.CrossEntropyLoss()(x, y).numpy().round(4).tolist()
        [1.3863]
    """

    def _log_probabilities(self, input: Tensor) -> Tensor:
        return ops.log_softmax(input, axis=1)


def as_vector(scalar: Tensor) -> Tensor:
    """A 0-d value as Fluid has scalars: of shape [1]."""
    return ops.unsqueeze(scalar, (0,)) if scalar.type.rank == 0 else scalar
