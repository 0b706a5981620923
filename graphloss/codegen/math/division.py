"""The remainder and quotient of floor division, as NumPy and Python have them: exact for every quotient."""

from __future__ import annotations

from typing import Final

from llvmlite import ir

from graphloss.codegen.math.common import INFINITY, NAN, through_float64, two_product
from graphloss.codegen.values import FORMATS, Lanes

F64: Final = "float64"


def mod(lanes: Lanes, dtype: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """a - b·⌊a/b⌋, exact but for the last rounding; it has the sign of b."""
    return _adjusted(lanes, dtype, a, b)[0]


def floordiv(lanes: Lanes, dtype: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """⌊a/b⌋; a/b where b is 0."""
    zero, one, half = (lanes.const(dtype, v) for v in (0.0, 1.0, 0.5))
    _, remainder, wrong = _adjusted(lanes, dtype, a, b)
    quotient = lanes.div(lanes.sub(a, remainder), b)
    quotient = lanes.select(wrong, lanes.sub(quotient, one), quotient)
    whole = lanes.floor(quotient)  # the division may have rounded to either side of an integer
    whole = lanes.select(lanes.gt(lanes.sub(quotient, whole), half), lanes.add(whole, one), whole)
    ratio = lanes.div(a, b)
    whole = lanes.select(lanes.eq(quotient, zero), lanes.copysign(zero, ratio), whole)
    return lanes.select(lanes.eq(b, zero), ratio, whole)


def _adjusted(lanes: Lanes, dtype: str, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(a mod b, remainder with the sign of a, where the two differ)."""
    zero = lanes.const(dtype, 0.0)
    remainder = lanes.copysign(through_float64(lanes, "fmod", dtype, _fmod, lanes.abs(a), lanes.abs(b)), a)
    negative, below = lanes.lt(remainder, zero), lanes.lt(b, zero)
    some = lanes.ne(remainder, zero)
    wrong = lanes.and_(some, lanes.xor(negative, below))
    y = lanes.select(wrong, lanes.add(remainder, b), remainder)
    return lanes.select(some, y, lanes.copysign(zero, b)), remainder, wrong


def _fmod(lanes: Lanes, _: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """a - b·⌊a/b⌋ for a, b ≥ 0, exactly: quotients of up to 52 bits are taken off until less than b is left."""
    zero, infinity = lanes.const(F64, 0.0), lanes.const(F64, INFINITY)
    valid = lanes.and_(lanes.lt(a, infinity), lanes.gt(b, zero))
    builder = lanes.builder
    divisor = lanes.select(valid, b, lanes.const(F64, 1.0))
    start = lanes.select(valid, a, zero)
    before = builder.block
    loop, end = builder.function.append_basic_block("divide"), builder.function.append_basic_block("divided")
    builder.cbranch(lanes.reduce_or(lanes.ge(start, divisor)), loop, end)
    builder.position_at_end(loop)
    rest = builder.phi(start.type)
    rest.add_incoming(start, before)
    left = _divide_once(lanes, rest, divisor)
    rest.add_incoming(left, builder.block)
    last = builder.block
    builder.cbranch(lanes.reduce_or(lanes.ge(left, divisor)), loop, end)
    builder.position_at_end(end)
    result = builder.phi(start.type)
    result.add_incoming(start, before)
    result.add_incoming(left, last)
    return lanes.select(valid, result, lanes.const(F64, NAN))


def _divide_once(lanes: Lanes, a: ir.Value, b: ir.Value) -> ir.Value:
    zero, infinity = lanes.const(F64, 0.0), lanes.const(F64, INFINITY)
    form = FORMATS[F64]
    for _ in range(2):  # a quotient beyond the range: a larger multiple of b first
        beyond = lanes.eq(lanes.div(a, b), infinity)
        b = lanes.select(beyond, lanes.mul(b, lanes.const(F64, 2.0**970)), b)
    # and b times a power of two, so that the quotient has at most 52 bits
    exponent = lanes.lshr(lanes.bitcast(lanes.div(a, b), form.bits), form.mantissa)
    most = lanes.const(form.bits, form.bias + 51)
    excess = lanes.select(lanes.lt(most, exponent), lanes.sub(exponent, most), lanes.const(form.bits, 0))
    power = lanes.bitcast(lanes.shl(lanes.add(excess, lanes.const(form.bits, form.bias)), form.mantissa), F64)
    # The product may be a little above a, so both step back from the end of the range.
    large = lanes.gt(a, lanes.const(F64, 2.0**1000))
    one, down, up = (lanes.const(F64, v) for v in (1.0, 2.0**-4, 2.0**4))
    step = lanes.select(large, down, one)
    a, b = lanes.mul(a, step), lanes.mul(lanes.mul(b, power), step)
    product, error = two_product(lanes, lanes.trunc(lanes.div(a, b)), b)
    left = lanes.sub(lanes.sub(a, product), error)
    left = lanes.select(lanes.lt(left, zero), lanes.add(left, b), left)  # the quotient was rounded up
    return lanes.mul(left, lanes.select(large, up, one))
