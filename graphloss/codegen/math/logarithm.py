"""log, log1p, log2, log10."""

from __future__ import annotations

from llvmlite import ir

from graphloss.codegen.math.coefficients import SPLIT
from graphloss.codegen.math.common import (
    INFINITY,
    LN2_HIGH,
    LN2_LOW,
    NAN,
    SQRT_HALF,
    exact_sum,
    halves,
    polynomial,
    product_sum,
)
from graphloss.codegen.values import FORMATS, Lanes


def split_exponent(lanes: Lanes, dtype: str, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(e, m) with x = m·2^e and √½ ≤ m < √2, for positive normal x; e as float."""
    form = FORMATS[dtype]
    # Biased so that the exponent field steps at √½ instead of at 1.
    offset = form.bits_of(SQRT_HALF[dtype])
    u = lanes.add(lanes.bitcast(x, form.bits), lanes.const(form.bits, form.bits_of(1.0) - offset))
    # The exponent as float without a conversion: put below the bits of 2^mantissa, then subtract that.
    biased = lanes.or_(lanes.lshr(u, form.mantissa), lanes.const(form.bits, form.bits_of(2.0**form.mantissa)))
    e = lanes.sub(lanes.bitcast(biased, dtype), lanes.const(dtype, 2.0**form.mantissa + form.bias))
    fraction = lanes.and_(u, lanes.const(form.bits, (1 << form.mantissa) - 1))
    return e, lanes.bitcast(lanes.add(fraction, lanes.const(form.bits, offset)), dtype)


def log_rest(lanes: Lanes, dtype: str, f: ir.Value, low: ir.Value | None) -> ir.Value:
    """log(1 + f) - f + low for √½ - 1 ≤ f < √2 - 1; low is a correction far below the result."""
    half, product = _log_series(lanes, dtype, f, low)
    # f²/2 is the larger part: not rounded before the sum.
    if lanes.target.has_fma:
        return lanes.fma(half, f, product)
    upper, lower = _parabola(lanes, dtype, f, half)
    return lanes.add(upper, lanes.add(lower, product))


def _log_series(lanes: Lanes, dtype: str, f: ir.Value, low: ir.Value | None) -> tuple[ir.Value, ir.Value]:
    """(h, p) with log(1 + f) - f + low = h f + p."""
    half = lanes.mul(f, lanes.const(dtype, -0.5))
    if dtype == "float32":
        factor, series = lanes.mul(lanes.mul(f, f), f), polynomial(lanes, dtype, "log", f)
    else:  # s = f / (2 + f): log(1 + f) = 2 s + s z P(z), z = s²; 2 s = f - s f is put so that f stays exact
        factor = lanes.div(f, lanes.add(f, lanes.const(dtype, 2.0)))
        z = lanes.mul(factor, factor)
        series = lanes.fma(z, polynomial(lanes, dtype, "log", z), lanes.neg(lanes.mul(half, f)))
    return half, lanes.mul(factor, series) if low is None else lanes.fma(factor, series, low)


def _parabola(lanes: Lanes, dtype: str, f: ir.Value, half: ir.Value) -> tuple[ir.Value, ir.Value]:
    """-f²/2 in two parts, without FMA: the square of the upper bits of f is exact."""
    upper, lower = halves(lanes, dtype, f)
    half_upper = lanes.mul(upper, lanes.const(dtype, -0.5))
    return lanes.mul(half_upper, upper), lanes.mul(lanes.add(half, half_upper), lower)


def _log_sum(lanes: Lanes, dtype: str, e: ir.Value, f: ir.Value, lead: ir.Value, low: ir.Value | None) -> ir.Value:
    """e·ln 2 + log(1 + f) + (lead - f) + low, smallest terms first; lead is f, or f with a correction."""
    high = lanes.const(dtype, LN2_HIGH[dtype])
    tail = lanes.mul(e, lanes.const(dtype, LN2_LOW[dtype]))
    low = tail if low is None else lanes.add(tail, low)
    if lanes.target.has_fma:
        return lanes.fma(e, high, lanes.add(lead, log_rest(lanes, dtype, f, low)))
    # The small terms are rounded more often: so the sums of the large ones are exact until the last.
    half, product = _log_series(lanes, dtype, f, low)
    upper, lower = _parabola(lanes, dtype, f, half)
    total, first = exact_sum(lanes, lanes.mul(e, high), lead)
    total, second = exact_sum(lanes, total, upper)
    return lanes.add(total, lanes.add(lanes.add(first, second), lanes.add(lower, product)))


def normal_parts(lanes: Lanes, dtype: str, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(e, m) as `split_exponent`, for positive subnormal x as well."""
    form = FORMATS[dtype]
    subnormal = lanes.lt(x, lanes.const(dtype, form.smallest_normal))
    lifted = lanes.select(subnormal, lanes.mul(x, lanes.const(dtype, 2.0**form.mantissa)), x)
    e, m = split_exponent(lanes, dtype, lifted)
    return lanes.select(subnormal, lanes.sub(e, lanes.const(dtype, float(form.mantissa))), e), m


def _with_poles(lanes: Lanes, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """y for 0 < x < ∞; -∞ at 0, ∞ at ∞, NaN for the rest."""
    infinity, zero = lanes.const(dtype, INFINITY), lanes.const(dtype, 0.0)
    y = lanes.select(lanes.lt(x, infinity), y, x)
    pole = lanes.select(lanes.eq(x, zero), lanes.const(dtype, -INFINITY), lanes.const(dtype, NAN))
    return lanes.select(lanes.gt(x, zero), y, pole)


def log(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    e, m = normal_parts(lanes, dtype, x)
    f = lanes.sub(m, lanes.const(dtype, 1.0))
    y = _log_sum(lanes, dtype, e, f, f, None)
    return _with_poles(lanes, dtype, x, y)


def _log_base(lanes: Lanes, dtype: str, x: ir.Value, base: int) -> ir.Value:
    """e·log_b(2) + log(1 + f) / ln b with split constants."""
    factor = SPLIT[f"1/ln {base}", dtype]
    inverse, inverse_low, two, two_low = (lanes.const(dtype, c) for c in (*factor, *SPLIT[f"log{base} 2", dtype]))
    e, m = normal_parts(lanes, dtype, x)
    f = lanes.sub(m, lanes.const(dtype, 1.0))
    rest = log_rest(lanes, dtype, f, None)
    low = lanes.fma(lanes.add(f, rest), inverse_low, lanes.mul(e, two_low))
    y = product_sum(lanes, dtype, f, factor[0], lanes.fma(rest, inverse, low))
    return _with_poles(lanes, dtype, x, lanes.fma(e, two, y))


def log2(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return _log_base(lanes, dtype, x, 2)


def log10(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    return _log_base(lanes, dtype, x, 10)


def log1p(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    one, infinity = lanes.const(dtype, 1.0), lanes.const(dtype, INFINITY)
    u = lanes.add(one, x)
    e, m = split_exponent(lanes, dtype, u)
    f = lanes.sub(m, one)
    # log(1 + x) = log u + c / u with c the rounding error of 1 + x; 1/m ≈ 1 + f P(f), in the last place a parabola.
    # Where e = 0, f + c is x, exactly; so there x is the leading term, and c / u - c is left of the correction.
    c = lanes.sub(x, lanes.sub(u, one))
    near = lanes.eq(e, lanes.const(dtype, 0.0))
    zero_or_one = lanes.select(near, lanes.const(dtype, 0.0), one)
    inverse = lanes.fma(f, polynomial(lanes, dtype, "inverse", f), zero_or_one)
    down = lanes.power_of_two(lanes.neg(lanes.min(lanes.const(dtype, float(FORMATS[dtype].bias)), e)))
    y = _log_sum(lanes, dtype, e, f, lanes.select(near, x, f), lanes.mul(lanes.mul(c, down), inverse))
    y = lanes.select(lanes.lt(x, infinity), lanes.copysign(y, x), x)  # the sign of x: keeps -0
    pole = lanes.select(lanes.eq(x, lanes.neg(one)), lanes.const(dtype, -INFINITY), lanes.const(dtype, NAN))
    return lanes.select(lanes.gt(x, lanes.neg(one)), y, pole)


def log1p_unit(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """log1p for 0 ≤ x ≤ 1 or NaN: 1 + x is below √2, or between √2 and 2, and no exponent has to be found.

    Below, f = x; above, f = (x - 1)/2, rounded once, and `low` has what it lost.
    """
    zero, half = lanes.const(dtype, 0.0), lanes.const(dtype, 0.5)
    above = lanes.gt(x, lanes.const(dtype, 2.0 * SQRT_HALF[dtype] - 1.0))
    halved = lanes.mul(x, half)
    down = lanes.sub(halved, half)
    lost = lanes.sub(halved, lanes.add(down, half))
    f = lanes.select(above, down, x)
    low = lanes.select(above, lanes.add(lost, lanes.const(dtype, LN2_LOW[dtype])), zero)
    rest = log_rest(lanes, dtype, f, low)
    return lanes.add(lanes.select(above, lanes.const(dtype, LN2_HIGH[dtype]), zero), lanes.add(f, rest))
