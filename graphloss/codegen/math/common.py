"""What the functions of the math library share: polynomials and split constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from llvmlite import ir

from graphloss.codegen.math.coefficients import COEFFICIENTS
from graphloss.codegen.values import FORMATS, Lanes

# ln 2 in two parts; the first has so few bits that its product with any exponent is exact, with or without FMA.
LN2_HIGH: Final = {"float32": float.fromhex("0x1.62e400p-1"), "float64": float.fromhex("0x1.62e42fee00000p-1")}
LN2_LOW: Final = {"float32": float.fromhex("0x1.7f7d1cp-20"), "float64": float.fromhex("0x1.a39ef35793c76p-33")}
SQRT_HALF: Final = {"float32": float.fromhex("0x1.6a09e6p-1"), "float64": float.fromhex("0x1.6a09e667f3bcdp-1")}
INFINITY: Final = float("inf")
NAN: Final = float("nan")


def horner(lanes: Lanes, dtype: str, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    """Σ c_k x^k, lowest first; a long one in two chains (even and odd powers), which wait less for each other."""
    if len(coefficients) <= 6:
        return _chain(lanes, dtype, x, coefficients)
    square = lanes.mul(x, x)
    odd = _chain(lanes, dtype, square, coefficients[1::2])
    return lanes.fma(odd, x, _chain(lanes, dtype, square, coefficients[0::2]))


def _chain(lanes: Lanes, dtype: str, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    total: ir.Value = lanes.const(dtype, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = lanes.fma(total, x, lanes.const(dtype, c))
    return total


def polynomial(lanes: Lanes, dtype: str, name: str, x: ir.Value) -> ir.Value:
    """The minimax polynomial `name` of the coefficients file at x."""
    return horner(lanes, dtype, x, COEFFICIENTS[name, dtype])


def nearest(lanes: Lanes, dtype: str, x: ir.Value, factor: float) -> ir.Value:
    """x·factor rounded to an integer by the magic number; |x·factor| below 2^(mantissa-1)."""
    magic = lanes.const(dtype, FORMATS[dtype].magic)
    return lanes.sub(lanes.fma(x, lanes.const(dtype, factor), magic), magic)
