"""The values of loop nests: numbers, indices that grow along the lanes, one number per lane; and their memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from llvmlite import ir

from graphloss import dtypes
from graphloss.codegen import flow, functions
from graphloss.codegen.call import CallFrame
from graphloss.codegen.flow import I32, i64
from graphloss.codegen.plan import INLINE_LIMIT
from graphloss.codegen.values import Lanes
from graphloss.errors import UnsupportedError
from graphloss.ir.loop_live import expressions, parts
from graphloss.ir.loops import Apply, Check, Const, Expr, Load, Loop, Size, Statement, Use
from graphloss.ir.scalar import EXPENSIVE, FUNCTIONS
from graphloss.schedule.nest import NestKernel, strides

_ORDER: Final = ("lt", "le", "gt", "ge", "eq", "ne")
_MIRRORED: Final = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}


@dataclass(frozen=True, slots=True)
class Value:
    """A value: one number (`scalar`), or in a vector loop one per lane: `ramp` + lane (64-bit), or `vector`."""

    dtype: str
    scalar: ir.Value | None = None
    ramp: ir.Value | None = None
    vector: ir.Value | None = None


class NestValues:
    """Expressions at one place of a nest: `names` are the values of names there, `mask` the lanes that exist, or None
    outside of vector loops."""

    def __init__(self, frame: CallFrame, kernel: NestKernel) -> None:
        self.frame = frame
        self.builder = frame.builder
        self.lanes = frame.lanes
        self.one = frame.lanes.with_width(1)
        self.nest = kernel.nest
        self.bound = kernel.bound
        self.buffers = {a.name: b.name for a, b in zip(kernel.nest.arrays, kernel.buffers, strict=True)}
        self.arrays = {a.name: a for a in kernel.nest.arrays}
        self.strides = {a.name: strides(a, kernel.bound) for a in kernel.nest.arrays}
        self.names: dict[str, Value] = {}
        self.mask: ir.Value | None = None
        self.bases: dict[str, ir.Value] = {}
        self.inline = _expensive(kernel.nest.body) <= INLINE_LIMIT

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

    def load(self, e: Load) -> Value:
        lanes, dtype = self.lanes, e.dtype
        pointer, along, spread = self.reach(e.array, e.index)
        when = None if e.when is None else self.value(e.when)
        other = None if e.other is None else self.value(e.other)
        if spread is None and along is None:
            if when is None:
                return Value(dtype, scalar=self.one.load_scalar(pointer, dtype))
            assert other is not None
            if when.scalar is not None and other.scalar is not None:
                loaded = self.one.masked_load(pointer, when.scalar, dtype, other.scalar)
                return Value(dtype, scalar=loaded)
            along = 0
        mask = self.active(e.when)
        rest = None if other is None else self.vector(other)
        if spread is None and along == 1:
            return Value(dtype, vector=lanes.masked_load(pointer, mask, dtype, rest))
        return Value(dtype, vector=lanes.gather(pointer, self.offsets(along, spread), dtype, mask, rest))

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

    def reported(self, check: Check) -> tuple[ir.Value, ir.Value]:
        """The position that a failed check reports, of lane 0, and the distance: that in its array, or, with a step,
        the number of the sample times the elements of the array, and the step."""
        if check.step is None:
            return self.linear(check.array, check.index)
        value = self.value(check.step)
        base = value.scalar if value.scalar is not None else value.ramp
        if base is None:
            self.refuse(f"a check of {check.array} at a step that is not a loop's")
        elements = self.frame.dim(self.strides[check.array][0])
        sample = flow.mul(self.builder, self.names[self.nest.index].scalar, elements)
        return flow.add(self.builder, sample, base), i64(0 if value.ramp is None else 1)

    def active(self, when: Expr | None) -> ir.Value:
        """The lanes that exist and for which `when` holds."""
        assert self.mask is not None
        return self.mask if when is None else self.lanes.and_(self.mask, self.vector(self.value(when)))

    # --- expressions

    def vector(self, value: Value) -> ir.Value:
        """The value in every lane."""
        if value.vector is not None:
            return value.vector
        if value.ramp is not None:
            return self.lanes.add(self.lanes.splat(value.ramp), self.lanes.iota("int64"))
        return self.lanes.splat(value.scalar)

    def value(self, e: Expr) -> Value:
        if isinstance(e, Const):
            return Value(e.dtype, scalar=self.one.const(e.dtype, e.value))
        if isinstance(e, Size):
            return Value("int64", scalar=self.frame.dim(self.bound[e.name]))
        if isinstance(e, Use):
            return self.names[e.name]
        if isinstance(e, Load):
            return self.load(e)
        product = next((a for a in e.args if isinstance(a, Apply) and a.fn == "mul"), None)
        if e.fn == "add" and product is not None and dtypes.is_float(e.dtype):
            rest = e.args[1] if product is e.args[0] else e.args[0]
            return self.multiply_add([self.value(a) for a in (*product.args, rest)])
        return self.apply(e, [self.value(a) for a in e.args])

    def multiply_add(self, args: list[Value]) -> Value:
        """a·b + c, rounded once where the target can."""
        dtype = args[2].dtype
        scalars = [a.scalar for a in args if a.scalar is not None]
        if len(scalars) == len(args):
            return Value(dtype, scalar=self.one.fma(*scalars))
        return Value(dtype, vector=self.lanes.fma(*(self.vector(a) for a in args)))

    def apply(self, e: Apply, args: list[Value]) -> Value:
        source = e.args[-1].dtype
        scalars = [a.scalar for a in args if a.scalar is not None]
        if len(scalars) == len(args):
            return Value(e.dtype, scalar=self.function(self.one, e, source, scalars))
        if len(args) == 2 and source == "int64":
            affine = self.affine(e, *args)
            if affine is not None:
                return affine
        return Value(e.dtype, vector=self.function(self.lanes, e, source, [self.vector(a) for a in args]))

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

    def affine(self, e: Apply, a: Value, b: Value) -> Value | None:
        """What stays an index that grows by one per lane, and comparisons of such an index, without 64-bit vectors."""
        if a.ramp is not None and b.scalar is not None:
            if e.fn in ("add", "sub"):
                combine = flow.add if e.fn == "add" else flow.sub
                return Value("int64", ramp=combine(self.builder, a.ramp, b.scalar))
            if e.fn in _ORDER:
                return Value("bool", vector=self.compare(e.fn, a.ramp, b.scalar))
        if b.ramp is not None and a.scalar is not None:
            if e.fn == "add":
                return Value("int64", ramp=flow.add(self.builder, a.scalar, b.ramp))
            if e.fn in _ORDER:
                return Value("bool", vector=self.compare(_MIRRORED[e.fn], b.ramp, a.scalar))
        return None

    def compare(self, fn: str, ramp: ir.Value, scalar: ir.Value) -> ir.Value:
        # ramp + l < scalar  <=>  l < scalar - ramp; a number outside the lanes compares as the nearest one outside,
        # which is taken before the difference, since that of any two numbers need not fit 64 bits
        lanes, builder = self.lanes, self.builder
        least, most = builder.sub(ramp, i64(1)), builder.add(ramp, i64(lanes.width))
        near = builder.select(builder.icmp_signed("<", scalar, most), scalar, most)
        near = builder.select(builder.icmp_signed(">", near, least), near, least)
        there = lanes.splat(builder.trunc(builder.sub(near, ramp), I32))
        compare: Callable[[ir.Value, ir.Value], ir.Value] = getattr(lanes, fn)
        return compare(lanes.iota("int32"), there)

    def refuse(self, why: str) -> NoReturn:
        raise UnsupportedError(f"loop nest {self.nest.name}: {why}")


def _expensive(body: Sequence[Statement]) -> int:
    """How many long functions a nest calls for."""
    return sum(FUNCTIONS[e.fn].cost >= EXPENSIVE for e in applied(body))


def applied(body: Sequence[Statement]) -> Iterator[Apply]:
    for s in body:
        for top in expressions(s):
            yield from (e for e in parts(top) if isinstance(e, Apply))
        if isinstance(s, Loop):
            yield from applied(s.body)
