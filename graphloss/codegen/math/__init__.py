"""The scalar functions of the language on vectors of lanes, one source for every format, width and target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llvmlite import ir

from graphloss.codegen.math import division, exponential, inverse, logarithm, power, rounding, special, trigonometric
from graphloss.codegen.math.common import outlined
from graphloss.codegen.values import Lanes

Emitter = Callable[..., ir.Value]

_FUNCTIONS: Final[dict[str, Emitter]] = {
    "abs": rounding.absolute,
    "acos": inverse.acos,
    "asin": inverse.asin,
    "atan": inverse.atan,
    "ceil": rounding.ceil,
    "cos": trigonometric.cos,
    "cosh": exponential.cosh,
    "digamma": special.digamma,
    "erf": special.erf,
    "exp": exponential.exp,
    "exp2": exponential.exp2,
    "exp_nonpositive": exponential.exp_nonpositive,
    "expm1": exponential.expm1,
    "floor": rounding.floor,
    "floor_mod": division.mod,
    "floordiv": division.floordiv,
    "ldexp": rounding.ldexp,
    "lgamma": special.lgamma,
    "log": logarithm.log,
    "log10": logarithm.log10,
    "log1p": logarithm.log1p,
    "log1p_unit": logarithm.log1p_unit,
    "log2": logarithm.log2,
    "max": rounding.maximum,
    "min": rounding.minimum,
    "mod": division.mod,
    "pow": power.power,
    "reciprocal": rounding.reciprocal,
    "round": rounding.round_half_even,
    "rsqrt": rounding.rsqrt,
    "sigmoid": exponential.sigmoid,
    "sign": rounding.sign,
    "sin": trigonometric.sin,
    "sinh": exponential.sinh,
    "softplus": exponential.softplus,
    "sqrt": rounding.sqrt,
    "tan": trigonometric.tan,
    "tanh": exponential.tanh,
    "trunc": rounding.trunc,
}

FUNCTIONS: Final = frozenset(_FUNCTIONS)


def emit(lanes: Lanes, function: str, dtype: str, *args: ir.Value, inline: bool = True) -> ir.Value:
    """Emit `function` of values of `dtype` ("float32" or "float64") at the place where `lanes` builds.

    Not inline it becomes a call: several times slower in a short loop, and several times faster to compile.
    """
    body = _FUNCTIONS[function]
    return body(lanes, dtype, *args) if inline else outlined(lanes, f"call.{function}", dtype, body, *args)
