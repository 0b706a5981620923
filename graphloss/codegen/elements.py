"""The loop over one row with the lanes along it: full vectors in independent chains, a masked rest, blocks for sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from llvmlite import ir

from graphloss.codegen import flow, prefetch
from graphloss.codegen.flow import i64
from graphloss.codegen.frame import Frame, Index, Place, Ramp, Scalar, Values
from graphloss.codegen.nodes import evaluate
from graphloss.codegen.plan import Pass
from graphloss.codegen.reduce import BLOCK, Accumulator, buffer_dtype, combine, total_dtype
from graphloss.schedule.kernel import Column

# A known row of at most this many vectors is written out without a loop.
_WRITTEN_OUT: Final = 4

State = list[list[ir.Value]]
Visit = Callable[[list[ir.Value], ir.Value | None, list[ir.Value]], list[ir.Value]]


def unroll_of(cost: int) -> int:
    """How many chains hide the latency of an accumulation: many for a body of few instructions."""
    return 4 if cost <= 8 else 2 if cost <= 24 else 1


@dataclass(slots=True)
class Row:
    """One row, or a piece of one: positions [begin, end) of the row axis.

    `outer`: indices along the outer axes; `bases`: addresses by node with those counted; `prefetch`: by node, the
    distance in elements to what a later row will touch, and whether it will be written; `columns`: addresses of the
    chunk's column partials; `first`: the position of element 0.
    """

    begin: ir.Value
    end: ir.Value
    values: Values
    bases: Mapping[int, ir.Value]
    outer: Mapping[int, ir.Value]
    first: Callable[[], ir.Value]
    prefetch: Mapping[int, tuple[ir.Value, bool]] = field(default_factory=dict)
    columns: Mapping[int, ir.Value] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What the loop accumulated: scalars of the row reductions, vectors (with their dtype) of the totals."""

    scalars: dict[int, ir.Value]
    vectors: dict[int, tuple[ir.Value, str]]


def walk(frame: Frame, step: Pass, row: Row) -> Outcome:
    """Emits the loop of one pass over `row`."""
    unroll = unroll_of(step.cost)
    accumulators = [Accumulator(frame, p, unroll) for p in (*step.reduces, *step.totals)]
    length = _known_length(row)
    if not any(a.blocked for a in accumulators) or (length is not None and length <= BLOCK):
        state = _span(frame, step, row, row.begin, row.end, [a.start() for a in accumulators], accumulators, unroll)
        wide: list[ir.Value | None] = [None] * len(accumulators)
    else:
        state, wide = _blocks(frame, step, row, accumulators, unroll)
    outcome = Outcome({}, {})
    for a, s, w in zip(accumulators, state, wide, strict=True):
        if a.total:
            outcome.vectors[a.position] = (a.vector(s) if w is None else w, a.wide)
        else:
            outcome.scalars[a.position] = a.scalar(s, w)
    return outcome


def _known_length(row: Row) -> int | None:
    begin, end = flow.known(row.begin), flow.known(row.end)
    return None if begin is None or end is None else end - begin


def _blocks(
    frame: Frame, step: Pass, row: Row, accumulators: list[Accumulator], unroll: int
) -> tuple[State, list[ir.Value | None]]:
    """The row in blocks, after each of which float32 sums are added to float64 ones."""
    lanes, builder = frame.lanes, frame.builder
    initial: State = [[lanes.const(a.wide, 0)] if a.blocked else a.start() for a in accumulators]

    def block(begin: ir.Value, flat: list[ir.Value]) -> list[ir.Value]:
        carried = _grouped(flat, initial)
        end = flow.smaller(builder, flow.add(builder, begin, i64(BLOCK)), row.end)
        state = [a.start() if a.blocked else c for a, c in zip(accumulators, carried, strict=True)]
        state = _span(frame, step, row, begin, end, state, accumulators, unroll)
        kept = [
            [lanes.add(c[0], a.vector(s))] if a.blocked else s
            for a, c, s in zip(accumulators, carried, state, strict=True)
        ]
        return [v for group in kept for v in group]

    flat = flow.for_loop(builder, row.begin, row.end, BLOCK, [v for group in initial for v in group], block)
    final = _grouped(flat, initial)
    return final, [s[0] if a.blocked else None for a, s in zip(accumulators, final, strict=True)]


def _grouped(flat: Sequence[ir.Value], like: State) -> State:
    left = iter(flat)
    return [[next(left) for _ in group] for group in like]


def _span(
    frame: Frame,
    step: Pass,
    row: Row,
    begin: ir.Value,
    end: ir.Value,
    state: State,
    accumulators: list[Accumulator],
    unroll: int,
) -> State:
    """Positions [begin, end) of the row."""

    def visit(at: list[ir.Value], mask: ir.Value | None, flat: list[ir.Value]) -> list[ir.Value]:
        seen = [_body(frame, step, row, c, mask) for c in at]
        groups = zip(accumulators, _grouped(flat, state), strict=True)
        return [v for a, s in groups for v in a.update(s, [values[a.arg].vector for values in seen], mask, at)]

    return _grouped(vectors(frame, begin, end, unroll, [v for group in state for v in group], visit), state)


def vectors(
    frame: Frame, begin: ir.Value, end: ir.Value, unroll: int, carried: list[ir.Value], visit: Visit
) -> list[ir.Value]:
    """Positions [begin, end) as vectors: full ones, `unroll` at a time, then masked ones one by one.

    visit(positions of lane 0, mask or None, carried values) gives the new carried values.
    """
    lanes, builder = frame.lanes, frame.builder
    width = lanes.width
    first, last = flow.known(begin), flow.known(end)
    if first is not None and last is not None and last - first <= _WRITTEN_OUT * width:
        full = first + (last - first) // width * width
        for c in range(first, full, width * unroll):
            carried = visit([i64(x) for x in range(c, min(c + width * unroll, full), width)], None, carried)
        return visit([i64(full)], lanes.first(i64(last - full)), carried) if full < last else carried
    stride = width * unroll
    if first is not None and last is not None:
        middle: ir.Value = i64(first + (last - first) // stride * stride)
    else:
        middle = flow.add(builder, begin, builder.and_(flow.sub(builder, end, begin), i64(-stride)))

    def together(c: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        c = flow.opaque(builder, c)
        return visit([flow.add(builder, c, i64(u * width)) for u in range(unroll)], None, carried)

    def masked(c: ir.Value, carried: list[ir.Value]) -> list[ir.Value]:
        c = flow.opaque(builder, c)
        return visit([c], lanes.first(flow.sub(builder, end, c)), carried)

    carried = flow.for_loop(builder, begin, middle, stride, carried, together)
    return flow.for_loop(builder, middle, end, width, carried, masked)


def _body(frame: Frame, step: Pass, row: Row, c: ir.Value, mask: ir.Value | None) -> Values:
    """The element nodes at positions c .. c + width - 1."""
    builder, lanes = frame.builder, frame.lanes
    axes: dict[int, Index] = {axis: Scalar(index) for axis, index in row.outer.items()}
    axes[frame.kernel.row_axis] = Ramp(c)
    place = Place(
        axes, mask, lambda: (flow.add(builder, row.first(), c), i64(1)), step.number, row.bases, frozenset(row.outer)
    )
    values = dict(row.values)
    for position in step.inside:
        if mask is None and position in row.prefetch:
            distance, writes = row.prefetch[position]
            dtype = prefetch.access_dtype(frame, position)
            prefetch.emit(frame, row.bases[position], flow.add(builder, c, distance), writes, dtype)
        value = evaluate(frame, position, values, place)
        if value is not None:
            values[position] = value
    for position in step.columns:
        action = frame.actions[position]
        assert isinstance(action, Column)
        held = column_dtype(frame, action)
        pointer = lanes.element(row.columns[position], c, held)
        source: str = frame.actions[action.arg].dtype
        value_now = lanes.convert(values[action.arg].vector, source, held)
        so_far = lanes.load(pointer, held) if mask is None else lanes.masked_load(pointer, mask, held)
        new = combine(lanes, action.kind, held, so_far, value_now)
        if mask is None:
            lanes.store(pointer, new, held)
        else:
            lanes.masked_store(pointer, mask, new, held)
    return values


def column_dtype(frame: Frame, action: Column) -> str:
    """What column partials are held in."""
    return buffer_dtype(frame, action.access.buffer, total_dtype(action.kind, frame.actions[action.arg].dtype))
