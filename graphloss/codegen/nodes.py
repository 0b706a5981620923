"""The value of one node at one place: constants, loads, checks, scalar functions, stores."""

from __future__ import annotations

from llvmlite import ir

from graphloss import dtypes
from graphloss.codegen import flow, functions
from graphloss.codegen.flow import I32, I64, i64
from graphloss.codegen.frame import Frame, Place, Ramp, Scalar, Spread, Value, Values
from graphloss.codegen.math.forms import DEPTH
from graphloss.ir.dims import Dim
from graphloss.schedule.kernel import (
    Access,
    Apply,
    Check,
    CheckInterval,
    Const,
    DimValue,
    IndexedLoad,
    Iota,
    Keep,
    Level,
    Load,
    Store,
)


def evaluate(frame: Frame, position: int, values: Values, place: Place) -> Value | None:
    """Emits the node at `position`; its value, or None for a store. `values` holds its operands."""
    action = frame.actions[position]
    lanes = frame.lanes
    if isinstance(action, Const):
        return Value(lanes.const(action.dtype, action.value), lanes.with_width(1).const(action.dtype, action.value))
    if isinstance(action, DimValue):
        return uniform(frame, lanes.with_width(1).convert(frame.dim(action.dim), "int64", action.dtype))
    if isinstance(action, Iota):
        return _iota(frame, action, place)
    if isinstance(action, Load):
        pointer, along, spread = _reach(frame, position, action.access, action.dtype, place)
        return _read(frame, pointer, along, spread, action.dtype, place.mask)
    if isinstance(action, IndexedLoad):
        return _indexed(frame, position, action, values, place)
    if isinstance(action, Check):
        return _check(frame, action, values[action.index], place)
    if isinstance(action, CheckInterval):
        return _check_interval(frame, action, values[action.arg], place)
    if isinstance(action, Apply):
        return _apply(frame, action, [values[a] for a in action.args])
    if isinstance(action, Store):
        _store(frame, position, action.access, operand_dtype(frame, action.arg), values[action.arg], place)
        return None
    if isinstance(action, Keep):
        if place.step == frame.kernel.nodes[position].at[0]:
            _store(frame, position, action.access, action.dtype, values[action.arg], place)
            return values[action.arg]
        pointer, along, spread = _reach(frame, position, action.access, action.dtype, place)
        return _read(frame, pointer, along, spread, action.dtype, place.mask)
    raise TypeError(f"{type(action).__name__} has no value at one place")


def uniform(frame: Frame, scalar: ir.Value) -> Value:
    """The same number in every lane."""
    return Value(frame.lanes.splat(scalar), scalar)


def operand_dtype(frame: Frame, position: int) -> str:
    return frame.actions[position].dtype


def _apply(frame: Frame, action: Apply, args: list[Value]) -> Value:
    lanes = frame.lanes
    source = operand_dtype(frame, action.args[-1])
    if action.fn in ("eq", "ne") and source == "int64":
        for a, b in (args, args[::-1]):
            if a.ramp is not None and b.scalar is not None:
                return Value(_meets(frame, action.fn, a.ramp, b.scalar))
    scalars = [a.scalar for a in args if a.scalar is not None]
    if len(scalars) == len(args) and not dtypes.is_float(source) and not dtypes.is_float(action.dtype):
        # Index arithmetic stays scalar, so that a load whose index is the same in every lane stays contiguous.
        return uniform(frame, functions.apply(lanes.with_width(1), action.fn, source, action.dtype, scalars))
    vectors = [a.vector for a in args]
    made_by = _made_by(frame, action)
    return Value(functions.apply(lanes, action.fn, source, action.dtype, vectors, inline=frame.inline, made_by=made_by))


def _made_by(frame: Frame, action: Apply) -> tuple[str, ...]:
    """The functions of one operand and of one dtype that made the operand of `action`, the last one first."""
    found: list[str] = []
    while len(action.args) == 1 and len(found) + 1 < DEPTH:
        below = frame.actions[action.args[0]]
        if not isinstance(below, Apply) or below.dtype != action.dtype:
            break
        found.append(below.fn)
        action = below
    return tuple(found)


def _meets(frame: Frame, fn: str, ramp: ir.Value, scalar: ir.Value) -> ir.Value:
    # ramp + l == scalar  <=>  l == scalar - ramp; a distance outside the lanes becomes the lane count, which meets none
    lanes, builder = frame.lanes, frame.builder
    distance = builder.sub(scalar, ramp)
    width = i64(lanes.width)
    near = builder.select(builder.icmp_unsigned("<", distance, width), distance, width)
    there = lanes.splat(builder.trunc(near, I32))
    return lanes.eq(lanes.iota("int32"), there) if fn == "eq" else lanes.ne(lanes.iota("int32"), there)


def _iota(frame: Frame, action: Iota, place: Place) -> Value:
    lanes, builder = frame.lanes, frame.builder
    index = place.axes[action.axis]
    start = frame.dim(action.start)
    if isinstance(index, Scalar):
        number = flow.add(builder, start, flow.mul(builder, index.value, i64(action.step)))
        return uniform(frame, lanes.with_width(1).convert(number, "int64", action.dtype))
    if isinstance(index, Ramp):
        first = flow.add(builder, start, flow.mul(builder, index.base, i64(action.step)))
        steps = lanes.iota("int64")
        if action.step != 1:
            steps = lanes.mul(steps, lanes.const("int64", action.step))
        vector = lanes.add(lanes.splat(first), steps)
        ramp = first if action.step == 1 and action.dtype == "int64" else None
        return Value(lanes.convert(vector, "int64", action.dtype), ramp=ramp)
    vector = index.vector
    if action.step != 1:
        vector = lanes.mul(vector, lanes.const("int64", action.step))
    return Value(lanes.convert(lanes.add(vector, lanes.splat(start)), "int64", action.dtype))


# memory


def _reach(
    frame: Frame, position: int, access: Access, dtype: str, place: Place
) -> tuple[ir.Value, Dim, ir.Value | None]:
    """The address of lane 0, the distance from lane to lane, and offsets that differ per lane, all in elements."""
    builder, lanes = frame.builder, frame.lanes
    base = place.bases.get(position)
    counted = place.counted
    if base is None:
        base, counted = frame.address(access, {}, dtype), frozenset()
    offset: ir.Value = i64(0)
    along: Dim = 0
    spread: ir.Value | None = None
    for axis, index in place.axes.items():
        stride = access.strides[axis]
        if stride == 0 or axis in counted:
            continue
        if isinstance(index, Spread):
            part = index.vector
            if stride != 1:
                part = lanes.mul(part, lanes.splat(frame.dim(stride)))
            spread = part if spread is None else lanes.add(spread, part)
            continue
        if isinstance(index, Ramp):
            along = stride
            first = index.base
        else:
            first = index.value
        offset = flow.add(builder, offset, flow.mul(builder, first, frame.dim(stride)))
    pointer = base if flow.known(offset) == 0 else lanes.element(base, offset, dtype)
    return pointer, along, spread


def _offsets(frame: Frame, along: Dim, spread: ir.Value | None) -> ir.Value:
    lanes = frame.lanes
    if along == 0 and spread is not None:
        return spread
    steps = lanes.iota("int64")
    if along != 1:
        steps = lanes.mul(steps, lanes.splat(frame.dim(along)))
    return steps if spread is None else lanes.add(steps, spread)


def _read(
    frame: Frame, pointer: ir.Value, along: Dim, spread: ir.Value | None, dtype: str, mask: ir.Value | None
) -> Value:
    lanes = frame.lanes
    if spread is None and along == 0:
        return uniform(frame, lanes.load_scalar(pointer, dtype))
    if spread is None and along == 1:
        return Value(lanes.load(pointer, dtype) if mask is None else lanes.masked_load(pointer, mask, dtype))
    return Value(lanes.gather(pointer, _offsets(frame, along, spread), dtype, mask))


def _indexed(frame: Frame, position: int, action: IndexedLoad, values: Values, place: Place) -> Value:
    lanes, builder = frame.lanes, frame.builder
    pointer, along, spread = _reach(frame, position, action.access, action.dtype, place)
    index = values[action.index]
    source = operand_dtype(frame, action.index)
    stride = frame.dim(action.stride)
    if index.scalar is not None:
        row = lanes.with_width(1).convert(index.scalar, source, "int64")
        pointer = lanes.element(pointer, flow.mul(builder, row, stride), action.dtype)
        return _read(frame, pointer, along, spread, action.dtype, place.mask)
    offsets = lanes.convert(index.vector, source, "int64")
    if action.stride != 1:
        offsets = lanes.mul(offsets, lanes.splat(stride))
    if along != 0 or spread is not None:
        offsets = lanes.add(offsets, _offsets(frame, along, spread))
    return Value(lanes.gather(pointer, offsets, action.dtype, place.mask))


def _store(frame: Frame, position: int, access: Access, dtype: str, value: Value, place: Place) -> None:
    lanes = frame.lanes
    pointer, along, spread = _reach(frame, position, access, dtype, place)
    if spread is None and along == 0:
        scalar = value.scalar if value.scalar is not None else lanes.extract(value.vector, 0)
        lanes.with_width(1).store(pointer, scalar, dtype)
    elif spread is None and along == 1:
        if place.mask is None:
            lanes.store(pointer, value.vector, dtype)
        else:
            lanes.masked_store(pointer, place.mask, value.vector, dtype)
    else:
        lanes.scatter(pointer, _offsets(frame, along, spread), value.vector, dtype, place.mask)


# checks


def _check(frame: Frame, action: Check, index: Value, place: Place) -> Value:
    """The index where it is in range, else 0; the register that is checked is the one that is used."""
    lanes = frame.lanes
    source = operand_dtype(frame, action.index)
    limit = frame.dim(action.limit)
    wide = lanes.convert(index.vector, source, "int64")
    good = lanes.ult(wide, lanes.splat(limit))
    bad = lanes.not_(good)
    if place.mask is not None:
        bad = lanes.and_(bad, place.mask)
    frame.report(action.slot, bad, wide, place)
    scalar = None
    if index.scalar is not None:
        one = lanes.with_width(1)
        there = one.ult(one.convert(index.scalar, source, "int64"), limit)
        scalar = one.select(there, index.scalar, one.const(source, 0))
    return Value(lanes.select(good, index.vector, lanes.const(source, 0)), scalar)


def _check_interval(frame: Frame, action: CheckInterval, value: Value, place: Place) -> Value:
    """The value as it is; comparisons are ordered, so that NaN passes."""
    lanes = frame.lanes
    below = lanes.lt(value.vector, lanes.const(action.dtype, action.low))
    bad = lanes.or_(below, lanes.gt(value.vector, lanes.const(action.dtype, action.high)))
    if place.mask is not None:
        bad = lanes.and_(bad, place.mask)
    wide = lanes.convert(value.vector, action.dtype, "float64")
    frame.report(action.slot, bad, lanes.bitcast(wide, "int64"), place)
    return value


def scalar_level(frame: Frame) -> None:
    """Evaluates what exists once per call. Stores are left to the call that has the first chunk."""
    place = Place({}, None, lambda: (i64(0), i64(0)))
    for position, node in enumerate(frame.kernel.nodes):
        if node.level is not Level.SCALAR or isinstance(node.action, Store):
            continue
        value = evaluate(frame, position, frame.scalars, place)
        if value is not None and value.scalar is None:
            value = Value(value.vector, frame.lanes.extract(value.vector, 0))
        if value is not None:
            frame.scalars[position] = value


def scalar_stores(frame: Frame, first_chunk: ir.Value) -> None:
    """Stores of the scalar level, done by the one call that begins at chunk 0."""
    stores = [
        p for p, n in enumerate(frame.kernel.nodes) if n.level is Level.SCALAR and isinstance(n.action, Store)
    ]
    if not stores:
        return
    place = Place({}, None, lambda: (i64(0), i64(0)))
    with frame.builder.if_then(frame.builder.icmp_unsigned("==", first_chunk, ir.Constant(I64, 0))):
        for position in stores:
            evaluate(frame, position, frame.scalars, place)
