"""Packed sequences as a padded tensor."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor, apply


def padded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The sequences [S] of packed rows [R, …] side by side, step by step: [M, S, …], and their lengths [S].

    M is the longest length, known in the run only. Behind the end of a sequence stands row 0.
    """
    offsets = ops.offsets_of(rows)
    starts = offsets[:-1]
    lengths = offsets[1:] - starts
    longest = ops.reduce_max(ops.concat([lengths, ops.fill((1,), 0, "int64")], 0))
    steps = ops.unsqueeze(ops.rows_where(ops.iota((rows.type.shape[0],), 0) < longest), (1,))
    place = ops.where(steps < lengths, starts + steps, 0)
    return apply("gather", (rows, place), {})[0], lengths


def lengths_of(rows: Tensor) -> Tensor:
    """The lengths [S] of the sequences of packed rows."""
    offsets = ops.offsets_of(rows)
    return offsets[1:] - offsets[:-1]
