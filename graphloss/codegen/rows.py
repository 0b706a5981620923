"""Tile ROWS: lanes along the row; the row-level values of as many rows as there are lanes are one vector."""

from __future__ import annotations

from llvmlite import ir

from graphloss.codegen import flow
from graphloss.codegen.chunk import Chunk, bases_of, lane_axes
from graphloss.codegen.elements import Row, walk
from graphloss.codegen.flow import i64
from graphloss.codegen.frame import Frame, Place, Value, Values
from graphloss.codegen.nodes import evaluate, uniform
from graphloss.codegen.plan import Pass, Plan
from graphloss.codegen.prefetch import NEAR, Stream, distances, streams
from graphloss.schedule.kernel import Total


def emit_rows(frame: Frame, plan: Plan, chunk: Chunk, begin: ir.Value, end: ir.Value) -> None:
    """Outer positions [begin, end) of one chunk."""
    if plan.has_rows:
        tile = _Tile(frame, plan, chunk)
        flow.for_loop(
            frame.builder, begin, end, frame.lanes.width, [], lambda t, _: tile.emit(t, flow.sub(frame.builder, end, t))
        )
    else:
        flow.for_loop(frame.builder, begin, end, 1, [], lambda row, _: _plain_row(frame, plan, chunk, row))


def emit_split_row(frame: Frame, plan: Plan, chunk: Chunk, begin: ir.Value, end: ir.Value) -> None:
    """Positions [begin, end) of the row axis, where there is no outer axis and no row reduction."""
    wanted = streams(plan, frame.kernel.row_axis)
    for step in plan.loops:
        bases = bases_of(frame, step.inside, {})
        ahead = {s.position: (i64(NEAR), s.writes) for s in wanted.get(step.number, [])}
        row = Row(begin, end, dict(frame.scalars), bases, {}, lambda: i64(0), ahead, chunk.columns)
        chunk.take(walk(frame, step, row).vectors)


def _plain_row(frame: Frame, plan: Plan, chunk: Chunk, row: ir.Value) -> list[ir.Value]:
    wanted = streams(plan, frame.kernel.row_axis)
    for step in plan.loops:
        _row_loop(frame, step, chunk, row, dict(frame.scalars), wanted.get(step.number, []))
    return []


def _row_loop(
    frame: Frame, step: Pass, chunk: Chunk, row: ir.Value, values: Values, wanted: list[Stream]
) -> dict[int, ir.Value]:
    """The loop of one pass over one row (`wanted`: what it prefetches); the scalars of its row reductions."""
    kernel, builder = frame.kernel, frame.builder
    length = frame.dim(1 if kernel.row is None else kernel.row)
    outer = frame.row_axes(row)
    piece = Row(
        i64(0), length, values, bases_of(frame, step.inside, outer), outer, lambda: flow.mul(builder, row, length),
        distances(frame, wanted), chunk.columns,
    )  # fmt: skip
    outcome = walk(frame, step, piece)
    chunk.take(outcome.vectors)
    return outcome.scalars



class _Tile:
    """As many rows as there are lanes: row-level nodes once as a vector, then each row's loop, pass by pass."""

    def __init__(self, frame: Frame, plan: Plan, chunk: Chunk) -> None:
        self.frame = frame
        self.plan = plan
        self.chunk = chunk
        self.streams = streams(plan, frame.kernel.row_axis)
        spilled = dict.fromkeys(p for step in plan.loops for p in (*step.uses, *step.reduces))
        self.space = {p: frame.stack(frame.actions[p].dtype, frame.lanes.width) for p in spilled}

    def emit(self, first: ir.Value, left: ir.Value) -> list[ir.Value]:
        frame, lanes, builder = self.frame, self.frame.lanes, self.frame.builder
        mask = lanes.first(left)
        count = flow.smaller(builder, left, i64(lanes.width))
        place = Place(lane_axes(frame, first), mask, lambda: (first, i64(1)))
        values = dict(frame.scalars)
        for step in self.plan.passes:
            for position in step.before:
                self._row_node(position, values, place)
            if step is self.plan.passes[-1]:
                break
            for position in step.uses:
                if position not in step.reduces:
                    lanes.store(self.space[position], values[position].vector, frame.actions[position].dtype)
            flow.for_loop(builder, i64(0), count, 1, [], self._row(step, first))
            for position in step.reduces:
                values[position] = Value(lanes.load(self.space[position], frame.actions[position].dtype))
        return []

    def _row_node(self, position: int, values: Values, place: Place) -> None:
        action = self.frame.actions[position]
        if isinstance(action, Total):
            dtype = self.frame.actions[action.arg].dtype
            self.chunk.totals[position].add(values[action.arg].vector, dtype, place.mask)
            return
        value = evaluate(self.frame, position, values, place)
        if value is not None:
            values[position] = value

    def _row(self, step: Pass, first: ir.Value) -> flow.Body:
        frame, lanes = self.frame, self.frame.lanes
        wanted = self.streams.get(step.number, [])

        def body(lane: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            values = dict(frame.scalars)
            one = lanes.with_width(1)
            for position in step.uses:
                dtype = frame.actions[position].dtype
                pointer = one.element(self.space[position], lane, dtype)
                values[position] = uniform(frame, one.load_scalar(pointer, dtype))
            row = flow.add(frame.builder, first, lane)
            for position, scalar in _row_loop(frame, step, self.chunk, row, values, wanted).items():
                dtype = frame.actions[position].dtype
                one.store(one.element(self.space[position], lane, dtype), scalar, dtype)
            return []

        return body
