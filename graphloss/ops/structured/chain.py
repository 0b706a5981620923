"""What the nests on linear chains share: sequences as rows of one matrix, and sums over all pairs of tags.

Sequence n has the rows offsets[n] .. offsets[n+1]-1, of which the first length[n] count: packed sequences have no
others, padded ones have as many rows as the longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graphloss.errors import ShapeError
from graphloss.ir import dims
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.loop_builder import Handle, NestBuilder
from graphloss.ir.loops import Const, Expr, Size, Use, cast, const, equal, exp, log, maximum, select
from graphloss.ir.opdef import Array, Types
from graphloss.ops import rules
from graphloss.ops.check import range_error

ONCE: Final = Const(1, "int64")
ZERO: Final = Const(0, "int64")


@dataclass(frozen=True)
class Rows:
    """The rows of one sequence: from `begin` on, `length` that count, up to `end`."""

    begin: Use
    end: Use
    length: Use


OFFSET: Final = "offsets that begin with 0, never fall and end with {rows}"
LENGTH: Final = "a length from 0 to the number of rows of its sequence"


def sequences(b: NestBuilder, offsets: Handle, length: Handle, n: Use, batch: Size, total: Size) -> Rows:
    """The rows of sequence n, none where offsets or length are not what they should be."""
    expected = OFFSET.format(rows=f"{{{total.name}}}")
    first = b.let("first", cast(offsets[n], "int64"))
    ok = (first >= 0) & (first <= select(equal(n, 0), ZERO, total))
    begin = b.check("begin", offsets, n, ok, expected, value=first)
    second = b.let("second", cast(offsets[n + 1], "int64"))
    ok = (second >= maximum(begin, select(equal(n + 1, batch), total, 0))) & (second <= total)
    end = b.check("end", offsets, n + 1, ok, expected, value=second, other=begin)
    found = b.let("found", cast(length[n], "int64"))
    ok = (found >= 0) & (found <= end - begin)
    return Rows(begin, end, b.check("length", length, n, ok, LENGTH, value=found))


def read_sequences(offsets: Array, length: Array, rows: int) -> list[tuple[int, int]]:
    """(first row, number of rows that count) of each sequence; the errors of the compiled code."""
    found = []
    for n, count in enumerate(length.tolist()):
        begin, end = int(offsets[n]), int(offsets[n + 1])
        if not 0 <= begin <= (rows if n else 0):
            raise range_error("offsets", (n,), begin, OFFSET.format(rows=rows))
        if not (rows if n + 1 == len(length) else begin) <= end <= rows:
            raise range_error("offsets", (n + 1,), end, OFFSET.format(rows=rows))
        if not 0 <= count <= end - begin:
            raise range_error("length", (n,), count, LENGTH)
        found.append((begin, count))
    return found


def check_types(names: Sequence[str], ranks: Sequence[int], types: Types, equations: Equations) -> None:
    """Of emissions [R, K], transitions [K, K], start and end weights [K], perhaps labels [R], offsets [B+1], lengths
    [B]."""
    for name, t, rank in zip(names, types, ranks, strict=True):
        if t.rank != rank:
            raise ShapeError(f"{name} has the wrong rank", rank, rules.show(t.shape))
        rules.expect(t, "int" if name in ("label", "offsets", "length") else "float", name)
    rules.agree(types[:4])
    found = dict(zip(names, types, strict=True))
    rows, tags = found["emission"].shape
    wanted: dict[str, tuple[Dim, ...]] = {
        "transition": (tags, tags), "start": (tags,), "end": (tags,), "label": (rows,)
    }  # fmt: skip
    for name, t in found.items():
        if name in wanted:
            rules.equal_shapes(t.shape, wanted[name], equations, f"{name} and emission")
    batch = found["length"].shape[0]
    rules.equal_shapes(found["offsets"].shape, (dims.add(batch, 1),), equations, "the offsets and the lengths")
    if equations.equal(dims.maximum(tags, 1), tags, "there is a tag to choose") is None:
        raise ShapeError("there is no tag to choose", "at least 1", 0)


def finite(x: Expr) -> Expr:
    """x, or 0 for -inf: what to subtract from numbers that are all -inf."""
    return select(equal(x, float("-inf")), 0.0, x)


@dataclass(frozen=True)
class Pairs:
    """exp(w[i, j]) in columns scaled to a maximum of 1, `by_row[i, j]` and `by_column[j, i]`; the logarithm of the
    scale of each column, `scale[j]`."""

    by_row: Handle
    by_column: Handle
    scale: Handle
    weights: Handle
    tags: Size
    dtype: str

    @property
    def tiny(self) -> float:
        """Sums from here on lose nothing to underflow: what is lost of a term is below the least normal number."""
        return 1e-20 if self.dtype == "float32" else 1e-280


def pairs(b: NestBuilder, weights: Handle, tags: Size, dtype: str) -> Pairs:
    return Pairs(
        b.scratch("by_row", dtype, (tags, tags)), b.scratch("by_column", dtype, (tags, tags)),
        b.scratch("scale", "float64", (tags,)), weights, tags, dtype,
    )  # fmt: skip


def prepare(b: NestBuilder, p: Pairs) -> None:
    with b.vector("j", 0, p.tags) as j:
        top = b.var("top", const(float("-inf"), p.dtype))
        with b.loop("i", 0, p.tags) as i:
            b.assign(top, maximum(top, p.weights[i, j]))
        scale = b.let("scale_j", finite(top))
        p.scale[j] = cast(scale, "float64")
        with b.loop("i", 0, p.tags) as i:
            value = b.let("value", exp(p.weights[i, j] - scale))
            p.by_row[i, j], p.by_column[j, i] = value, value


def log_sums(
    b: NestBuilder, p: Pairs, row: Handle, out: Handle, scaled: Handle, sums: Handle | None = None, *, forward: bool
) -> Use:
    """out[j] = log sum_i exp(row[i] + w[i, j]), or with `forward` false out[i] = log sum_j exp(row[j] + w[i, j]).

    The sums are first of products of exponentials, one of which is left in `scaled`, the sums in `sums`. Where too
    little is left of a sum, all are taken anew in logarithms; whether that was so is what this gives.
    """
    top = b.var("top", const(float("-inf"), "float64"))
    with b.vector("i", 0, p.tags) as i:
        b.accumulate(top, "max", row[i] if forward else row[i] + p.scale[i])
    shift = b.let("shift", finite(top))
    with b.vector("i", 0, p.tags) as i:
        scaled[i] = exp(cast((row[i] if forward else row[i] + p.scale[i]) - shift, p.dtype))
    lost = b.var("lost", const(False, "bool"))
    matrix = p.by_row if forward else p.by_column
    with b.vector("j", 0, p.tags) as j:
        total = b.var("total", const(0, p.dtype))
        with b.loop("i", 0, p.tags) as i:
            b.assign(total, total + scaled[i] * matrix[i, j])
        if sums is not None:
            sums[j] = total
        b.accumulate(lost, "any", total < p.tiny)
        known = cast(log(total), "float64") + shift
        out[j] = known + p.scale[j] if forward else known
    with b.loop("again", 0, select(lost, ONCE, 0)), b.vector("j", 0, p.tags) as j:
        best = b.var("best", const(float("-inf"), "float64"))
        with b.loop("i", 0, p.tags) as i:
            b.assign(best, maximum(best, row[i] + _weight(p, i, j, forward)))
        base = b.let("base", finite(best))
        total = b.var("total", const(0, "float64"))
        with b.loop("i", 0, p.tags) as i:
            b.assign(total, total + exp(row[i] + _weight(p, i, j, forward) - base))
        out[j] = log(total) + base
    return lost


def _weight(p: Pairs, i: Use, j: Use, forward: bool) -> Expr:
    return cast(p.weights[i, j] if forward else p.weights[j, i], "float64")
