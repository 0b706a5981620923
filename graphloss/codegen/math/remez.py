"""Minimax polynomials on mpmath; run as a script it writes the coefficients file of the math library.

    python graphloss/codegen/math/remez.py > coefficients.py && mv coefficients.py graphloss/codegen/math/
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from mpmath import mp, mpf

Number: TypeAlias = Any  # mpmath has no types of its own
Function: TypeAlias = Callable[[Number], Number]


@dataclass(frozen=True)
class Fit:
    """p(x) = Σ c_k x^k, k = 0 .. degree, with the least maximum of weight·|p - f| over [low, high].

    On an interval without an inner zero the coefficients are rounded to the format one by one, lowest first, and the
    rest fitted anew after each, which makes up for the rounding. (Around an inner zero x^k .. x^n is no Chebyshev
    system for k > 0; there all are rounded at once.)
    """

    name: str
    dtype: str
    function: Function
    low: float
    high: float
    degree: int
    weight: Function


def rounded(value: Number, dtype: str) -> float:
    """The nearest number of the format."""
    plain = float(value)
    return float(struct.unpack("f", struct.pack("f", plain))[0]) if dtype == "float32" else plain


def _exchange(points: list[Number], values: list[Number], weights: list[Number], first: int, last: int) -> list[Number]:
    """Remez exchange on a fixed grid for the basis x^first .. x^last; the points exclude 0 if first > 0."""
    count = last - first + 2
    picks = [round(i * (len(points) - 1) / (count - 1)) for i in range(count)]
    coefficients: list[Number] = []
    for _ in range(40):
        rows = [
            [weights[p] * points[p] ** k for k in range(first, last + 1)] + [(-1) ** i] for i, p in enumerate(picks)
        ]
        solved = mp.lu_solve(mp.matrix(rows), mp.matrix([weights[p] * values[p] for p in picks]))
        coefficients = [solved[i] for i in range(count - 1)]
        level = abs(solved[count - 1])
        errors = []
        for x, value, weight in zip(points, values, weights, strict=True):
            total = mpf(0)
            for c in reversed(coefficients):
                total = total * x + c
            errors.append((total * x**first - value) * weight)
        peaks: list[int] = []  # the largest error of each run of one sign
        for i, error in enumerate(errors):
            if peaks and (errors[peaks[-1]] > 0) == (error > 0):
                if abs(error) > abs(errors[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        while len(peaks) > count:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        if len(peaks) < count or max(abs(errors[i]) for i in peaks) <= level * mpf("1.001"):
            break
        picks = peaks
    return coefficients


def fit(task: Fit) -> tuple[list[float], float]:
    """Coefficients, lowest power first, and the largest weighted error on the grid after rounding."""
    with mp.workdps(50):
        low, high = mpf(task.low), mpf(task.high)
        size = 24 * (task.degree + 2)
        middle, half = (high + low) / 2, (high - low) / 2
        points = [middle - half * mp.cos(mp.pi * (mpf(i) + mpf("0.5")) / size) for i in range(size)]
        points = [x for x in points if x != 0]
        values = [task.function(x) for x in points]
        weights = [abs(task.weight(x)) for x in points]
        rest = list(values)
        result: list[float] = []
        found = _exchange(points, values, weights, 0, task.degree)
        for k in range(task.degree + 1):
            if k and low >= 0:
                found[k:] = _exchange(points, rest, weights, k, task.degree)
            c = rounded(found[k], task.dtype)
            result.append(c)
            rest = [r - mpf(c) * x**k for r, x in zip(rest, points, strict=True)]
        worst = max(abs(r) * w for r, w in zip(rest, weights, strict=True))
        return result, float(worst)


def _exp_tail(r: Number) -> Number:
    return (mp.expm1(r) - r) / (r * r)


def _log_tail(f: Number) -> Number:
    return (mp.log1p(f) - f + f * f / 2) / f**3


def _log1p_factor(share: float, center: float) -> Function:
    """log(1 + x) / (share·x) - 1 as a function of share·x - center."""

    def factor(t: Number) -> Number:
        scaled = t + mpf(center)
        return mp.log1p(scaled / share) / scaled - 1

    return factor


def _inverse_tail(f: Number) -> Number:
    """(1/(1 + f) - 1) / f"""
    return -1 / (1 + f)


def _inverse_weight(f: Number) -> Number:
    """f, times the rounding error of 1 + f, in ULP of log(1 + f)."""
    binade = mpf(2) ** mp.floor(mp.log(abs(mp.log1p(f)), 2))
    return f / binade if f > 0 else f / (2 * binade)


def _atanh_tail(z: Number) -> Number:
    s = mp.sqrt(z)
    return (2 * mp.atanh(s) - 2 * s) / (s * z)


def _odd_tail(function: Function) -> Function:
    """(f(x) - x) / x³ as a function of z = x²."""

    def tail(z: Number) -> Number:
        x = mp.sqrt(z)
        return (function(x) - x) / (x * z)

    return tail


def _exp2_tail(r: Number) -> Number:
    return mp.expm1(r * mp.ln2) / r


def basic_tasks() -> Iterator[Fit]:
    """The polynomials of exp, log and tanh. The weights turn their errors into ones relative to the result."""
    for dtype, degree in (("float32", 5), ("float64", 10)):
        yield Fit("expm1", dtype, _exp_tail, -0.2879, 0.4057, degree, abs)
    for dtype, degree in (("float32", 6), ("float64", 11)):
        yield Fit("exp2", dtype, _exp2_tail, -0.5, 0.5, degree - 1, abs)
    yield Fit("log", "float32", _log_tail, -0.2929, 0.4143, 8, lambda f: f * f)
    yield Fit("log", "float64", _atanh_tail, 0.0, 0.02944, 6, abs)
    for dtype in ("float32", "float64"):
        yield Fit("inverse", dtype, _inverse_tail, -0.2929, 0.4143, 1, _inverse_weight)
    for dtype, degree, center in (("float32", 9, 0.4296875), ("float64", 20, 0.4375)):
        yield Fit("softplus", dtype, _log1p_factor(0.875, center), -center, 0.875 - center, degree, lambda t: mpf(1))
    for dtype, degree in (("float32", 5), ("float64", 13)):
        yield Fit("tanh", dtype, _odd_tail(mp.tanh), 0.0, 0.6401, degree, abs)


def _even_tail(z: Number) -> Number:
    return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / (z * z)


def _sin_pi_tail(z: Number) -> Number:
    x = mp.sqrt(z)
    return (mp.sinpi(x) / x - mp.pi) / z


def _erf_factor(z: Number) -> Number:
    x = mp.sqrt(z)
    return mp.erf(x) / x - 1


def _minus_log_erfc(t: Number) -> Number:
    return -mp.log(mp.erfc(1 + t))


def _lgamma_factor(d: Number) -> Number:
    return mp.loggamma(2 + d) / d


def _lgamma_tail(w: Number) -> Number:
    """(log Γ(x) - Stirling's leading terms) · x as a function of w = 1/x²."""
    x = 1 / mp.sqrt(w)
    with mp.workdps(70):
        return (mp.loggamma(x) - (x - mpf("0.5")) * (mp.log(x) - 1) - (mp.log(2 * mp.pi) - 1) / 2) * x


def _digamma_tail(w: Number) -> Number:
    """(log x - 1/(2 x) - ψ(x)) · x² as a function of w = 1/x²."""
    x = 1 / mp.sqrt(w)
    with mp.workdps(70):
        return (mp.log(x) - 1 / (2 * x) - mp.digamma(x)) / w


def digamma_root() -> Number:
    """The positive zero of ψ."""
    return mp.findroot(mp.digamma, mpf("1.4616321449683623"))


def _digamma_factor(t: Number) -> Number:
    """ψ(root + t) / t."""
    return mp.digamma(digamma_root() + t) / t


def _log_quintic(z: Number) -> Number:
    """(log((1 + s) / (1 - s)) - 2 s - 2 s³/3) / s⁵ as a function of z = s²."""
    s = mp.sqrt(z)
    with mp.workdps(90):
        return (2 * mp.atanh(s) - 2 * s - 2 * s**3 / 3) / (s * z * z)


def special_tasks() -> Iterator[Fit]:
    """The polynomials of the functions beyond exp and log."""
    for dtype, degree in (("float32", 3), ("float64", 8)):
        yield Fit("sinh", dtype, _odd_tail(mp.sinh), 0.0, 1.0, degree, abs)
    for dtype, degree in (("float32", 5), ("float64", 12)):
        yield Fit("asin", dtype, _odd_tail(mp.asin), 0.0, 0.25, degree, abs)
    for dtype, degree in (("float32", 4), ("float64", 10)):
        yield Fit("atan", dtype, _odd_tail(mp.atan), 0.0, 0.1716, degree, abs)
    yield Fit("sin", "float64", _odd_tail(mp.sin), 0.0, 0.6170, 5, abs)
    yield Fit("cos", "float64", _even_tail, 0.0, 0.6170, 5, lambda z: z * z)
    yield Fit("sinpi", "float64", _sin_pi_tail, 0.0, 0.25, 7, abs)
    for dtype, degree in (("float32", 6), ("float64", 12)):
        yield Fit("erf", dtype, _erf_factor, 0.0, 1.0, degree, lambda z: mpf(1))
    for dtype, degree, top in (("float32", 8, 3.0), ("float64", 20, 5.0)):
        yield Fit("erfc", dtype, _minus_log_erfc, 0.0, top, degree, lambda t: mp.erfc(1 + t))
    yield Fit("lgamma", "float64", _lgamma_factor, -0.75, 0.5, 23, lambda d: mpf(1))
    yield Fit("stirling", "float64", _lgamma_tail, 1e-8, 1 / 64, 7, lambda w: mpf(1))
    yield Fit("digamma", "float64", _digamma_tail, 1e-8, 1 / 64, 7, lambda w: w)
    yield Fit("digamma root", "float64", _digamma_factor, -0.4617, 0.5384, 21, lambda t: mpf(1))
    yield Fit("log5", "float64", _log_quintic, 0.0, 0.02944, 6, lambda z: z)


def tasks() -> Iterator[Fit]:
    """Every polynomial of the library."""
    yield from basic_tasks()
    yield from special_tasks()


def splits() -> Iterator[tuple[str, str, int, Number]]:
    """Constants in two parts: name, format, bits of the first part, value."""
    with mp.workdps(60):
        for dtype, bits, full in (("float32", 15, 24), ("float64", 33, 53)):
            yield "ln 2", dtype, bits, mp.ln2
            yield "1/ln 2", dtype, full, 1 / mp.ln2
            yield "log2 2", dtype, bits, mpf(1)
            yield "1/ln 10", dtype, full, 1 / mp.ln10
            yield "log10 2", dtype, bits, mp.ln2 / mp.ln10
            yield "pi/2", dtype, full, mp.pi / 2
            yield "pi/4", dtype, full, mp.pi / 4
            yield "pi", dtype, full, mp.pi
        yield "digamma root", "float64", 53, digamma_root()
        yield "2/3", "float64", 53, mpf(2) / 3


def chain(value: Number, lengths: tuple[int, ...]) -> tuple[float, ...]:
    """value as a sum of parts: the first ones cut to `lengths` bits, the last rounded to float64."""
    with mp.workdps(80):
        parts = []
        for bits in lengths:
            unit = mpf(2) ** (mp.frexp(value)[1] - bits)
            parts.append(float(mp.floor(value / unit) * unit))
            value -= mpf(parts[-1])
        return (*parts, float(value))


def two_over_pi_words(count: int) -> list[int]:
    """The bits of 2/π after the binary point, in words of 64, after one word of zeros."""
    with mp.workprec(64 * count + 64):
        bits = int(mp.floor(2 / mp.pi * mpf(2) ** (64 * (count - 1))))
    return [(bits >> (64 * i)) & (2**64 - 1) for i in reversed(range(count))]


def split(value: Number, dtype: str, bits: int) -> tuple[float, float]:
    """The first `bits` bits of value, rounded, and the rest in the format."""
    with mp.workdps(60):
        unit = mpf(2) ** (mp.frexp(value)[1] - bits)
        high = mp.nint(value / unit) * unit
        return float(high), rounded(value - high, dtype)


def module_text() -> str:
    """The coefficients file."""
    lines = [
        '"""Generated by remez.py: minimax coefficients (lowest power first) and split constants."""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
        "",
        "COEFFICIENTS: Final[dict[tuple[str, str], tuple[float, ...]]] = {",
    ]
    for task in tasks():
        coefficients, worst = fit(task)
        note = f"on [{task.low:.6g}, {task.high:.6g}], error {worst:.2g}"
        lines.append(f'    ("{task.name}", "{task.dtype}"): (  # {note}')
        lines += [f'        float.fromhex("{c.hex()}"),' for c in coefficients]
        lines.append("    ),")
    lines += ["}", "", "SPLIT: Final[dict[tuple[str, str], tuple[float, float]]] = {"]
    for name, dtype, bits, value in splits():
        high, low = (f'float.fromhex("{part.hex()}")' for part in split(value, dtype, bits))
        lines.append(f'    ("{name}", "{dtype}"): ({high}, {low}),')
    with mp.workdps(80):
        pieces = chain(mp.pi / 2, (33, 33, 33))
    lines += ["}", "", "# π/2 in parts of 33 bits: their products with integers up to 2^20 are exact"]
    lines += ["HALF_PI_PARTS: Final = (", *(f'    float.fromhex("{p.hex()}"),' for p in pieces), ")", ""]
    lines += ["# the bits of 2/π in words of 64; the first word stands for the integer part"]
    lines += ["TWO_OVER_PI: Final = (", *(f"    0x{word:016X}," for word in two_over_pi_words(20)), ")", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(module_text())
