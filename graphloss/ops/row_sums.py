"""Loop nests that add rows where an index says: into zeros, and into an array that is there."""

from __future__ import annotations

from functools import cache
from typing import Final

from graphloss import dtypes
from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.ir.forms import Loops
from graphloss.ir.loop_builder import Handle, NestBuilder
from graphloss.ir.loops import Nest, Operand, Size, Use, cast, equal, minimum, select

# Parts of the result that threads may take; each reads the whole index, so that few updates are one part. What adds to
# rows that are there reads updates as they come, which more parts make several walks with gaps.
PARTS: Final = 4
ADDING: Final = 2
_UPDATES: Final = 65_536  # elements of updates for each part


def parts(updates: Dim, most: int) -> Dim:
    """Into how many parts the sums of so many elements are cut: 1 to `most`."""
    several = dims.floordiv(updates, _UPDATES)
    return dims.sub(dims.add(several, 1), dims.maximum(dims.sub(several, most - 1), 0))


def scatter_add(dtype: str, index_dtype: str, sizes: tuple[Dim, Dim, Dim]) -> Loops:
    """The nest for `sizes` (K, N, D): rows, updates, elements of a row."""
    K, N, D = sizes
    if D == 1:
        return Loops(sums_of_numbers(dtype, index_dtype), (K, N))
    return Loops(sums_of_rows(dtype, index_dtype), (*sizes, parts(dims.mul(N, D), PARTS)))


def index_add(dtype: str, index_dtype: str, sizes: tuple[Dim, Dim, Dim]) -> Loops:
    """The nest for `sizes` (K, N, D): rows, updates, elements of a row."""
    K, N, D = sizes
    if D == 1:
        return Loops(add_to_numbers(dtype, index_dtype), (K, N))
    return Loops(add_to_rows(dtype, index_dtype), (*sizes, parts(dims.mul(N, D), ADDING)))


@cache
def sums_of_rows(dtype: str, index_dtype: str) -> Nest:
    """out (K, D) from index (N) and updates (N, D): out[k] is the sum of the updates whose index is k, in their order.

    Each of P parts sorts the updates of its rows by counting, so that a row is written once, from a sum in float64.
    """
    b = NestBuilder("scatter_add")
    K, N, D, P = b.sizes("K", "N", "D", "P")
    index, updates = b.input("index", index_dtype, (N,)), b.input("updates", dtype, (N, D))
    out = b.output("out", dtype, (K, D))
    rows = (K + (P - 1)) // P
    start, order = b.scratch("start", "int64", (rows + 2,)), b.scratch("order", "int64", (N,))
    kept = b.scratch("kept", "int64", (N,))  # an index is read once, since a feed may change meanwhile
    held = "float64" if dtypes.is_float(dtype) else dtype
    with b.parallel("part", P) as part:
        low = b.let("low", minimum(part * rows, K))
        count = b.let("count", minimum(rows, K - low))
        with b.vector("r", 0, rows + 2) as r:
            start[r] = 0
        with b.loop("i", 0, N) as i:  # the updates of other parts are counted behind those of the last row: no branch
            row = b.let("row", _checked(b, index, i, K) - low)
            place = b.let("bucket", select((row >= 0) & (row < count), row, count))
            kept[i] = place
            start[place + 1] = start[place + 1] + 1
        with b.loop("r", 0, count) as r:
            start[r + 1] = start[r + 1] + start[r]
        with b.loop("i", 0, N) as i:  # afterwards start[r] is where the updates of row r end
            place = b.let("place", start[kept[i]])
            order[place] = i
            start[kept[i]] = place + 1
        with b.loop("r", 0, count) as r:
            first, last = b.let("first", start.load(r - 1, r > 0)), b.let("last", start[r])
            with b.vector("d", 0, D) as d:
                total = b.var("total", b.number(0, held))
                with b.loop("j", first, last) as j:
                    b.assign(total, total + cast(updates[order[j], d], held))
                out[low + r, d] = cast(total, dtype)
    return b.nest()


@cache
def sums_of_numbers(dtype: str, index_dtype: str) -> Nest:
    """`sums_of_rows` of rows of one number, without sorting: it is added where it belongs as it comes."""
    b = NestBuilder("scatter_add")
    K, N = b.sizes("K", "N")
    index, updates = b.input("index", index_dtype, (N,)), b.input("updates", dtype, (N,))
    out = b.output("out", dtype, (K,))
    held = "float64" if dtypes.is_float(dtype) else dtype
    sums = b.scratch("sums", held, (K + 1,))  # what has no place is added behind the last one
    with b.parallel("part", b.number(1, "int64")):
        with b.vector("k", 0, K) as k:
            sums[k] = 0
        with b.loop("i", 0, N) as i:
            row = _checked(b, index, i, K, K)
            sums[row] = sums[row] + cast(updates[i], held)
        with b.vector("k", 0, K) as k:
            out[k] = cast(sums[k], dtype)
    return b.nest()


@cache
def add_to_rows(dtype: str, index_dtype: str) -> Nest:
    """x (K, D) with updates (N, D) added to the rows that index (N) names, one after the other.

    The time is that of the updates, whatever K. Each of P parts has rows of its own and reads the whole index. Nothing
    is changed if an index is out of range.
    """
    b = NestBuilder("index_add")
    K, N, D, P = b.sizes("K", "N", "D", "P")
    x = b.update("x", dtype, (K, D))
    index, updates = b.input("index", index_dtype, (N,)), b.input("updates", dtype, (N, D))
    kept = b.scratch("kept", "int64", (N,))
    with b.parallel("part", P) as part:
        safe = _all_checked(b, index, kept, N, K)
        with b.loop("i", 0, safe) as i:
            row = b.let("row", kept[i])
            with b.vector("d", 0, select(equal(row % P, part), D, 0)) as d:
                x[row, d] = x[row, d] + updates[i, d]
    return b.nest()


@cache
def add_to_numbers(dtype: str, index_dtype: str) -> Nest:
    """`add_to_rows` of rows of one number."""
    b = NestBuilder("index_add")
    K, N = b.sizes("K", "N")
    x = b.update("x", dtype, (K,))
    index, updates = b.input("index", index_dtype, (N,)), b.input("updates", dtype, (N,))
    kept = b.scratch("kept", "int64", (N,))
    with b.parallel("part", b.number(1, "int64")):
        safe = _all_checked(b, index, kept, N, K)
        with b.loop("i", 0, safe) as i:
            row = b.let("row", kept[i])
            x[row] = x[row] + updates[i]
    return b.nest()


def _all_checked(b: NestBuilder, index: Handle, kept: Handle, count: Size, limit: Size) -> Use:
    """Leaves the index in `kept`; how many updates to add: all of them, or none if one is out of range."""
    safe = b.var("safe", count)
    with b.loop("i", 0, count) as i:
        row = _checked(b, index, i, limit)
        kept[i] = row
        b.assign(safe, select(row >= 0, safe, 0))
    return safe


def _checked(b: NestBuilder, index: Handle, i: Use, limit: Size, other: Operand = -1) -> Use:
    """index[i] as int64, or `other` and an error of the run."""
    value = b.let("value", cast(index[i], "int64"))
    ok = (value >= 0) & (value < limit)
    return b.check("k", index, i, ok, f"an index in [0, {{{limit.name}}})", value=value, other=other)
