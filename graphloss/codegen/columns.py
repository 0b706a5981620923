"""Tile COLUMNS: lanes along the inner axis; row-level values of 256 inner positions lie on the stack."""

from __future__ import annotations

from functools import partial
from typing import Final

from llvmlite import ir

from graphloss.codegen import flow, prefetch
from graphloss.codegen.chunk import Chunk, bases_of
from graphloss.codegen.elements import column_dtype, unroll_of, vectors
from graphloss.codegen.flow import i64
from graphloss.codegen.frame import Frame, Index, Place, Ramp, Scalar, Value, Values
from graphloss.codegen.nodes import evaluate
from graphloss.codegen.plan import Pass, Plan
from graphloss.codegen.prefetch import access_dtype, streams
from graphloss.codegen.reduce import Accumulator, better, combine, fold, neutral
from graphloss.ir.dims import Dim
from graphloss.schedule.kernel import Column, Total, operands

POSITIONS: Final = 256  # inner positions of one scratch tile: their values stay in the first-level cache

# float32 sums are carried in float32 over this many rows; a lane has one chain here, so fewer than in a row.
ROWS_IN_BLOCK: Final = 64


def emit_columns(frame: Frame, plan: Plan, chunk: Chunk, begin: ir.Value, end: ir.Value) -> None:
    """Outer positions [begin, end) of one chunk."""
    builder = frame.builder
    inner = frame.dim(1 if frame.kernel.inner is None else frame.kernel.inner)
    scratch = _Scratch(frame, plan)

    def outer(number: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        axes = frame.row_axes(number)

        def piece(first: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            last = flow.smaller(builder, flow.add(builder, first, i64(POSITIONS)), inner)
            _Tile(frame, plan, chunk, scratch, number, axes, first, last).emit()
            return []

        return flow.for_loop(builder, i64(0), inner, POSITIONS, [], piece)

    flow.for_loop(builder, begin, end, 1, [], outer)


class _Scratch:
    """Stack space: an array of 256 for each row-level value that another loop reads than the one that makes it."""

    def __init__(self, frame: Frame, plan: Plan) -> None:
        made = {p: step.number for step in plan.passes for p in step.before}
        used = [p for step in plan.loops for p in step.uses]
        for step in plan.passes:
            for position in step.before:
                used += [o for o in operands(frame.actions[position]) if made.get(o, step.number) != step.number]
        self.streams = streams(plan, len(frame.kernel.axes) - 1) if frame.kernel.inner is not None else {}
        self.values = {p: frame.stack(frame.actions[p].dtype, POSITIONS) for p in dict.fromkeys(used) if p in made}
        self.accumulators: dict[int, Accumulator] = {}
        self.indices: dict[int, ir.Value] = {}
        self.wide: dict[int, ir.Value] = {}
        row = frame.kernel.row
        for position in (p for step in plan.loops for p in step.reduces):
            a = self.accumulators[position] = Accumulator(frame, position, 1)
            self.values[position] = frame.stack(a.dtype, POSITIONS)
            if a.indexed:
                self.indices[position] = frame.stack("int64", POSITIONS)
            if a.blocked and not (isinstance(row, int) and row <= ROWS_IN_BLOCK):
                self.wide[position] = frame.stack(a.wide, POSITIONS)


class _Tile:
    """Inner positions [first, last) of one outer position."""

    def __init__(
        self, frame: Frame, plan: Plan, chunk: Chunk, scratch: _Scratch, number: ir.Value,
        outer: dict[int, ir.Value], first: ir.Value, last: ir.Value,
    ) -> None:  # fmt: skip
        self.frame, self.plan, self.chunk, self.scratch = frame, plan, chunk, scratch
        self.lanes, self.builder = frame.lanes, frame.builder
        self.number, self.outer, self.first, self.last = number, outer, first, last
        kernel = frame.kernel
        self.rows: Dim = 1 if kernel.row is None else kernel.row
        self.inner: Dim = 1 if kernel.inner is None else kernel.inner
        self.inner_axis = len(kernel.axes) - 1
        # Scratch is addressed by the inner index itself, like the buffers.
        self.back = self.builder.sub(i64(0), first) if flow.known(first) is None else i64(-(flow.known(first) or 0))

    def emit(self) -> None:
        for step in self.plan.passes:
            self._row_level(step)
            if step is not self.plan.passes[-1]:
                self._loop(step)

    # scratch

    def _slot(self, space: ir.Value, j: ir.Value, dtype: str) -> ir.Value:
        return self.lanes.element(space, flow.add(self.builder, self.back, j), dtype)

    def _fetch(self, position: int, j: ir.Value) -> Value:
        """A row-level value made by another loop."""
        frame, lanes = self.frame, self.lanes
        dtype = frame.actions[position].dtype
        a = self.scratch.accumulators.get(position)
        if a is not None and a.indexed:
            index = lanes.load(self._slot(self.scratch.indices[position], j, "int64"), "int64")
            return Value(lanes.convert(index, "int64", dtype))
        held = dtype if a is None else a.dtype
        space = self.scratch.values[position]
        return Value(lanes.convert(lanes.load(self._slot(space, j, held), held), held, dtype))

    # row level

    def _row_level(self, step: Pass) -> None:
        """One loop over the tile: the row-level nodes of this step, and the start of its accumulators."""
        if not step.before and not step.reduces:
            return
        frame = self.frame
        bases = bases_of(frame, step.before, self.outer)

        def visit(at: list[ir.Value], mask: ir.Value | None, _: list[ir.Value]) -> list[ir.Value]:
            for j in at:
                self._start(step, j)
                place = Place(self._axes(j, None), mask, partial(self._row_number, j), step.number, bases,
                              frozenset(self.outer))  # fmt: skip
                values = dict(frame.scalars)
                for position in step.before:
                    for operand in operands(frame.actions[position]):
                        if operand not in values:
                            values[operand] = self._fetch(operand, j)
                    self._row_node(position, values, place, j)
            return []

        vectors(frame, self.first, self.last, 1, [], visit)

    def _start(self, step: Pass, j: ir.Value) -> None:
        lanes = self.lanes
        for position in step.reduces:
            a = self.scratch.accumulators[position]
            lanes.store(self._slot(self.scratch.values[position], j, a.dtype), neutral(lanes, a.kind, a.dtype), a.dtype)
            if a.indexed:
                lanes.store(self._slot(self.scratch.indices[position], j, "int64"), lanes.const("int64", 0), "int64")
            if position in self.scratch.wide:
                lanes.store(self._slot(self.scratch.wide[position], j, a.wide), lanes.const(a.wide, 0), a.wide)

    def _row_node(self, position: int, values: Values, place: Place, j: ir.Value) -> None:
        action = self.frame.actions[position]
        if isinstance(action, Total):
            dtype = self.frame.actions[action.arg].dtype
            self.chunk.totals[position].add(values[action.arg].vector, dtype, place.mask)
            return
        value = evaluate(self.frame, position, values, place)
        if value is not None:
            values[position] = value
            if position in self.scratch.values:
                dtype = action.dtype
                self.lanes.store(self._slot(self.scratch.values[position], j, dtype), value.vector, dtype)

    def _axes(self, j: ir.Value, row: ir.Value | None) -> dict[int, Index]:
        kernel = self.frame.kernel
        axes: dict[int, Index] = {axis: Scalar(index) for axis, index in self.outer.items()}
        if row is not None and kernel.row is not None:
            axes[kernel.row_axis] = Scalar(row)
        if kernel.inner is not None:
            axes[self.inner_axis] = Ramp(j)
        return axes

    def _row_number(self, j: ir.Value) -> tuple[ir.Value, ir.Value]:
        start = flow.mul(self.builder, self.number, self.frame.dim(self.inner))
        return flow.add(self.builder, start, j), i64(1)

    # elements

    def _loop(self, step: Pass) -> None:
        """The rows of one pass; float32 sums move to float64 after each block of rows."""
        builder, rows = self.builder, self.frame.dim(self.rows)
        wide = [p for p in step.reduces if p in self.scratch.wide]
        if not wide:
            flow.for_loop(builder, i64(0), rows, 1, [], lambda r, _: self._row(step, r))
            return

        def block(r: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            end = flow.smaller(builder, flow.add(builder, r, i64(ROWS_IN_BLOCK)), rows)
            flow.for_loop(builder, r, end, 1, [], lambda r, _: self._row(step, r))
            self._flush(wide, last=False)
            return []

        flow.for_loop(builder, i64(0), rows, ROWS_IN_BLOCK, [], block)
        self._flush(wide, last=True)

    def _flush(self, positions: list[int], last: bool) -> None:
        """Adds the float32 sums to the float64 ones and clears them, or (`last`) puts the result in their place."""
        lanes = self.lanes

        def visit(at: list[ir.Value], mask: ir.Value | None, _: list[ir.Value]) -> list[ir.Value]:
            for j in at:
                for position in positions:
                    a = self.scratch.accumulators[position]
                    narrow = self._slot(self.scratch.values[position], j, a.dtype)
                    wide = self._slot(self.scratch.wide[position], j, a.wide)
                    total = lanes.load(wide, a.wide)
                    if last:
                        lanes.store(narrow, lanes.convert(total, a.wide, a.dtype), a.dtype)
                        continue
                    block = lanes.convert(lanes.load(narrow, a.dtype), a.dtype, a.wide)
                    lanes.store(wide, lanes.add(total, block), a.wide)
                    lanes.store(narrow, lanes.const(a.dtype, 0), a.dtype)
            return []

        vectors(self.frame, self.first, self.last, 1, [], visit)

    def _row(self, step: Pass, r: ir.Value) -> list[ir.Value]:
        frame = self.frame
        unroll = unroll_of(step.cost + 2 * len(step.reduces) + len(step.uses))
        axes = dict(self.outer)
        if frame.kernel.row is not None:
            axes[frame.kernel.row_axis] = r
        bases = bases_of(frame, step.inside, axes)
        carried = [Accumulator(frame, p, unroll) for p in (*step.totals, *step.columns)]
        starts = [a.start() for a in carried]

        def visit(at: list[ir.Value], mask: ir.Value | None, flat: list[ir.Value]) -> list[ir.Value]:
            seen = [self._element(step, r, j, mask, bases, frozenset(axes)) for j in at]
            left = iter(flat)
            states = [[next(left) for _ in start] for start in starts]
            return [
                v
                for a, s in zip(carried, states, strict=True)
                for v in a.update(s, [values[a.arg].vector for values in seen], mask, at)
            ]

        flat = vectors(frame, self.first, self.last, unroll, [v for s in starts for v in s], visit)
        left = iter(flat)
        for a, start in zip(carried, starts, strict=True):
            vector = a.vector([next(left) for _ in start])
            if isinstance(frame.actions[a.position], Total):
                self.chunk.totals[a.position].add(vector, a.wide, None)
            else:
                self._add_column(a, vector, r)
        return []

    def _element(
        self, step: Pass, r: ir.Value, j: ir.Value, mask: ir.Value | None, bases: dict[int, ir.Value],
        counted: frozenset[int],
    ) -> Values:  # fmt: skip
        frame, builder = self.frame, self.builder

        def number() -> tuple[ir.Value, ir.Value]:
            row = flow.add(builder, flow.mul(builder, self.number, frame.dim(self.rows)), r)
            return flow.add(builder, flow.mul(builder, row, frame.dim(self.inner)), j), i64(1)

        place = Place(self._axes(j, r), mask, number, step.number, bases, counted)
        values = dict(frame.scalars)
        for position in step.uses:
            values[position] = self._fetch(position, j)
        if mask is None:  # what the next tile will touch
            for stream in self.scratch.streams.get(step.number, []):
                dtype = access_dtype(frame, stream.position)
                ahead = flow.add(builder, j, i64(POSITIONS))
                prefetch.emit(frame, bases[stream.position], ahead, stream.writes, dtype)
        for position in step.inside:
            value = evaluate(frame, position, values, place)
            if value is not None:
                values[position] = value
        for position in step.reduces:
            self._accumulate(position, values, r, j)
        return values

    def _accumulate(self, position: int, values: Values, r: ir.Value, j: ir.Value) -> None:
        # Lanes beyond the inner axis hold anything; nothing reads them.
        lanes = self.lanes
        a = self.scratch.accumulators[position]
        pointer = self._slot(self.scratch.values[position], j, a.dtype)
        so_far = lanes.load(pointer, a.dtype)
        x = lanes.convert(values[a.arg].vector, a.source, a.dtype)
        if not a.indexed:
            lanes.store(pointer, combine(lanes, a.kind, a.dtype, so_far, x), a.dtype)
            return
        take = better(lanes, a.kind, so_far, x, a.source)
        lanes.store(pointer, lanes.select(take, x, so_far), a.dtype)
        at = self._slot(self.scratch.indices[position], j, "int64")
        lanes.store(at, lanes.select(take, lanes.splat(r), lanes.load(at, "int64")), "int64")

    def _add_column(self, a: Accumulator, vector: ir.Value, r: ir.Value) -> None:
        one, lanes = self.lanes.with_width(1), self.lanes
        action = self.frame.expect(a.position, Column)
        held = column_dtype(self.frame, action)
        scalar = one.convert(fold(lanes, a.kind, a.wide, vector), a.wide, held)
        pointer = one.element(self.chunk.columns[a.position], r, held)
        one.store(pointer, combine(one, action.kind, held, one.load(pointer, held), scalar), held)
