"""pow with the rules of C: exp(y·log x) with a logarithm of twice the digits; small constant exponents by products."""

from __future__ import annotations

from typing import Final

from llvmlite import ir

from graphloss.codegen.math.coefficients import SPLIT
from graphloss.codegen.math.common import INFINITY, NAN, outlined, polynomial, two_product
from graphloss.codegen.math.exponential import exp, exp_sum
from graphloss.codegen.math.logarithm import log, normal_parts
from graphloss.codegen.values import Lanes

F64: Final = "float64"
_SATURATED: Final = 2.0**80  # with such an exponent every power is 0, 1 or infinite already


def power(lanes: Lanes, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """x^y. A constant y of 0, ±½, ±1, 1½, ±2, 3 or 4 costs a few instructions."""
    known = lanes.constant_value(y)
    if known is not None:
        short = _by_products(lanes, dtype, x, known)
        if short is not None:
            return short
    return outlined(lanes, "pow", dtype, _power, x, y)


def _by_products(lanes: Lanes, dtype: str, x: ir.Value, y: float) -> ir.Value | None:
    one = lanes.const(dtype, 1.0)
    if y == 0:
        return one
    if y == 1:
        return x
    if y < 0 and y in (-0.5, -1.0, -2.0):
        # of the reciprocal: x·x may be subnormal or infinite where its reciprocal is not
        inverse = lanes.div(one, x if y != -0.5 else _root(lanes, dtype, x))
        return lanes.mul(inverse, inverse) if y == -2 else inverse
    if y == 0.5:
        return _root(lanes, dtype, x)
    if y == 1.5:
        return lanes.mul(lanes.abs(x), _root(lanes, dtype, x))
    if y in (2, 3, 4):
        square = lanes.mul(x, x)
        return square if y == 2 else lanes.mul(square, x if y == 3 else square)
    return None


def _root(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """x^½, which is +0 at -0 and ∞ at -∞."""
    root = lanes.sqrt(lanes.add(x, lanes.const(dtype, 0.0)))
    return lanes.select(lanes.eq(x, lanes.const(dtype, -INFINITY)), lanes.const(dtype, INFINITY), root)


def _power(lanes: Lanes, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
    zero, one, infinity = (lanes.const(dtype, v) for v in (0.0, 1.0, INFINITY))
    size = lanes.abs(x)
    if dtype == "float32":  # float64 has digits to spare
        wide = [lanes.convert(v, dtype, F64) for v in (size, y)]
        result = lanes.convert(exp(lanes, F64, lanes.mul(log(lanes, F64, wide[0]), wide[1])), F64, dtype)
    else:
        result = _float64_power(lanes, size, y)
    # signs: an odd integer exponent keeps that of x, another integer drops it, a fraction has no power of a negative x
    half = lanes.mul(y, lanes.const(dtype, 0.5))
    integral = lanes.eq(lanes.trunc(y), y)
    odd = lanes.and_(integral, lanes.ne(lanes.trunc(half), half))
    result = lanes.select(odd, lanes.copysign(result, x), result)
    forbidden = lanes.and_(lanes.lt(x, zero), lanes.not_(integral))
    forbidden = lanes.and_(forbidden, lanes.lt(size, infinity))
    result = lanes.select(forbidden, lanes.const(dtype, NAN), result)
    # (-1)^±∞ = 1, 1^y = 1, x^0 = 1, for NaN as well
    unit = lanes.and_(lanes.eq(size, one), lanes.eq(lanes.abs(y), infinity))
    always = lanes.or_(lanes.eq(x, one), lanes.eq(y, zero))
    return lanes.select(lanes.or_(unit, always), one, result)


def _float64_power(lanes: Lanes, x: ir.Value, y: ir.Value) -> ir.Value:
    """x^y for x ≥ 0."""
    high, low = _log_pair(lanes, x)
    y = lanes.min(lanes.const(F64, _SATURATED), lanes.max(lanes.const(F64, -_SATURATED), y))
    product, error = two_product(lanes, high, y)
    error = lanes.fma(low, y, error)
    # Out of range the error is meaningless (∞ - ∞) and not needed.
    known = lanes.lt(lanes.abs(product), lanes.const(F64, 1000.0))
    return exp_sum(lanes, F64, product, lanes.select(known, error, lanes.const(F64, 0.0)))


def _log_pair(lanes: Lanes, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """log x as a sum high + low, to about 2^-65 of itself: 2 s + 2/3 s³ in pairs, the rest in one float."""
    zero, one, infinity = (lanes.const(F64, v) for v in (0.0, 1.0, INFINITY))
    e, m = normal_parts(lanes, F64, x)
    # s = (m - 1) / (m + 1), with what its rounding and that of m + 1 lost
    f = lanes.sub(m, one)
    d, d_low = _two_sum(lanes, m, one)
    inverse = lanes.div(one, d)
    s = lanes.mul(f, inverse)
    product, error = two_product(lanes, s, d)
    left = lanes.sub(lanes.sub(lanes.sub(f, product), error), lanes.mul(s, d_low))
    s_low = lanes.mul(left, inverse)
    # 2/3 s³
    z, z_low = two_product(lanes, s, s)
    z_low = lanes.fma(lanes.add(s, s), s_low, z_low)
    cube, cube_low = two_product(lanes, z, s)
    cube_low = lanes.add(cube_low, lanes.fma(z, s_low, lanes.mul(z_low, s)))
    third, third_low = (lanes.const(F64, c) for c in SPLIT["2/3", F64])
    term, term_low = two_product(lanes, cube, third)
    term_low = lanes.add(term_low, lanes.fma(cube, third_low, lanes.mul(cube_low, third)))
    term_low = lanes.fma(lanes.mul(cube, z), polynomial(lanes, F64, "log5", z), term_low)
    # e ln 2 + 2 s + 2/3 s³, largest first, each sum with its error
    ln2, ln2_low = (lanes.const(F64, c) for c in SPLIT["ln 2", F64])
    base = lanes.mul(e, ln2)  # exact
    double, double_low = lanes.add(s, s), lanes.add(s_low, s_low)
    first, first_low = _two_sum(lanes, base, double)
    high, high_low = _two_sum(lanes, first, term)
    low = lanes.add(lanes.add(lanes.add(first_low, high_low), double_low), lanes.fma(e, ln2_low, term_low))
    total = lanes.add(high, low)
    low = lanes.add(lanes.sub(high, total), low)
    total = lanes.select(lanes.lt(x, infinity), total, x)
    return lanes.select(lanes.eq(x, zero), lanes.const(F64, -INFINITY), total), low


def _two_sum(lanes: Lanes, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(s, e) with s + e = a + b exactly, whichever is larger."""
    s = lanes.add(a, b)
    part = lanes.sub(s, a)
    return s, lanes.add(lanes.sub(a, lanes.sub(s, part)), lanes.sub(b, part))
