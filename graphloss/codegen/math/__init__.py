"""The scalar functions of the language on vectors of lanes, one source for every format, width and target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llvmlite import ir

from graphloss.codegen.math import exponential, logarithm, rounding
from graphloss.codegen.values import Lanes

Emitter = Callable[..., ir.Value]

_FUNCTIONS: Final[dict[str, Emitter]] = {
    "abs": rounding.absolute,
    "ceil": rounding.ceil,
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "expm1": exponential.expm1,
    "floor": rounding.floor,
    "log": logarithm.log,
    "log1p": logarithm.log1p,
    "max": rounding.maximum,
    "min": rounding.minimum,
    "reciprocal": rounding.reciprocal,
    "round": rounding.round_half_even,
    "rsqrt": rounding.rsqrt,
    "sigmoid": exponential.sigmoid,
    "sign": rounding.sign,
    "softplus": exponential.softplus,
    "sqrt": rounding.sqrt,
    "tanh": exponential.tanh,
    "trunc": rounding.trunc,
}

FUNCTIONS: Final = frozenset(_FUNCTIONS)


def emit(lanes: Lanes, function: str, dtype: str, *args: ir.Value) -> ir.Value:
    """Emit `function` of values of `dtype` ("float32" or "float64") at the place where `lanes` builds."""
    return _FUNCTIONS[function](lanes, dtype, *args)
