"""Loop nests to LLVM IR: sequential loops carry their variables in registers, vector loops run masked lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from llvmlite import ir

from graphloss import dtypes
from graphloss.codegen import flow, functions
from graphloss.codegen.call import CallFrame
from graphloss.codegen.flow import I32, I64, POINTER, VOID, i64
from graphloss.codegen.plan import INLINE_LIMIT
from graphloss.codegen.reduce import neutral
from graphloss.codegen.table import Table, chunks
from graphloss.codegen.values import Lanes, Target
from graphloss.errors import UnsupportedError
from graphloss.ir import loops
from graphloss.ir.loop_live import expressions, parts
from graphloss.ir.loops import (
    Accumulate,
    Apply,
    Assign,
    Check,
    Const,
    Expr,
    Let,
    Load,
    Loop,
    Nest,
    Size,
    Statement,
    Store,
    Use,
    Var,
)
from graphloss.ir.scalar import EXPENSIVE, FUNCTIONS
from graphloss.schedule.nest import NestKernel, strides

_ORDER: Final = ("lt", "le", "gt", "ge", "eq", "ne")
_MIRRORED: Final = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}


def emit_nest(module: ir.Module, name: str, kernel: NestKernel, table: Table, target: Target) -> ir.Function:
    """`void name(ptr table, i64 first chunk, i64 end chunk)`."""
    function = ir.Function(module, ir.FunctionType(VOID, [POINTER, I64, I64]), name)
    function.attributes.add("nounwind")
    frame = CallFrame(function, module, table, target, lane_count(kernel.nest, target))
    emitter = _Emitter(frame, kernel)
    grain, last = frame.dim(kernel.grain), frame.dim(kernel.extent)

    def chunk(number: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        begin = flow.mul(frame.builder, number, grain)
        end = flow.smaller(frame.builder, flow.add(frame.builder, begin, grain), last)
        emitter.enter_chunk(number)
        flow.for_loop(frame.builder, begin, end, 1, [], emitter.iteration)
        return []

    if chunks(kernel) == 1:
        chunk(i64(0), [])
    else:
        flow.for_loop(frame.builder, function.args[1], function.args[2], 1, [], chunk)
    frame.finish()
    return function


def lane_count(nest: Nest, target: Target) -> int:
    """Lanes follow the narrowest float of the vector loops; without floats, the widest integer."""
    found = {e.dtype for s in _inside(nest.body, False) for top in expressions(s) for e in parts(top)}
    floats = [dtypes.itemsize(d) for d in found if dtypes.is_float(d)]
    size = min(floats) if floats else max((4, *(dtypes.itemsize(d) for d in found)))
    return target.vector_bytes // size


def _inside(body: Sequence[Statement], vector: bool) -> Iterator[Statement]:
    """The statements that stand in vector loops."""
    for s in body:
        if isinstance(s, Loop):
            yield from _inside(s.body, vector or s.kind == loops.VECTOR)
        elif vector:
            yield s


def _assigned(body: Sequence[Statement]) -> Iterator[str]:
    for s in body:
        if isinstance(s, Loop):
            yield from _assigned(s.body)
        elif isinstance(s, (Assign, Accumulate)):
            yield s.name


@dataclass(frozen=True, slots=True)
class _Value:
    """A value: one number (`scalar`), or in a vector loop one per lane: `ramp` + lane (64-bit), or `vector`."""

    dtype: str
    scalar: ir.Value | None = None
    ramp: ir.Value | None = None
    vector: ir.Value | None = None


class _Emitter:
    """Emits the statements of one iteration; `names` are the values of names here, `mask` the lanes that exist."""

    def __init__(self, frame: CallFrame, kernel: NestKernel) -> None:
        self.frame = frame
        self.builder = frame.builder
        self.lanes = frame.lanes
        self.one = frame.lanes.with_width(1)
        self.nest = kernel.nest
        self.slots = dict(kernel.slots)
        self.bound = kernel.bound
        self.buffers = {a.name: b.name for a, b in zip(kernel.nest.arrays, kernel.buffers, strict=True)}
        self.arrays = {a.name: a for a in kernel.nest.arrays}
        self.strides = {a.name: strides(a, kernel.bound) for a in kernel.nest.arrays}
        self.names: dict[str, _Value] = {}
        self.sums: dict[str, ir.Value] = {}  # what a vector loop accumulates, per lane
        self.mask: ir.Value | None = None
        self.bases: dict[str, ir.Value] = {}
        self.inline = _expensive(kernel.nest.body) <= INLINE_LIMIT

    def enter_chunk(self, number: ir.Value) -> None:
        for name, array in self.arrays.items():
            base = self.frame.buffer(self.buffers[name])
            if array.kind == loops.SCRATCH:
                size = self.frame.dim(self.strides[name][0])
                base = self.one.element(base, flow.mul(self.builder, number, size), array.dtype)
            self.bases[name] = base

    def iteration(self, index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        self.names = {self.nest.index: _Value("int64", scalar=index)}
        self.statements(self.nest.body)
        return []

    # --- statements

    def statements(self, body: Sequence[Statement]) -> None:
        for s in body:
            if isinstance(s, Let):
                self.names[s.name] = self.value(s.value)
            elif isinstance(s, (Var, Assign)):
                value = self.value(s.value)
                self.names[s.name] = value if self.mask is None else _Value(value.dtype, vector=self.vector(value))
            elif isinstance(s, Accumulate):
                self.accumulate(s)
            elif isinstance(s, Store):
                self.store(s)
            elif isinstance(s, Check):
                self.check(s)
            elif s.kind == loops.VECTOR:
                self.vector_loop(s)
            else:
                self.sequential_loop(s)

    def scalar(self, e: Expr) -> ir.Value:
        value = self.value(e)
        if value.scalar is None:
            self.refuse("this value has to be the same in all lanes")
        return value.scalar

    def sequential_loop(self, loop: Loop) -> None:
        begin, end = self.scalar(loop.begin), self.scalar(loop.end)
        carried = [n for n in dict.fromkeys(_assigned(loop.body)) if n in self.names and n not in self.sums]
        summed = [n for n in dict.fromkeys(_assigned(loop.body)) if n in self.sums]
        outside = dict(self.names)

        def body(i: ir.Value, values: list[ir.Value]) -> list[ir.Value]:
            index = i
            if loop.kind == loops.REVERSE:
                index = self.builder.sub(flow.sub(self.builder, flow.add(self.builder, begin, end), i64(1)), i)
            self.names = dict(outside)
            self.put(carried, values[: len(carried)])
            self.sums.update(zip(summed, values[len(carried) :], strict=True))
            self.names[loop.index] = _Value("int64", scalar=index)
            self.statements(loop.body)
            return [*self.held(carried), *(self.sums[n] for n in summed)]

        first = [*self.held(carried), *(self.sums[n] for n in summed)]
        after = flow.for_loop(self.builder, begin, end, 1, first, body)
        self.names = outside
        self.put(carried, after[: len(carried)])
        self.sums.update(zip(summed, after[len(carried) :], strict=True))

    def held(self, names: Sequence[str]) -> list[ir.Value]:
        """Variables as registers: numbers outside of vector loops, vectors inside."""
        if self.mask is None:
            return [self.names[n].scalar for n in names]
        return [self.vector(self.names[n]) for n in names]

    def put(self, names: Sequence[str], values: Sequence[ir.Value]) -> None:
        for name, value in zip(names, values, strict=True):
            dtype = self.names[name].dtype
            self.names[name] = _Value(dtype, scalar=value) if self.mask is None else _Value(dtype, vector=value)

    def vector_loop(self, loop: Loop) -> None:
        if self.mask is not None:
            self.refuse("a vector loop stands in another one")
        begin, end = self.scalar(loop.begin), self.scalar(loop.end)
        summed = {s.name: s for s in _accumulations(loop.body)}
        outside = dict(self.names)

        def body(i: ir.Value, values: list[ir.Value]) -> list[ir.Value]:
            self.names = dict(outside)
            self.sums = dict(zip(summed, values, strict=True))
            self.names[loop.index] = _Value("int64", ramp=i)
            self.mask = self.lanes.first(flow.sub(self.builder, end, i))
            self.statements(loop.body)
            self.mask = None
            return [self.sums[n] for n in summed]

        first = [neutral(self.lanes, s.kind, outside[n].dtype) for n, s in summed.items()]
        after = flow.for_loop(self.builder, begin, end, self.lanes.width, first, body)
        self.names, self.sums = outside, {}
        for (name, s), vector in zip(summed.items(), after, strict=True):
            folded = _FOLD[s.kind](self.lanes, vector)
            known = outside[name]
            self.names[name] = _Value(known.dtype, scalar=_COMBINE[s.kind](self.one, known.scalar, folded))

    def accumulate(self, s: Accumulate) -> None:
        if self.mask is None:
            self.refuse("accumulation stands in a vector loop")
        value = self.vector(self.value(s.value))
        active = self.active(s.when)
        value = self.lanes.select(active, value, neutral(self.lanes, s.kind, s.value.dtype))
        self.sums[s.name] = _COMBINE[s.kind](self.lanes, self.sums[s.name], value)

    def active(self, when: Expr | None) -> ir.Value:
        """The lanes that exist and for which `when` holds."""
        assert self.mask is not None
        return self.mask if when is None else self.lanes.and_(self.mask, self.vector(self.value(when)))

    def store(self, s: Store) -> None:
        dtype = self.arrays[s.array].dtype
        value = self.value(s.value)
        pointer, along, spread = self.reach(s.array, s.index)
        if spread is None and along is None:
            if value.scalar is None:
                self.refuse(f"several lanes write one element of {s.array}")
            when = None if s.when is None else self.scalar(s.when)
            if when is None:
                self.one.store(pointer, value.scalar, dtype)
            else:
                self.one.masked_store(pointer, when, value.scalar, dtype)
        elif spread is None and along == 1:
            self.lanes.masked_store(pointer, self.active(s.when), self.vector(value), dtype)
        else:
            offsets = self.offsets(along, spread)
            self.lanes.scatter(pointer, offsets, self.vector(value), dtype, self.active(s.when))

    def check(self, s: Check) -> None:
        value, ok, other = self.value(s.value), self.value(s.ok), self.value(s.other)
        slot = self.slots[s.name]
        dtype = s.value.dtype
        if value.scalar is not None and ok.scalar is not None and other.scalar is not None:
            found = self.one.convert(value.scalar, dtype, "int64")
            self.frame.report_lanes(
                self.one, slot, self.one.not_(ok.scalar), found, lambda: (self.linear(s.array, s.index)[0], i64(0))
            )
            self.names[s.name] = _Value(dtype, scalar=self.one.select(ok.scalar, value.scalar, other.scalar))
            return
        good, vector = self.vector(ok), self.vector(value)
        bad = self.lanes.not_(good)
        if self.mask is not None:
            bad = self.lanes.and_(bad, self.mask)
        found = self.lanes.convert(vector, dtype, "int64")
        self.frame.report_lanes(self.lanes, slot, bad, found, lambda: self.linear(s.array, s.index))
        self.names[s.name] = _Value(dtype, vector=self.lanes.select(good, vector, self.vector(other)))

    def linear(self, array: str, index: Sequence[Expr]) -> tuple[ir.Value, ir.Value]:
        """The position of lane 0 in the array, and the distance from lane to lane."""
        first, distance = i64(0), i64(0)
        for e, stride in zip(index, self.strides[array][1:], strict=True):
            value, step = self.value(e), self.frame.dim(stride)
            base = value.scalar if value.scalar is not None else value.ramp
            if base is None:
                self.refuse(f"a check of {array} at an index that is not a loop's")
            first = flow.add(self.builder, first, flow.mul(self.builder, base, step))
            if value.ramp is not None:
                distance = flow.add(self.builder, distance, step)
        return first, distance

    # --- memory

    def reach(self, array: str, index: Sequence[Expr]) -> tuple[ir.Value, object, ir.Value | None]:
        """The address of lane 0; the distance from lane to lane (None: all lanes are there), 1 or a 64-bit number; and
        offsets that differ per lane, all in elements."""
        builder, lanes = self.builder, self.lanes
        offset, along, spread = i64(0), None, None
        for e, stride in zip(index, self.strides[array][1:], strict=True):
            value, step = self.value(e), self.frame.dim(stride)
            if value.scalar is not None:
                offset = flow.add(builder, offset, flow.mul(builder, value.scalar, step))
            elif value.ramp is not None:
                offset = flow.add(builder, offset, flow.mul(builder, value.ramp, step))
                along = stride if along is None and isinstance(stride, int) else self.add_step(along, step)
            else:
                part = self.vector(value)
                part = part if stride == 1 else lanes.mul(part, lanes.splat(step))
                spread = part if spread is None else lanes.add(spread, part)
        base = self.bases[array]
        pointer = base if flow.known(offset) == 0 else self.one.element(base, offset, self.arrays[array].dtype)
        return pointer, along, spread

    def add_step(self, along: object, step: ir.Value) -> ir.Value:
        known = i64(0) if along is None else i64(along) if isinstance(along, int) else along
        return flow.add(self.builder, known, step)

    def offsets(self, along: object, spread: ir.Value | None) -> ir.Value:
        lanes = self.lanes
        if along is None:
            return spread
        steps = lanes.iota("int64")
        if along != 1:
            steps = lanes.mul(steps, lanes.splat(i64(along) if isinstance(along, int) else along))
        return steps if spread is None else lanes.add(steps, spread)

    def load(self, e: Load) -> _Value:
        lanes, dtype = self.lanes, e.dtype
        pointer, along, spread = self.reach(e.array, e.index)
        when = None if e.when is None else self.value(e.when)
        other = None if e.other is None else self.value(e.other)
        if spread is None and along is None:
            if when is None:
                return _Value(dtype, scalar=self.one.load_scalar(pointer, dtype))
            assert other is not None
            if when.scalar is not None and other.scalar is not None:
                loaded = self.one.masked_load(pointer, when.scalar, dtype, other.scalar)
                return _Value(dtype, scalar=loaded)
            along = 0
        mask = self.active(e.when)
        rest = None if other is None else self.vector(other)
        if spread is None and along == 1:
            return _Value(dtype, vector=lanes.masked_load(pointer, mask, dtype, rest))
        return _Value(dtype, vector=lanes.gather(pointer, self.offsets(along, spread), dtype, mask, rest))

    # --- expressions

    def vector(self, value: _Value) -> ir.Value:
        """The value in every lane."""
        if value.vector is not None:
            return value.vector
        if value.ramp is not None:
            return self.lanes.add(self.lanes.splat(value.ramp), self.lanes.iota("int64"))
        return self.lanes.splat(value.scalar)

    def value(self, e: Expr) -> _Value:
        if isinstance(e, Const):
            return _Value(e.dtype, scalar=self.one.const(e.dtype, e.value))
        if isinstance(e, Size):
            return _Value("int64", scalar=self.frame.dim(self.bound[e.name]))
        if isinstance(e, Use):
            return self.names[e.name]
        if isinstance(e, Load):
            return self.load(e)
        return self.apply(e, [self.value(a) for a in e.args])

    def apply(self, e: Apply, args: list[_Value]) -> _Value:
        source = e.args[-1].dtype
        scalars = [a.scalar for a in args if a.scalar is not None]
        if len(scalars) == len(args):
            return _Value(e.dtype, scalar=self.function(self.one, e, source, scalars))
        if len(args) == 2 and source == "int64":
            affine = self.affine(e, *args)
            if affine is not None:
                return affine
        return _Value(e.dtype, vector=self.function(self.lanes, e, source, [self.vector(a) for a in args]))

    def function(self, lanes: Lanes, e: Apply, source: str, args: list[ir.Value]) -> ir.Value:
        """fn(args); a division by a power of two is a shift, since there is no vector division of integers."""
        divisor = e.args[-1]
        if e.fn in ("floordiv", "mod") and dtypes.is_int(source) and source != "uint8" and isinstance(divisor, Const):
            n = int(divisor.value)
            if n > 0 and n & (n - 1) == 0:
                if e.fn == "mod":
                    return lanes.and_(args[0], lanes.const(source, n - 1))
                return lanes.ashr(args[0], n.bit_length() - 1)
        return functions.apply(lanes, e.fn, source, e.dtype, args, inline=self.inline)

    def affine(self, e: Apply, a: _Value, b: _Value) -> _Value | None:
        """What stays an index that grows by one per lane, and comparisons of such an index, without 64-bit vectors."""
        if a.ramp is not None and b.scalar is not None:
            if e.fn in ("add", "sub"):
                combine = flow.add if e.fn == "add" else flow.sub
                return _Value("int64", ramp=combine(self.builder, a.ramp, b.scalar))
            if e.fn in _ORDER:
                return _Value("bool", vector=self.compare(e.fn, a.ramp, b.scalar))
        if b.ramp is not None and a.scalar is not None:
            if e.fn == "add":
                return _Value("int64", ramp=flow.add(self.builder, a.scalar, b.ramp))
            if e.fn in _ORDER:
                return _Value("bool", vector=self.compare(_MIRRORED[e.fn], b.ramp, a.scalar))
        return None

    def compare(self, fn: str, ramp: ir.Value, scalar: ir.Value) -> ir.Value:
        # ramp + l < scalar  <=>  l < scalar - ramp; a distance outside the lanes compares as the nearest one outside
        lanes, builder = self.lanes, self.builder
        distance, width = builder.sub(scalar, ramp), i64(lanes.width)
        distance = builder.select(builder.icmp_signed("<", distance, width), distance, width)
        distance = builder.select(builder.icmp_signed(">", distance, i64(-1)), distance, i64(-1))
        there = lanes.splat(builder.trunc(distance, I32))
        compare: Callable[[ir.Value, ir.Value], ir.Value] = getattr(lanes, fn)
        return compare(lanes.iota("int32"), there)

    def refuse(self, why: str) -> NoReturn:
        raise UnsupportedError(f"loop nest {self.nest.name}: {why}")


def _accumulations(body: Sequence[Statement]) -> Iterator[Accumulate]:
    for s in body:
        if isinstance(s, Loop):
            yield from _accumulations(s.body)
        elif isinstance(s, Accumulate):
            yield s


def _expensive(body: Sequence[Statement]) -> int:
    """How many long functions a nest calls for."""
    return sum(FUNCTIONS[e.fn].cost >= EXPENSIVE for e in _applied(body))


def _applied(body: Sequence[Statement]) -> Iterator[Apply]:
    for s in body:
        for top in expressions(s):
            yield from (e for e in parts(top) if isinstance(e, Apply))
        if isinstance(s, Loop):
            yield from _applied(s.body)


def nest_cost(kernel: NestKernel) -> int:
    """A rough cost of one element that a nest visits, in additions."""
    return 1 + sum(FUNCTIONS[e.fn].cost for e in _applied(kernel.nest.body))


_Fold = Callable[[Lanes, ir.Value], ir.Value]
_FOLD: Final[Mapping[str, _Fold]] = {
    "sum": Lanes.reduce_sum, "max": Lanes.reduce_max, "min": Lanes.reduce_min,
    "any": Lanes.reduce_or, "all": Lanes.reduce_and,
}  # fmt: skip
_COMBINE: Final[Mapping[str, Callable[[Lanes, ir.Value, ir.Value], ir.Value]]] = {
    "sum": Lanes.add, "max": Lanes.max, "min": Lanes.min,
    "any": Lanes.or_, "all": Lanes.and_,
}  # fmt: skip
