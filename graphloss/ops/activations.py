"""Activation functions, with the defaults of fluid.layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from graphloss import ops
from graphloss.ir import scalar
from graphloss.ir.opdef import Array, Attrs, AttrSpec
from graphloss.ir.scalar import Expr, call
from graphloss.ir.tensor import Tensor, apply
from graphloss.ops import special
from graphloss.ops.define import Unary, UnaryVjp, constants, points, unary

__all__ = [
    "brelu",
    "elu",
    "gelu",
    "hard_shrink",
    "hard_sigmoid",
    "leaky_relu",
    "relu",
    "relu6",
    "selu",
    "soft_relu",
    "softshrink",
    "softsign",
    "stanh",
    "swish",
    "tanh_shrink",
    "thresholded_relu",
]

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772

# what an activation computes from its operand and its attributes, as a scalar expression
Code = Callable[..., Expr]


def activation(
    name: str, fn: Callable[..., Array], code: Code, vjp: UnaryVjp, *, attrs: dict[str, float] | None = None,
    linear: bool = False,
    summary: str = "", formula: str = "",
) -> Callable[[Tensor], Tensor]:  # fmt: skip
    """An activation with float attributes, given with their defaults; `code(x, *attributes)` is its expression."""
    defaults = attrs or {}

    def scalar_of(operands: Sequence[Expr], a: Attrs) -> Expr:
        x = operands[0]
        return code(x, *constants(x.dtype, *(a[n] for n in defaults)))

    return unary(
        name, lambda x, **a: np.asarray(fn(x, *a.values())).astype(x.dtype), vjp, code=scalar_of, linear=linear,
        summary=summary,
        attrs=tuple(AttrSpec(n, "float", d) for n, d in defaults.items()), formula=formula, samples=points(-5.0, 5.0),
    )  # fmt: skip


def _one(x: Expr, value: float = 1.0) -> Expr:
    return scalar.const(value, x.dtype)


def _clipped(x: Expr, low: Expr, high: Expr) -> Expr:
    return call("min", call("max", x, low), high)


relu: Unary = activation(
    "relu", lambda x: np.maximum(x, 0), lambda x: call("max", x, _one(x, 0.0)),
    lambda x, out, g, a: ops.where(x > 0.0, g, 0.0), linear=True,
    summary="Rectifier; derivative 0 at 0.", formula="max(x, 0)",
)  # fmt: skip

activation(
    "relu6", lambda x, t: np.minimum(np.maximum(x, 0), t), lambda x, t: _clipped(x, _one(x, 0.0), t),
    lambda x, out, g, a: ops.where(ops.logical_and(x > 0.0, x < a["threshold"]), g, 0.0), attrs={"threshold": 6.0},
    linear=True,
    summary="Rectifier with a ceiling.", formula="min(max(x, 0), threshold)",
)  # fmt: skip

activation(
    "leaky_relu", lambda x, alpha: np.where(x > 0, x, alpha * x),
    lambda x, alpha: call("select", call("gt", x, _one(x, 0.0)), x, call("mul", alpha, x)),
    lambda x, out, g, a: ops.where(x > 0.0, g, a["alpha"] * g), attrs={"alpha": 0.02}, linear=True,
    summary="Rectifier with slope alpha below 0.", formula="x if x > 0 else alpha x",
)  # fmt: skip


def _elu(x: Expr, alpha: Expr) -> Expr:
    return call("select", call("gt", x, _one(x, 0.0)), x, call("mul", alpha, call("expm1", x)))


activation(
    "elu", lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)),
    _elu,
    lambda x, out, g, a: ops.where(x > 0.0, g, a["alpha"] * (g * ops.exp(x))), attrs={"alpha": 1.0},
    summary="Exponential linear unit.", formula="x if x > 0 else alpha (e ** x - 1)",
)  # fmt: skip

activation(
    "selu", lambda x, scale, alpha: scale * np.where(x > 0, x, alpha * np.expm1(x)),
    lambda x, scale, alpha: call("mul", scale, _elu(x, alpha)),
    lambda x, out, g, a: ops.where(x > 0.0, a["scale"] * g, a["scale"] * a["alpha"] * (g * ops.exp(x))),
    attrs={"scale": SELU_SCALE, "alpha": SELU_ALPHA}, summary="Self-normalising elu.",
    formula="scale (x if x > 0 else alpha (e ** x - 1))",
)  # fmt: skip

activation(
    "soft_relu", lambda x, t: special.softplus(np.minimum(np.maximum(x, -t), t)),
    lambda x, t: call("softplus", _clipped(x, call("neg", t), t)),
    lambda x, out, g, a: ops.where(ops.logical_and(x > -a["threshold"], x < a["threshold"]), g * ops.sigmoid(x), 0.0),
    attrs={"threshold": 40.0}, summary="Softplus of the operand clipped to ±threshold.",
    formula="ln(1 + e ** clip(x, -threshold, threshold))",
)  # fmt: skip


def _swish_vjp(x: Tensor, out: Tensor, g: Tensor, a: Attrs) -> Tensor:
    s = ops.sigmoid(a["beta"] * x)
    result: Tensor = g * (s + a["beta"] * (out * ops.sigmoid(-a["beta"] * x)))
    return result


activation(
    "swish", lambda x, beta: x * special.sigmoid(beta * x),
    lambda x, beta: call("mul", x, call("sigmoid", call("mul", beta, x))), _swish_vjp,
    attrs={"beta": 1.0}, summary="The operand times its sigmoid.", formula="x σ(beta x)",
)  # fmt: skip


def _hard_sigmoid_vjp(x: Tensor, out: Tensor, g: Tensor, a: Attrs) -> Tensor:
    return ops.where(ops.logical_and(out > 0.0, out < 1.0), a["slope"] * g, 0.0)


activation(
    "hard_sigmoid", lambda x, slope, offset: np.minimum(np.maximum(slope * x + offset, 0), 1),
    lambda x, slope, offset: _clipped(call("add", call("mul", slope, x), offset), _one(x, 0.0), _one(x)),
    _hard_sigmoid_vjp,
    attrs={"slope": 0.2, "offset": 0.5}, linear=True, summary="Sigmoid in three straight pieces.",
    formula="min(max(slope x + offset, 0), 1)",
)  # fmt: skip

activation(
    "brelu", lambda x, low, high: np.minimum(np.maximum(x, low), high), _clipped,
    lambda x, out, g, a: ops.where(ops.logical_and(x > a["t_min"], x < a["t_max"]), g, 0.0),
    attrs={"t_min": 0.0, "t_max": 24.0}, linear=True,
    summary="Rectifier between two bounds; derivative 0 at them.", formula="min(max(x, t_min), t_max)",
)  # fmt: skip


def _softsign_vjp(x: Tensor, out: Tensor, g: Tensor, a: Attrs) -> Tensor:
    return g / ops.square(1.0 + ops.abs(x))


softsign: Unary = activation(
    "softsign", lambda x: x / (1 + np.abs(x)), lambda x: call("div", x, call("add", _one(x), call("abs", x))),
    _softsign_vjp,
    formula="x / (1 + |x|)",
)  # fmt: skip

tanh_shrink: Unary = activation(
    "tanh_shrink", lambda x: x - np.tanh(x), lambda x: call("sub", x, call("tanh", x)),
    lambda x, out, g, a: g * ops.square(ops.tanh(x)),
    formula="x - tanh x",
)  # fmt: skip


def _outside(x: Expr, bound: Expr) -> Expr:
    return call("not", call("le", call("abs", x), bound))  # true for NaN, which so stays


def _softshrink(x: Expr, alpha: Expr) -> Expr:
    return call("select", _outside(x, alpha), call("sub", x, call("mul", alpha, call("sign", x))), _one(x, 0.0))


activation(
    "softshrink", lambda x, alpha: np.where(~(np.abs(x) <= alpha), x - alpha * np.sign(x), 0), _softshrink,
    lambda x, out, g, a: ops.where(ops.abs(x) <= a["alpha"], 0.0, g), attrs={"alpha": 0.5}, linear=True,
    summary="Moved towards 0 by alpha, 0 within.", formula="x - alpha sign x if |x| > alpha else 0",
)  # fmt: skip

activation(
    "hard_shrink", lambda x, t: np.where(~(np.abs(x) <= t), x, 0),
    lambda x, t: call("select", _outside(x, t), x, _one(x, 0.0)),
    lambda x, out, g, a: ops.where(ops.abs(x) <= a["threshold"], 0.0, g), attrs={"threshold": 0.5}, linear=True,
    summary="0 within the threshold.", formula="x if |x| > threshold else 0",
)  # fmt: skip

activation(
    "thresholded_relu", lambda x, t: np.where(~(x <= t), x, 0),
    lambda x, t: call("select", call("le", x, t), _one(x, 0.0), x),
    lambda x, out, g, a: ops.where(x <= a["threshold"], 0.0, g), attrs={"threshold": 1.0}, linear=True,
    summary="0 up to the threshold.", formula="x if x > threshold else 0",
)  # fmt: skip


def _stanh_vjp(x: Tensor, out: Tensor, g: Tensor, a: Attrs) -> Tensor:
    twice = 2.0 * a["scale_a"]
    result: Tensor = (2.0 * twice * a["scale_b"]) * g * ops.sigmoid(twice * x) * ops.sigmoid(-twice * x)
    return result


activation(
    "stanh", lambda x, a, b: b * np.tanh(a * x), lambda x, a, b: call("mul", b, call("tanh", call("mul", a, x))),
    _stanh_vjp,
    attrs={"scale_a": 0.67, "scale_b": 1.7159}, summary="Scaled tanh.", formula="scale_b tanh(scale_a x)",
)  # fmt: skip


def _gelu_vjp(x: Tensor, out: Tensor, g: Tensor, a: Attrs) -> Tensor:
    density = ops.exp(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi))
    return g * (0.5 + 0.5 * ops.erf(x * math.sqrt(0.5)) + x * density)


def _gelu_code(x: Expr) -> Expr:
    tail = call("add", _one(x), call("erf", call("mul", x, _one(x, math.sqrt(0.5)))))
    return call("mul", call("mul", _one(x, 0.5), x), tail)


gelu_exact: Unary = activation(
    "gelu", lambda x: 0.5 * x * (1 + special.erf(x * x.dtype.type(math.sqrt(0.5)))), _gelu_code, _gelu_vjp,
    summary="The operand times the normal distribution function.", formula="x (1 + erf(x / sqrt 2)) / 2",
)  # fmt: skip

_GELU = math.sqrt(2 / math.pi)


def _inner(x: Tensor) -> Tensor:
    return _GELU * (x + 0.044715 * (x * x * x))


def _gelu_tanh_vjp(x: Tensor, out: Tensor, g: Tensor, a: Attrs) -> Tensor:
    s, r = ops.sigmoid(2.0 * _inner(x)), ops.sigmoid(-2.0 * _inner(x))
    return g * (s + 2.0 * (out * r) * (_GELU * (1.0 + (3 * 0.044715) * (x * x))))


def _gelu_tanh_code(x: Expr) -> Expr:
    cube = call("mul", _one(x, 0.044715), call("mul", x, call("mul", x, x)))
    return call("mul", x, call("sigmoid", call("mul", _one(x, 2 * _GELU), call("add", x, cube))))


gelu_tanh: Unary = activation(
    "gelu_tanh", lambda x: x * special.sigmoid(2 * _GELU * (x + 0.044715 * (x * (x * x)))), _gelu_tanh_code,
    _gelu_tanh_vjp,
    summary="Gelu with the tanh approximation.", formula="x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))) / 2",
)  # fmt: skip


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """x times the normal distribution function at x, or its tanh approximation."""
    return gelu_tanh(x) if approximate else gelu_exact(x)


def relu6(x: Tensor, threshold: float = 6.0) -> Tensor:
    """min(max(x, 0), threshold)."""
    return apply("relu6", (x,), {"threshold": threshold})[0]


def leaky_relu(x: Tensor, alpha: float = 0.02) -> Tensor:
    """x where x > 0, else alpha·x."""
    return apply("leaky_relu", (x,), {"alpha": alpha})[0]


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha·(e^x − 1)."""
    return apply("elu", (x,), {"alpha": alpha})[0]


def selu(x: Tensor, scale: float | None = None, alpha: float | None = None) -> Tensor:
    """scale·x where x > 0, else scale·alpha·(e^x − 1); by default the constants of self-normalising networks."""
    values = {"scale": SELU_SCALE if scale is None else scale, "alpha": SELU_ALPHA if alpha is None else alpha}
    return apply("selu", (x,), values)[0]


def soft_relu(x: Tensor, threshold: float = 40.0) -> Tensor:
    """ln(1 + e^y), y = x clipped to ±threshold."""
    return apply("soft_relu", (x,), {"threshold": threshold})[0]


def swish(x: Tensor, beta: float = 1.0) -> Tensor:
    """x·σ(beta·x)."""
    return apply("swish", (x,), {"beta": beta})[0]


def hard_sigmoid(x: Tensor, slope: float = 0.2, offset: float = 0.5) -> Tensor:
    """slope·x + offset, clipped to [0, 1]."""
    return apply("hard_sigmoid", (x,), {"slope": slope, "offset": offset})[0]


def brelu(x: Tensor, t_min: float = 0.0, t_max: float = 24.0) -> Tensor:
    """x clipped to [t_min, t_max]."""
    return apply("brelu", (x,), {"t_min": t_min, "t_max": t_max})[0]


def softshrink(x: Tensor, alpha: float = 0.5) -> Tensor:
    """x − alpha where x > alpha, x + alpha where x < −alpha, else 0."""
    return apply("softshrink", (x,), {"alpha": alpha})[0]


def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """x where |x| > threshold, else 0."""
    return apply("hard_shrink", (x,), {"threshold": threshold})[0]


def thresholded_relu(x: Tensor, threshold: float = 1.0) -> Tensor:
    """x where x > threshold, else 0."""
    return apply("thresholded_relu", (x,), {"threshold": threshold})[0]


def stanh(x: Tensor, scale_a: float = 0.67, scale_b: float = 1.7159) -> Tensor:
    """scale_b·tanh(scale_a·x)."""
    return apply("stanh", (x,), {"scale_a": scale_a, "scale_b": scale_b})[0]
