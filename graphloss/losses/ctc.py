"""CTC: what the dialects add to the negative log-likelihood of a label over its alignments."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphloss import dtypes, ops
from graphloss.errors import AttrError, DtypeError, ShapeError
from graphloss.ir import dims
from graphloss.ir.context import layer
from graphloss.ir.dims import Dim
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks
from graphloss.ops import sequences


def zero_where_impossible(cost: Tensor) -> Tensor:
    """The cost, 0 with gradient 0 for a label that has no alignment."""
    return ops.where(cost == math.inf, 0.0, cost)


def per_frame_gradient(cost: Tensor, frames: Tensor) -> Tensor:
    """The finite cost, with its gradient divided by the number of frames of the sample."""
    value = ops.detach(cost)
    return value + (cost - value) / ops.cast(ops.maximum(frames, 1), cost.type.dtype)


def leading(labels: Tensor, padding: int) -> Tensor:
    """How many labels of each row [N, S] stand before the first `padding`: int64 [N]."""
    rows, width = labels.type.shape
    place = ops.iota((1, width), 1)
    before = ops.where(labels == padding, ops.broadcast_to(place, (rows, width)), ops.size((width,)))
    # a column of the width itself, so that a row of no labels has a least element too
    last = ops.broadcast_to(ops.size((width,)), (rows, 1))
    return ops.reduce_min(ops.concat([before, last], 1), (1,))


def lengths_of(rows: Tensor) -> Tensor:
    """The lengths [S] of the sequences of packed rows."""
    offsets = ops.offsets_of(rows)
    with layer(f"{sequences.called(rows, offsets)}.lengths", None):  # what an error calls them
        return ops.getitem(offsets, slice(1, None)) - ops.getitem(offsets, slice(None, -1))


def require_same_count(x: Tensor, y: Tensor, names: tuple[str, str], where: str) -> None:
    """ShapeError if the packed rows x and y are known to hold different numbers of sequences."""
    counts = [dims.sub(ops.offsets_of(v).type.shape[0], 1) for v in (x, y)]
    if not may_agree(*counts):
        raise ShapeError(
            f"{where}: {names[0]} and {names[1]} hold different numbers of sequences",
            f"{counts[0]} sequences of {names[1]}, as of {names[0]}", counts[1],
        )  # fmt: skip


def lengths(value: object, n: Tensor, axis: int, name: str, where: str) -> Tensor:
    """Integer lengths [N] for the samples along `axis` of `n`: a tensor [N], [N, 1] or 0-d for one, or numbers."""
    if isinstance(value, (list, tuple)) or (isinstance(value, int) and not isinstance(value, bool)):
        found = literal_lengths(value, name, where)
    else:
        found = checks.tensor(value, name, where)
    if not dtypes.is_int(found.type.dtype):
        raise DtypeError(f"{where}: {name} are integers", "int64 or int32", found.type.dtype)
    if found.type.rank == 0:
        found = ops.unsqueeze(found, (0,))
    if found.type.rank == 2 and found.type.shape[1] == 1:
        found = ops.squeeze(found, (1,))
    batch = n.type.shape[axis]
    if found.type.rank != 1 or not may_agree(found.type.shape[0], batch):
        raise ShapeError(f"{where}: there is one of {name} per sample", f"[{batch}]", checks.shape_text(found))
    return found


def may_agree(a: Dim, b: Dim) -> bool:
    """Whether two dimensions, of which none is broadcast, can be the same; the run checks the rest."""
    return a == b or not (isinstance(a, int) and isinstance(b, int))


def literal_lengths(value: int | Sequence[object], name: str, where: str) -> Tensor:
    """Lengths that are written down, as a constant."""
    items = [value] if isinstance(value, int) else list(value)
    for item in items:
        if isinstance(item, bool) or not isinstance(item, (int, np.integer)):
            raise AttrError(f"{where}: {name} are integers", "integers", repr(value))
    with layer(name, None):  # what an error calls it
        return ops.literal(np.array(items, np.int64))


def blank_class(blank: object, n: Tensor, where: str) -> int:
    """`blank` if it is a class along the last axis of `n`."""
    classes = n.type.shape[-1]
    if isinstance(blank, bool) or not isinstance(blank, int):
        raise AttrError(f"{where}: blank is the index of a class", "an integer", repr(blank))
    if blank < 0 or (isinstance(classes, int) and blank >= classes):
        raise AttrError(f"{where}: blank is none of the classes", f"an index in [0, {classes})", blank)
    return blank


def _new(tokens: Tensor, before: Tensor, blank: int) -> Tensor:
    """Where a token stands for a symbol: it is not the blank, nor the token of the frame before."""
    return ops.logical_and(ops.not_equal(tokens, blank), ops.not_equal(tokens, before))


def collapsed(tokens: Tensor, frames: Tensor, blank: int, padding: int) -> tuple[Tensor, Tensor]:
    """The symbols of paths [N, T], `padding` behind them, and how many they are [N]; `frames` [N] are checked."""
    batch, steps = tokens.type.shape
    nothing = ops.fill((batch, 1), blank, tokens.type.dtype)
    before = ops.window(ops.concat([nothing, tokens], 1), {1: (0, steps, 1)})
    place = ops.iota((1, steps), 1)
    frames = ops.cast(frames, "int64")
    with checks.calling(index="input_length"):
        known = ops.check_index(frames, dims.add(steps, 1))
    kept = ops.logical_and(_new(tokens, before, blank), ops.less(place, ops.unsqueeze(known, (1,))))
    counts = ops.reduce_sum(ops.cast(kept, "int64"), (1,))
    symbols = ops.take_along(tokens, ops.argsort(ops.cast(ops.logical_not(kept), "int64"), 1), 1)
    return ops.where(place < ops.unsqueeze(counts, (1,)), symbols, padding), counts


def collapsed_rows(tokens: Tensor, offsets: Tensor, blank: int) -> Tensor:
    """The symbols [n, 1] of packed paths [R], with sequences of their own; `offsets` are checked."""
    (rows,) = tokens.type.shape
    starts = ops.getitem(offsets, slice(None, -1))
    first = ops.scatter_add(starts, ops.fill(starts.type.shape, 1, "int64"), (dims.add(rows, 1),))
    first = ops.window(first, {0: (0, rows, 1)}) > 0
    nothing = ops.fill((1,), blank, tokens.type.dtype)
    before = ops.window(ops.concat([nothing, tokens], 0), {0: (0, rows, 1)})
    kept = _new(tokens, ops.where(first, blank, before), blank)
    ends = ops.concat([ops.fill((1,), 0, "int64"), ops.cumsum(ops.cast(kept, "int64"), 0)], 0)
    symbols = ops.gather(tokens, ops.rows_where(kept))
    return ops.with_offsets(ops.unsqueeze(symbols, (1,)), ops.gather(ends, offsets))
