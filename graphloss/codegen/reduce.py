"""Accumulators: how a reduction is carried in registers, folded over lanes, and kept between rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llvmlite import ir

from graphloss import dtypes
from graphloss.codegen.frame import Frame
from graphloss.codegen.values import Lanes
from graphloss.schedule.kernel import Column, RowReduce, Total

# float32 sums are carried in float32 over this many elements of a row and in float64 beyond: 3.7e-11 at full speed.
BLOCK: Final = 4096


def neutral(lanes: Lanes, kind: str, dtype: str) -> ir.Value:
    """What combines with x to x, in every lane."""
    if kind in ("any", "all"):
        return lanes.const("bool", kind == "all")
    if kind in ("sum", "prod"):
        return lanes.const(dtype, 0 if kind == "sum" else 1)
    low = kind in ("max", "argmax")
    if dtypes.is_float(dtype):
        return lanes.const(dtype, float("-inf") if low else float("inf"))
    if dtype == "bool":
        return lanes.const(dtype, not low)
    bits = 8 * dtypes.itemsize(dtype)
    if dtype == "uint8":
        return lanes.const(dtype, 0 if low else 255)
    return lanes.const(dtype, -(2 ** (bits - 1)) if low else 2 ** (bits - 1) - 1)


def combine(lanes: Lanes, kind: str, dtype: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """One step of a reduction lane by lane; NaN wins in max and min."""
    if kind == "sum":
        return lanes.or_(a, b) if dtype == "bool" else lanes.add(a, b)
    if kind == "prod":
        return lanes.and_(a, b) if dtype == "bool" else lanes.mul(a, b)
    if kind == "any" or (dtype == "bool" and kind == "max"):
        return lanes.or_(a, b)
    if kind == "all" or dtype == "bool":
        return lanes.and_(a, b)
    if dtypes.is_float(dtype):
        return lanes.max(a, b) if kind == "max" else lanes.min(a, b)
    less = lanes.ult(a, b) if dtype == "uint8" else lanes.lt(a, b)
    return lanes.select(less, b, a) if kind == "max" else lanes.select(less, a, b)


def halves(lanes: Lanes, value: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The lower and the upper lanes of a vector of at least two; scalars if it has two."""
    if value.type.count == 2:
        return lanes.extract(value, 0), lanes.extract(value, 1)
    low, high = lanes.split(value, value.type.count // 2)
    return low, high


def fold(lanes: Lanes, kind: str, dtype: str, value: ir.Value) -> ir.Value:
    """The reduction over the lanes as a scalar, halves folded onto each other."""
    width = lanes.width
    while width > 1:
        width //= 2
        value = combine(lanes.with_width(width), kind, dtype, *halves(lanes, value))
    return value


def better(lanes: Lanes, kind: str, a: ir.Value, b: ir.Value, source: str) -> ir.Value:
    """Whether b beats a in argmax or argmin: larger (smaller), or the first NaN."""
    if not dtypes.is_float(source):
        if source in ("bool", "uint8"):
            return lanes.builder.icmp_unsigned(">" if kind == "argmax" else "<", b, a)
        return lanes.gt(b, a) if kind == "argmax" else lanes.lt(b, a)
    wins = lanes.gt(b, a) if kind == "argmax" else lanes.lt(b, a)
    return lanes.or_(wins, lanes.and_(lanes.isnan(b), lanes.not_(lanes.isnan(a))))


def merge_index(
    lanes: Lanes, kind: str, source: str, a: tuple[ir.Value, ir.Value], b: tuple[ir.Value, ir.Value]
) -> tuple[ir.Value, ir.Value]:
    """The better of two (value, index) pairs; of equal ones, and of two NaN, the lower index."""
    take = better(lanes, kind, a[0], b[0], source)
    worse = better(lanes, kind, b[0], a[0], source)
    take = lanes.or_(take, lanes.and_(lanes.not_(worse), lanes.lt(b[1], a[1])))
    return lanes.select(take, b[0], a[0]), lanes.select(take, b[1], a[1])


def fold_index(lanes: Lanes, kind: str, source: str, value: ir.Value, index: ir.Value) -> ir.Value:
    """The index of the best lane as a scalar."""
    width = lanes.width
    while width > 1:
        width //= 2
        low, high = zip(halves(lanes, value), halves(lanes, index), strict=True)
        value, index = merge_index(lanes.with_width(width), kind, source, low, high)
    return index


class Accumulator:
    """A reduction along the lanes' axis, carried in registers over `unroll` independent chains.

    The state is a list of vectors: one per chain; for max and min of floats also a mask of the lanes that met NaN, so
    that the chains need one instruction per value; for argmax and argmin also one index vector per chain. The order of
    all additions is a function of the length and of `unroll` only.
    """

    def __init__(self, frame: Frame, position: int, unroll: int) -> None:
        action = frame.actions[position]
        assert isinstance(action, (RowReduce, Total, Column))
        self.frame = frame
        self.position = position
        self.arg = action.arg
        self.kind = action.kind
        self.source: str = frame.actions[action.arg].dtype
        self.total = not isinstance(action, RowReduce)
        self.unroll = unroll
        # `wide` is what lanes hold after a block, `dtype` what they hold inside.
        if action.kind in ("sum", "prod"):
            self.wide = action.dtype if not self.total else total_dtype(action.kind, self.source)
            if action.kind == "sum" and self.source == "float32" and (self.total or action.dtype == "float32"):
                self.dtype, self.wide = "float32", "float64"
            else:
                self.dtype = self.wide
        elif action.kind in ("any", "all"):
            self.dtype = self.wide = "bool"
        else:
            self.dtype = self.wide = self.source
        self.result = action.dtype
        self.blocked = self.dtype != self.wide
        self.watches_nan = self.kind in ("max", "min") and dtypes.is_float(self.dtype)
        self.indexed = self.kind in ("argmax", "argmin")

    def start(self) -> list[ir.Value]:
        lanes = self.frame.lanes
        state = [neutral(lanes, self.kind, self.dtype)] * self.unroll
        if self.watches_nan:
            state.append(lanes.const("bool", False))
        if self.indexed:
            # Each chain starts at its own first element, which is right if nothing ever beats the neutral value.
            first = lanes.iota("int64")
            state += [lanes.add(first, lanes.const("int64", u * lanes.width)) for u in range(self.unroll)]
        return state

    def update(
        self, state: list[ir.Value], values: Sequence[ir.Value], mask: ir.Value | None, indices: Sequence[ir.Value]
    ) -> list[ir.Value]:
        """One value for each of the first chains, `indices` being the 64-bit index of lane 0 of each."""
        lanes = self.frame.lanes
        state = list(state)
        xs = [lanes.convert(v, self.source, self.dtype) for v in values]
        if mask is not None and not self.indexed:
            xs = [lanes.select(mask, x, neutral(lanes, self.kind, self.dtype)) for x in xs]
        if self.indexed:
            for u, (x, index) in enumerate(zip(xs, indices, strict=True)):
                take = better(lanes, self.kind, state[u], x, self.source)
                if mask is not None:
                    take = lanes.and_(take, mask)
                here = lanes.add(lanes.splat(index), lanes.iota("int64"))
                state[u] = lanes.select(take, x, state[u])
                state[self.unroll + u] = lanes.select(take, here, state[self.unroll + u])
            return state
        if self.watches_nan:
            for u, x in enumerate(xs):
                wins = lanes.gt(x, state[u]) if self.kind == "max" else lanes.lt(x, state[u])
                state[u] = lanes.select(wins, x, state[u])
            nan = state[-1]
            for u in range(0, len(xs), 2):  # one unordered comparison looks at two values
                nan = lanes.or_(nan, lanes.builder.fcmp_unordered("uno", xs[u], xs[min(u + 1, len(xs) - 1)]))
            state[-1] = nan
            return state
        for u, x in enumerate(xs):
            state[u] = combine(lanes, self.kind, self.dtype, state[u], x)
        return state

    def vector(self, state: Sequence[ir.Value]) -> ir.Value:
        """The chains folded into one vector of `wide`."""
        lanes = self.frame.lanes
        chains = list(state[: self.unroll])
        while len(chains) > 1:
            half = len(chains) // 2
            chains = [combine(lanes, self.kind, self.dtype, chains[i], chains[i + half]) for i in range(half)]
        value = chains[0]
        if self.watches_nan:
            value = lanes.select(state[-1], lanes.const(self.dtype, float("nan")), value)
        return lanes.convert(value, self.dtype, self.wide)

    def scalar(self, state: Sequence[ir.Value], wide: ir.Value | None = None) -> ir.Value:
        """The result of the row; `wide` stands for the state where blocks were folded already."""
        lanes = self.frame.lanes
        if self.indexed:
            pairs = list(zip(state[: self.unroll], state[self.unroll :], strict=True))
            best = pairs[0]
            for pair in pairs[1:]:
                best = merge_index(lanes, self.kind, self.source, best, pair)
            found = fold_index(lanes, self.kind, self.source, *best)
            return lanes.with_width(1).convert(found, "int64", self.result)
        one = fold(lanes, self.kind, self.wide, self.vector(state) if wide is None else wide)
        return lanes.with_width(1).convert(one, self.wide, self.result)


def total_dtype(kind: str, source: str) -> str:
    """What a whole-tensor reduction is carried in."""
    if kind in ("any", "all"):
        return "bool"
    if kind in ("max", "min"):
        return source
    return "float64" if dtypes.is_float(source) else "int64"


class TotalSlot:
    """A whole-tensor reduction of one chunk: a vector on the stack, folded into the partial buffer at the end."""

    def __init__(self, frame: Frame, position: int) -> None:
        action = frame.actions[position]
        assert isinstance(action, Total)
        self.frame = frame
        self.action = action
        self.source: str = frame.actions[action.arg].dtype
        self.dtype = total_dtype(action.kind, self.source)
        self.space = frame.stack(self.dtype, frame.lanes.width)

    def clear(self) -> None:
        lanes = self.frame.lanes
        lanes.store(self.space, neutral(lanes, self.action.kind, self.dtype), self.dtype)

    def add(self, value: ir.Value, dtype: str, mask: ir.Value | None) -> None:
        """Takes in one vector of `dtype` where the mask is true."""
        lanes = self.frame.lanes
        kind = self.action.kind
        value = lanes.convert(value, dtype, self.dtype)
        if mask is not None:
            value = lanes.select(mask, value, neutral(lanes, kind, self.dtype))
        so_far = lanes.load(self.space, self.dtype)
        lanes.store(self.space, combine(lanes, kind, self.dtype, so_far, value), self.dtype)

    def finish(self, chunk: ir.Value) -> None:
        frame, lanes = self.frame, self.frame.lanes
        scalar = fold(lanes, self.action.kind, self.dtype, lanes.load(self.space, self.dtype))
        held = buffer_dtype(frame, self.action.access.buffer, self.dtype)
        one = lanes.with_width(1)
        pointer = one.element(frame.address(self.action.access, {}, held), chunk, held)
        one.store(pointer, one.convert(scalar, self.dtype, held), held)


def buffer_dtype(frame: Frame, name: str, default: str) -> str:
    """The element type of a buffer of the kernel."""
    return next((b.dtype for b in frame.kernel.buffers if b.name == name), default)
