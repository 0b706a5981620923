"""sin, cos, tan: reduction by multiples of π/2, exact for every float, and two short polynomials; in float64."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

from llvmlite import ir

from graphloss.codegen.math.coefficients import HALF_PI_PARTS, SPLIT, TWO_OVER_PI
from graphloss.codegen.math.common import INFINITY, polynomial, through_float64, two_product
from graphloss.codegen.values import FORMATS, Lanes

F64: Final = "float64"
_LIMIT: Final = 1.6e6  # up to here the quotient has 20 bits, and its products with the parts of π/2 are exact
_I64, _I128, _DOUBLE = ir.IntType(64), ir.IntType(128), ir.DoubleType()
_HUGE: Final = "graphloss.reduce_huge"


def sin(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return through_float64(lanes, "sin", dtype, _sin, x)


def cos(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return through_float64(lanes, "cos", dtype, _cos, x)


def tan(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return through_float64(lanes, "tan", dtype, _tan, x)


def _sin(lanes: Lanes, _: str, x: ir.Value) -> ir.Value:
    quadrant, r = _reduce(lanes, lanes.abs(x))
    sine, cosine = _sin_cos(lanes, r)
    y = lanes.select(_odd(lanes, quadrant), cosine, sine)
    sign = lanes.and_(lanes.bitcast(x, "int64"), lanes.const("int64", -(1 << 63)))
    return _flip(lanes, y, lanes.xor(sign, _sign(lanes, quadrant)))


def _cos(lanes: Lanes, _: str, x: ir.Value) -> ir.Value:
    quadrant, r = _reduce(lanes, lanes.abs(x))
    sine, cosine = _sin_cos(lanes, r)
    y = lanes.select(_odd(lanes, quadrant), sine, cosine)
    return _flip(lanes, y, _sign(lanes, lanes.add(quadrant, lanes.const("int64", 1))))


def _tan(lanes: Lanes, _: str, x: ir.Value) -> ir.Value:
    quadrant, r = _reduce(lanes, lanes.abs(x))
    sine, cosine = _sin_cos(lanes, r)
    odd = _odd(lanes, quadrant)
    y = lanes.div(lanes.select(odd, lanes.neg(cosine), sine), lanes.select(odd, sine, cosine))
    return _flip(lanes, y, lanes.and_(lanes.bitcast(x, "int64"), lanes.const("int64", -(1 << 63))))


def _odd(lanes: Lanes, quadrant: ir.Value) -> ir.Value:
    return lanes.ne(lanes.and_(quadrant, lanes.const("int64", 1)), lanes.const("int64", 0))


def _sign(lanes: Lanes, quadrant: ir.Value) -> ir.Value:
    """The sign bit of a value that is negative in quadrants 2 and 3."""
    return lanes.shl(lanes.and_(quadrant, lanes.const("int64", 2)), 62)


def _flip(lanes: Lanes, y: ir.Value, sign: ir.Value) -> ir.Value:
    return lanes.bitcast(lanes.xor(lanes.bitcast(y, "int64"), sign), F64)


def _sin_cos(lanes: Lanes, r: ir.Value) -> tuple[ir.Value, ir.Value]:
    """sin r and cos r for |r| ≤ π/4."""
    one, half = lanes.const(F64, 1.0), lanes.const(F64, 0.5)
    z = lanes.mul(r, r)
    sine = lanes.fma(lanes.mul(z, polynomial(lanes, F64, "sin", z)), r, r)
    half_z = lanes.mul(z, half)
    near = lanes.sub(one, half_z)
    lost = lanes.sub(lanes.sub(one, near), half_z)
    return sine, lanes.add(near, lanes.fma(lanes.mul(z, z), polynomial(lanes, F64, "cos", z), lost))


def _reduce(lanes: Lanes, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(quadrant, r) with x = quadrant·π/2 + r, |r| ≤ π/4, for x ≥ 0; only the low bits of the quadrant are good."""
    magic = lanes.const(F64, FORMATS[F64].magic)
    shifted = lanes.fma(x, lanes.const(F64, 2.0 / math.pi), magic)
    n = lanes.sub(shifted, magic)
    first, second, third, rest = (lanes.const(F64, -part) for part in HALF_PI_PARTS)
    high = lanes.fma(n, first, x)  # exact
    step = lanes.mul(n, second)
    sum_ = lanes.add(high, step)
    lost = lanes.add(lanes.sub(high, sum_), step)
    r = lanes.add(sum_, lanes.fma(n, third, lanes.fma(n, rest, lost)))
    return _huge_lanes(lanes, x, lanes.bitcast(shifted, "int64"), r)


def _huge_lanes(lanes: Lanes, x: ir.Value, quadrant: ir.Value, r: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Replace the lanes with a large finite x, one after the other; skipped where there is none."""
    huge = lanes.and_(lanes.ge(x, lanes.const(F64, _LIMIT)), lanes.lt(x, lanes.const(F64, INFINITY)))
    builder = lanes.builder
    function = builder.function
    before = builder.block
    loop, end = function.append_basic_block("huge"), function.append_basic_block("reduced")
    safe = lanes.select(huge, x, lanes.const(F64, _LIMIT))
    builder.cbranch(lanes.reduce_or(huge), loop, end)
    builder.position_at_end(loop)
    i = builder.phi(ir.IntType(32))
    quadrants, rests = builder.phi(quadrant.type), builder.phi(r.type)
    pair = builder.call(_huge_function(lanes), [lanes.extract(safe, i)])
    new_quadrants = lanes.insert(quadrants, builder.extract_value(pair, 0), i)
    new_rests = lanes.insert(rests, builder.extract_value(pair, 1), i)
    following = builder.add(i, ir.Constant(i.type, 1))
    for phi, start, again in (
        (i, ir.Constant(i.type, 0), following), (quadrants, quadrant, new_quadrants), (rests, r, new_rests),
    ):  # fmt: skip
        phi.add_incoming(start, before)
        phi.add_incoming(again, loop)
    # a lane that is not huge keeps what it had
    merged_quadrants = lanes.select(huge, new_quadrants, quadrant)
    merged_rests = lanes.select(huge, new_rests, r)
    builder.cbranch(builder.icmp_unsigned("<", following, ir.Constant(i.type, lanes.width)), loop, end)
    builder.position_at_end(end)
    result = []
    for start, merged in ((quadrant, merged_quadrants), (r, merged_rests)):
        phi = builder.phi(start.type)
        phi.add_incoming(start, before)
        phi.add_incoming(merged, loop)
        result.append(phi)
    return result[0], result[1]


def _huge_function(lanes: Lanes) -> ir.Function:
    """`{i64 quadrant, double r}` of one x ≥ 2^20: multiplication by the bits of 2/π that matter (Payne and Hanek)."""
    module = lanes.module
    if _HUGE in module.globals:
        return module.globals[_HUGE]
    words = ir.ArrayType(_I64, len(TWO_OVER_PI))
    table = ir.GlobalVariable(module, words, "graphloss.two_over_pi")
    table.initializer = ir.Constant(words, [ir.Constant(_I64, word) for word in TWO_OVER_PI])
    table.global_constant = True
    table.linkage = "internal"
    function = ir.Function(module, ir.FunctionType(ir.LiteralStructType([_I64, _DOUBLE]), [_DOUBLE]), _HUGE)
    function.linkage = "internal"
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    scalar = Lanes(builder, module, 1, lanes.target)

    bits = builder.bitcast(function.args[0], _I64)
    exponent = builder.sub(builder.lshr(bits, _I64(52)), _I64(1075))  # x = mantissa · 2^exponent
    mantissa = builder.or_(builder.and_(bits, _I64((1 << 52) - 1)), _I64(1 << 52))
    # The 192 bits of 2/π · 2^exponent from the weight 2^1 down: what lies above is a multiple of 4 quadrants.
    position = builder.add(exponent, _I64(62))
    word, offset = builder.lshr(position, _I64(6)), builder.and_(position, _I64(63))
    parts = [
        builder.load(builder.gep(table, [builder.add(word, _I64(k))], source_etype=_I64), typ=_I64, align=8)
        for k in range(4)
    ]
    window = [scalar.intrinsic("llvm.fshl.i64", _I64, a, b, offset) for a, b in pairwise(parts)]
    m, first, second, third = (builder.zext(v, _I128) for v in (mantissa, *window))
    shift = _I128(64)
    product = builder.add(builder.shl(builder.mul(m, first), shift), builder.mul(m, second))
    product = builder.add(product, builder.lshr(builder.mul(m, third), shift))
    quadrant = builder.trunc(builder.lshr(builder.add(product, _I128(1 << 125)), _I128(126)), _I64)
    # The signed fraction of a quadrant in units of 2^-128, as a sum of two floats of 53 bits each.
    fraction = builder.shl(product, _I128(2))
    negative = builder.icmp_signed("<", fraction, _I128(0))
    size = builder.select(negative, builder.neg(fraction), fraction)
    zeros = scalar.intrinsic("llvm.ctlz.i128", _I128, size, ir.Constant(ir.IntType(1), 0))
    size = builder.shl(size, builder.and_(zeros, _I128(127)))
    top = builder.trunc(builder.lshr(size, _I128(75)), _I64)
    below = builder.and_(builder.trunc(builder.lshr(size, _I128(22)), _I64), _I64((1 << 53) - 1))
    unit = builder.shl(builder.sub(_I64(1023 - 53), builder.trunc(zeros, _I64)), _I64(52))
    unit = builder.bitcast(unit, _DOUBLE)
    high = builder.fmul(builder.sitofp(top, _DOUBLE), unit)
    low = builder.fmul(builder.fmul(builder.sitofp(below, _DOUBLE), _DOUBLE(2.0**-53)), unit)
    half_pi, half_pi_low = (_DOUBLE(part) for part in SPLIT["pi/2", F64])
    r, error = two_product(scalar, high, half_pi)
    rest = builder.fadd(error, builder.fadd(builder.fmul(high, half_pi_low), builder.fmul(low, half_pi)))
    r = builder.fadd(r, rest)
    r = builder.select(negative, builder.fneg(r), r)
    pair = builder.insert_value(ir.Constant(function.function_type.return_type, ir.Undefined), quadrant, 0)
    builder.ret(builder.insert_value(pair, r, 1))
    return function
