"""Cotangents by the logarithm of a value: the derivative of a logarithm, before it is divided by the value.

Where x = e^s has lost its digits or is 0, ∂L/∂x = c/x is large or infinite, and its product with ∂x/∂s = x has no digit
left, or is 0·inf. But c = x·∂L/∂x = ∂L/∂ln x is known, and so is ∂L/∂s in terms of it. A rule that divides says what it
divides (`START`), what only moves, chooses or multiplies elements hands it on (`CARRY`, `CHOICES`), and the derivative
of an exponential takes it in place of the quotient (`TAKE`). Everything else sees the quotient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, reduce
from typing import Final, TypeAlias

from graphloss import ops
from graphloss.ir.opdef import Attrs, OpDef
from graphloss.ir.tensor import Tensor
from graphloss.ir.types import TensorType

Parts: TypeAlias = Sequence[Tensor | None]
# (operands, result, what arrives by the result or by its logarithm, attributes) -> what goes to one operand
Rule: TypeAlias = Callable[[Sequence[Tensor], Tensor, Tensor, Attrs], Tensor]

# A value behind more ops than these has the quotient only: chains of any length are built without recursion.
_DEPTH: Final = 50


class Relative(Tensor):
    """The cotangent of `of`: its plain `value`, and the product of it and `of`, built when something takes it."""

    __slots__ = ("_build", "_numerator", "depth", "of", "value")

    def __init__(self, value: Tensor, of: Tensor, build: Callable[[], Tensor], depth: int = 0) -> None:
        self.value = value
        self.of = of
        self.depth = depth
        self._build = build
        self._numerator: Tensor | None = None

    @property
    def type(self) -> TensorType:
        return self.value.type

    def numerator(self) -> Tensor:
        if self._numerator is None:
            self._numerator = self._build()
        return self._numerator


def _softmax(x: Sequence[Tensor], out: Tensor, c: Tensor, a: Attrs) -> Tensor:
    return c - out * ops.reduce_sum(c, a["axis"], True)


def _power(x: Sequence[Tensor], out: Tensor, g: Tensor, a: Attrs) -> Tensor:
    # the power may overflow where what follows is saturated: 0·inf
    return ops.where(g == 0.0, 0.0, g * x[1] * out)


# For each operand, from the cotangent of the result to that by the logarithm of the operand; None where nothing is
# divided by it.
START: Final[Mapping[str, tuple[Rule | None, ...]]] = {
    "log": (lambda x, out, g, a: g,),
    "clamped_log": (lambda x, out, g, a: g,),
    "xlogy": (None, lambda x, out, g, a: g * x[0]),
    "div": (None, lambda x, out, g, a: -(g * out)),
    "pow": (_power, None),
    "sqrt": (lambda x, out, g, a: 0.5 * (g * out),),
}

# For each operand, from the cotangent by the logarithm of the result to that by the logarithm of the operand.
CARRY: Final[Mapping[str, tuple[Rule | None, ...]]] = {
    "neg": (lambda x, out, c, a: c,),
    "mul": (lambda x, out, c, a: c, lambda x, out, c, a: c),
    "div": (lambda x, out, c, a: c, lambda x, out, c, a: -c),
    "pow": (lambda x, out, c, a: c * x[1], None),
    "sqrt": (lambda x, out, c, a: 0.5 * c,),
    "square": (lambda x, out, c, a: 2.0 * c,),
}

# Each element of the result is an element of an operand, or a constant: the op's own rule is that by logarithms too.
CHOICES: Final = frozenset(
    {"assign", "broadcast_to", "cast", "check_range", "reshape", "squeeze", "transpose", "unsqueeze"}
    | {"concat", "gather", "pick", "place", "slice"}
    | {"clamp_max", "clamp_min", "clip", "maximum", "minimum", "reduce_max", "reduce_min", "where"}
)

# From the cotangent by the logarithm of the result to that of the operand.
TAKE: Final[Mapping[str, Rule]] = {
    "exp": lambda x, out, c, a: c,
    "sigmoid": lambda x, out, c, a: c * ops.sigmoid(-x[0]),
    "softmax": _softmax,
}


def pull(op: OpDef, operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Parts, attrs: Attrs) -> Parts:
    """The cotangents of the operands of an op that has a derivative, by its own rule and by those here."""
    assert op.vjp is not None
    given = g[0]
    if isinstance(given, Relative) and op.name in TAKE:
        return (TAKE[op.name](operands, outputs[0], given.numerator(), attrs),)
    values = [None if x is None else quotient(x) for x in g]
    found = op.vjp(operands, outputs, values, attrs)
    if len(outputs) > 1 or given is None:
        return found
    by_log = _by_log(op, operands, outputs, given, attrs)
    depth = given.depth + 1 if isinstance(given, Relative) else 0
    return [
        value if value is None or build is None or depth > _DEPTH else Relative(value, x, build, depth)
        for value, x, build in zip(found, operands, by_log, strict=True)
    ]


def _by_log(
    op: OpDef, operands: Sequence[Tensor], outputs: Sequence[Tensor], given: Tensor, attrs: Attrs
) -> Sequence[Callable[[], Tensor] | None]:
    """For each operand what makes the cotangent by its logarithm, if there is a rule."""
    none = (None,) * len(operands)
    if isinstance(given, Relative) and op.name in CHOICES:
        return [partial(_chosen, op, operands, outputs, given, attrs, i) for i in range(len(operands))]
    carried = isinstance(given, Relative) and op.name in CARRY
    rules = CARRY[op.name] if carried else START.get(op.name, none)

    def built(rule: Rule, x: Tensor) -> Tensor:
        arriving = given.numerator() if carried and isinstance(given, Relative) else quotient(given)
        return ops.unbroadcast(rule(operands, outputs[0], arriving, attrs), x)

    return [None if r is None else partial(built, r, x) for r, x in zip(rules, operands, strict=True)]


def _chosen(
    op: OpDef, operands: Sequence[Tensor], outputs: Sequence[Tensor], given: Relative, attrs: Attrs, i: int
) -> Tensor:
    assert op.vjp is not None
    found = op.vjp(operands, outputs, (given.numerator(),), attrs)[i]
    assert found is not None
    return found


def quotient(g: Tensor) -> Tensor:
    """A cotangent, divided."""
    return g.value if isinstance(g, Relative) else g


def total(parts: Sequence[Tensor]) -> Tensor:
    """The sum of cotangents of one value; if only some are by its logarithm, the others are multiplied by it."""
    if len(parts) == 1:
        return parts[0]
    value = reduce(ops.add, map(quotient, parts))  # where the predicates differ, the mode selects both first
    known = [x for x in parts if isinstance(x, Relative)]
    depth = 1 + max((x.depth for x in known), default=_DEPTH)
    if depth > _DEPTH:
        return value
    of = known[0].of
    return Relative(
        value, of, lambda: reduce(ops.add, (x.numerator() if isinstance(x, Relative) else x * of for x in parts)), depth
    )
