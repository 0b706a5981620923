"""The arguments of PyTorch's losses: tensors checked and of one dtype, old arguments in terms of `reduction`."""

from __future__ import annotations

import warnings

from graphloss import dtypes
from graphloss.errors import ShapeError
from graphloss.ir.location import user_stacklevel
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import checks


def numbers(where: str, **given: object) -> tuple[Tensor, ...]:
    """The arguments in one float dtype: that of the float ones together; whole numbers take it."""
    found = [checks.tensor(value, name, where) for name, value in given.items()]
    checks.require_float(found[0], where, next(iter(given)))
    dtype = found[0].type.dtype
    for x in found[1:]:
        if dtypes.is_float(x.type.dtype):
            dtype = dtypes.promote(dtype, x.type.dtype)
    return tuple(cast(x, dtype) for x in found)


def require_same_rank(where: str, *given: Tensor) -> None:
    """All of one rank; dimensions of 1 still broadcast."""
    ranks = [x.type.rank for x in given]
    if len(set(ranks)) > 1:
        raise ShapeError(f"{where}: the inputs have different ranks", expected="one rank", got=str(ranks))


def require_rows(x: Tensor, where: str) -> None:
    """(N, C), or (C,) for one row."""
    if x.type.rank not in (1, 2):
        raise ShapeError(f"{where}: the input is neither (N, C) nor (C,)", "rank 1 or 2", checks.shape_text(x))


def reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """`reduction`, unless an old argument is given: reduce=False is "none", else size_average chooses mean or sum."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        meant = "none"
    else:
        meant = "sum" if size_average is False else "mean"
    text = f"size_average and reduce are deprecated, use reduction={meant!r}"
    warnings.warn(text, UserWarning, stacklevel=user_stacklevel())
    return meant
