"""Elementwise functions of one operand."""

from __future__ import annotations

import math

import numpy as np

from graphloss import ops
from graphloss.ir import scalar
from graphloss.ops import special
from graphloss.ops.define import Unary, points, unary, zero

__all__ = [
    "abs",
    "acos",
    "asin",
    "atan",
    "ceil",
    "cos",
    "cosh",
    "digamma",
    "erf",
    "exp",
    "expm1",
    "floor",
    "lgamma",
    "log",
    "log1p",
    "neg",
    "reciprocal",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "softplus",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "trunc",
]

neg: Unary = unary(
    "neg", np.negative, lambda x, out, g, a: -g, kind="number", linear=True, ulp=0, summary="Negation.", formula="-x"
)
abs: Unary = unary(
    "abs", np.abs, lambda x, out, g, a: g * ops.sign(x), kind="number", ulp=0,
    summary="Absolute value; derivative 0 at 0.", formula="|x|",
)  # fmt: skip
sign: Unary = unary("sign", np.sign, zero, kind="number", ulp=0, summary="-1, 0 or 1.", formula="sign(x)")
square: Unary = unary(
    "square",
    np.square,
    lambda x, out, g, a: 2.0 * (g * x),
    kind="number",
    code=lambda e, a: scalar.call("mul", e[0], e[0]),
    ulp=1,
    formula="x * x",
)
sqrt: Unary = unary(
    "sqrt", np.sqrt, lambda x, out, g, a: 0.5 * g / out, samples=points(0.01, 4.0), ulp=1,
    summary="Square root; derivative inf at 0.", formula="x ** 0.5",
)  # fmt: skip
rsqrt: Unary = unary(
    "rsqrt", lambda x: 1 / np.sqrt(x), lambda x, out, g, a: -0.5 * (g * out / x), samples=points(0.1, 4.0),
    summary="Reciprocal of the square root.", formula="x ** -0.5",
)  # fmt: skip
reciprocal: Unary = unary(
    "reciprocal",
    lambda x: 1 / x,
    lambda x, out, g, a: -(g * out * out),
    samples=points(0.2, 4.0),
    ulp=1,
    formula="1 / x",
)

floor: Unary = unary(
    "floor", np.floor, zero, ulp=0, summary="The largest whole number not above x.", formula="floor(x)"
)
ceil: Unary = unary("ceil", np.ceil, zero, ulp=0, summary="The smallest whole number not below x.", formula="ceil(x)")
round: Unary = unary(
    "round", np.rint, zero, ulp=0, summary="The nearest whole number, halves to even.", formula="round(x)"
)
trunc: Unary = unary(
    "trunc", np.trunc, zero, ulp=0, summary="The whole number next to x towards 0.", formula="trunc(x)"
)

exp: Unary = unary("exp", np.exp, lambda x, out, g, a: g * out, formula="e ** x")
# not g * (out + 1): expm1 rounds to -1 where exp is still accurate
expm1: Unary = unary("expm1", np.expm1, lambda x, out, g, a: g * ops.exp(x), formula="e ** x - 1")
log: Unary = unary("log", np.log, lambda x, out, g, a: g / x, samples=points(0.05, 5.0), formula="ln x")
log1p: Unary = unary(
    "log1p", np.log1p, lambda x, out, g, a: g / (1.0 + x), samples=points(-0.9, 5.0), formula="ln(1 + x)"
)

sin: Unary = unary("sin", np.sin, lambda x, out, g, a: g * ops.cos(x), formula="sin x")
cos: Unary = unary("cos", np.cos, lambda x, out, g, a: -(g * ops.sin(x)), formula="cos x")
tan: Unary = unary(
    "tan", np.tan, lambda x, out, g, a: g * (1.0 + out * out), samples=points(-1.4, 1.4), formula="tan x"
)
asin: Unary = unary(
    "asin",
    np.arcsin,
    lambda x, out, g, a: g * ops.rsqrt((1.0 - x) * (1.0 + x)),
    samples=points(-0.95, 0.95),
    formula="arcsin x",
)
acos: Unary = unary(
    "acos",
    np.arccos,
    lambda x, out, g, a: -(g * ops.rsqrt((1.0 - x) * (1.0 + x))),
    samples=points(-0.95, 0.95),
    formula="arccos x",
)
atan: Unary = unary("atan", np.arctan, lambda x, out, g, a: g / (1.0 + x * x), formula="arctan x")
sinh: Unary = unary("sinh", np.sinh, lambda x, out, g, a: g * ops.cosh(x), formula="(e ** x - e ** -x) / 2")
cosh: Unary = unary("cosh", np.cosh, lambda x, out, g, a: g * ops.sinh(x), formula="(e ** x + e ** -x) / 2")
# 1 - tanh(x)² as 4 σ(2x) σ(-2x): the difference has no correct digit from |x| = 19 on
tanh: Unary = unary(
    "tanh", np.tanh, lambda x, out, g, a: 4.0 * g * ops.sigmoid(2.0 * x) * ops.sigmoid(-2.0 * x), formula="tanh x",
)  # fmt: skip
sigmoid: Unary = unary(
    "sigmoid", special.sigmoid, lambda x, out, g, a: g * out * ops.sigmoid(-x),
    summary="Logistic function.", formula="1 / (1 + e ** -x)",
)  # fmt: skip
softplus: Unary = unary(
    "softplus", special.softplus, lambda x, out, g, a: g * ops.sigmoid(x),
    summary="Smooth relu; no overflow.", formula="ln(1 + e ** x) = max(x, 0) + log1p(e ** -|x|)",
)  # fmt: skip
erf: Unary = unary(
    "erf", special.erf, lambda x, out, g, a: (2 / math.sqrt(math.pi)) * (g * ops.exp(-(x * x))),
    summary="Error function.", formula="2/sqrt(pi) * integral of e ** -t² over t from 0 to x",
)  # fmt: skip
lgamma: Unary = unary(
    "lgamma", special.lgamma, lambda x, out, g, a: g * ops.digamma(x), ulp=8,
    samples=points(0.3, 6.0, edges=(0.0, 1.0, 2.0, 1e4, 1e-30, -1.0, -0.5, np.inf, np.nan)),
    summary="Logarithm of the absolute value of the gamma function.", formula="ln |Γ(x)|",
)  # fmt: skip
digamma: Unary = unary(
    "digamma", special.digamma, None, no_vjp="the trigamma function is not among the scalar functions", ulp=32,
    samples=points(0.3, 6.0, edges=(1.0, 2.0, 1e4, 1e-30, -0.5, np.inf, np.nan)),
    summary="Derivative of ln Γ.", formula="Γ'(x) / Γ(x)",
)  # fmt: skip
