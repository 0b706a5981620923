"""The counter-based random generator Philox 4x32-10: the same words on every machine, in any order of computing.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
"""

from __future__ import annotations

import math

import numpy as np

from graphloss.ir.opdef import Array

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLY = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_PIECE = 1 << 13  # numbers at a time: all that their rounds need stays in a cache


def blocks(counters: Array, key: int) -> Array:
    """Four random 32-bit words for each counter of four words; `key` has 64 bits."""
    c0, c1, c2, c3 = (counters[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF
    for _ in range(_ROUNDS):
        p, q = _MULTIPLY[0] * c0, _MULTIPLY[1] * c2
        c0, c1, c2, c3 = (q >> _HALF) ^ c1 ^ np.uint64(k0), q & _MASK, (p >> _HALF) ^ c3 ^ np.uint64(k1), p & _MASK
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def words(n: int, seed: int, step: int, first: int = 0) -> Array:
    """n words of the stream of `seed` at `step`, from the block numbered `first` on; a block has four."""
    number = np.arange(first, first - (-n // 4), dtype=np.uint64)
    counters = np.empty((len(number), 4), np.uint64)
    counters[:, 0], counters[:, 1] = number & _MASK, number >> _HALF
    counters[:, 2], counters[:, 3] = step & 0xFFFFFFFF, step >> 32 & 0xFFFFFFFF
    return blocks(counters, seed).reshape(-1)[:n]


def fold(seed: int, n: int) -> int:
    """Another seed, for the n-th op of a program with `seed`."""
    a, b = words(2, seed & (1 << 64) - 1, n)
    return int(a) << 31 ^ int(b)


def unit(n: int, seed: int, step: int) -> Array:
    """n numbers of 53 bits in [0, 1), from two words each."""
    out = np.empty(n)
    for a in range(0, n, _PIECE):
        b = min(a + _PIECE, n)
        w = words(2 * (b - a), seed, step, a // 2).astype(np.uint64).reshape(b - a, 2)
        out[a:b] = ((w[:, 0] >> np.uint64(5)) * np.uint64(1 << 26) + (w[:, 1] >> np.uint64(6))) * 2.0**-53
    return out


def gauss(n: int, seed: int, step: int) -> Array:
    """n numbers of the standard normal distribution, by Box and Muller.

    Logarithm, sine and cosine are made of additions, products and quotients only, which round alike everywhere.
    """
    pairs = -(-n // 2)
    u = unit(2 * pairs, seed, step).reshape(pairs, 2)
    radius = np.sqrt(-2.0 * _log(1.0 - u[:, 0]))
    cos, sin = _turn(u[:, 1])
    return np.stack([radius * cos, radius * sin], axis=1).reshape(-1)[:n]


def log_uniform(n: int, seed: int, step: int, classes: int) -> Array:
    """n classes, int64: class c of probability ln((c+2)/(c+1)) / ln(classes+1)."""
    log_range = float(_log(np.array([classes + 1.0]))[0])
    power = np.floor(_exp(log_range * unit(n, seed, step))).astype(np.int64)
    result: Array = (power - 1) % classes  # rounding may reach classes + 1
    return result


def _exp(x: Array) -> Array:
    """e ** x for moderate x: a series on half of ln 2 each side of 0, times a power of two."""
    n = np.rint(x * (1 / math.log(2)))
    high, low = 0.693147180369123816490, 1.90821492927058770002e-10  # ln 2; n times its first part is exact
    rest = (x - n * high) - n * low
    series = np.ones_like(x)
    for k in range(17, 0, -1):
        series = series * rest / k + 1.0
    result: Array = np.ldexp(series, n.astype(np.int64))
    return result


def _log(x: Array) -> Array:
    """ln x for x > 0: 2 atanh of (m - 1) / (m + 1), m in [√½, √2)."""
    m, e = np.frexp(x)
    low = m < math.sqrt(0.5)
    m, e = np.where(low, 2 * m, m), np.where(low, e - 1, e)
    s = (m - 1) / (m + 1)
    square, series = s * s, np.zeros_like(s)
    for k in range(21, 0, -2):
        series = series * square + 1.0 / k
    result: Array = e * math.log(2) + 2 * s * series
    return result


def _turn(u: Array) -> tuple[Array, Array]:
    """Cosine and sine of 2π u for u in [0, 1), by Taylor series on an eighth of the circle each side of a quarter."""
    quarter = np.rint(4 * u)
    angle = (2 * math.pi) * (u - quarter / 4)
    square = angle * angle
    cos, sin = np.zeros_like(u), np.zeros_like(u)
    for k in range(9, -1, -1):
        cos = cos * square + (-1) ** k / math.factorial(2 * k)
        sin = sin * square + (-1) ** k / math.factorial(2 * k + 1)
    sin = sin * angle
    q = quarter.astype(np.int64) % 4
    return np.choose(q, [cos, -sin, -cos, sin]), np.choose(q, [sin, cos, -sin, -cos])
