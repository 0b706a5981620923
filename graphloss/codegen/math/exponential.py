"""exp, exp2, expm1 and what is made of them: sigmoid, softplus, tanh, sinh, cosh."""

from __future__ import annotations

import math
from typing import Final

from llvmlite import ir

from graphloss.codegen.math.common import LN2_HIGH, LN2_LOW, exact_sum, nearest, polynomial
from graphloss.codegen.values import FORMATS, Lanes

LOG2_E: Final = 1.0 / math.log(2.0)
# Below: the result is 0 (half the smallest subnormal or less); above: it is infinite.
_EXP_RANGE: Final = {"float32": (-104.5, 89.0), "float64": (-746.0, 710.0)}
_EXP2_RANGE: Final = {"float32": (-151.0, 128.0), "float64": (-1076.0, 1024.0)}
_EXPM1_FLOOR: Final = {"float32": -18.0, "float64": -38.0}  # expm1 is -1 from here down
# The remainder is taken from log(¾) to log(1½): then e^r - 1 is at most a quarter below 1 and half above, and rounded
# to a quarter of what its sum with 1 is rounded to; in expm1 it is at most half of what it is added to.
_BIAS: Final = 0.5 - math.log2(1.5)
_TANH_SPLIT: Final = 0.8
# The leading part of softplus, as a share of 2^n: near the middle of log(1 + s)/s, which goes from 1 down to log 2.
_SOFTPLUS_SHARE: Final = 0.875
# Where P of softplus is centred: near the middle its terms fall as 3^-k, around 0 they cancel; at 55/128 its
# coefficients happen to be close to float32 numbers.
_SOFTPLUS_CENTER: Final = {"float32": 0.4296875, "float64": 0.4375}


def _clamp(lanes: Lanes, dtype: str, x: ir.Value, low: float, high: float) -> ir.Value:
    return lanes.min(lanes.const(dtype, high), lanes.max(lanes.const(dtype, low), x))


def _reduce(lanes: Lanes, dtype: str, x: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(n, r, c) with x = n·ln 2 + (r + c): two-term Cody-Waite, in which r is exact and c small."""
    n = nearest(lanes, dtype, x, LOG2_E, _BIAS)
    r = lanes.fma(n, lanes.const(dtype, -LN2_HIGH[dtype]), x)
    return n, r, lanes.mul(n, lanes.const(dtype, -LN2_LOW[dtype]))


def _expm1_core(lanes: Lanes, dtype: str, r: ir.Value, c: ir.Value) -> ir.Value:
    """e^(r + c) - 1, with the exact r added last."""
    return lanes.add(r, _expm1_rest(lanes, dtype, r, c))


def _expm1_rest(lanes: Lanes, dtype: str, r: ir.Value, c: ir.Value) -> ir.Value:
    """e^(r + c) - 1 - r."""
    t = lanes.add(r, c)
    return lanes.fma(lanes.mul(t, t), polynomial(lanes, dtype, "expm1", t), c)


def _exp_core(lanes: Lanes, dtype: str, r: ir.Value, c: ir.Value) -> ir.Value:
    """e^(r + c)."""
    one = lanes.const(dtype, 1.0)
    if lanes.target.has_fma:
        return lanes.add(one, _expm1_core(lanes, dtype, r, c))
    # The small terms are rounded more often: so the sum of the large ones is exact.
    total, rest = exact_sum(lanes, one, r)
    return lanes.add(total, lanes.add(rest, _expm1_rest(lanes, dtype, r, c)))


def _exp_reduced(lanes: Lanes, dtype: str, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """(n, p) with e^x = p·2^n."""
    n, r, c = _reduce(lanes, dtype, x)
    return n, _exp_core(lanes, dtype, r, c)


def exp(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    n, p = _exp_reduced(lanes, dtype, _clamp(lanes, dtype, x, *_EXP_RANGE[dtype]))
    return lanes.scale(p, n)


def exp_nonpositive(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """e^x for x ≤ 0 or NaN: one clamp less than `exp`."""
    n, p = _exp_reduced(lanes, dtype, lanes.max(lanes.const(dtype, _EXP_RANGE[dtype][0]), x))
    return lanes.scale(p, n)


def exp2(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    x = _clamp(lanes, dtype, x, *_EXP2_RANGE[dtype])
    n = nearest(lanes, dtype, x, 1.0)
    r = lanes.sub(x, n)
    return lanes.scale(lanes.fma(r, polynomial(lanes, dtype, "exp2", r), lanes.const(dtype, 1.0)), n)


def expm1(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    form = FORMATS[dtype]
    clamped = _clamp(lanes, dtype, x, _EXPM1_FLOOR[dtype], _EXP_RANGE[dtype][1])
    n, r, c = _reduce(lanes, dtype, clamped)
    p = _expm1_core(lanes, dtype, r, c)
    # 2^n p + (2^n - 1), computed at half size because 2^n itself overflows where the result does not yet.
    half = lanes.power_of_two(lanes.sub(n, lanes.const(dtype, 1.0)))
    y = lanes.fma(p, half, lanes.sub(half, lanes.const(dtype, 0.5)))
    tiny = lanes.lt(lanes.abs(x), lanes.const(dtype, 2.0 ** -(form.mantissa + 2)))  # keeps -0 and subnormals
    return lanes.select(tiny, x, lanes.add(y, y))


def sigmoid(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """1 / (1 + e^-x), from s = e^-|x| so that neither end overflows or loses digits.

    With q = s / (1 + s) it is 1 - q, or s - s q for negative x: the rounding of 1 + s only reaches the small term.
    """
    one = lanes.const(dtype, 1.0)
    small = exp_nonpositive(lanes, dtype, lanes.neg(lanes.abs(x)))
    top = lanes.select(lanes.lt(x, lanes.const(dtype, 0.0)), small, one)
    return lanes.fma(lanes.neg(lanes.div(small, lanes.add(one, small))), top, top)


def softplus(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """log(1 + e^x) = max(x, 0) + log(1 + s), s = e^-|x| = 2^n (1 + v), without taking 1 + s apart.

    With h = ⅞·2^n it is log(1 + s) = h + h w, w = v + (1 + v) P(⅞ s) and P small everywhere: no rounding on the way is
    of the size of the result. Of x and h the larger is added last, after h w and the smaller; for x ≤ 0 it is one FMA.
    """
    zero = lanes.const(dtype, 0.0)
    exponent = lanes.max(lanes.const(dtype, _EXP_RANGE[dtype][0]), lanes.neg(lanes.abs(x)))
    n, r, c = _reduce(lanes, dtype, exponent)
    v, head = _expm1_core(lanes, dtype, r, c), lanes.scale(lanes.const(dtype, _SOFTPLUS_SHARE), n)
    w = _softplus_share(lanes, dtype, v, head)
    positive = lanes.gt(x, zero)  # not where x is NaN: there head is, too
    larger = lanes.select(positive, lanes.select(lanes.gt(x, head), x, head), zero)
    smaller = lanes.select(positive, lanes.select(lanes.lt(x, head), x, head), head)
    return lanes.add(larger, lanes.fma(head, w, smaller))


def _softplus_share(lanes: Lanes, dtype: str, v: ir.Value, head: ir.Value) -> ir.Value:
    """v + (1 + v) P(head (1 + v))."""
    center = lanes.const(dtype, -_SOFTPLUS_CENTER[dtype])
    if lanes.target.has_fma:
        p = lanes.add(lanes.const(dtype, 1.0), v)
        return lanes.fma(p, polynomial(lanes, dtype, "softplus", lanes.fma(p, head, center)), v)
    # Without FMA no product with 1 + v, which would be rounded twice; head + center is exact where it matters.
    series = polynomial(lanes, dtype, "softplus", lanes.fma(v, head, lanes.add(head, center)))
    return lanes.add(v, lanes.fma(v, series, series))


def tanh(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """x + x³ P(x²) near 0, 1 - 2 / (e^(2|x|) + 1) elsewhere."""
    one, two = lanes.const(dtype, 1.0), lanes.const(dtype, 2.0)
    size = lanes.abs(x)
    square = lanes.mul(x, x)
    near = lanes.fma(lanes.mul(square, polynomial(lanes, dtype, "tanh", square)), x, x)
    n, p = _exp_reduced(lanes, dtype, lanes.min(lanes.const(dtype, 40.0), lanes.add(size, size)))  # tanh is 1 beyond
    grown = lanes.scale_normal(p, n)
    far = lanes.sub(one, lanes.div(two, lanes.add(grown, one)))
    return lanes.copysign(lanes.select(lanes.lt(size, lanes.const(dtype, _TANH_SPLIT)), near, far), x)  # keeps -0


def _exp_half(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """e^x / 2 for x ≥ 0: finite for a factor of two longer than e^x."""
    n, p = _exp_reduced(lanes, dtype, lanes.min(lanes.const(dtype, _EXP_RANGE[dtype][1] + 1.0), x))
    return lanes.scale(p, lanes.sub(n, lanes.const(dtype, 1.0)))


def sinh(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """x + x³ P(x²) up to 1, (e^|x| - e^-|x|) / 2 beyond."""
    size, square = lanes.abs(x), lanes.mul(x, x)
    near = lanes.fma(lanes.mul(square, polynomial(lanes, dtype, "sinh", square)), x, x)
    half = _exp_half(lanes, dtype, size)
    far = lanes.sub(half, lanes.div(lanes.const(dtype, 0.25), half))
    return lanes.copysign(lanes.select(lanes.lt(size, lanes.const(dtype, 1.0)), near, far), x)


def cosh(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    half = _exp_half(lanes, dtype, lanes.abs(x))
    return lanes.add(half, lanes.div(lanes.const(dtype, 0.25), half))


def exp_sum(lanes: Lanes, dtype: str, high: ir.Value, low: ir.Value) -> ir.Value:
    """e^(high + low), low small against 1."""
    n, r, c = _reduce(lanes, dtype, _clamp(lanes, dtype, high, *_EXP_RANGE[dtype]))
    return lanes.scale(_exp_core(lanes, dtype, r, lanes.add(c, low)), n)


def exp_negative_normal(lanes: Lanes, dtype: str, x: ir.Value) -> ir.Value:
    """e^-x for 0 ≤ x ≤ 80, where no result is subnormal."""
    n, p = _exp_reduced(lanes, dtype, lanes.neg(x))
    return lanes.scale_normal(p, n)
