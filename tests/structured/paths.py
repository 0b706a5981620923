"""CTC by its definition: every path of every length, in float64."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Label = tuple[int, ...]


@lru_cache(maxsize=64)
def paths(T: int, C: int, blank: int) -> dict[Label, Array]:
    """All paths of T classes, by the label that they collapse to: arrays [paths, T]."""
    found: dict[Label, list[tuple[int, ...]]] = defaultdict(list)
    for path in product(range(C), repeat=T):
        merged = [c for t, c in enumerate(path) if t == 0 or c != path[t - 1]]
        found[tuple(c for c in merged if c != blank)].append(path)
    return {label: np.array(rows, np.int64).reshape(len(rows), T) for label, rows in found.items()}


def enumerated(log_probs: Array, label: Label, blank: int) -> tuple[float, Array]:
    """(cost, posterior [T, C]) of one sample [T, C]; inf and NaN where the label has no path."""
    T, C = log_probs.shape
    rows = paths(T, C, blank).get(label)
    if rows is None:
        return np.inf, np.full((T, C), np.nan)
    steps = np.arange(T)
    each = np.exp(log_probs[steps, rows].sum(1))
    total = each.sum()
    posterior = np.zeros((T, C))
    np.add.at(posterior, (np.broadcast_to(steps, rows.shape), rows), np.broadcast_to(each[:, None], rows.shape))
    with np.errstate(all="ignore"):
        return float(-np.log(total)), posterior / total
