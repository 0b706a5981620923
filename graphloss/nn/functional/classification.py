"""Losses of class labels under PyTorch's names: negative log-likelihood and cross entropy."""

from __future__ import annotations

from graphloss import dtypes
from graphloss.errors import AttrError, DtypeError, ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks
from graphloss.losses import cross_entropy as ce
from graphloss.losses.reduction import check_reduction, reduced, reduced_rows
from graphloss.nn.arguments import reduction_of

__all__ = ["cross_entropy", "nll_loss"]


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
        target: class labels, int64, int32 or uint8, of the input's shape without C.
        weight: (C,), of the input's dtype; gets no gradient.
        ignore_index: label of rows that count for nothing: loss and gradient exactly 0.
        size_average, reduce, reduction: as in `mse_loss`.
        empty_mean: the mean where all rows are ignored: "nan", "zero" or "error".

    Returns:
        0-d, or for "none" an array of the target's shape.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.nll_loss.

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
    checks.require_class_dtype(y, "nll_loss", checks.LABELS_OR_BYTES)
    w = checks.class_weight(weight, x, axis, "nll_loss")
    return reduced_rows(ce.nll(x, y, axis, w, ignore_index), reduction, empty_mean)


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
        target: class labels, int64, int32 or uint8, of the input's shape without C, or probabilities of the input's
            shape and dtype.
        weight: (C,), of the input's dtype.
        ignore_index: label of rows that count for nothing; must stay negative with probabilities.
        label_smoothing: ε in [0, 1].
        size_average, reduce, reduction, empty_mean: as in `nll_loss`.

    Returns:
        0-d, or for "none" an array of the input's shape without C.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.cross_entropy.

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
    checks.require_class_dtype(y, where, checks.LABELS_OR_BYTES)
    rows = ce.cross_entropy(x, y, axis, w, ignore_index, float(label_smoothing))
    return reduced_rows(rows, reduction, empty_mean)


def _classes(input: object, target: object, where: str) -> tuple[Tensor, Tensor, int]:
    x, y = checks.tensor(input, "input", where), checks.tensor(target, "target", where)
    if x.type.rank == 0:
        raise ShapeError(f"{where}: the input needs a class axis", expected="(C,), (N, C) or (N, C, d1, …)", got="0-d")
    if not dtypes.is_float(x.type.dtype):
        raise DtypeError(f"{where}: the input must be of a float dtype", got=x.type.dtype)
    return x, y, min(1, x.type.rank - 1)
