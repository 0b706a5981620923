"""Non-negative numbers of loop nests with an exponent of their own: products over any number of steps stay in range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from graphloss.ir.loop_builder import Handle, Index, NestBuilder
from graphloss.ir.loops import Expr, call, cast, const, log, select

# The exponent of 0: far below that of any product, so that nothing is ever scaled up to it.
NOTHING: Final = -1.0e30
_LOG2_E: Final = 1.0 / math.log(2.0)
# 2^-100 of a number is nothing beside it in any float, and no subnormal number, which would cost a hundred cycles.
_FAR: Final = -100.0


@dataclass(frozen=True)
class Wide:
    """m * 2^e, for a whole number e in the dtype of m. A result lies in 0.25 <= m < 4, or is 0 with e <= NOTHING."""

    m: Expr
    e: Expr

    def __add__(self, other: Wide) -> Wide:
        """The sum, m not yet in its range: below 4 for each term."""
        e = larger(self.e, other.e)
        return Wide(_beside(self.m, self.e - e) + _beside(other.m, other.e - e), e)

    def times(self, other: Wide) -> Wide:
        """The product of a sum of at most three terms and a factor with 1 <= m < 5."""
        m, e = self.m * other.m, self.e + other.e
        large = m >= 4.0
        return Wide(select(large, m * 0.0625, m), select(large, e + 4.0, e))

    def where(self, condition: Expr, other: Wide) -> Wide:
        return Wide(select(condition, self.m, other.m), select(condition, self.e, other.e))

    def log(self, e: Expr) -> Expr:
        """The natural logarithm in float64, of m with the exponent `e` in place of its own."""
        return log(cast(self.m, "float64")) + e * math.log(2.0)


@dataclass(frozen=True)
class WideArray:
    """An array of such numbers."""

    m: Handle
    e: Handle

    def __getitem__(self, index: Index) -> Wide:
        return Wide(self.m[index], self.e[index])

    def __setitem__(self, index: Index, value: Wide) -> None:
        self.m[index] = value.m
        self.e[index] = value.e


def scratch(b: NestBuilder, name: str, dtype: str, shape: tuple[Expr | int, ...]) -> WideArray:
    return WideArray(b.scratch(f"{name}_m", dtype, shape), b.scratch(f"{name}_e", dtype, shape))


def named(b: NestBuilder, name: str, x: Wide) -> Wide:
    """x, computed once."""
    return Wide(b.let(f"{name}_m", x.m), b.let(f"{name}_e", x.e))


def number(value: float, dtype: str) -> Wide:
    """0 or 1."""
    return Wide(const(value, dtype), const(NOTHING if value == 0 else 0.0, dtype))


def larger(a: Expr, b: Expr) -> Expr:
    """The larger of two exponents, which are never NaN."""
    return select(a < b, b, a)


def _beside(m: Expr, n: Expr) -> Expr:
    """m * 2^n for n <= 0, in a sum with a number about as large as m."""
    return call("ldexp", m, larger(n, const(_FAR, n.dtype)))


def plain(m: Expr, n: Expr) -> Expr:
    """m * 2^n as a plain number, 0 below 2^-100, NaN where m is; n is not large."""
    return select(n < _FAR, m * 0.0, call("ldexp", m, larger(n, const(_FAR, n.dtype))))


def exponential(b: NestBuilder, x: Expr) -> Wide:
    """e^x with 1 <= m <= 2; 0 for x <= NOTHING; m is NaN for x = NaN and for x >= -NOTHING."""
    given = b.let("x", x)
    usual = b.let("usual", (given > NOTHING) & (given < -NOTHING))
    power = b.let("power", cast(select(usual, given, NOTHING), "float64") * _LOG2_E)
    n = b.let("n", call("floor", power))
    rest = select(given <= NOTHING, 0.0, const(math.nan, x.dtype))
    return Wide(select(usual, call("exp2", cast(power - n, x.dtype)), rest), cast(n, x.dtype))
