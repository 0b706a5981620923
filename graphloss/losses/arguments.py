"""The kinds of arguments that public losses take, checked: pairs, class scores, numbers in a range."""

from __future__ import annotations

import math

from graphloss import dtypes, ops
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, ShapeError
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import checks
from graphloss.losses.labels import Labels
from graphloss.losses.reduction import Rows, reduced_rows


def floats(value: object, name: str, where: str) -> Tensor:
    """A tensor of a float dtype."""
    x = checks.tensor(value, name, where)
    checks.require_float(x, where, name)
    return x


def pair(
    first: object, second: object, where: str, names: tuple[str, str] = ("input", "target")
) -> tuple[Tensor, Tensor]:
    """Two float tensors of one shape and dtype."""
    x, y = floats(first, names[0], where), checks.tensor(second, names[1], where)
    if not checks.same_shape(x, y):
        raise ShapeError(
            f"{where}: {names[1]} and {names[0]} have different shapes",
            expected=checks.shape_text(x), got=checks.shape_text(y),
        )  # fmt: skip
    checks.require_same_dtype(x, y, where, names[1])
    return x, y


def scores_and_mask(input: object, target: object, where: str) -> tuple[Tensor, Tensor]:
    """As `pair`, for a target in [0, 1], which is checked: integers and bools become floats of the input's dtype."""
    x, y = floats(input, "input", where), checks.tensor(target, "target", where)
    checks.require_same_shape(x, y, where)
    x, y = pair(x, y if dtypes.is_float(y.type.dtype) else cast(y, x.type.dtype), where)
    return x, ops.check_range(y, 0, 1)


def class_scores(logits: object, target: object, where: str) -> tuple[Tensor, Tensor, int]:
    """Logits (C,), (N, C) or (N, C, d1, …), labels of that shape without C, and the axis of the classes."""
    x, y = floats(logits, "logits", where), checks.tensor(target, "target", where)
    if x.type.rank == 0:
        raise ShapeError(f"{where}: logits have no axis of classes", expected="(C,), (N, C) or (N, C, …)", got="()")
    axis = min(x.type.rank - 1, 1)
    checks.require_labels_of(x, y, axis, where)
    checks.require_class_dtype(y, where, checks.LABELS_OR_BYTES)
    return x, y, axis


def rows(value: object, name: str, where: str) -> Tensor:
    """A float tensor of rank 2."""
    x = floats(value, name, where)
    if x.type.rank != 2:
        raise ShapeError(f"{where}: {name} must have rank 2", expected="(N, D)", got=checks.shape_text(x))
    return x


def number(
    value: object, name: str, where: str, low: float = -math.inf, high: float = math.inf, *,
    low_open: bool = False, high_open: bool = False,
) -> float:  # fmt: skip
    """A real number in a range; `low_open` and `high_open` leave the ends out."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentTypeError(f"{where}: {name} must be a number", got=type(value).__name__)
    x = float(value)
    if not (low < x if low_open else low <= x) or not (x < high if high_open else x <= high):
        left, right = "(" if low_open or low == -math.inf else "[", ")" if high_open or high == math.inf else "]"
        raise AttrError(f"{where}: {name} is out of range", expected=f"{left}{low}, {high}{right}", got=value)
    return x


def labels_per_row(target: object, n: Tensor, where: str) -> Tensor:
    """Integer labels (N,) for the rows of `n`."""
    y = checks.tensor(target, "labels", where)
    if y.type.rank != 1 or not checks.may_be_equal(y.type.shape[0], n.type.shape[0]):
        raise ShapeError(
            f"{where}: there must be one label per row", expected=f"[{n.type.shape[0]}]", got=checks.shape_text(y)
        )
    if not dtypes.is_int(y.type.dtype):
        raise DtypeError(f"{where}: labels must be integers", expected="an integer dtype", got=y.type.dtype)
    return y


def kept_rows(loss: Tensor, y: Labels, reduction: str) -> Tensor:
    """`loss` reduced over the rows that are not ignored; the mean of none is NaN."""
    return reduced_rows(Rows(y.kept(loss), lambda: y.weights(None, loss.type.dtype)), reduction, "nan")
