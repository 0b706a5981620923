"""What the functions of the math library share: polynomials and split constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from llvmlite import ir

from graphloss.codegen.math.coefficients import COEFFICIENTS, SPLIT
from graphloss.codegen.values import FORMATS, Lanes

# ln 2 in two parts; the first has so few bits that its product with any exponent is exact, with or without FMA.
LN2_HIGH: Final = {dtype: SPLIT["ln 2", dtype][0] for dtype in ("float32", "float64")}
LN2_LOW: Final = {dtype: SPLIT["ln 2", dtype][1] for dtype in ("float32", "float64")}
SQRT_HALF: Final = {"float32": float.fromhex("0x1.6a09e6p-1"), "float64": float.fromhex("0x1.6a09e667f3bcdp-1")}
INFINITY: Final = float("inf")
NAN: Final = float("nan")


def horner(lanes: Lanes, dtype: str, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    """Σ c_k x^k, lowest first; a long one in two chains (even and odd powers), which wait less for each other.

    The lowest coefficient is added last, alone: so the largest term is rounded once, not once per chain.
    """
    if len(coefficients) <= 6:
        return _chain(lanes, dtype, x, coefficients)
    square = lanes.mul(x, x)
    first, *rest = coefficients
    odd = _chain(lanes, dtype, square, rest[1::2])
    total = lanes.fma(odd, x, _chain(lanes, dtype, square, rest[0::2]))
    return lanes.fma(total, x, lanes.const(dtype, first))


def _chain(lanes: Lanes, dtype: str, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    total: ir.Value = lanes.const(dtype, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = lanes.fma(total, x, lanes.const(dtype, c))
    return total


def polynomial(lanes: Lanes, dtype: str, name: str, x: ir.Value) -> ir.Value:
    """The minimax polynomial `name` of the coefficients file at x."""
    return horner(lanes, dtype, x, COEFFICIENTS[name, dtype])


def nearest(lanes: Lanes, dtype: str, x: ir.Value, factor: float, bias: float = 0.0) -> ir.Value:
    """x·factor + bias rounded to an integer by the magic number; |x·factor| below 2^(mantissa-1)."""
    magic = lanes.const(dtype, FORMATS[dtype].magic)
    if not bias:
        return lanes.sub(lanes.fma(x, lanes.const(dtype, factor), magic), magic)
    biased = lanes.fma(x, lanes.const(dtype, factor), lanes.const(dtype, bias))
    return lanes.sub(lanes.add(biased, magic), magic)


def two_product(lanes: Lanes, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(p, e) with p + e = a·b: p the rounded product, e its error (float64; its own last bit may go without FMA)."""
    p = lanes.mul(a, b)
    if lanes.target.has_fma:
        return p, lanes.fma(a, b, lanes.neg(p))
    (a_high, a_low), (b_high, b_low) = (halves(lanes, "float64", v) for v in (a, b))
    e = lanes.sub(lanes.mul(a_high, b_high), p)
    e = lanes.add(lanes.add(e, lanes.mul(a_high, b_low)), lanes.mul(a_low, b_high))
    return p, lanes.add(e, lanes.mul(a_low, b_low))


def halves(lanes: Lanes, dtype: str, a: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(h, l) with h + l = a, exactly; the products of two h are exact, and those of h and l but for the last bit."""
    # By mask, not by a multiplication: that would overflow for large a.
    form = FORMATS[dtype]
    mask = lanes.const(form.bits, -(1 << (form.mantissa // 2 + 1)))
    high = lanes.bitcast(lanes.and_(lanes.bitcast(a, form.bits), mask), dtype)
    return high, lanes.sub(a, high)


def upper_half(dtype: str, factor: float) -> float:
    """A constant cut so far that its products with what `halves` returns are exact."""
    mantissa, exponent = math.frexp(factor)
    unit = 2.0 ** (FORMATS[dtype].mantissa // 2)
    return math.ldexp(math.trunc(mantissa * unit) / unit, exponent)


def exact_sum(lanes: Lanes, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(s, r) with s + r = a + b, s the rounded sum; a is 0 or the larger one."""
    total = lanes.add(a, b)
    return total, lanes.sub(b, lanes.sub(total, a))


def product_sum(lanes: Lanes, dtype: str, a: ir.Value, factor: float, b: ir.Value) -> ir.Value:
    """a·factor + b, the product not rounded before the sum, with or without FMA; b small against it."""
    if lanes.target.has_fma:
        return lanes.fma(a, lanes.const(dtype, factor), b)
    upper = upper_half(dtype, factor)
    high, low = halves(lanes, dtype, a)
    b = lanes.add(b, lanes.mul(a, lanes.const(dtype, factor - upper)))
    b = lanes.add(b, lanes.mul(low, lanes.const(dtype, upper)))
    return lanes.add(lanes.mul(high, lanes.const(dtype, upper)), b)


def outlined(lanes: Lanes, name: str, dtype: str, body: Callable[..., ir.Value], *args: ir.Value) -> ir.Value:
    """Call `body` as a function of the module, made on first use: for long functions, or those with branches."""
    symbol = f"graphloss.{name}.{dtype}.x{lanes.width}"
    function = lanes.module.globals.get(symbol)
    if function is None:
        typ = lanes.ty(dtype)
        function = ir.Function(lanes.module, ir.FunctionType(typ, [typ] * len(args)), symbol)
        function.linkage = "internal"
        function.calling_convention = "fastcc"
        inside = lanes.with_builder(ir.IRBuilder(function.append_basic_block("entry")))
        inside.builder.ret(body(inside, dtype, *function.args))
    return lanes.builder.call(function, args, cconv="fastcc")


def through_float64(lanes: Lanes, name: str, dtype: str, body: Callable[..., ir.Value], *args: ir.Value) -> ir.Value:
    """A function written for float64, called for either format."""
    wide = [lanes.convert(a, dtype, "float64") for a in args]
    return lanes.convert(outlined(lanes, name, "float64", body, *wide), "float64", dtype)
