"""Ops that are spelling only: expanded before any rule looks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphloss.errors import AttrError
from graphloss.ir.dims import Equations
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Types
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import points, unary

__all__ = ["scale"]


def _scale_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    rules.expect(types[0], "number")
    for name in ("scale", "bias"):
        if not types[0].dtype.startswith("float") and not float(attrs[name]).is_integer():
            raise AttrError(
                f"{name} would be truncated", f"a whole number, since the operand is {types[0].dtype}", attrs[name]
            )
    return (types[0],)


def _scale(x: Array, scale: float, bias: float, bias_after_scale: bool) -> Array:
    s, b = x.dtype.type(scale), x.dtype.type(bias)
    result: Array = x * s + b if bias_after_scale else (x + b) * s
    return result


def _scale_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    x, s, b = operands[0], attrs["scale"], attrs["bias"]
    if attrs["bias_after_scale"]:
        x = x * s if s != 1 else x
        return (x + b if b != 0 else apply("assign", (x,), {})[0],)
    x = x + b if b != 0 else x
    return (x * s if s != 1 else apply("assign", (x,), {})[0],)


_SAMPLES: tuple[Attrs, ...] = ({}, {"scale": 2.0, "bias": -1.0}, {"scale": 0.5, "bias": 3, "bias_after_scale": False})

unary(
    "scale", _scale, lambda x, out, g, a: g * a["scale"], infer=_scale_infer, expand=_scale_expand, early=True,
    linear=True,
    attrs=(
        AttrSpec("scale", "number", 1.0), AttrSpec("bias", "number", 0.0), AttrSpec("bias_after_scale", "bool", True),
    ),
    samples=points(edges=(0.0, 1e4, -math.inf, math.nan), attrs=_SAMPLES),
    summary="A linear function with constant coefficients.", formula="scale x + bias, or scale (x + bias)",
)  # fmt: skip


def scale(x: Tensor, scale: float = 1.0, bias: float = 0.0, bias_after_scale: bool = True) -> Tensor:
    """scale·x + bias, or scale·(x + bias)."""
    return apply("scale", (x,), {"scale": scale, "bias": bias, "bias_after_scale": bias_after_scale})[0]
