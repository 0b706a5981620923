"""PyTorch's functional losses with a margin between scores, and their smooth forms."""

from __future__ import annotations

from graphloss import dtypes
from graphloss.errors import AttrError, DtypeError, ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks, hinge, logistic, multilabel
from graphloss.losses.labels import held
from graphloss.losses.reduction import check_reduction, reduced
from graphloss.nn.arguments import numbers, reduction_of, require_rows, require_same_rank

__all__ = [
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
]


@checks.located
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, −y·(x1 − x2) + margin): y = 1 wants x1 the larger, y = −1 x2; the gradient passes at slack 0.

    Args:
        input1, input2, target: x1, x2 and y, of one rank; dimensions of 1 broadcast.
        margin: see above.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of the common shape.

    Raises:
        ShapeError: different ranks. AttrError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Herbrich, Graepel and Obermayer, Large margin rank boundaries for ordinal regression, 2000;
        torch.nn.functional.margin_ranking_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, b, y = (gl.dygraph.to_variable(np.array(v)) for v in ([1.0, 2.0], [2.0, 1.0], [1.0, 1.0]))
        ...     gl.nn.functional.margin_ranking_loss(a, b, y, margin=0.5, reduction="none").numpy().tolist()
        [1.5, 0.0]
    """
    where = "margin_ranking_loss"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    x1, x2, y = numbers(where, input1=input1, input2=input2, target=target)
    require_same_rank(where, x1, x2, y)
    return reduced(hinge.margin_ranking(x1, x2, y, float(margin), at_zero=True), reduction)


@checks.located
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, max(0, margin − x) where y = −1, for any other y the sum of both; the gradient passes at slack 0.

    Args:
        input: x, any shape, as a rule a distance.
        target: y, of that shape or broadcasting with it; gets no gradient.
        margin: see above.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of the common shape.

    Raises:
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.hinge_embedding_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.25, 0.5, 1.5], [1.0, -1.0, -1.0]))
        ...     gl.nn.functional.hinge_embedding_loss(x, y, reduction="none").numpy().tolist()
        [0.25, 0.5, 0.0]
    """
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    x, y = numbers("hinge_embedding_loss", input=input, target=target)
    return reduced(hinge.hinge_embedding(x, y, float(margin)), reduction)


@checks.located
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + e^(−y·x)), y = ±1, as softplus: finite for every finite x.

    Args:
        input: x, any shape.
        target: y, of that shape or broadcasting with it; gets no gradient.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of the common shape.

    Raises:
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.soft_margin_loss, which overflows from −y·x = 710 on.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.3, -1e4], [1.0, 1.0]))
        ...     gl.nn.functional.soft_margin_loss(x, y, reduction="none").numpy().round(4).tolist()
        [0.5544, 10000.0]
    """
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    x, y = numbers("soft_margin_loss", input=input, target=target)
    return reduced(logistic.soft_margin(x, held(y)), reduction)


@checks.located
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """w[y]·(1/C)·Σ_{i≠y} max(0, margin − x[y] + x[i])^p; gradient 0 where the slack is 0.

    Args:
        input: scores x, (N, C) or (C,).
        target: classes y, int64, int32 or uint8, (N,) or 0-d.
        p: 1 or 2.
        margin: see above.
        weight: (C,), of x's dtype; does not enter the divisor of a mean; gets no gradient.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of y's shape.

    Raises:
        LabelError (in the run): a label outside [0, C). AttrError, ShapeError, DtypeError, ArgumentTypeError: at the
        call.

    Source:
        Crammer and Singer, On the algorithmic implementation of multiclass kernel-based vector machines, 2001 (there
        the worst class alone counts); torch.nn.functional.multi_margin_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.1, 0.2, 0.4, 0.8]], [3]))
        ...     round(float(gl.nn.functional.multi_margin_loss(x, y).numpy()), 7)
        0.325
    """
    where = "multi_margin_loss"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    if p not in (1, 2):
        raise AttrError(f"{where}: p is neither 1 nor 2", expected="1 or 2", got=p)
    (x,) = numbers(where, input=input)
    y = checks.tensor(target, "target", where)
    require_rows(x, where)
    axis = x.type.rank - 1
    checks.require_labels_of(x, y, axis, where)
    checks.require_class_dtype(y, where, checks.LABELS_OR_BYTES)
    w = checks.class_weight(weight, x, axis, where)
    return reduced(hinge.multi_margin(x, y, axis, int(p), float(margin), w), reduction)


@checks.located
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """(1/C)·Σ_{j in list} Σ_{i not in list} max(0, 1 − x[y_j] + x[i]); gradient 0 where the slack is 0.

    Args:
        input: scores x, (N, C) or (C,).
        target: int64 or int32 of x's shape. A row lists its classes from the front and the first −1 ends the list;
            a class listed twice counts twice. An empty list costs 0.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" (N,), 0-d for one row.

    Raises:
        LabelError (in the run): a number below −1 or from C on, after the end of the list too. ShapeError,
        DtypeError, AttrError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.multilabel_margin_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.1, 0.2, 0.4, 0.8]], [[3, 0, -1, 1]]))
        ...     round(float(gl.nn.functional.multilabel_margin_loss(x, y).numpy()), 7)
        0.85
    """
    where = "multilabel_margin_loss"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    (x,) = numbers(where, input=input)
    y = checks.tensor(target, "target", where)
    require_rows(x, where)
    checks.require_same_shape(x, y, where)
    checks.require_class_dtype(y, where)
    return reduced(multilabel.multilabel_margin(x, y), reduction)


@checks.located
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the last axis of w·[y·softplus(−x) + (1−y)·softplus(x)].

    Args:
        input: logits x, (…, C).
        target: y, of x's shape and dtype.
        weight: broadcasts to x, as a rule (C,); does not enter a divisor.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of x's shape without its last dimension.

    Raises:
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.multilabel_soft_margin_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.5, -1.0, 2.0]], [[1.0, 0.0, 1.0]]))
        ...     round(float(gl.nn.functional.multilabel_soft_margin_loss(x, y).numpy()), 7)
        0.3047556
    """
    where = "multilabel_soft_margin_loss"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    x, y = numbers(where, input=input, target=target)
    if x.type.rank == 0:
        raise ShapeError(f"{where}: the input needs a class axis", expected="(…, C)", got="0-d")
    checks.require_same_shape(x, y, where)
    w = checks.optional_tensor(weight, "weight", where)
    if w is not None and not dtypes.is_float(w.type.dtype):
        raise DtypeError(f"{where}: weight must be of a float dtype", got=w.type.dtype)
    return reduced(multilabel.multilabel_soft_margin(x, y, w), reduction)
