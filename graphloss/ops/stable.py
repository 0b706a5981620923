"""Composites that keep their digits where the textbook formula loses them: what the stabiliser rewrites to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphloss import ops
from graphloss.ir.opdef import Array, Attrs
from graphloss.ir.tensor import Operand, Tensor
from graphloss.ops import special
from graphloss.ops.define import Binary, Unary, binary, pairs, points, unary

__all__ = ["bce_with_logits", "log1mexp", "log_cosh", "logsigmoid", "sigmoid_residual", "sqrt1pm1", "sums", "xlogy"]

LN2 = math.log(2)


def _logsigmoid_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    return (-ops.softplus(-operands[0]),)


logsigmoid: Unary = unary(
    "logsigmoid", lambda x: -special.softplus(-x), lambda x, out, g, a: g * ops.sigmoid(-x), expand=_logsigmoid_expand,
    early=True,
    summary="Logarithm of the sigmoid.", formula="ln σ(x) = -softplus(-x)",
)  # fmt: skip


def _log1mexp(x: Array) -> Array:
    return np.where(x > -LN2, np.log(-np.expm1(x)), np.log1p(-np.exp(x))).astype(x.dtype)


def _log1mexp_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    (x,) = operands
    return (ops.where(x > -LN2, ops.log(-ops.expm1(x)), ops.log1p(-ops.exp(x))),)


log1mexp: Unary = unary(
    "log1mexp", _log1mexp, lambda x, out, g, a: -(g / ops.expm1(-x)), expand=_log1mexp_expand,
    samples=points(-4.0, -0.1, edges=(0.0, -1e-30, -1e-3, -LN2, -30.0, -1e4, -np.inf, 1.0, np.nan)), ulp=4,
    summary="Logarithm of one minus an exponential, for x <= 0 (NaN above).", formula="ln(1 - e ** x)",
    source="Mächler, Accurately computing log(1 - exp(-|a|)), 2012",
)  # fmt: skip


def _log_cosh(x: Array) -> Array:
    a = np.abs(x)
    u = np.expm1(np.minimum(a, 1))
    result: Array = np.where(a < 1, np.log1p(u * u / (2 * (1 + u))), a + np.log1p(np.exp(-2 * a)) - LN2).astype(x.dtype)
    return result


def _log_cosh_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    a = ops.abs(operands[0])
    # cosh - 1 = u² / 2(1 + u) with u = e^|x| - 1 has all its digits at 0
    u = ops.expm1(ops.minimum(a, 1.0))
    return (ops.where(a < 1.0, ops.log1p(u * u / (2.0 * (1.0 + u))), a + ops.softplus(-2.0 * a) - LN2),)


log_cosh: Unary = unary(
    "log_cosh", _log_cosh, lambda x, out, g, a: g * ops.tanh(x), expand=_log_cosh_expand,
    summary="Logarithm of the hyperbolic cosine: x²/2 near 0, |x| - ln 2 far out; no overflow.", formula="ln cosh x",
)  # fmt: skip


def _sqrt1pm1(u: Array) -> Array:
    root = np.sqrt(1 + u)
    result: Array = np.where(u < 1, u / (1 + root), root - 1)
    return result


def _sqrt1pm1_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    (u,) = operands
    root = ops.sqrt(1.0 + u)
    # above 1 the difference loses nothing, and infinity stays what it is
    return (ops.where(u < 1.0, u / (1.0 + root), root - 1.0),)


sqrt1pm1: Unary = unary(
    "sqrt1pm1", _sqrt1pm1, lambda x, out, g, a: 0.5 * (g * ops.rsqrt(1.0 + x)), expand=_sqrt1pm1_expand,
    samples=points(-0.9, 5.0),
    summary="Square root of 1 + u, minus 1: u/2 near 0.", formula="sqrt(1 + u) - 1",
)  # fmt: skip


def _xlogy(x: Array, y: Array) -> Array:
    return np.where((x == 0) & ~np.isnan(y), 0, x * np.log(y)).astype(x.dtype)


def _xlogy_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    x, y = operands
    return (ops.where(ops.logical_and(x == 0.0, ops.logical_not(ops.isnan(y))), 0.0, x * ops.log(y)),)


def _xlogy_vjp(x: Tensor, y: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> tuple[Tensor, Tensor]:
    gone = ops.logical_and(x == 0.0, y <= 0.0)
    return ops.where(gone, 0.0, g * ops.log(y)), ops.where(gone, 0.0, g * x / y)


xlogy: Binary = binary(
    "xlogy", _xlogy, _xlogy_vjp, kind="float", expand=_xlogy_expand, samples=pairs(0.1, 3.0),
    summary="x times the logarithm of y, 0 where x is 0.", formula="x ln y", source="scipy.special.xlogy",
)  # fmt: skip


def _residual(x: Array, t: Array) -> Array:
    result: Array = (1 - t) * special.sigmoid(x) - t * special.sigmoid(-x)
    return result


def _residual_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    x, t = operands
    e, absent = ops.exp(-ops.abs(x)), 1.0 - t
    return (ops.where(x >= 0.0, absent - t * e, absent * e - t) / (1.0 + e),)


sigmoid_residual: Binary = binary(
    "sigmoid_residual", _residual, lambda x, t, out, g, a: (g * ops.sigmoid(x) * ops.sigmoid(-x), -g), kind="float",
    expand=_residual_expand, samples=pairs(), summary="Sigmoid minus target, with all its digits near 1 too.",
    formula="σ(x) - t = (1 - t) σ(x) - t σ(-x)",
)  # fmt: skip


def _bce_logits(x: Array, t: Array) -> Array:
    result: Array = np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))
    return result


def _bce_logits_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    x, t = operands
    # Not softplus(x) - x t: at t = 1 that loses every digit of the small result. The gradient has the same exponential.
    return (ops.relu(x) - x * t + ops.log1p(ops.exp(-ops.abs(x))),)


def _bce_logits_vjp(x: Tensor, t: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> tuple[Tensor, Tensor]:
    return g * sigmoid_residual(x, t), -(g * x)


bce_with_logits: Binary = binary(
    "bce_with_logits", _bce_logits, _bce_logits_vjp, kind="float", expand=_bce_logits_expand, samples=pairs(),
    summary="Cross entropy of the probability σ(x) and a target t; no overflow, no underflow.",
    formula="max(x, 0) - x t + ln(1 + e ** -|x|)", source="torch.nn.BCEWithLogitsLoss",
)  # fmt: skip


def sums(xs: Sequence[Tensor]) -> Tensor:
    """The sum of some tensors, added in pairs of neighbours."""
    level: list[Operand] = list(xs)
    while len(level) > 1:
        pairs_ = [ops.add(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = [*pairs_, *level[len(pairs_) * 2 :]]
    (total,) = level
    assert isinstance(total, Tensor)
    return total
