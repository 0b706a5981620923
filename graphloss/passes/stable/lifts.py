"""The scaled forms of exponentials and their relatives, of products, of choices, and of ops that move elements."""

from __future__ import annotations

import math
from collections.abc import Callable

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.ir.graph import Op
from graphloss.ir.tensor import apply
from graphloss.passes.stable.scaled import Lifter, Parts, Scaled, add_shift, handles, mul_factor, number, sub_shift
from graphloss.passes.stable.terms import as_value, half, is_nonpositive

# Sources
# ---------------------------------------------------------------------------------------------------------------


@handles("exp")
def _exp(lift: Lifter, op: Op) -> Scaled:
    x = lift.graph.value(op.inputs[0])
    return Scaled(1.0, True, is_nonpositive(lift.graph, x.name), 1, lambda: (None, x))


@handles("softmax")
def _softmax(lift: Lifter, op: Op) -> Scaled:
    x = lift.graph.value(op.inputs[0])
    return Scaled(1.0, True, True, 1, lambda: (None, as_value(apply("log_softmax", (x,), op.attr)[0])))


@handles("sigmoid")
def _sigmoid(lift: Lifter, op: Op) -> Scaled:
    x = lift.graph.value(op.inputs[0])
    return Scaled(1.0, True, True, 1, lambda: (None, as_value(-ops.softplus(-x))))


@handles("cosh")
def _cosh(lift: Lifter, op: Op) -> Scaled:
    x = lift.graph.value(op.inputs[0])
    return Scaled(1.0, True, False, 1, lambda: (None, as_value(ops.log_cosh(x))))


@handles("expm1")
def _expm1(lift: Lifter, op: Op) -> Scaled | None:
    """e^x - 1 = -e^log(1 - e^x) for x <= 0, else (e^x + 1)·tanh(x/2)."""
    x = lift.graph.value(op.inputs[0])
    if is_nonpositive(lift.graph, x.name):
        return Scaled(-1.0, True, True, 1, lambda: (None, as_value(ops.log1mexp(x))))

    def make() -> Parts:
        return lift.opaque(ops.tanh(half(lift.graph, x))), as_value(ops.softplus(x))

    return Scaled(1.0, False, False, 1, make, carried=True, alone=True)


# Products
# --------------------------------------------------------------------------------------------------------------


@handles("mul")
def _mul(lift: Lifter, op: Op) -> Scaled | None:
    a, b = (lift.factor(n) for n in op.inputs)
    if not (a.lifted or b.lifted):
        return None

    def make() -> Parts:
        return mul_factor(a.v, b.v), add_shift(a.s, b.s)

    calm = a.is_calm and b.is_calm
    return Scaled(a.coef * b.coef, a.pure and b.pure, a.bounded and b.bounded, max(a.depth, b.depth) + 1, make,
        calm=calm)


@handles("div")
def _div(lift: Lifter, op: Op) -> Scaled | None:
    a, b = (lift.factor(n) for n in op.inputs)
    if not (a.lifted or b.lifted):
        return None

    def make() -> Parts:
        sa, sb = a.s, b.s
        if sa is not None and sb is not None and sa.name == sb.name and (a.carried or b.carried):
            sa = sb = None
        v = a.v if b.v is None else as_value(1.0 / b.v) if a.v is None else as_value(a.v / b.v)
        return v, sub_shift(sa, sb)

    bounded = a.bounded and not b.lifted and b.pure
    calm = a.is_calm and not b.lifted
    return Scaled(a.coef / b.coef, a.pure and b.pure, bounded, max(a.depth, b.depth) + 1, make, calm=calm)


@handles("neg")
def _neg(lift: Lifter, op: Op) -> Scaled | None:
    a = lift.of(op.inputs[0])
    return None if a is None else Scaled(-a.coef, a.pure, a.bounded, a.depth + 1, a.parts, carried=a.carried,
        calm=a.calm, alone=a.alone)


@handles("reciprocal")
def _reciprocal(lift: Lifter, op: Op) -> Scaled | None:
    a = lift.of(op.inputs[0])
    if a is None:
        return None

    def make() -> Parts:
        return None if a.v is None else as_value(1.0 / a.v), sub_shift(None, a.s)

    return Scaled(1 / a.coef, a.pure, False, a.depth + 1, make)


def exponent(lift: Lifter, op: Op) -> float | None:
    """k where the op raises its first operand to the constant power k."""
    if op.type == "pow":
        k = lift.graph.number_of(op.inputs[1])
        return None if k is None or not math.isfinite(k) else float(k)
    return {"sqrt": 0.5, "rsqrt": -0.5, "square": 2.0}[op.type]


@handles("sqrt", "rsqrt", "square", "pow")
def _power(lift: Lifter, op: Op) -> Scaled | None:
    a, k = lift.of(op.inputs[0]), exponent(lift, op)
    if a is None or k is None or k == 0 or not a.positive:
        return None

    def make() -> Parts:
        return None, None if a.s is None else as_value(k * a.s)

    return Scaled(a.coef**k, True, a.bounded and k > 0, a.depth + 1, make)


# Choices and moves
# -----------------------------------------------------------------------------------------------------


@handles("where")
def _where(lift: Lifter, op: Op) -> Scaled | None:
    condition = lift.graph.value(op.inputs[0])
    dtype = lift.graph.type_of(op.outputs[0]).dtype
    sides = []
    for name in op.inputs[1:]:
        known = lift.graph.number_of(name)
        if known == 0:
            zero = number_shift(-math.inf, dtype)
            sides.append(Scaled(1.0, True, True, 0, zero, lifted=False))
        else:
            sides.append(lift.factor(name))
    a, b = sides
    if not (a.lifted or b.lifted) or not (a.positive and b.positive):
        return None

    def make() -> Parts:
        return None, as_value(ops.where(condition, a.log(dtype), b.log(dtype)))

    bounded = a.bounded and b.bounded and max(a.coef, b.coef) <= 1
    return Scaled(1.0, True, bounded, max(a.depth, b.depth) + 1, make)


def number_shift(x: float, dtype: str) -> Callable[[], Parts]:
    return lambda: (None, number(x, dtype))


@handles(
    "pick", "gather", "reshape", "transpose", "squeeze", "unsqueeze", "broadcast_to", "slice", "cast", "assign",
    "detach",
    "reduce_max", "reduce_min",
)  # fmt: skip
def _moved(lift: Lifter, op: Op) -> Scaled | None:
    a = lift.of(op.inputs[0])
    out = lift.graph.type_of(op.outputs[0])
    if a is None or not out.dtype.startswith("float"):
        return None
    if op.type.startswith("reduce") and not a.positive:
        return None  # the order is that of the shifts for a positive value only
    shape = lift.graph.type_of(op.inputs[0]).shape
    rest = tuple(lift.graph.value(n) for n in op.inputs[1:])

    def move(part: Value | None) -> Value | None:
        if part is None:
            return None
        return as_value(apply(op.type, (ops.broadcast_to(part, shape), *rest), op.attr)[0])

    def make() -> Parts:
        return move(a.v), move(a.s)

    return Scaled(a.coef, a.pure, a.bounded, a.depth + 1, make, carried=a.carried, calm=a.calm)


@handles("concat")
def _concat(lift: Lifter, op: Op) -> Scaled | None:
    given = [lift.of(n) for n in op.inputs]
    parts = [p for p in given if p is not None and p.positive]
    if len(parts) < len(given):
        return None
    shapes = [lift.graph.type_of(n) for n in op.inputs]

    def make() -> Parts:
        shifts = [ops.broadcast_to(p.log(t.dtype), t.shape) for p, t in zip(parts, shapes, strict=True)]
        return None, as_value(apply("concat", shifts, op.attr)[0])

    bounded = all(p.bounded and p.coef <= 1 for p in parts)
    return Scaled(1.0, True, bounded, max(p.depth for p in parts) + 1, make)


@handles("reduce_prod")
def _product(lift: Lifter, op: Op) -> Scaled | None:
    a = lift.of(op.inputs[0])
    if a is None or not a.pure or a.coef != 1:
        return None
    shape = lift.graph.type_of(op.inputs[0]).shape

    def make() -> Parts:
        return None, None if a.s is None else as_value(apply("reduce_sum", (ops.broadcast_to(a.s, shape),), op.attr)[0])

    return Scaled(1.0, True, a.bounded, a.depth + 1, make)
