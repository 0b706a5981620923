"""Arithmetic of two operands, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphloss import dtypes, ops
from graphloss.ir import scalar
from graphloss.ir.dims import Equations
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Types
from graphloss.ir.scalar import Expr
from graphloss.ir.tensor import Operand, Tensor, apply, unify
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import Binary, BinaryVjp, binary, function, pairs, zeros

__all__ = ["add", "div", "floordiv", "maximum", "minimum", "mod", "mul", "pow", "sub"]

# Which operand gets the cotangent where both are equal.
TIES = ("half", "first", "second")

add: Binary = binary(
    "add", np.add, lambda x, y, out, g, a: (g, g), linear=True, ulp=1,
    summary="Sum, with broadcasting.", formula="x + y",
)  # fmt: skip

sub: Binary = binary(
    "sub", np.subtract, lambda x, y, out, g, a: (g, -g), linear=True, ulp=1,
    summary="Difference, with broadcasting.", formula="x - y",
)  # fmt: skip

mul: Binary = binary(
    "mul", np.multiply, lambda x, y, out, g, a: (g * y, g * x), ulp=1,
    summary="Product, with broadcasting.", formula="x * y",
)  # fmt: skip


def _quotient(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (t,) = rules.pointwise()(types, attrs, equations)
    return (t if dtypes.is_float(t.dtype) else t.with_dtype("float64"),)


def _quotient_code(operands: Sequence[Expr], attrs: Attrs) -> Expr:
    return scalar.call("div", *(e if dtypes.is_float(e.dtype) else scalar.cast(e, "float64") for e in operands))


def _quotient_reference(x: Array, y: Array) -> Array:
    dtype = x.dtype if x.dtype.kind == "f" else np.float64
    out: Array = np.true_divide(x.astype(dtype), y.astype(dtype))
    return out


div: Binary = binary(
    "div", _quotient_reference, lambda x, y, out, g, a: (g / y, -(g * out / y)), infer=_quotient, code=_quotient_code,
    ulp=1,
    summary="Quotient, with broadcasting; of integers in float64.", formula="x / y",
)  # fmt: skip

floordiv: Binary = binary(
    "floordiv", np.floor_divide, zeros,
    samples=pairs(5.2, 5.8, second=(2.05, 2.45), edges=(1.0, -1.0, 1e4, -1e4, 2.5, np.nan)),  # no jump between
    summary="The largest whole number not above the quotient.", formula="floor(x / y)", source="numpy.floor_divide",
)  # fmt: skip

mod: Binary = binary(
    "mod", np.mod, lambda x, y, out, g, a: (g, -(g * ops.floordiv(x, y))),
    samples=pairs(5.2, 5.8, second=(2.05, 2.45), edges=(1.0, -1.0, 1e4, -1e4, 2.5, np.nan)),  # no jump between
    summary="The remainder that has the sign of the divisor.", formula="x - floor(x / y) * y", source="numpy.mod",
)  # fmt: skip


def _pow_vjp(x: Tensor, y: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> tuple[Tensor, Tensor]:
    gx = ops.where(y == 0.0, 0.0, g * y * ops.pow(x, y - 1.0))
    # 0 ** y is constant in y from y = 0 on, though log(0) is not finite
    gy = ops.where(ops.logical_and(x == 0.0, y >= 0.0), 0.0, g * out * ops.log(x))
    return gx, gy


pow: Binary = binary(
    "pow", np.power, _pow_vjp, kind="float", samples=pairs(0.1, 3.0), ulp=16,
    summary="Power; the derivative by x is 0 where y is 0, the derivative by y is 0 where x is 0 and y >= 0.",
    formula="x ** y",
)  # fmt: skip


TIE = (AttrSpec("tie", "str", "half"),)


def _check_tie(attrs: Attrs) -> None:
    rules.one_of(attrs["tie"], TIES, "tie")


def _split(better: Callable[[Operand, Operand], Tensor]) -> BinaryVjp:
    """The cotangents of an extreme value: to the better operand; at a tie as the attribute says."""

    def vjp(x: Tensor, y: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> tuple[Tensor, Tensor]:
        if attrs["tie"] == "first":
            lost = better(y, x)
            return ops.where(lost, 0.0, g), ops.where(lost, g, 0.0)
        if attrs["tie"] == "second":
            won = better(x, y)
            return ops.where(won, g, 0.0), ops.where(won, 0.0, g)
        tied, half = ops.equal(x, y), 0.5 * g
        gx = ops.where(tied, half, ops.where(better(y, x), 0.0, g))
        return gx, ops.where(tied, half, ops.where(better(x, y), 0.0, g))

    return vjp


for _name, _fn, _scalar, _better in (
    ("maximum", np.maximum, "max", lambda x, y: ops.greater(x, y)),
    ("minimum", np.minimum, "min", lambda x, y: ops.less(x, y)),
):
    binary(
        _name, lambda x, y, tie, fn=_fn: fn(x, y), _split(_better), infer=rules.checked(rules.pointwise(), _check_tie),
        attrs=TIE,
        code=function(_scalar), ulp=0, samples=pairs(attrs=({}, {"tie": "first"}, {"tie": "second"})),
        summary=f"The {_name} of two operands; NaN wins. At a tie the gradient goes to both, the first or the second.",
        formula=f"{_scalar}(x, y)", source=f"numpy.{_name}; gradient as torch.{_name} with tie='half'",
    )  # fmt: skip


def maximum(x: Operand, y: Operand, *, tie: str = "half") -> Tensor:
    """The larger of two; NaN wins. `tie` ("half", "first", "second") says where the gradient goes at a tie."""
    return apply("maximum", unify("maximum", x, y), {"tie": tie})[0]


def minimum(x: Operand, y: Operand, *, tie: str = "half") -> Tensor:
    """The smaller of two; NaN wins. `tie` ("half", "first", "second") says where the gradient goes at a tie."""
    return apply("minimum", unify("minimum", x, y), {"tie": tie})[0]
