"""Loop nests that add rows where an index says: into zeros, and into an array that is there."""

from __future__ import annotations

from functools import cache
from typing import Final

from graphloss import dtypes
from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.ir.loop_builder import Handle, NestBuilder
from graphloss.ir.loops import Nest, Size, Use, cast, equal, minimum, select

# Parts of the result that threads may take; each reads the whole index, so that few updates are one part.
PARTS: Final = 4
_UPDATES: Final = 65_536  # elements of updates for each part


def parts(updates: Dim) -> Dim:
    """Into how many parts the sums of so many elements are cut: 1 to PARTS."""
    several = dims.floordiv(updates, _UPDATES)
    return dims.sub(dims.add(several, 1), dims.maximum(dims.sub(several, PARTS - 1), 0))


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
def add_to_rows(dtype: str, index_dtype: str) -> Nest:
    """x (K, D) with updates (N, D) added to the rows that index (N) names, one after the other.

    The time is that of the updates, whatever K. Nothing is changed if an index is out of range.
    """
    b = NestBuilder("index_add")
    K, N, D = b.sizes("K", "N", "D")
    x = b.update("x", dtype, (K, D))
    index, updates = b.input("index", index_dtype, (N,)), b.input("updates", dtype, (N, D))
    kept = b.scratch("kept", "int64", (N,))
    with b.parallel("part", b.number(PARTS, "int64")) as part:
        safe = b.var("safe", N)
        with b.loop("i", 0, N) as i:
            kept[i] = _checked(b, index, i, K)
            b.assign(safe, select(kept[i] >= 0, safe, 0))
        with b.loop("i", 0, safe) as i:
            row = b.let("row", kept[i])
            with b.vector("d", 0, select(equal(row % PARTS, part), D, 0)) as d:
                x[row, d] = x[row, d] + updates[i, d]
    return b.nest()


def _checked(b: NestBuilder, index: Handle, i: Use, limit: Size) -> Use:
    """index[i] as int64, or -1 and an error of the run."""
    value = b.let("value", cast(index[i], "int64"))
    ok = (value >= 0) & (value < limit)
    return b.check("k", index, i, ok, f"an index in [0, {{{limit.name}}})", value=value, other=-1)
