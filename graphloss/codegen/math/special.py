"""erf, lgamma, digamma."""

from __future__ import annotations

import math
from typing import Final

from llvmlite import ir

from graphloss.codegen.math.coefficients import COEFFICIENTS, SPLIT
from graphloss.codegen.math.common import (
    INFINITY,
    NAN,
    exact_sum,
    halves,
    horner,
    polynomial,
    through_float64,
    upper_half,
)
from graphloss.codegen.math.exponential import exp_negative_normal
from graphloss.codegen.math.logarithm import log
from graphloss.codegen.values import Lanes

F64: Final = "float64"
_ERF_END: Final = {"float32": 4.0, "float64": 6.0}  # erf is 1 from here on
_ERF_CENTER: Final = 1.0
_ERF_GROWN: Final = 2.0**64
_ASYMPTOTIC: Final = 8.0  # from here on lgamma and digamma are their asymptotic series


def erf(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """x + x P(x²) up to 1, 1 - exp(-Q(|x|)) beyond, Q = -log erfc."""
    one = lanes.const(dtype, 1.0)
    size = lanes.abs(x)
    near = _erf_near(lanes, dtype, x)
    t = lanes.sub(lanes.min(lanes.const(dtype, _ERF_END[dtype]), size), lanes.const(dtype, _ERF_CENTER))
    far = lanes.sub(one, exp_negative_normal(lanes, dtype, polynomial(lanes, dtype, "erfc", t)))
    return lanes.copysign(lanes.select(lanes.lt(size, one), near, far), x)


def _erf_near(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """x + x P(x²)."""
    z = lanes.mul(x, x)
    if lanes.target.has_fma:
        first, second, *others = COEFFICIENTS["erf", dtype]
        lead = lanes.fma(z, lanes.const(dtype, second), lanes.const(dtype, first))
        q = lanes.fma(lanes.mul(z, z), horner(lanes, dtype, z, others), lead)
        return lanes.fma(x, q, x)
    # The small terms are rounded more often: so the products and sums of the large ones are exact until the last.
    # Towards 1 the first two terms of P are larger than their sum, `leading`.
    constant, linear, *rest = COEFFICIENTS["erf", dtype]
    upper = upper_half(dtype, linear)
    slope, lower = lanes.const(dtype, upper), lanes.const(dtype, linear - upper)
    z_high, z_low = halves(lanes, dtype, z)
    leading = lanes.add(lanes.mul(slope, z_high), lanes.const(dtype, constant))
    factor = lanes.fma(z, horner(lanes, dtype, z, rest), lower)
    others = lanes.fma(z, factor, lanes.mul(slope, z_low))
    p = lanes.add(leading, others)
    p_high, _ = halves(lanes, dtype, p)
    p_low = lanes.add(lanes.sub(leading, p_high), others)
    grown = lanes.mul(x, lanes.const(dtype, _ERF_GROWN))  # so that no part of the product is subnormal
    x_high, x_low = halves(lanes, dtype, grown)
    total, error = exact_sum(lanes, grown, lanes.mul(x_high, p_high))
    total = lanes.add(total, lanes.add(error, lanes.fma(x_high, p_low, lanes.mul(x_low, p))))
    return lanes.mul(total, lanes.const(dtype, 1.0 / _ERF_GROWN))


def lgamma(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """log |Γ(x)|: ∞ at 0 and at the negative integers."""
    return through_float64(lanes, "lgamma", dtype, _lgamma, x)


def digamma(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """ψ(x) = Γ'(x) / Γ(x): -∞ at +0, ∞ at -0, NaN at the negative integers."""
    return through_float64(lanes, "digamma", dtype, _digamma, x)


def _sin_pi(lanes: Lanes, f: ir.Value) -> ir.Value:
    """sin(π f) for |f| ≤ ½."""
    z = lanes.mul(f, f)
    return lanes.mul(f, lanes.fma(z, polynomial(lanes, F64, "sinpi", z), lanes.const(F64, math.pi)))


def _fraction(lanes: Lanes, size: ir.Value) -> ir.Value:
    """The signed distance to the nearest integer; NaN for ∞."""
    return lanes.sub(size, lanes.round(size))


def _lgamma(lanes: Lanes, _: str, x: ir.Value) -> ir.Value:
    zero, one = lanes.const(F64, 0.0), lanes.const(F64, 1.0)
    size = lanes.abs(x)
    negative = lanes.lt(x, zero)
    # Γ(-a) Γ(a) = -π / (a sin(π a)); for small a with Γ(1 + a) instead of a Γ(a), which cannot underflow
    small = lanes.and_(negative, lanes.lt(size, lanes.const(F64, 0.5)))
    y = _lgamma_positive(lanes, lanes.select(small, lanes.add(one, size), size))
    sine = lanes.abs(_sin_pi(lanes, _fraction(lanes, size)))
    factor = lanes.mul(lanes.mul(sine, lanes.const(F64, 1 / math.pi)), lanes.select(small, one, size))
    mirrored = lanes.sub(lanes.neg(log(lanes, F64, factor)), y)
    y = lanes.select(negative, mirrored, y)
    infinity = lanes.const(F64, INFINITY)
    return lanes.select(lanes.eq(size, infinity), infinity, y)


def _lgamma_positive(lanes: Lanes, x: ir.Value) -> ir.Value:
    one = lanes.const(F64, 1.0)
    far = lanes.ge(x, lanes.const(F64, _ASYMPTOTIC))
    # Below 8: steps of Γ(x + 1) = x Γ(x) to d + 2 with -¾ ≤ d ≤ ½, where log Γ = d P(d); a log of the steps' product.
    low, lowest = lanes.lt(x, lanes.const(F64, 1.25)), lanes.lt(x, lanes.const(F64, 0.5))
    upwards = lanes.select(lowest, lanes.mul(x, lanes.add(x, one)), x)
    above, product = x, one
    for _ in range(6):
        more = lanes.ge(above, lanes.const(F64, 2.5))
        above = lanes.select(more, lanes.sub(above, one), above)
        product = lanes.select(more, lanes.mul(product, above), product)
    d = lanes.select(lowest, x, lanes.select(low, lanes.sub(x, one), lanes.sub(above, lanes.const(F64, 2.0))))
    logarithm = log(lanes, F64, lanes.select(far, x, lanes.select(low, upwards, product)))
    near = lanes.fma(d, polynomial(lanes, F64, "lgamma", d), lanes.select(low, lanes.neg(logarithm), logarithm))
    # Stirling's series; at ∞ its leading product decides
    inverse = lanes.div(one, x)
    tail = lanes.fma(
        inverse, polynomial(lanes, F64, "stirling", lanes.mul(inverse, inverse)),
        lanes.const(F64, (math.log(2 * math.pi) - 1) / 2),
    )  # fmt: skip
    stirling = lanes.fma(lanes.sub(x, lanes.const(F64, 0.5)), lanes.sub(logarithm, one), tail)
    return lanes.select(far, stirling, near)


def _digamma(lanes: Lanes, _: str, x: ir.Value) -> ir.Value:
    zero, half, one = (lanes.const(F64, v) for v in (0.0, 0.5, 1.0))
    size = lanes.abs(x)
    negative = lanes.lt(x, zero)
    # ψ(-a) = ψ(1 + a) + π cot(π a)
    y = _digamma_positive(lanes, lanes.select(negative, lanes.add(one, size), x))
    f = _fraction(lanes, size)
    sine, cosine = _sin_pi(lanes, f), _sin_pi(lanes, lanes.sub(half, lanes.abs(f)))
    cotangent = lanes.select(lanes.eq(f, zero), lanes.const(F64, NAN), lanes.div(cosine, sine))
    return lanes.select(negative, lanes.fma(cotangent, lanes.const(F64, math.pi), y), y)


def _digamma_positive(lanes: Lanes, x: ir.Value) -> ir.Value:
    zero, one, two = (lanes.const(F64, v) for v in (0.0, 1.0, 2.0))
    # Below 8: steps of ψ(x + 1) = ψ(x) + 1/x to z in [1, 2], where ψ(z) = (z - root) Q; the steps' sum as one fraction
    below = lanes.lt(x, one)
    above, top, bottom = x, zero, one
    for _ in range(6):
        more = lanes.ge(above, two)
        above = lanes.select(more, lanes.sub(above, one), above)
        top = lanes.select(more, lanes.fma(top, above, bottom), top)
        bottom = lanes.select(more, lanes.mul(bottom, above), bottom)
    z = lanes.select(below, lanes.add(x, one), above)
    steps = lanes.div(lanes.select(below, lanes.const(F64, -1.0), top), lanes.select(below, x, bottom))
    root, root_low = (lanes.const(F64, c) for c in SPLIT["digamma root", F64])
    t = lanes.sub(lanes.sub(z, root), root_low)
    near = lanes.fma(t, polynomial(lanes, F64, "digamma root", t), steps)
    # from 8 on: log x - 1/(2 x) - w P(w), w = 1/x²
    inverse = lanes.div(one, x)
    w = lanes.mul(inverse, inverse)
    tail = lanes.fma(w, polynomial(lanes, F64, "digamma", w), lanes.mul(inverse, lanes.const(F64, 0.5)))
    return lanes.select(lanes.lt(x, lanes.const(F64, _ASYMPTOTIC)), near, lanes.sub(log(lanes, F64, x), tail))
