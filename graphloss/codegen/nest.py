"""Loop nests to LLVM IR: sequential loops carry their variables in registers, vector loops run masked lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from llvmlite import ir

from graphloss import dtypes
from graphloss.codegen import flow
from graphloss.codegen.call import CallFrame
from graphloss.codegen.flow import I64, POINTER, VOID, i64
from graphloss.codegen.nest_values import NestValues, Value, applied
from graphloss.codegen.reduce import neutral
from graphloss.codegen.table import Table, chunks
from graphloss.codegen.values import Lanes, Target
from graphloss.ir import loops
from graphloss.ir.loop_live import expressions, parts
from graphloss.ir.loops import Accumulate, Assign, Check, Expr, Let, Loop, Nest, Statement, Store, Var
from graphloss.ir.scalar import FUNCTIONS
from graphloss.schedule.nest import NestKernel


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


class _Emitter(NestValues):
    """Emits the statements of one iteration."""

    def __init__(self, frame: CallFrame, kernel: NestKernel) -> None:
        super().__init__(frame, kernel)
        self.slots = dict(kernel.slots)
        self.sums: dict[str, ir.Value] = {}  # what a vector loop accumulates, per lane

    def enter_chunk(self, number: ir.Value) -> None:
        for name, array in self.arrays.items():
            base = self.frame.buffer(self.buffers[name])
            if array.kind == loops.SCRATCH:
                size = self.frame.dim(self.strides[name][0])
                base = self.one.element(base, flow.mul(self.builder, number, size), array.dtype)
            self.bases[name] = base

    def iteration(self, index: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
        self.names = {self.nest.index: Value("int64", scalar=index)}
        self.statements(self.nest.body)
        return []

    def statements(self, body: Sequence[Statement]) -> None:
        for s in body:
            if isinstance(s, Let):
                self.names[s.name] = self.value(s.value)
            elif isinstance(s, (Var, Assign)):
                value = self.value(s.value)
                self.names[s.name] = value if self.mask is None else Value(value.dtype, vector=self.vector(value))
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
            self.names[loop.index] = Value("int64", scalar=index)
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
            self.names[name] = Value(dtype, scalar=value) if self.mask is None else Value(dtype, vector=value)

    def vector_loop(self, loop: Loop) -> None:
        if self.mask is not None:
            self.refuse("a vector loop stands in another one")
        begin, end = self.scalar(loop.begin), self.scalar(loop.end)
        summed = {s.name: s for s in _accumulations(loop.body)}
        outside = dict(self.names)

        def body(i: ir.Value, values: list[ir.Value]) -> list[ir.Value]:
            self.names = dict(outside)
            self.sums = dict(zip(summed, values, strict=True))
            self.names[loop.index] = Value("int64", ramp=i)
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
            self.names[name] = Value(known.dtype, scalar=_COMBINE[s.kind](self.one, known.scalar, folded))

    def accumulate(self, s: Accumulate) -> None:
        if self.mask is None:
            self.refuse("accumulation stands in a vector loop")
        value = self.vector(self.value(s.value))
        active = self.active(s.when)
        value = self.lanes.select(active, value, neutral(self.lanes, s.kind, s.value.dtype))
        self.sums[s.name] = _COMBINE[s.kind](self.lanes, self.sums[s.name], value)

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
                self.one, slot, self.one.not_(ok.scalar), found, lambda: (self.reported(s)[0], i64(0))
            )
            self.names[s.name] = Value(dtype, scalar=self.one.select(ok.scalar, value.scalar, other.scalar))
            return
        good, vector = self.vector(ok), self.vector(value)
        bad = self.lanes.not_(good)
        if self.mask is not None:
            bad = self.lanes.and_(bad, self.mask)
        found = self.lanes.convert(vector, dtype, "int64")
        self.frame.report_lanes(self.lanes, slot, bad, found, lambda: self.reported(s))
        self.names[s.name] = Value(dtype, vector=self.lanes.select(good, vector, self.vector(other)))


def _accumulations(body: Sequence[Statement]) -> Iterator[Accumulate]:
    for s in body:
        if isinstance(s, Loop):
            yield from _accumulations(s.body)
        elif isinstance(s, Accumulate):
            yield s


def nest_cost(kernel: NestKernel) -> int:
    """A rough cost of one element that a nest visits, in additions."""
    return 1 + sum(FUNCTIONS[e.fn].cost for e in applied(kernel.nest.body))


_Fold = Callable[[Lanes, ir.Value], ir.Value]
_FOLD: Final[Mapping[str, _Fold]] = {
    "sum": Lanes.reduce_sum, "max": Lanes.reduce_max, "min": Lanes.reduce_min,
    "any": Lanes.reduce_or, "all": Lanes.reduce_and,
}  # fmt: skip
_COMBINE: Final[Mapping[str, Callable[[Lanes, ir.Value, ir.Value], ir.Value]]] = {
    "sum": Lanes.add, "max": Lanes.max, "min": Lanes.min,
    "any": Lanes.or_, "all": Lanes.and_,
}  # fmt: skip
