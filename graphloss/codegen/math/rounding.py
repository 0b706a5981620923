"""Functions of a few instructions: roots, reciprocals, signs, rounding, the remainder of floor division."""

from __future__ import annotations

from llvmlite import ir

from graphloss.codegen.values import FORMATS, Lanes


def rsqrt(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return lanes.div(lanes.const(dtype, 1.0), lanes.sqrt(x))


def reciprocal(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return lanes.div(lanes.const(dtype, 1.0), x)


def sign(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """-1, 0 or 1; ±0 and NaN stay what they are."""
    one = lanes.copysign(lanes.const(dtype, 1.0), x)
    return lanes.select(lanes.gt(lanes.abs(x), lanes.const(dtype, 0.0)), one, x)


def sqrt(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return lanes.sqrt(x)


def ldexp(lanes: Lanes, dtype: str, x: ir.Value, n: ir.Value) -> ir.Value:
    """x·2^n for a whole number n; where that takes several steps, |n| counts as at most 2·(bias - 1)."""
    if lanes.scales_any(dtype):
        return lanes.scale(x, n)
    limit = 2.0 * (FORMATS[dtype].bias - 1)
    return lanes.scale(x, lanes.min(lanes.const(dtype, limit), lanes.max(lanes.const(dtype, -limit), n)))


def floor(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return lanes.floor(x)


def ceil(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return lanes.ceil(x)


def trunc(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return lanes.trunc(x)


def round_half_even(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return lanes.round(x)


def absolute(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return lanes.abs(x)


def minimum(lanes: Lanes, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
    return lanes.min(x, y)


def maximum(lanes: Lanes, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
    return lanes.max(x, y)
