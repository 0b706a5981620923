"""What all tiles share around their loops: totals and column partials of a chunk, addresses hoisted out of a loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llvmlite import ir

from graphloss.codegen import flow
from graphloss.codegen.elements import column_dtype
from graphloss.codegen.flow import i64
from graphloss.codegen.frame import Frame, Index, Ramp, Spread
from graphloss.codegen.plan import Plan
from graphloss.codegen.reduce import TotalSlot, neutral
from graphloss.schedule.kernel import Column, IndexedLoad, Keep, Load, Store, Total


class Chunk:
    """What one chunk accumulates beyond its rows: totals on the stack, column partials in memory."""

    def __init__(self, frame: Frame, plan: Plan) -> None:
        self.frame = frame
        self.plan = plan
        self.totals = {p: TotalSlot(frame, p) for p in plan.positions(Total)}
        self.columns: dict[int, ir.Value] = {}

    def begin(self, chunk: ir.Value) -> None:
        for slot in self.totals.values():
            slot.clear()
        frame, builder, lanes = self.frame, self.frame.builder, self.frame.lanes
        self.columns = {}
        for position in self.plan.positions(Column):
            action = frame.expect(position, Column)
            held = column_dtype(frame, action)
            width = self.width()
            base = frame.address(action.access, {}, held)
            base = lanes.element(base, flow.mul(builder, chunk, width), held)
            self.columns[position] = base
            empty = neutral(lanes, action.kind, held)

            def clear(c: ir.Value, _: list[ir.Value], base: ir.Value = base, held: str = held,
                      empty: ir.Value = empty, width: ir.Value = width) -> list[ir.Value]:  # fmt: skip
                mask = lanes.first(flow.sub(builder, width, c))
                lanes.masked_store(lanes.element(base, c, held), mask, empty, held)
                return []

            flow.for_loop(builder, i64(0), width, lanes.width, [], clear)

    def width(self) -> ir.Value:
        """The length of a row of column partials."""
        row = self.frame.kernel.row
        return self.frame.dim(1 if row is None else row)

    def end(self, chunk: ir.Value) -> None:
        for slot in self.totals.values():
            slot.finish(chunk)

    def take(self, vectors: Mapping[int, tuple[ir.Value, str]]) -> None:
        """Adds what a loop accumulated for the totals."""
        for position, (vector, dtype) in vectors.items():
            self.totals[position].add(vector, dtype, None)


def bases_of(frame: Frame, positions: Iterable[int], axes: Mapping[int, ir.Value]) -> dict[int, ir.Value]:
    """The addresses of the accesses of a pass with the outer axes counted: computed once per row."""
    found: dict[int, ir.Value] = {}
    for position in positions:
        action = frame.actions[position]
        if isinstance(action, (Load, IndexedLoad, Keep, Store)):
            dtype: str = frame.actions[action.arg].dtype if isinstance(action, Store) else action.dtype
            found[position] = flow.opaque(frame.builder, frame.address(action.access, axes, dtype))
    return found


def lane_axes(frame: Frame, first: ir.Value) -> dict[int, Index]:
    """The indices along the outer axes of the rows first, first + 1, ...: one row per lane."""
    lanes, builder = frame.lanes, frame.builder
    outer = frame.kernel.outer
    if len(outer) <= 1:
        return {0: Ramp(first)} if outer else {}
    rows = lanes.add(lanes.splat(first), lanes.iota("int64"))
    found: dict[int, Index] = {}
    for axis in range(len(outer) - 1, 0, -1):
        size = lanes.splat(frame.dim(outer[axis]))
        quotient = builder.udiv(rows, size)
        found[axis] = Spread(builder.sub(rows, builder.mul(quotient, size)))
        rows = quotient
    found[0] = Spread(rows)
    return found
