"""float16 and bfloat16, which registers hold as 16-bit integers, to float32 and back.

Integer arithmetic where the target has no instruction: what LLVM has for that are library calls, lane by lane. A
bfloat16 is always converted so: its instructions take subnormal numbers for 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

if TYPE_CHECKING:
    from graphloss.codegen.arithmetic import LaneArithmetic

_INF = 0x7F800000
_LEAST = 0x38800000  # 2^-14, the least normal float16, as a float32
_SHIFT = 112 << 23  # between the exponents of the two
_STEP = 0x3F000000  # 1/2, whose last bit is worth what the least float16 is


def widen(lanes: LaneArithmetic, value: ir.Value, dtype: str) -> ir.Value:
    """The float32 that is equal to a half."""
    builder, i32 = lanes.builder, lanes.ty("int32")
    if dtype == "bfloat16":
        return lanes.bitcast(lanes.shl(builder.zext(value, i32), 16), "float32")
    if lanes.target.has_half:
        return builder.fpext(builder.bitcast(value, _half(lanes)), lanes.ty("float32"))
    bits = builder.zext(value, i32)
    size = lanes.and_(bits, lanes.const("int32", 0x7FFF))
    sign = lanes.shl(lanes.xor(bits, size), 16)
    moved = lanes.shl(size, 13)
    usual = lanes.add(moved, lanes.const("int32", _SHIFT))
    # inf and NaN have the largest exponent; a subnormal is put behind 2^-14, which is then taken away
    special = lanes.or_(moved, lanes.const("int32", _INF))
    behind = lanes.bitcast(lanes.add(moved, lanes.const("int32", _LEAST)), "float32")
    tiny = lanes.bitcast(lanes.sub(behind, lanes.const("float32", 2.0**-14)), "int32")
    found = lanes.select(lanes.ge(size, lanes.const("int32", 0x7C00)), special, usual)
    found = lanes.select(lanes.lt(size, lanes.const("int32", 0x0400)), tiny, found)
    return lanes.bitcast(lanes.or_(found, sign), "float32")


def narrow(lanes: LaneArithmetic, value: ir.Value, dtype: str) -> ir.Value:
    """A float rounded once to a half, to the even one of two that are equally near."""
    builder, i16 = lanes.builder, lanes.ty("int16")
    if lanes.dtype_of(value) == "float64":
        value = _to_odd(lanes, value)
    if dtype == "float16" and lanes.target.has_half:
        return builder.bitcast(builder.fptrunc(value, _half(lanes)), i16)
    bits = lanes.bitcast(value, "int32")
    is_float16 = dtype == "float16"
    found = _to_float16(lanes, bits) if is_float16 else _rounded(lanes, bits, 16)
    quiet = lanes.or_(lanes.lshr(bits, 16), lanes.const("int32", 0x7E00 if is_float16 else 0x40))
    return builder.trunc(lanes.select(lanes.isnan(value), quiet, found), i16)


def _to_float16(lanes: LaneArithmetic, bits: ir.Value) -> ir.Value:
    size = lanes.and_(bits, lanes.const("int32", 0x7FFFFFFF))
    sign = lanes.lshr(lanes.xor(bits, size), 16)
    usual = _rounded(lanes, lanes.sub(size, lanes.const("int32", _SHIFT)), 13)
    most = lanes.const("int32", 0x7C00)
    usual = lanes.select(lanes.lt(usual, most), usual, most)
    # the addition of 1/2 rounds where the last bit of a subnormal is
    beside = lanes.add(lanes.bitcast(size, "float32"), lanes.const("float32", 0.5))
    tiny = lanes.sub(lanes.bitcast(beside, "int32"), lanes.const("int32", _STEP))
    return lanes.or_(lanes.select(lanes.lt(size, lanes.const("int32", _LEAST)), tiny, usual), sign)


def _rounded(lanes: LaneArithmetic, bits: ir.Value, count: int) -> ir.Value:
    """Bits without the last `count`; a carry into the exponent is the next power of two, or inf."""
    odd = lanes.and_(lanes.lshr(bits, count), lanes.const("int32", 1))
    half = lanes.const("int32", (1 << (count - 1)) - 1)
    return lanes.lshr(lanes.add(bits, lanes.add(half, odd)), count)


def _to_odd(lanes: LaneArithmetic, value: ir.Value) -> ir.Value:
    """float64 as float32, what lies between two numbers as the one whose last bit is set: it does not round twice."""
    builder = lanes.builder
    near = builder.fptrunc(value, lanes.ty("float32"))
    back, bits = builder.fpext(near, lanes.ty("float64")), lanes.bitcast(near, "int32")
    none, one = lanes.const("int32", 0), lanes.const("int32", 1)
    bits = lanes.sub(bits, lanes.select(lanes.gt(lanes.abs(back), lanes.abs(value)), one, none))
    lost = builder.fcmp_ordered("!=", back, value)
    return lanes.bitcast(lanes.or_(bits, lanes.select(lost, one, none)), "float32")


def _half(lanes: LaneArithmetic) -> ir.Type:
    return ir.HalfType() if lanes.width == 1 else ir.VectorType(ir.HalfType(), lanes.width)
