"""PyTorch's old pair of arguments, size_average and reduce, in terms of reduction."""

from __future__ import annotations

import warnings


def reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """`reduction`, unless an old argument is given: reduce=False is "none", else size_average chooses mean or sum."""
    if size_average is None and reduce is None:
        return reduction
    if reduce is False:
        meant = "none"
    else:
        meant = "sum" if size_average is False else "mean"
    warnings.warn(f"size_average and reduce are deprecated, use reduction={meant!r}", UserWarning, stacklevel=3)
    return meant
