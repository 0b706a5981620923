"""Linear chains: padded and packed sequences as the rows that the ops on chains take."""

from __future__ import annotations

from dataclasses import dataclass

from graphloss import dtypes, ops
from graphloss.errors import DtypeError, ShapeError
from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks, ctc


@dataclass(frozen=True)
class Chain:
    """Emissions [R, K] of sequences of rows, with what it takes to go back to the shape they came in."""

    emission: Tensor
    offsets: Tensor
    length: Tensor
    padded: tuple[Dim, Dim] | None  # (B, T) of padded sequences

    def rows(self, per_row: Tensor) -> Tensor:
        """Values [B, T], [B, T, 1] or [R, 1] as [R]."""
        return ops.reshape(per_row, (self.emission.type.shape[0],))

    def shaped(self, per_row: Tensor) -> Tensor:
        """Values [R] as [B, T], or as [R, 1] of packed sequences."""
        return ops.unsqueeze(per_row, (1,)) if self.padded is None else ops.reshape(per_row, self.padded)

    def before_end(self) -> Tensor:
        """Whether a row [B, T] counts."""
        assert self.padded is not None
        return ops.iota(self.padded, 1) < ops.unsqueeze(self.length, (1,))


def packed(emission: Tensor, *others: Tensor) -> Chain:
    """Emissions [R, K] that carry sequences, which those of `others` are compared with."""
    offsets = ops.offsets_of(emission, *others)
    lengths = ops.getitem(offsets, slice(1, None)) - ops.getitem(offsets, slice(None, -1))
    return Chain(emission, offsets, lengths, None)


def padded(emission: Tensor, length: object, where: str) -> Chain:
    """Emissions [B, T, K]; of each sequence the first `length` count, all of them for None."""
    batch, steps, tags = emission.type.shape
    size = ops.size((steps,), dtype="int64")
    offsets = ops.iota((dims.add(batch, 1),), 0) * size
    if length is None:
        count = ops.broadcast_to(ops.unsqueeze(size, (0,)), (batch,))
    else:
        count = ops.cast(ctc.lengths(length, emission, 0, "length", where), "int64")
    rows = ops.reshape(emission, (dims.mul(batch, steps), tags))
    return Chain(rows, offsets, count, (batch, steps))


def require_tags(label: Tensor, emission: Tensor, where: str) -> None:
    """Integers, one for each row of the emissions, perhaps with a last dimension of 1."""
    if not dtypes.is_int(label.type.dtype):
        raise DtypeError(f"{where}: labels are tags", "int64 or int32", label.type.dtype)
    rows, shape = emission.type.shape[:-1], label.type.shape
    if len(shape) == len(rows) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    if not fits(shape, rows):
        raise ShapeError(f"{where}: there is one tag per emission", checks.dims_text(rows), checks.shape_text(label))


def fits(shape: tuple[Dim, ...], wanted: tuple[Dim, ...]) -> bool:
    """Whether a shape is the wanted one, or may turn out to be."""
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(a == b or checks.may_be_equal(a, b) for a, b in pairs)
