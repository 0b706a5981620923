"""Comparison, logic, selection and clipping."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphloss import ops
from graphloss.errors import AttrError
from graphloss.ir import scalar
from graphloss.ir.dims import Equations
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.scalar import Expr
from graphloss.ir.tensor import Operand, Tensor, apply, constant, unify
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import (
    EDGES,
    Binary,
    Unary,
    binary,
    constants,
    define,
    function,
    points,
    unary,
    unbroadcast,
    zero,
    zeros,
)

__all__ = [
    "clamp_max",
    "clamp_min",
    "clip",
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
    "where",
]


def _compare(name: str, fn: Callable[[Array, Array], Array], code: str, sign: str) -> Binary:
    ordered = code not in ("eq", "ne")
    return binary(
        name, fn, zeros, infer=rules.pointwise("number" if ordered else "any", "bool"), code=function(code), ulp=0,
        summary="Comparison; with NaN " + ("true" if code == "ne" else "false") + ".", formula=f"x {sign} y",
    )  # fmt: skip


less: Binary = _compare("less", np.less, "lt", "<")
less_equal: Binary = _compare("less_equal", np.less_equal, "le", "<=")
greater: Binary = _compare("greater", np.greater, "gt", ">")
greater_equal: Binary = _compare("greater_equal", np.greater_equal, "ge", ">=")
equal: Binary = _compare("equal", np.equal, "eq", "==")
not_equal: Binary = _compare("not_equal", np.not_equal, "ne", "!=")


def _bools(rng: np.random.Generator) -> list[Sample]:
    x = np.array([True, True, False, False])
    return [Sample((x, np.array([True, False, True, False])), edge=True), Sample((x[:, None], x[:3]))]


def _logical(name: str, fn: Callable[[Array, Array], Array], code: str) -> Binary:
    return binary(
        name, fn, zeros, infer=rules.pointwise("bool"), code=function(code), samples=_bools, ulp=0,
        summary="Logic of two conditions.", formula=f"x {code} y",
    )  # fmt: skip


logical_and: Binary = _logical("logical_and", np.logical_and, "and")
logical_or: Binary = _logical("logical_or", np.logical_or, "or")
logical_xor: Binary = _logical("logical_xor", np.logical_xor, "xor")
logical_not: Unary = unary(
    "logical_not", np.logical_not, zero, infer=rules.to_bool("bool"), code=function("not"), ulp=0, formula="not x",
    samples=lambda rng: [Sample((np.array([True, False]),))],
)  # fmt: skip
isnan: Unary = unary("isnan", np.isnan, zero, infer=rules.to_bool("float"), ulp=0, summary="Whether x is NaN.")
isinf: Unary = unary("isinf", np.isinf, zero, infer=rules.to_bool("float"), ulp=0, summary="Whether x is inf or -inf.")
isfinite: Unary = unary(
    "isfinite", np.isfinite, zero, infer=rules.to_bool("float"), ulp=0, summary="Whether x is neither infinite nor NaN."
)


def _where_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    condition, x, y = types
    rules.expect(condition, "bool", "the condition")
    return (TensorType(rules.agree((x, y)), rules.broadcast([t.shape for t in types], equations)),)


def _where_vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    condition, x, y = operands
    assert g[0] is not None
    return None, unbroadcast(where(condition, g[0], 0.0), x), unbroadcast(where(condition, 0.0, g[0]), y)


def _where_samples(rng: np.random.Generator) -> list[Sample]:
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    edge = np.array(EDGES)
    return [
        Sample((x > 0, x, y)),
        Sample((x[:, :1] > 0, x, y[0])),
        Sample((np.array(True), x, np.array(2.0))),
        Sample((edge > 0, edge, edge[::-1].copy()), edge=True, differentiable=False),
    ]


define(
    "where", ("condition", "x", "y"), _where_infer, np.where, scalar=function("select"), vjp=_where_vjp, linear=True,
    ulp=0,
    samples=_where_samples,
    summary="x where the condition holds, else y; the operand not taken has no influence, not even as NaN.",
    formula="x if condition else y",
)  # fmt: skip


def where(condition: Tensor, x: Operand, y: Operand) -> Tensor:
    """x where `condition` holds, else y, with broadcasting; x or y may be a number (both: float32)."""
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x = constant(x, "float32")
    a, b = unify("where", x, y)
    return apply("where", (condition, a, b), {})[0]


def _bounds(*names: str) -> tuple[AttrSpec, ...]:
    return (*(AttrSpec(n, "number") for n in names), AttrSpec("inclusive", "bool", True))


def _whole_bounds(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    rules.expect(types[0], "number")
    for name in ("min", "max"):
        if name in attrs and types[0].dtype not in ("float32", "float64") and attrs[name] != int(attrs[name]):
            raise AttrError(
                f"{name} would be truncated", f"a whole number, since the operand is {types[0].dtype}", attrs[name]
            )
    return (types[0],)


def _clip_code(operands: Sequence[Expr], attrs: Attrs) -> Expr:
    (x,) = operands
    low, high = constants(x.dtype, attrs["min"], attrs["max"])
    return scalar.call("min", scalar.call("max", x, low), high)


def _clip_vjp(x: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> Tensor:
    low, high = attrs["min"], attrs["max"]
    if attrs["inclusive"]:
        outside = ops.logical_or(x < low, x > high)
    else:
        outside = ops.logical_or(x <= low, x >= high)
    return where(outside, 0.0, g)


unary(
    "clip", lambda x, min, max, inclusive: np.minimum(np.maximum(x, x.dtype.type(min)), x.dtype.type(max)), _clip_vjp,
    code=_clip_code,
    infer=_whole_bounds, attrs=_bounds("min", "max"), ulp=0, linear=True,
    samples=points(attrs=({"min": -1.0, "max": 2.0}, {"min": -1.0, "max": 1.0, "inclusive": False})),
    summary="x moved into [min, max]; NaN stays. The cotangent passes at the bounds themselves if inclusive.",
    formula="min(max(x, lower), upper)", source="torch.clamp (inclusive), fluid.layers.clip (not inclusive)",
)  # fmt: skip


def clip(x: Tensor, min: float, max: float, *, inclusive: bool = True) -> Tensor:
    """x moved into [min, max]; `inclusive` says whether the gradient passes at the bounds."""
    return apply("clip", (x,), {"min": min, "max": max, "inclusive": inclusive})[0]


def _clamp_code(fn: str, bound: str) -> Callable[[Sequence[Expr], Attrs], Expr]:
    return lambda e, a: scalar.call(fn, e[0], *constants(e[0].dtype, a[bound]))


unary(
    "clamp_min", lambda x, min, inclusive: np.maximum(x, x.dtype.type(min)),
    lambda x, out, g, a: where(x < a["min"] if a["inclusive"] else x <= a["min"], 0.0, g),
    code=_clamp_code("max", "min"),
    infer=_whole_bounds, attrs=_bounds("min"), ulp=0, linear=True,
    samples=points(attrs=({"min": 0.0}, {"min": -1.0, "inclusive": False})),
    summary="x, but at least min; NaN stays. The cotangent passes at min itself if inclusive.",
    formula="max(x, lower)", source="torch.clamp_min",
)  # fmt: skip
unary(
    "clamp_max", lambda x, max, inclusive: np.minimum(x, x.dtype.type(max)),
    lambda x, out, g, a: where(x > a["max"] if a["inclusive"] else x >= a["max"], 0.0, g),
    code=_clamp_code("min", "max"),
    infer=_whole_bounds, attrs=_bounds("max"), ulp=0, linear=True,
    samples=points(attrs=({"max": 0.0}, {"max": 1.0, "inclusive": False})),
    summary="x, but at most max; NaN stays. The cotangent passes at max itself if inclusive.",
    formula="min(x, upper)", source="torch.clamp_max",
)  # fmt: skip


def clamp_min(x: Tensor, min: float, *, inclusive: bool = True) -> Tensor:
    """max(x, min); unlike relu it passes the gradient at x = min, unless `inclusive` is False."""
    return apply("clamp_min", (x,), {"min": min, "inclusive": inclusive})[0]


def clamp_max(x: Tensor, max: float, *, inclusive: bool = True) -> Tensor:
    """min(x, max); passes the gradient at x = max, unless `inclusive` is False."""
    return apply("clamp_max", (x,), {"max": max, "inclusive": inclusive})[0]
