"""asin, acos, atan."""

from __future__ import annotations

from typing import Final

from llvmlite import ir

from graphloss.codegen.math.coefficients import SPLIT
from graphloss.codegen.math.common import polynomial
from graphloss.codegen.values import Lanes

_TAN_PI_8: Final = 0.41421356237309503


def _asin_parts(lanes: Lanes, dtype: str, size: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(large, s, q): asin(size) = s + q, or π/2 - 2 (s + q) where size > ½, with s = √((1 - size) / 2)."""
    half = lanes.const(dtype, 0.5)
    large = lanes.gt(size, half)
    z = lanes.select(large, lanes.fma(size, lanes.const(dtype, -0.5), half), lanes.mul(size, size))
    s = lanes.select(large, lanes.sqrt(z), size)
    return large, s, lanes.mul(lanes.mul(s, z), polynomial(lanes, dtype, "asin", z))


def asin(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    high, low = (lanes.const(dtype, c) for c in SPLIT["pi/2", dtype])
    large, s, q = _asin_parts(lanes, dtype, lanes.abs(x))
    folded = lanes.sub(lanes.sub(high, lanes.add(s, s)), lanes.sub(lanes.add(q, q), low))
    return lanes.copysign(lanes.select(large, folded, lanes.add(s, q)), x)


def acos(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    high, low = SPLIT["pi/2", dtype]
    large, s, q = _asin_parts(lanes, dtype, lanes.abs(x))
    # small: π/2 - asin x; large and negative: π - 2 (s + q); large and positive: 2 (s + q)
    negative = lanes.lt(x, lanes.const(dtype, 0.0))
    s, q = lanes.select(negative, lanes.neg(s), s), lanes.select(negative, lanes.neg(q), q)
    small = lanes.sub(lanes.const(dtype, high), lanes.add(s, lanes.sub(q, lanes.const(dtype, low))))
    base = lanes.select(negative, lanes.const(dtype, 2 * high), lanes.const(dtype, 0.0))
    rest = lanes.select(negative, lanes.const(dtype, 2 * low), lanes.const(dtype, 0.0))
    ends = lanes.add(lanes.add(base, lanes.add(s, s)), lanes.add(lanes.add(q, q), rest))
    return lanes.select(large, ends, small)


def atan(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """By |x| = tan(base + t'): base 0, π/4 or π/2 so that |tan t'| ≤ tan(π/8); one division."""
    one, zero = lanes.const(dtype, 1.0), lanes.const(dtype, 0.0)
    size = lanes.abs(x)
    middle, large = lanes.gt(size, lanes.const(dtype, _TAN_PI_8)), lanes.gt(size, lanes.const(dtype, 1 / _TAN_PI_8))
    top = lanes.select(large, lanes.const(dtype, -1.0), lanes.select(middle, lanes.sub(size, one), size))
    bottom = lanes.select(large, size, lanes.select(middle, lanes.add(size, one), one))
    t = lanes.div(top, bottom)
    z = lanes.mul(t, t)
    base, rest = (
        lanes.select(large, lanes.const(dtype, half), lanes.select(middle, lanes.const(dtype, quarter), zero))
        for half, quarter in zip(SPLIT["pi/2", dtype], SPLIT["pi/4", dtype], strict=True)
    )
    q = lanes.fma(lanes.mul(t, z), polynomial(lanes, dtype, "atan", z), rest)
    return lanes.copysign(lanes.add(base, lanes.add(t, q)), x)
