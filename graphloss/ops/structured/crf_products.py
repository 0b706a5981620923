"""The CRF's recursions by products of exponentials: forward and backward weights in float64, scaled in each row.

forward[r, j] is the weight of all ways to tag j in row r, less the scales so far; it sums up to 1 / inverse[r]. A way's
step into j is exp(w[i, j]) less the largest of its column, so the ways to j before its emission amount to at least the
largest of them. While these are not below `LEAST`, what underflows has no part in any result: a path whose weight is
lost somewhere has a posterior below 1e-308 / LEAST^2. Else all is to be done in logarithms (`crf_logarithms`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from graphloss.ir.loop_builder import Handle, NestBuilder
from graphloss.ir.loops import Size, Use, cast, const, equal, exp, log, maximum, minimum, select
from graphloss.ops.structured.chain import Rows, finite

LEAST: Final = 1e-100
_BLOCK: Final = 4  # rows of pairs that are summed up at once: each element that is loaded has so many uses
_WIDE: Final = "float64"


@dataclass(frozen=True)
class Products:
    """Steps exp(w[i, j] - reach[j]) as `into[i, j]` and `onto[j, i]`; per row of the batch its emissions' exponentials,
    forward weights and what the backward weights are with the emission, 1 / Σ forward."""

    into: Handle
    onto: Handle
    reach: Handle
    least: Handle
    emitted: Handle
    forward: Handle
    through: Handle
    inverse: Handle
    tags: Size
    dtype: str


def products(b: NestBuilder, total: Size, tags: Size, dtype: str) -> Products:
    return Products(
        b.scratch("into", _WIDE, (tags, tags)), b.scratch("onto", _WIDE, (tags, tags)),
        b.scratch("reach", _WIDE, (tags,)), b.scratch("least", _WIDE, (tags,)),
        b.shared("emitted", _WIDE, (total, tags)), b.shared("forward", _WIDE, (total, tags)),
        b.shared("through", _WIDE, (total, tags)), b.shared("inverse", _WIDE, (total,)), tags, dtype,
    )  # fmt: skip


def prepare(b: NestBuilder, p: Products, weights: Handle) -> None:
    with b.vector("j", 0, p.tags) as j:
        top = b.var("top", const(float("-inf"), p.dtype))
        with b.loop("i", 0, p.tags) as i:
            b.assign(top, maximum(top, weights[i, j]))
        p.reach[j] = cast(top, _WIDE)
        p.least[j] = select(equal(top, float("-inf")), const(-1.0, _WIDE), LEAST)  # a tag that no step leads to
        shift = b.let("shift", cast(finite(top), _WIDE))
        with b.loop("i", 0, p.tags) as i:
            value = b.let("value", exp(cast(weights[i, j], _WIDE) - shift))
            p.into[i, j], p.onto[j, i] = value, value


def forward(b: NestBuilder, p: Products, given: Sequence[Handle], rows: Rows, stop: Use) -> tuple[Use, Use, Use]:
    """The logarithm of the weight of all paths, what the weights after the last row are to be multiplied by, and
    whether too little was left somewhere."""
    emission, _, start, end = given[:4]
    offset = b.var("offset", const(0, _WIDE))
    with b.loop("r", rows.begin, stop) as r:
        top, opening = b.var("top", const(float("-inf"), _WIDE)), b.let("opening", equal(r, rows.begin))
        with b.vector("j", 0, p.tags) as j:
            step = select(opening, cast(start[j], _WIDE), p.reach[j])
            weight = b.let("weight", cast(emission[r, j], _WIDE) + step)
            p.emitted[r, j] = weight
            b.accumulate(top, "max", weight)
        shift = b.let("shift", finite(top))
        b.assign(offset, offset + shift)
        with b.vector("j", 0, p.tags) as j:
            p.emitted[r, j] = exp(p.emitted[r, j] - shift)
    lost, scale = b.var("lost", const(False, "bool")), b.var("scale", const(1, _WIDE))
    with b.loop("r", rows.begin, stop) as r:
        inside = b.let("inside", r > rows.begin)
        sources, whole = b.let("sources", select(inside, p.tags, 0)), b.var("whole", const(0, _WIDE))
        with b.vector("j", 0, p.tags) as j:
            ways = b.var("ways", select(inside, const(0, _WIDE), 1.0))
            with b.loop("i", 0, sources) as i:
                b.assign(ways, ways + p.forward[r - 1, i] * p.into[i, j])
            scaled = b.let("scaled", ways * scale)
            b.accumulate(lost, "any", ~(scaled >= p.least[j]))
            weight = b.let("weight", scaled * p.emitted[r, j])
            p.forward[r, j] = weight
            b.accumulate(whole, "sum", weight)
        b.assign(lost, lost | ~(whole >= LEAST))
        b.assign(scale, 1.0 / whole)
        p.inverse[r] = scale
    with b.vector("r", rows.begin, stop) as r:
        b.accumulate(offset, "sum", -log(p.inverse[r]))
    top = b.var("top", const(float("-inf"), p.dtype))
    with b.vector("j", 0, p.tags) as j:
        b.accumulate(top, "max", end[j])
    shift, total = b.let("shift", cast(finite(top), _WIDE)), b.var("total", const(0, _WIDE))
    with b.vector("j", 0, select(rows.length > 0, p.tags, 0)) as j:
        b.accumulate(total, "sum", p.forward[stop - 1, j] * scale * exp(cast(end[j], _WIDE) - shift))
    b.assign(lost, (lost | ~(total >= LEAST)) & (rows.length > 0))
    factor = b.let("factor", scale / total)
    return b.let("log_z", offset + shift + log(total)), factor, lost


def backward(
    b: NestBuilder, p: Products, end: Handle, d_emission: Handle, d_transition: Handle, n: Use, rows: Rows, stop: Use,
    factor: Use, lost: Use,
) -> None:  # fmt: skip
    """The probabilities of each tag in each row, of each pair of tags summed over the rows; nothing if `lost`."""
    first = b.let("first", select(lost, stop, rows.begin + 1))  # of the rows with one before them
    top = b.var("top", const(float("-inf"), p.dtype))
    with b.vector("j", 0, p.tags) as j:
        b.accumulate(top, "max", end[j])
    shift = b.let("shift", cast(finite(top), _WIDE))
    less = b.let("less", p.inverse.load(stop - 2, rows.length > 1, 1.0))
    with b.vector("j", 0, select(lost | (rows.length < 1), 0, p.tags)) as j:
        weight = b.let("weight", exp(cast(end[j], _WIDE) - shift) * factor)
        d_emission[stop - 1, j] = cast(p.forward[stop - 1, j] * weight, p.dtype)
        p.through[stop - 1, j] = p.emitted[stop - 1, j] * weight * less
    with b.loop("r", first, stop, reverse=True) as r:
        less = b.let("less", p.inverse.load(r - 2, r - 1 > rows.begin, 1.0))
        with b.vector("i", 0, p.tags) as i:
            weight = b.var("weight", const(0, _WIDE))
            with b.loop("j", 0, p.tags) as j:
                b.assign(weight, weight + p.through[r, j] * p.onto[j, i])
            d_emission[r - 1, i] = cast(p.forward[r - 1, i] * weight, p.dtype)
            p.through[r - 1, i] = p.emitted[r - 1, i] * weight * less
    blocks = (p.tags + (_BLOCK - 1)) // _BLOCK
    with b.loop("block", 0, select(lost, 0, blocks)) as block:
        places = [b.let("place", minimum(block * _BLOCK + k, p.tags - 1)) for k in range(_BLOCK)]
        with b.vector("j", 0, p.tags) as j:
            sums = [b.var("sum", const(0, _WIDE)) for _ in places]
            with b.loop("r", first, stop) as r:
                onward = b.let("onward", p.through[r, j])
                for i, total in zip(places, sums, strict=True):
                    b.assign(total, total + p.forward[r - 1, i] * onward)
            for i, total in zip(places, sums, strict=True):
                d_transition[n, i, j] = cast(total * p.into[i, j], p.dtype)
