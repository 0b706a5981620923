"""Packed sequences as padded ones, and back."""

from __future__ import annotations

import numpy as np

from graphloss import ops
from graphloss.errors import ShapeError
from graphloss.ir import dims
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.forms import Host
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops.define import define, no_gradient
from graphloss.ops.rows import new_size

__all__ = ["pack_sequences", "pad_sequences", "sequence_numbers"]


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (offsets,) = types
    if offsets.dtype != "int64" or offsets.rank != 1 or len(attrs["size"]) != 1:
        raise ShapeError("offsets are a vector, and there is one size", "int64 of shape [S+1]", str(offsets))
    return (TensorType("int64", tuple(attrs["size"])),)


def _steps(offsets: Array, size: object = None) -> Array:
    return np.arange(np.diff(offsets).max(initial=0), dtype=np.int64)


def _numbers(offsets: Array, size: object = None) -> Array:
    return np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))


def _samples(*sizes: int) -> list[Sample]:
    offsets = ([0, 2, 2, 5], [0, 4], [0, 0], [0])
    return [Sample((np.array(o),), {"size": (n,)}) for o, n in zip(offsets, sizes, strict=True)]


define(
    "sequence_steps", ("offsets",), _infer, _steps, attrs=(AttrSpec("size", "shape"),), measures=True, ulp=0,
    lower=lambda t, o, a: Host(lambda arrays, shapes: (_steps(arrays[0]),)), vjp=no_gradient,
    samples=lambda rng: _samples(3, 4, 0, 0),
    summary="0, 1, … below the length of the longest sequence; `size` is that length, a symbol that the run binds.",
    formula="out = [0 … max_s(offsets[s+1] − offsets[s]) − 1]",
)  # fmt: skip

define(
    "sequence_numbers", ("offsets",), _infer, _numbers, attrs=(AttrSpec("size", "shape"),), ulp=0,
    lower=lambda t, o, a: Host(lambda arrays, shapes: (_numbers(arrays[0]),)), vjp=no_gradient,
    samples=lambda rng: _samples(5, 4, 0, 0),
    summary="The number of the sequence that each packed row belongs to; `size` is how many rows there are.",
    formula="out[r] = s where offsets[s] <= r < offsets[s+1]",
)  # fmt: skip


def sequence_numbers(offsets: Tensor, rows: Dim) -> Tensor:
    """The number of the sequence of each of `rows` packed rows, int64; `offsets` are checked ones, of `offsets_of`."""
    return apply("sequence_numbers", (offsets,), {"size": (rows,)})[0]


def pad_sequences(x: Tensor, offsets: Tensor, value: float = 0.0) -> tuple[Tensor, Tensor]:
    """Packed rows [R, …] as [S, T, …], where T is the length of the longest sequence, and the lengths, int64 [S].

    Args:
        x: the rows.
        offsets: checked ones, of `offsets_of(x)`.
        value: what stands behind the end of a shorter sequence.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(gl.create_lod_tensor(np.array([1.0, 2, 3]), [[1, 2]]))
        ...     padded, lengths = pad_sequences(x, ops.offsets_of(x), -1.0)
        ...     padded.numpy().tolist(), lengths.numpy().tolist()
        ([[1.0, -1.0], [2.0, 3.0]], [1, 2])
    """
    begin, end = _ends(offsets)
    lengths = end - begin
    steps = apply("sequence_steps", (offsets,), {"size": (new_size(offsets, "steps"),)})[0]
    inside = ops.less(ops.unsqueeze(steps, (0,)), ops.unsqueeze(lengths, (1,)))
    place = ops.where(inside, ops.unsqueeze(begin, (1,)) + ops.unsqueeze(steps, (0,)), 0)
    rank = x.type.rank + 1
    there = ops.unsqueeze(inside, tuple(range(2, rank))) if rank > 2 else inside
    rows = apply("gather", (x, place), {})[0]  # ops.gather reads an index [S, 1] as [S]
    return ops.where(there, rows, value), lengths


def pack_sequences(padded: Tensor, offsets: Tensor, rows: Dim) -> Tensor:
    """The rows [R, …] of sequences [S, T, …]: the steps that `offsets`, checked ones, give to each of them.

    A sequence longer than T is an error of the run.
    """
    begin, _ = _ends(offsets)
    _, steps, *rest = padded.type.shape
    numbers = sequence_numbers(offsets, rows)
    step = ops.check_index(ops.iota((rows,)) - ops.gather(begin, numbers), steps)
    flat = ops.reshape(padded, (dims.mul(begin.type.shape[0], steps), *rest))
    return ops.gather(flat, numbers * ops.size((steps,)) + step)


def _ends(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Where each sequence begins, and where it ends."""
    count = dims.sub(offsets.type.shape[0], 1)
    begin, end = (apply("slice", (offsets,), {"starts": (s,), "sizes": (count,), "steps": (1,)})[0] for s in (0, 1))
    return begin, end
