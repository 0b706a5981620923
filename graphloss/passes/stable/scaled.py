"""The scaled form of a value, c·v·e^s: what is known of it without building anything, and v and s when they are wanted.

exp, softmax, sigmoid and cosh are e^s by themselves; products add shifts, quotients subtract them, a sum is e^logsumexp(s), and
ops that move elements move v and s. A value that is none of this has no scaled form.

Where a sum has weights of unknown sign, the shift is the maximum m of s, a choice of representation: v = Σ w·e^(s-m). It is built
on a detached m, so it is never differentiated, and the derivative is exact for any m.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.ir.graph import Op
from graphloss.ir.tensor import Tensor, apply
from graphloss.passes.stable.terms import as_value, half, is_nonpositive, opposite
from graphloss.rewrite.rule import Surroundings

# A scaled form of more nested ops than this is not looked for.
MAX_DEPTH: Final = 24
# e^x is far from overflow below these.
_LARGE: Final = {"float32": 80.0, "float64": 700.0}

_Parts = tuple["Value | None", "Value | None"]


@dataclass(eq=False)
class Scaled:
    """coef · v · e^s.

    `pure`: there is no v, so the sign is that of coef. `bounded`: |value| <= |coef|, so it cannot overflow.
    `calm`: e^s cannot overflow, whatever v is (None: as `bounded`); a product of calm values needs no shift.
    `carried`: v is NaN wherever s is, so that s may cancel against an equal shift.
    `calm`: the value is as accurate by itself; its form only helps against another shift.
    `lifted` is False for plain operands (a number, a count, data) of an op that has a scaled form.
    """

    coef: float
    pure: bool
    bounded: bool
    depth: int
    make: Callable[[], _Parts]
    lifted: bool = True
    carried: bool = False
    calm: bool | None = None
    _made: _Parts | None = None

    @property
    def is_calm(self) -> bool:
        return self.bounded if self.calm is None else self.calm

    @property
    def positive(self) -> bool:
        return self.pure and self.coef > 0

    def parts(self) -> _Parts:
        """(v, s); None stands for 1 and for 0."""
        if self._made is None:
            self._made = self.make()
        return self._made

    @property
    def v(self) -> Value | None:
        return self.parts()[0]

    @property
    def s(self) -> Value | None:
        return self.parts()[1]

    def log(self, dtype: str) -> Value:
        """s + log coef of a positive value."""
        assert self.positive
        s = self.s
        if s is None:
            return number(math.log(self.coef), dtype)
        return s if self.coef == 1 else as_value(s + math.log(self.coef))


def number(x: float, dtype: str) -> Value:
    return as_value(apply("fill", (), {"shape": (), "dtype": dtype, "value": float(x)})[0])


def add_shift(a: Value | None, b: Value | None) -> Value | None:
    return b if a is None else a if b is None else as_value(a + b)


def sub_shift(a: Value | None, b: Value | None) -> Value | None:
    return a if b is None else as_value(-b) if a is None else as_value(a - b)


def mul_factor(a: Value | None, b: Value | None) -> Value | None:
    return b if a is None else a if b is None else as_value(a * b)


class Lifter:
    """The scaled forms of the values of one graph under reconstruction."""

    def __init__(self, graph: Surroundings) -> None:
        self.graph = graph
        self._known: dict[str, Scaled | None] = {}

    def of(self, name: str) -> Scaled | None:
        """The scaled form of a value, operands first and without recursion; None if it has none."""
        stack = [name]
        while stack:
            top = stack[-1]
            if top in self._known:
                stack.pop()
                continue
            op = self.graph.op_of(top)
            handler = None if op is None else _HANDLERS.get(op.type)
            if op is None or handler is None:
                self._known[stack.pop()] = None
                continue
            missing = [n for n in op.inputs if n not in self._known]
            if missing:
                stack.extend(missing)
                continue
            found = handler(self, op)
            self._known[stack.pop()] = None if found is None or found.depth > MAX_DEPTH else found
        return self._known[name]

    def factor(self, name: str) -> Scaled:
        """The scaled form, or what stands for a plain operand: a number, a count, or data as v."""
        found = self.of(name)
        if found is not None:
            return found
        value = self.graph.value(name)
        known = self.graph.number_of(name)
        if known is not None and known != 0 and math.isfinite(known):
            return Scaled(float(known), True, True, 0, lambda: (None, None), lifted=False)
        count = self._count(name)
        if count is not None:
            return Scaled(1.0, True, False, 0, lambda: (None, as_value(ops.log(count))), lifted=False, calm=True)
        return Scaled(1.0, False, False, 0, lambda: (value, None), lifted=False, calm=True)

    def opaque(self, value: Tensor) -> Value:
        """A value built for a scaled form: it is not taken apart again."""
        v = as_value(value)
        self._known[v.name] = None
        return v

    def _count(self, name: str) -> Value | None:
        """A number of elements, which is positive."""
        op = self.graph.op_of(name)
        return self.graph.value(name) if op is not None and op.type == "size" else None


def lifter(graph: Surroundings) -> Lifter:
    found = graph.notes.get(Lifter)
    if not isinstance(found, Lifter):
        found = graph.notes[Lifter] = Lifter(graph)
    return found


_Handler = Callable[[Lifter, Op], "Scaled | None"]
_HANDLERS: dict[str, _Handler] = {}


def _handles(*types: str) -> Callable[[_Handler], _Handler]:
    def enter(handler: _Handler) -> _Handler:
        _HANDLERS.update((t, handler) for t in types)
        return handler

    return enter


# Sources ---------------------------------------------------------------------------------------------------------------


@_handles("exp")
def _exp(lift: Lifter, op: Op) -> Scaled:
    x = lift.graph.value(op.inputs[0])
    return Scaled(1.0, True, is_nonpositive(lift.graph, x.name), 1, lambda: (None, x))


@_handles("softmax")
def _softmax(lift: Lifter, op: Op) -> Scaled:
    x = lift.graph.value(op.inputs[0])
    return Scaled(1.0, True, True, 1, lambda: (None, as_value(apply("log_softmax", (x,), op.attr)[0])))


@_handles("sigmoid")
def _sigmoid(lift: Lifter, op: Op) -> Scaled:
    x = lift.graph.value(op.inputs[0])
    return Scaled(1.0, True, True, 1, lambda: (None, as_value(-ops.softplus(-x))))


@_handles("cosh")
def _cosh(lift: Lifter, op: Op) -> Scaled:
    x = lift.graph.value(op.inputs[0])
    return Scaled(1.0, True, False, 1, lambda: (None, as_value(ops.log_cosh(x))))


@_handles("expm1")
def _expm1(lift: Lifter, op: Op) -> Scaled | None:
    """e^x - 1 = -e^log(1 - e^x) for x <= 0, else (e^x + 1)·tanh(x/2)."""
    x = lift.graph.value(op.inputs[0])
    if is_nonpositive(lift.graph, x.name):
        return Scaled(-1.0, True, True, 1, lambda: (None, as_value(ops.log1mexp(x))))

    def make() -> _Parts:
        return lift.opaque(ops.tanh(half(lift.graph, x))), as_value(ops.softplus(x))

    return Scaled(1.0, False, False, 1, make, carried=True, calm=True)


# Products --------------------------------------------------------------------------------------------------------------


@_handles("mul")
def _mul(lift: Lifter, op: Op) -> Scaled | None:
    a, b = (lift.factor(n) for n in op.inputs)
    if not (a.lifted or b.lifted):
        return None

    def make() -> _Parts:
        return mul_factor(a.v, b.v), add_shift(a.s, b.s)

    calm = a.is_calm and b.is_calm
    return Scaled(a.coef * b.coef, a.pure and b.pure, a.bounded and b.bounded, max(a.depth, b.depth) + 1, make, calm=calm)


@_handles("div")
def _div(lift: Lifter, op: Op) -> Scaled | None:
    a, b = (lift.factor(n) for n in op.inputs)
    if not (a.lifted or b.lifted):
        return None

    def make() -> _Parts:
        sa, sb = a.s, b.s
        if sa is not None and sb is not None and sa.name == sb.name and (a.carried or b.carried):
            sa = sb = None
        v = a.v if b.v is None else as_value(1.0 / b.v) if a.v is None else as_value(a.v / b.v)
        return v, sub_shift(sa, sb)

    bounded = a.bounded and not b.lifted and b.pure
    calm = a.is_calm and not b.lifted
    return Scaled(a.coef / b.coef, a.pure and b.pure, bounded, max(a.depth, b.depth) + 1, make, calm=calm)


@_handles("neg")
def _neg(lift: Lifter, op: Op) -> Scaled | None:
    a = lift.of(op.inputs[0])
    return None if a is None else Scaled(-a.coef, a.pure, a.bounded, a.depth + 1, a.parts, carried=a.carried, calm=a.calm)


@_handles("reciprocal")
def _reciprocal(lift: Lifter, op: Op) -> Scaled | None:
    a = lift.of(op.inputs[0])
    if a is None:
        return None

    def make() -> _Parts:
        return None if a.v is None else as_value(1.0 / a.v), sub_shift(None, a.s)

    return Scaled(1 / a.coef, a.pure, False, a.depth + 1, make)


def exponent(lift: Lifter, op: Op) -> float | None:
    """k where the op raises its first operand to the constant power k."""
    if op.type == "pow":
        k = lift.graph.number_of(op.inputs[1])
        return None if k is None or not math.isfinite(k) else float(k)
    return {"sqrt": 0.5, "rsqrt": -0.5, "square": 2.0}[op.type]


@_handles("sqrt", "rsqrt", "square", "pow")
def _power(lift: Lifter, op: Op) -> Scaled | None:
    a, k = lift.of(op.inputs[0]), exponent(lift, op)
    if a is None or k is None or k == 0 or not a.positive:
        return None

    def make() -> _Parts:
        return None, None if a.s is None else as_value(k * a.s)

    return Scaled(a.coef**k, True, a.bounded and k > 0, a.depth + 1, make)


# Sums ------------------------------------------------------------------------------------------------------------------


@_handles("reduce_sum")
def _sum(lift: Lifter, op: Op) -> Scaled | None:
    a, x = lift.of(op.inputs[0]), lift.graph.type_of(op.inputs[0])
    if a is None or x.rank == 0:
        return None
    given = op.attr["axes"]
    axes = tuple(range(x.rank)) if given is None else tuple(int(i) % x.rank for i in given)  # type: ignore[union-attr,arg-type]
    keepdims = bool(op.attr["keepdims"])

    def make() -> _Parts:
        if a.s is None:
            return (None if a.v is None else as_value(ops.reduce_sum(full(a.v), axes, keepdims))), None
        s = full(a.s)
        if a.pure:
            return None, as_value(ops.logsumexp(s, axes, keepdims))
        assert a.v is not None
        v = full(a.v)
        m = finite_shift(ops.reduce_max(ops.where(v != 0.0, s, -math.inf), axes, True))
        total = lift.opaque(ops.reduce_sum(lift.opaque(v * shifted(lift, s, m)), axes, keepdims))
        return total, as_value(m if keepdims else ops.squeeze(m, axes))

    def full(part: Value) -> Value:
        return as_value(ops.broadcast_to(part, x.shape))

    if a.pure and a.s is None:
        return None
    return Scaled(a.coef, a.pure, False, a.depth + 1, make, carried=not a.pure, calm=a.is_calm)


def finite_shift(m: Tensor) -> Tensor:
    """A maximum as a shift: detached, and 0 where there was nothing to take a maximum of."""
    return ops.detach(ops.where(m == -math.inf, 0.0, m))


def shifted(lift: Lifter, s: Value, m: Tensor) -> Value:
    """e^(s-m), where what has weight 0 may lie above the shift: it must stay finite, for its weight to take it out."""
    return lift.opaque(ops.exp(ops.clamp_max(s - m, _LARGE[s.type.dtype])))


@_handles("add", "sub")
def _add(lift: Lifter, op: Op) -> Scaled | None:
    a, b = (lift.factor(n) for n in op.inputs)
    if not (a.lifted or b.lifted):
        return None
    sign = -1.0 if op.type == "sub" else 1.0
    depth, dtype = max(a.depth, b.depth) + 1, lift.graph.type_of(op.outputs[0]).dtype
    cb = sign * b.coef
    if a.pure and b.pure:
        low, other, one = (a, b, cb) if a.lifted else (b, a, a.coef)
        if not other.lifted and low.bounded:
            return _complement(lift, low, one, a.coef if low is a else cb, depth, dtype)
        if a.coef > 0 < cb:
            common = a.coef if a.coef == cb else 1.0
            return Scaled(common, True, False, depth, lambda: (None, _log_of_sum(a, b, cb, common, dtype)), calm=a.is_calm and b.is_calm)
        if a.coef * cb < 0:
            return _difference(lift, a, b, cb, depth, dtype)
        return None
    if not (a.lifted and b.lifted):
        return None  # data beside an exponential: nothing to gain
    return Scaled(1.0, False, False, depth, lambda: _weighted(lift, a, b, sign, dtype), carried=True, calm=a.is_calm and b.is_calm)


def _log_of_sum(a: Scaled, b: Scaled, cb: float, common: float, dtype: str) -> Value:
    x, y = log_times(a, a.coef / common, dtype), log_times(b, cb / common, dtype)
    if y is None or x is None:
        return as_value(ops.softplus(x if y is None else y)) if not (x is y is None) else number(math.log(2), dtype)
    return as_value(ops.logaddexp(x, y))


def log_times(a: Scaled, coef: float, dtype: str) -> Value | None:
    """s + log coef; None for 0."""
    if a.s is None:
        return None if coef == 1 else number(math.log(coef), dtype)
    return a.s if coef == 1 else as_value(a.s + math.log(coef))


def _complement(lift: Lifter, a: Scaled, one: float, coef: float, depth: int, dtype: str) -> Scaled | None:
    """1 - p and p - 1, for a p that cannot exceed 1; p + eps has no scaled form, it cannot overflow."""
    if (one, coef) not in ((1.0, -1.0), (-1.0, 1.0)):
        return None

    def make() -> _Parts:
        return None, complement(a, dtype)

    return Scaled(one, True, True, depth, make)


def complement(a: Scaled, dtype: str) -> Value:
    """log(1 - e^s)."""
    assert a.s is not None
    return as_value(ops.log1mexp(a.s))


def _difference(lift: Lifter, a: Scaled, b: Scaled, cb: float, depth: int, dtype: str) -> Scaled:
    """e^x - e^y = (e^x + e^y)·tanh((x - y)/2)."""

    def make() -> _Parts:
        x, y = log_times(a, abs(a.coef), dtype), log_times(b, abs(cb), dtype)
        v = lift.opaque(ops.tanh(_half_difference(lift.graph, x, y)))
        if x is None or y is None:
            s = ops.softplus(x if y is None else y)  # type: ignore[arg-type]
        else:
            s = ops.logaddexp(x, y)
        return v, as_value(s)

    return Scaled(math.copysign(1.0, a.coef), False, False, depth, make, carried=True)


def _half_difference(graph: Surroundings, x: Value | None, y: Value | None) -> Value:
    if y is None:
        assert x is not None
        return half(graph, x)
    if x is None:
        return as_value(-half(graph, y))
    return x if opposite(graph, x.name, y.name) else half(graph, as_value(x - y))


def _weighted(lift: Lifter, a: Scaled, b: Scaled, sign: float, dtype: str) -> _Parts:
    """v·e^x + w·e^y, with the larger shift of those whose weight is not 0."""
    v, w = _weight(a, a.coef, dtype), _weight(b, sign * b.coef, dtype)
    x, y = (number(0, dtype) if t.s is None else t.s for t in (a, b))
    m = finite_shift(ops.maximum(ops.where(v != 0.0, x, -math.inf), ops.where(w != 0.0, y, -math.inf)))
    total = lift.opaque(v * shifted(lift, x, m)) + lift.opaque(w * shifted(lift, y, m))
    return lift.opaque(total), as_value(m)


def _weight(a: Scaled, coef: float, dtype: str) -> Value:
    if a.v is None:
        return number(coef, dtype)
    return a.v if coef == 1 else as_value(coef * a.v)


# Choices and moves -----------------------------------------------------------------------------------------------------


@_handles("where")
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

    def make() -> _Parts:
        return None, as_value(ops.where(condition, a.log(dtype), b.log(dtype)))

    bounded = a.bounded and b.bounded and max(a.coef, b.coef) <= 1
    return Scaled(1.0, True, bounded, max(a.depth, b.depth) + 1, make)


def number_shift(x: float, dtype: str) -> Callable[[], _Parts]:
    return lambda: (None, number(x, dtype))


@_handles(
    "pick", "gather", "reshape", "transpose", "squeeze", "unsqueeze", "broadcast_to", "slice", "cast", "assign", "detach",
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

    def make() -> _Parts:
        return move(a.v), move(a.s)

    return Scaled(a.coef, a.pure, a.bounded, a.depth + 1, make, carried=a.carried, calm=a.calm)


@_handles("concat")
def _concat(lift: Lifter, op: Op) -> Scaled | None:
    given = [lift.of(n) for n in op.inputs]
    parts = [p for p in given if p is not None and p.positive]
    if len(parts) < len(given):
        return None
    shapes = [lift.graph.type_of(n) for n in op.inputs]

    def make() -> _Parts:
        shifts = [ops.broadcast_to(p.log(t.dtype), t.shape) for p, t in zip(parts, shapes, strict=True)]
        return None, as_value(apply("concat", shifts, op.attr)[0])

    bounded = all(p.bounded and p.coef <= 1 for p in parts)
    return Scaled(1.0, True, bounded, max(p.depth for p in parts) + 1, make)


@_handles("reduce_prod")
def _product(lift: Lifter, op: Op) -> Scaled | None:
    a = lift.of(op.inputs[0])
    if a is None or not a.pure or a.coef != 1:
        return None
    shape = lift.graph.type_of(op.inputs[0]).shape

    def make() -> _Parts:
        return None, None if a.s is None else as_value(apply("reduce_sum", (ops.broadcast_to(a.s, shape),), op.attr)[0])

    return Scaled(1.0, True, a.bounded, a.depth + 1, make)
