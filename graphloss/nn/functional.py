"""PyTorch's functional losses and activations, with its names, argument order and 0-d scalars."""

from __future__ import annotations

import warnings

from graphloss import dtypes
from graphloss.errors import AttrError, DtypeError, ShapeError
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import binary, checks, distance
from graphloss.losses import cross_entropy as ce
from graphloss.losses import nll as likelihood
from graphloss.losses.labels import held
from graphloss.losses.reduction import check_reduction, reduced, reduced_rows, weighted_mean
from graphloss.nn.activations import (
    log_softmax,
    logsigmoid,
    one_hot,
    relu,
    sigmoid,
    softmax,
    softplus,
    tanh,
)
from graphloss.nn.legacy import reduction_of
from graphloss.nn.likelihood import gaussian_nll_loss, kl_div, poisson_nll_loss
from graphloss.nn.margin import (
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
)
from graphloss.nn.metric import (
    cosine_embedding_loss,
    cosine_similarity,
    normalize,
    pairwise_distance,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pairwise_distance",
    "poisson_nll_loss",
    "relu",
    "sigmoid",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softplus",
    "tanh",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]

_LABELS = ("int64", "uint8")


@checks.located
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x − y)², averaged over all elements.

    Args:
        input: x, any shape.
        target: y, of that shape; another that broadcasts is taken with a warning.
        size_average, reduce: old forms of `reduction`.
        reduction: "none", "mean" or "sum".
        weight: of x's shape; "mean" is then Σ w(x−y)² / Σ w.

    Returns:
        0-d, or for "none" an array of x's shape.

    Raises:
        AttrError: unknown reduction. ShapeError: shapes do not broadcast.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([2.5, 0.5], [3.0, -0.5]))
        ...     float(gl.nn.functional.mse_loss(x, y).numpy())
        0.625
    """
    reduction = reduction_of(size_average, reduce, reduction)
    x, y = _pair(input, target, "mse_loss")
    return _weighted(distance.squared_error(x, y), weight, reduction, "mse_loss")


@checks.located
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x − y|, with slope 0 at 0; arguments as in `mse_loss`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([2.5, 0.5], [3.0, -0.5]))
        ...     float(gl.nn.functional.l1_loss(x, y).numpy())
        0.75
    """
    reduction = reduction_of(size_average, reduce, reduction)
    x, y = _pair(input, target, "l1_loss")
    return _weighted(distance.absolute_error(x, y), weight, reduction, "l1_loss")


@checks.located
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d²/(2β) where |d| < β, else |d| − β/2, with d = x − y; β = 0 is the L1 loss.

    Arguments as in `mse_loss`. Raises AttrError where β < 0.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.5, 3.0], [0.0, 0.0]))
        ...     gl.nn.functional.smooth_l1_loss(x, y, reduction="none").numpy().tolist()
        [0.125, 2.5]
    """
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    if beta < 0:
        raise AttrError("smooth_l1_loss: beta must not be negative", got=beta)
    x, y = _pair(input, target, "smooth_l1_loss")
    return reduced(distance.smooth_l1(x - y, float(beta)), reduction)


@checks.located
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d²/2 where |d| ≤ δ, else δ(|d| − δ/2), with d = x − y.

    Arguments as in `mse_loss`, but with `weight` the mean is that of w·loss over all elements. Raises AttrError
    unless δ > 0.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.5, 3.0], [0.0, 0.0]))
        ...     gl.nn.functional.huber_loss(x, y, reduction="none", delta=2.0).numpy().tolist()
        [0.125, 4.0]
    """
    check_reduction(reduction)
    if not delta > 0:
        raise AttrError("huber_loss: delta must be positive", got=delta)
    x, y = _pair(input, target, "huber_loss")
    loss = distance.huber(x - y, float(delta))
    w = _element_weight(weight, loss, "huber_loss")
    return reduced(loss if w is None else w * loss, reduction)


@checks.located
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    *,
    empty_mean: str = "nan",
) -> Tensor:
    """−w[y]·x[y], averaged over Σ w[y] of the rows that are not ignored.

    Args:
        input: log-probabilities, (C,), (N, C) or (N, C, d1, …, dK).
        target: class labels int64 or uint8, of the input's shape without C.
        weight: (C,), of the input's dtype; gets no gradient.
        ignore_index: label of rows that count for nothing: loss and gradient exactly 0.
        size_average, reduce, reduction: as in `mse_loss`.
        empty_mean: the mean where all rows are ignored: "nan", "zero" or "error".

    Returns:
        0-d, or for "none" an array of the target's shape.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[-1.0, -2.0], [-3.0, -4.0]]))
        ...     y = gl.dygraph.to_variable(np.array([0, -100]))
        ...     float(gl.nn.functional.nll_loss(x, y).numpy())
        1.0
    """
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    x, y, axis = _classes(input, target, "nll_loss")
    checks.require_labels_of(x, y, axis, "nll_loss")
    checks.require_class_dtype(y, "nll_loss", _LABELS)
    w = checks.class_weight(weight, x, axis, "nll_loss")
    return reduced_rows(likelihood.nll(x, y, axis, w, ignore_index), reduction, empty_mean)


@checks.located
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    empty_mean: str = "nan",
) -> Tensor:
    """−log softmax(x)[y], with class weights w and label smoothing ε.

    With class labels: m·[(1−ε)·w[y]·(−lsm[y]) + (ε/C)·Σ_c w_c·(−lsm_c)], m = 0 where y is ignore_index; "mean"
    divides by Σ m·w[y].
    With probabilities q: −Σ_c w_c·(q_c(1−ε) + ε/C)·lsm_c; "mean" divides by the number of rows.

    Args:
        input: logits, (C,), (N, C) or (N, C, d1, …, dK).
        target: class labels int64 or uint8 of the input's shape without C, or probabilities of the input's shape and
            dtype.
        weight: (C,), of the input's dtype.
        ignore_index: label of rows that count for nothing; must stay negative with probabilities.
        label_smoothing: ε in [0, 1].
        size_average, reduce, reduction, empty_mean: as in `nll_loss`.

    Returns:
        0-d, or for "none" an array of the input's shape without C.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[2.0, 0.5, 0.3], [0.1, 3.0, 0.2]]))
        ...     y = gl.dygraph.to_variable(np.array([0, 1]))
        ...     round(float(gl.nn.functional.cross_entropy(x, y).numpy()), 7)
        0.2251089
    """
    where = "cross_entropy"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    checks.require_unit_interval(label_smoothing, "label_smoothing", where)
    x, y, axis = _classes(input, target, where)
    w = checks.class_weight(weight, x, axis, where)
    if y.type.rank == x.type.rank and dtypes.is_float(y.type.dtype):
        checks.require_same_shape(x, y, where)
        checks.require_same_dtype(x, y, where)
        if ignore_index >= 0:
            raise AttrError(f"{where}: ignore_index has no meaning with probabilities", got=ignore_index)
        return reduced(ce.soft_cross_entropy(x, y, axis, w, float(label_smoothing)), reduction)
    checks.require_labels_of(x, y, axis, where)
    checks.require_class_dtype(y, where, _LABELS)
    rows = ce.cross_entropy(x, y, axis, w, ignore_index, float(label_smoothing))
    return reduced_rows(rows, reduction, empty_mean)


@checks.located
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """−w·[y·log p + (1−y)·log(1−p)], each log at least −100; the gradient is w(p−y)/max(p(1−p), 1e-12).

    Where p is the sigmoid of something in the same program, the compiled form is that of the logits, exact and
    without the bound.

    Args:
        input: probabilities p, any shape.
        target: y in [0, 1], of p's shape and dtype.
        weight: broadcasts to that shape; does not enter the divisor of a mean; gets no gradient.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of p's shape.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError, AttrError: at the call.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.5, 0.0], [1.0, 1.0]))
        ...     gl.nn.functional.binary_cross_entropy(p, y, reduction="none").numpy().round(4).tolist()
        [0.6931, 100.0]
    """
    where = "binary_cross_entropy"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    p, y = checks.tensor(input, "input", where), checks.tensor(target, "target", where)
    _same(p, y, where)
    w = _broadcast_weight(weight, y, "weight", where)
    return reduced(binary.binary_cross_entropy(p, y, w), reduction)


@checks.located
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """w·[p·y·softplus(−z) + (1−y)·softplus(z)], the cross entropy of σ(z) with the positive class weighted by p.

    Args:
        input: logits z, any shape.
        target: y of z's shape and dtype; any real number.
        weight, pos_weight: broadcast to that shape; do not enter the divisor of a mean; get no gradient.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of z's shape.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError, AttrError: at the call.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     z, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.0, 1000.0], [1.0, 0.0]))
        ...     gl.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none").numpy().round(4).tolist()
        [0.6931, 1000.0]
    """
    where = "binary_cross_entropy_with_logits"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    z, y = checks.tensor(input, "input", where), checks.tensor(target, "target", where)
    _same(z, y, where)
    w = _broadcast_weight(weight, y, "weight", where)
    positive = _broadcast_weight(pos_weight, y, "pos_weight", where)
    return reduced(binary.binary_cross_entropy_with_logits(z, y, w, positive), reduction)


def _pair(input: object, target: object, where: str) -> tuple[Tensor, Tensor]:
    """Two operands of a difference, of one dtype; PyTorch broadcasts them, with a warning."""
    x, y = checks.tensor(input, "input", where), checks.tensor(target, "target", where)
    if not checks.same_shape(x, y):
        warnings.warn(
            f"{where}: target {checks.shape_text(y)} is broadcast against input {checks.shape_text(x)}",
            UserWarning,
            stacklevel=3,
        )
    dtype = dtypes.promote(x.type.dtype, y.type.dtype)
    return cast(x, dtype), cast(y, dtype)


def _weighted(loss: Tensor, weight: object, reduction: str, where: str) -> Tensor:
    w = _element_weight(weight, loss, where)
    if w is None:
        return reduced(loss, reduction)
    return weighted_mean(loss, w) if check_reduction(reduction) == "mean" else reduced(w * loss, reduction)


def _element_weight(weight: object, loss: Tensor, where: str) -> Tensor | None:
    w = checks.optional_tensor(weight, "weight", where)
    if w is not None:
        checks.require_same_shape(loss, w, where, "weight")
    return w


def _same(x: Tensor, y: Tensor, where: str) -> None:
    checks.require_float(x, where)
    checks.require_same_dtype(x, y, where)
    checks.require_same_shape(x, y, where)


def _broadcast_weight(weight: object, y: Tensor, name: str, where: str) -> Tensor | None:
    """A weight that broadcasts to the target, not beyond it; PyTorch gives it no gradient."""
    w = checks.optional_tensor(weight, name, where)
    if w is None:
        return None
    checks.require_same_dtype(y, w, where, name)
    shape, target = w.type.shape, y.type.shape
    fits = len(shape) <= len(target) and all(
        a == 1 or checks.may_be_equal(a, b) for a, b in zip(shape[::-1], target[::-1], strict=False)
    )
    if not fits:
        raise ShapeError(
            f"{where}: {name} does not broadcast to the target", expected=checks.shape_text(y), got=checks.shape_text(w)
        )
    return held(w)


def _classes(input: object, target: object, where: str) -> tuple[Tensor, Tensor, int]:
    x, y = checks.tensor(input, "input", where), checks.tensor(target, "target", where)
    if x.type.rank == 0:
        raise ShapeError(f"{where}: the input needs a class axis", expected="(C,), (N, C) or (N, C, d1, …)", got="0-d")
    if not dtypes.is_float(x.type.dtype):
        raise DtypeError(f"{where}: the input must be of a float dtype", got=x.type.dtype)
    return x, y, min(1, x.type.rank - 1)
