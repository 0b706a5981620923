"""Minimax polynomials on mpmath; run as a script it writes the coefficients file of the math library.

    python -m graphloss.codegen.math.remez > graphloss/codegen/math/coefficients.py
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


def _log1p_tail(t: Number) -> Number:
    x = t + mpf("0.5")
    return (mp.log1p(x) - x) / (x * x)


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


def tasks() -> Iterator[Fit]:
    """Every polynomial of the library. The weights turn the error of a polynomial into one relative to the result."""
    half_ln2 = 0.34657359027997264 * 1.0005  # the rounding of x·log2(e) may land just past one half
    for dtype, degree in (("float32", 4), ("float64", 9)):
        yield Fit("exp", dtype, _exp_tail, -half_ln2, half_ln2, degree, abs)
    for dtype, degree in (("float32", 6), ("float64", 11)):
        yield Fit("exp2", dtype, _exp2_tail, -0.5, 0.5, degree - 1, abs)
    yield Fit("log", "float32", _log_tail, -0.2929, 0.4143, 8, lambda f: f * f)
    yield Fit("log", "float64", _atanh_tail, 0.0, 0.02944, 6, abs)
    for dtype, degree in (("float32", 8), ("float64", 19)):
        yield Fit("log1p_unit", dtype, _log1p_tail, -0.5, 0.5, degree, lambda t: t + mpf("0.5"))
    for dtype, degree in (("float32", 6), ("float64", 14)):
        yield Fit("tanh", dtype, _odd_tail(mp.tanh), 0.0, 0.8101, degree, abs)


def module_text() -> str:
    """The coefficients file."""
    lines = [
        '"""Generated by remez.py: minimax coefficients, lowest power first, by name and format."""',
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
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    sys.stdout.write(module_text())
