"""Partial results of one shard, and combining those of all shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss.errors import ArgumentTypeError, AttrError
from graphloss.ir.graph import Graph
from graphloss.ops.evaluate import evaluate
from graphloss.passes.partial import Split

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Partials:
    """What `Executor.run(..., partial=True)` returns: sums, counts and maxima of one shard, and how they combine.

    Small and picklable, so that shards may be in other processes.
    """

    values: Mapping[str, Array]
    how: Mapping[str, str]
    finish: Graph


def partials(split: Split, results: Mapping[str, Array]) -> Partials:
    return Partials({n: np.asarray(results[n]) for n in split.combine}, dict(split.combine), split.finish)


def combine(shards: Sequence[Partials]) -> list[Array]:
    """The fetches over all shards together, in order: a mean over shards is the mean of the whole.

    Values are combined in the order of `shards`, sums in float64; rows are laid end to end.

    Raises:
        ArgumentTypeError: something other than results of `run(..., partial=True)`.
        AttrError: no shard, or shards of different programs or fetches.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> main = gl.Program()
        >>> with gl.program_guard(main):
        ...     x = gl.data("x", [None])
        ...     m = gl.layers.reduce_mean(x)
        >>> exe = gl.Executor()
        >>> parts = [exe.run(main, {"x": np.array(a, "float32")}, [m], partial=True) for a in ([1, 2, 3], [6])]
        >>> float(gl.combine(parts)[0].item())
        3.0
    """
    if not isinstance(shards, (list, tuple)):
        raise ArgumentTypeError("combine takes a list of shards", expected="list", got=type(shards).__name__)
    if not shards:
        raise AttrError("combine needs the partial results of at least one shard")
    for s in shards:
        if not isinstance(s, Partials):
            raise ArgumentTypeError(
                "combine takes results of run(..., partial=True)", expected="Partials", got=type(s).__name__
            )
    first = shards[0]
    if any(s.how != first.how or s.finish.fetches != first.finish.fetches for s in shards):
        raise AttrError("the shards come from different programs or fetches")
    merged = {n: _merge(n, how, [s.values[n] for s in shards]) for n, how in first.how.items()}
    values = evaluate(first.finish, merged)
    return [np.asarray(values[f]) for f in first.finish.fetches]


def _merge(name: str, how: str, parts: Sequence[Array]) -> Array:
    if how == "concat":
        return np.concatenate(parts, axis=0)
    if how == "sum":
        total = np.add.reduce([p.astype(np.float64) if p.dtype.kind == "f" else p for p in parts])
        return np.asarray(total, dtype=parts[0].dtype)
    if how in ("max", "min"):
        return np.asarray((np.maximum if how == "max" else np.minimum).reduce(list(parts)))
    if any(not np.array_equal(p, parts[0], equal_nan=True) for p in parts if p.dtype.kind == "f"):
        hint = "states and parameters must be the same on every shard"
        raise AttrError(f"{name!r} differs between the shards", hint=hint)
    return parts[0]
