"""NumPy references of the special functions, in the dtype of their argument."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from graphloss.ir.opdef import Array


def sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def softplus(x: Array) -> Array:
    return (np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))).astype(x.dtype)


def ldexp(x: Array, n: Array) -> Array:
    """x * 2^n for whole numbers n, |n| counting as at most twice the exponent of the smallest normal number."""
    limit = -2 * int(np.finfo(x.dtype).minexp)
    out: Array = np.ldexp(x, np.clip(n, -limit, limit).astype(np.int32))
    return out


def _each(fn: Callable[[float], float]) -> Callable[[Array], Array]:
    """A function of Python floats over an array, computed in float64."""

    def run(x: Array) -> Array:
        flat = [fn(v) for v in x.ravel().tolist()]
        return np.array(flat, np.float64).reshape(x.shape).astype(x.dtype)

    return run


erf = _each(math.erf)


def _lgamma(v: float) -> float:
    if math.isinf(v) or (v <= 0 and v == math.floor(v)):
        return math.inf
    return math.lgamma(v)


lgamma = _each(_lgamma)

# B_2k / 2k of the asymptotic series of digamma, from x^-2 on
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)


def _digamma(v: float) -> float:
    if math.isnan(v) or v == -math.inf or (v < 0 and v == math.floor(v)):
        return math.nan
    if v == 0:
        return -math.copysign(math.inf, v)
    if v == math.inf:
        return math.inf
    value = 0.0
    if v < 0:  # reflection; the fraction first, since tan of a large multiple of pi has no correct digit
        value = -math.pi / math.tan(math.pi * (v - math.floor(v)))
        v = 1 - v
    while v < 8:
        value -= 1 / v
        v += 1
    square = 1 / (v * v)
    series = 0.0
    for b in reversed(_DIGAMMA):
        series = square * (b + series)
    return value + math.log(v) - 0.5 / v - series


digamma = _each(_digamma)
