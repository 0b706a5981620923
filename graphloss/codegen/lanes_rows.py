"""Tile LANES_ARE_ROWS: one lane per row; a short row of known length lies in registers for all passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from graphloss import dtypes
from graphloss.codegen import flow, transpose
from graphloss.codegen.chunk import Chunk, lane_axes
from graphloss.codegen.elements import column_dtype
from graphloss.codegen.flow import i64
from graphloss.codegen.frame import Frame, Index, Place, Ramp, Scalar, Value, Values
from graphloss.codegen.nodes import evaluate
from graphloss.codegen.plan import Pass, Plan
from graphloss.codegen.reduce import better, combine, fold, neutral, total_dtype
from graphloss.schedule.kernel import Access, Column, Keep, Load, RowReduce, Store, Total


def emit_lanes_are_rows(frame: Frame, plan: Plan, chunk: Chunk, begin: ir.Value, end: ir.Value) -> None:
    """Outer positions [begin, end) of one chunk."""
    row = frame.kernel.row
    if not isinstance(row, int):
        raise TypeError("a row that lies in registers has a known length")
    columns = {p: _Columns(frame, p, row) for p in plan.positions(Column)}
    for c in columns.values():
        c.clear()

    def body(first: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        _Tile(frame, plan, chunk, columns, row, first, flow.sub(frame.builder, end, first)).emit()
        return []

    flow.for_loop(frame.builder, begin, end, frame.lanes.width, [], body)
    for position, c in columns.items():
        c.finish(chunk.columns[position])


class _Columns:
    """Column results of a chunk: one vector on the stack per element of the row."""

    def __init__(self, frame: Frame, position: int, row: int) -> None:
        action = frame.expect(position, Column)
        self.lanes = frame.lanes
        self.kind = action.kind
        self.source: str = frame.actions[action.arg].dtype
        self.dtype = total_dtype(action.kind, self.source)
        self.held = column_dtype(frame, action)
        self.spaces = [frame.stack(self.dtype, frame.lanes.width) for _ in range(row)]

    def clear(self) -> None:
        for space in self.spaces:
            self.lanes.store(space, neutral(self.lanes, self.kind, self.dtype), self.dtype)

    def add(self, values: Sequence[ir.Value], mask: ir.Value) -> None:
        lanes = self.lanes
        for space, value in zip(self.spaces, values, strict=True):
            wide = lanes.convert(value, self.source, self.dtype)
            wide = lanes.select(mask, wide, neutral(lanes, self.kind, self.dtype))
            so_far = lanes.load(space, self.dtype)
            lanes.store(space, combine(lanes, self.kind, self.dtype, so_far, wide), self.dtype)

    def finish(self, base: ir.Value) -> None:
        lanes, one = self.lanes, self.lanes.with_width(1)
        for r, space in enumerate(self.spaces):
            scalar = fold(lanes, self.kind, self.dtype, lanes.load(space, self.dtype))
            one.store(one.element(base, i64(r), self.held), one.convert(scalar, self.dtype, self.held), self.held)


@dataclass(frozen=True)
class _Rows:
    """Where a tile of rows lies in memory, on the stack, and where it is read or written whole."""

    memory: ir.Value
    distance: ir.Value
    spare: ir.Value
    spare_distance: ir.Value
    base: ir.Value
    between: ir.Value


class _Tile:
    """As many rows as there are lanes, from row `first` on, of which `left` exist."""

    def __init__(
        self, frame: Frame, plan: Plan, chunk: Chunk, columns: dict[int, _Columns], row: int, first: ir.Value,
        left: ir.Value,
    ) -> None:  # fmt: skip
        self.frame, self.plan, self.chunk, self.columns, self.row = frame, plan, chunk, columns, row
        self.lanes, self.builder = frame.lanes, frame.builder
        self.first, self.left = first, left
        self.axes = lane_axes(frame, first)
        self.mask = self.lanes.first(left)
        self.full = self.builder.icmp_signed(">=", left, i64(self.lanes.width))
        self.values: Values = dict(frame.scalars)  # of the scalar and the row level
        self.elements: dict[int, list[Value]] = {}  # by node, one per element of the row

    def emit(self) -> None:
        place = Place(self.axes, self.mask, lambda: (self.first, i64(1)))
        for step in self.plan.passes:
            for position in step.before:
                self._row_node(position, place)
            if step is not self.plan.passes[-1]:
                self._pass(step)

    def _row_node(self, position: int, place: Place) -> None:
        action = self.frame.actions[position]
        if isinstance(action, Total):
            dtype = self.frame.actions[action.arg].dtype
            self.chunk.totals[position].add(self.values[action.arg].vector, dtype, place.mask)
            return
        value = evaluate(self.frame, position, self.values, place)
        if value is not None:
            self.values[position] = value

    # elements

    def _pass(self, step: Pass) -> None:
        frame = self.frame
        stores = []
        fresh = []
        for position in step.inside:
            action = frame.actions[position]
            if position in self.elements:
                continue
            if isinstance(action, Keep):  # registers keep it
                fresh.append(position)
            elif isinstance(action, Load) and self._transposable(action.access):
                self.elements[position] = [Value(v) for v in self._load(action.access, action.dtype)]
            elif isinstance(action, Store) and self._transposable(action.access):
                stores.append(position)
            else:
                fresh.append(position)
        self._each_element(step, fresh)
        for position in stores:
            store = frame.expect(position, Store)
            self._store(store.access, [v.vector for v in self._of(store.arg)], frame.actions[store.arg].dtype)
        for position in step.reduces:
            self.values[position] = Value(self._reduce(position))
        for position in step.totals:
            total = frame.expect(position, Total)
            vector, dtype = self._fold(total.kind, total.arg, total_dtype(total.kind, frame.actions[total.arg].dtype))
            self.chunk.totals[position].add(vector, dtype, self.mask)
        for position in step.columns:
            self.columns[position].add([v.vector for v in self._of(frame.expect(position, Column).arg)], self.mask)

    def _each_element(self, step: Pass, positions: list[int]) -> None:
        """Element by element, so that what one needs on the way to its result is not kept for all."""
        frame = self.frame
        found: dict[int, list[Value]] = {p: [] for p in positions}
        for r in range(self.row):
            values = dict(self.values)
            values.update({p: of[r] for p, of in self.elements.items()})
            axes: dict[int, Index] = {**self.axes, frame.kernel.row_axis: Scalar(i64(r))}

            def number(r: int = r) -> tuple[ir.Value, ir.Value]:
                start = flow.mul(self.builder, self.first, i64(self.row))
                return flow.add(self.builder, start, i64(r)), i64(self.row)

            place = Place(axes, self.mask, number, step.number)
            for position in positions:
                action = frame.actions[position]
                value = values[action.arg] if isinstance(action, Keep) else evaluate(frame, position, values, place)
                if value is not None:
                    values[position] = value
                    found[position].append(value)
        self.elements.update({p: of for p, of in found.items() if of})

    def _of(self, position: int) -> list[Value]:
        """The value of a node for each element of the row."""
        if self.row == 0:
            return []
        return self.elements[position] if position in self.elements else [self.values[position]] * self.row

    # memory

    def _transposable(self, access: Access) -> bool:
        """Whether rows lie in memory as rows, and lanes at equal distances."""
        row = self.frame.kernel.row_axis
        return (
            access.strides[row] == 1
            and row == 1
            and access.strides[0] != 0
            and access.strides[0] != 1
            and transpose.can_transpose(self.lanes.width, self.row)
        )

    def _load(self, access: Access, dtype: str) -> list[ir.Value]:
        rows = self._rows(access, dtype)
        with self.builder.if_then(self.builder.not_(self.full)):
            self._copy(rows.memory, rows.distance, rows.spare, rows.spare_distance, dtype)
        return transpose.load_columns(self.lanes, rows.base, rows.between, self.row, dtype)

    def _store(self, access: Access, columns: list[ir.Value], dtype: str) -> None:
        rows = self._rows(access, dtype)
        transpose.store_columns(self.lanes, rows.base, rows.between, columns, dtype)
        with self.builder.if_then(self.builder.not_(self.full)):
            self._copy(rows.spare, rows.spare_distance, rows.memory, rows.distance, dtype)

    def _rows(self, access: Access, dtype: str) -> _Rows:
        """A tile of rows that all exist: those in memory, or for the last tile of a chunk a copy on the stack."""
        first = self.axes[0]
        assert isinstance(first, Ramp)
        memory = self.frame.address(access, {0: first.base}, dtype)
        distance = self.frame.dim(access.strides[0])
        # One distance for both keeps the addresses of the rows constant.
        same = access.strides[0] == self.row
        spare_distance = distance if same else i64(self.row)
        spare = self.frame.shared_stack(dtype, self.lanes.width * self.row)
        base = self.builder.select(self.full, memory, spare)
        between = distance if same else self.builder.select(self.full, distance, spare_distance)
        return _Rows(memory, distance, spare, spare_distance, base, between)

    def _copy(self, source: ir.Value, gap: ir.Value, target: ir.Value, target_gap: ir.Value, dtype: str) -> None:
        """The rows that exist, from `source` to `target`."""
        lanes, builder = self.lanes, self.builder

        def row(number: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            here = lanes.element(source, flow.mul(builder, number, gap), dtype)
            there = lanes.element(target, flow.mul(builder, number, target_gap), dtype)
            for c in range(0, self.row, lanes.width):
                mask = lanes.first(i64(self.row - c))
                value = lanes.masked_load(lanes.element(here, i64(c), dtype), mask, dtype)
                lanes.masked_store(lanes.element(there, i64(c), dtype), mask, value, dtype)
            return []

        flow.for_loop(builder, i64(0), self.left, 1, [], row)

    # reductions

    def _reduce(self, position: int) -> ir.Value:
        action = self.frame.expect(position, RowReduce)
        lanes = self.lanes
        source: str = self.frame.actions[action.arg].dtype
        if action.kind in ("argmax", "argmin"):
            best = neutral(lanes, action.kind, source)
            index = lanes.const("int64", 0)
            for r, value in enumerate(self._of(action.arg)):
                take = better(lanes, action.kind, best, value.vector, source)
                best = lanes.select(take, value.vector, best)
                index = lanes.select(take, lanes.const("int64", r), index)
            return lanes.convert(index, "int64", action.dtype)
        vector, dtype = self._fold(action.kind, action.arg, action.dtype)
        return lanes.convert(vector, dtype, action.dtype)

    def _fold(self, kind: str, arg: int, dtype: str) -> tuple[ir.Value, str]:
        """The reduction over the row in each lane, halves folded onto each other; and the dtype it is in."""
        lanes = self.lanes
        source: str = self.frame.actions[arg].dtype
        if kind in ("any", "all"):
            dtype = "bool"
        elif kind in ("max", "min") or (kind == "sum" and source == "float32" and dtypes.is_float(dtype)):
            dtype = source  # a few terms: nothing is lost
        values = [lanes.convert(v.vector, source, dtype) for v in self._of(arg)]
        if not values:
            return neutral(lanes, kind, dtype), dtype
        if kind in ("max", "min") and dtypes.is_float(dtype):
            return self._extreme(kind, values, dtype), dtype
        while len(values) > 1:
            half = (len(values) + 1) // 2
            pairs = [combine(lanes, kind, dtype, a, b) for a, b in zip(values, values[half:], strict=False)]
            values = pairs + values[len(pairs) : half]
        return values[0], dtype

    def _extreme(self, kind: str, values: list[ir.Value], dtype: str) -> ir.Value:
        # One unordered comparison looks at two values; NaN is put in at the end.
        lanes = self.lanes
        nan = None
        for a, b in zip(values[::2], [*values[1::2], values[-1]], strict=False):
            seen = lanes.builder.fcmp_unordered("uno", a, b)
            nan = seen if nan is None else lanes.or_(nan, seen)
        while len(values) > 1:
            half = (len(values) + 1) // 2
            pairs = []
            for a, b in zip(values, values[half:], strict=False):
                wins = lanes.gt(b, a) if kind == "max" else lanes.lt(b, a)
                pairs.append(lanes.select(wins, b, a))
            values = pairs + values[len(pairs) : half]
        return lanes.select(nan, lanes.const(dtype, float("nan")), values[0])
