"""Cancellation: differences from 1 of values close to 1, and their inverses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.passes.stable.scaled import lifter
from graphloss.passes.stable.terms import as_value, common_shape, half, operand, scaled_operand
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule

_X: Final = {"x": "f32[N, C]"}
_XY: Final = {"x": "f32[N, C]", "y": "f32[N, C]"}


def _one_minus(m: Match) -> tuple[float, Value] | None:
    """(sign, V) where the op is sign·(1 - V), in any spelling."""
    x, y = m.inputs
    if m.op.type == "sub":
        if m.graph.number_of(x.name) == 1:
            return 1.0, y
        return (-1.0, x) if m.graph.number_of(y.name) == 1 else None
    for a, b in ((x, y), (y, x)):
        if m.graph.number_of(a.name) == -1:
            return -1.0, b
    return None


def _signed(sign: float, x: Value) -> Value:
    return x if sign > 0 else as_value(-x)


def _complement(m: Match) -> Result:
    found = _one_minus(m)
    if found is None:
        return None
    sign, v = found
    a = lifter(m.graph).of(v.name)
    if a is None or not a.positive:
        return None
    inner = operand(m.graph, v.name, "sigmoid")
    if inner is not None:
        return _signed(sign, as_value(ops.sigmoid(-m.graph.value(inner.inputs[0]))))
    doubled = scaled_operand(m.graph, v.name)
    if doubled is not None and doubled[0] == 2:
        inner = operand(m.graph, doubled[1].name, "sigmoid")
        if inner is not None:  # 2σ(y) - 1 = tanh(y/2)
            return _signed(-sign, as_value(ops.tanh(half(m.graph, m.graph.value(inner.inputs[0])))))
    if a.s is None or (a.bounded and a.coef != 1):
        return None
    shift = ops.broadcast_to(a.log(v.type.dtype), v.type.shape)
    return _signed(-sign, as_value(ops.expm1(shift)))


def _blend(m: Match) -> Result:
    """1 - (y·p + (1 - y)·q) = y·(1 - p) + (1 - y)·(1 - q), for p and q that cannot exceed 1."""
    found = _one_minus(m)
    total = None if found is None else operand(m.graph, found[1].name, "add")
    if found is None or total is None:
        return None
    for first, second in (total.inputs, total.inputs[::-1]):
        left, right = operand(m.graph, first, "mul"), operand(m.graph, second, "mul")
        if left is None or right is None:
            return None
        for y, p in (left.inputs, left.inputs[::-1]):
            for rest, q in (right.inputs, right.inputs[::-1]):
                other = operand(m.graph, rest, "sub")
                if other is None or m.graph.number_of(other.inputs[0]) != 1 or other.inputs[1] != y:
                    continue
                if all((a := lifter(m.graph).of(n)) is not None and a.positive and a.bounded for n in (p, q)):
                    weight, against = m.graph.value(y), m.graph.value(rest)
                    rest_p, rest_q = 1.0 - m.graph.value(p), 1.0 - m.graph.value(q)
                    return _signed(found[0], as_value(weight * rest_p + against * rest_q))
    return None


def _tanh(m: Match) -> Result:
    """1 - tanh²(x), 1 - tanh(x), 1 + tanh(x); c ± c·tanh(x)."""
    found = _one_minus(m)
    if (halved := _shares(m)) is not None:
        c, sign, x = halved
        return (2.0 * c) * ops.sigmoid((2.0 * sign) * x)
    if found is None:
        x, y = m.inputs
        for a, b in ((x, y), (y, x)) if m.op.type == "add" else ():
            inner = operand(m.graph, b.name, "tanh")
            if m.graph.number_of(a.name) == 1 and inner is not None:
                return 2.0 * ops.sigmoid(2.0 * m.graph.value(inner.inputs[0]))
        return None
    sign, v = found
    inner = operand(m.graph, v.name, "tanh")
    if inner is not None:
        return _signed(sign, as_value(2.0 * ops.sigmoid(-2.0 * m.graph.value(inner.inputs[0]))))
    root = _square_root(m, v)
    inner = None if root is None else operand(m.graph, root, "tanh")
    if inner is None:
        return None
    x = m.graph.value(inner.inputs[0])
    return _signed(sign, as_value(4.0 * (ops.sigmoid(2.0 * x) * ops.sigmoid(-2.0 * x))))


def _shares(m: Match) -> tuple[float, float, Value] | None:
    """(c, sign, x) where the op is c + sign·c·tanh(x), for another c than 1."""
    x, y = m.inputs
    for a, b in ((x, y), (y, x)) if m.op.type == "add" else ((x, y),):
        c, part = m.graph.number_of(a.name), scaled_operand(m.graph, b.name)
        inner = None if part is None else operand(m.graph, part[1].name, "tanh")
        if c is None or part is None or inner is None or c == 0 or abs(part[0]) != abs(c):
            continue
        sign = 1.0 if (part[0] == c) == (m.op.type == "add") else -1.0
        return float(c), sign, m.graph.value(inner.inputs[0])
    return None


def _square_root(m: Match, v: Value) -> str | None:
    """x where the value is x²."""
    inner = operand(m.graph, v.name, "square", "mul", "pow")
    if inner is None:
        return None
    if inner.type == "pow":
        return inner.inputs[0] if m.graph.number_of(inner.inputs[1]) == 2 else None
    return inner.inputs[0] if inner.type == "square" or inner.inputs[0] == inner.inputs[1] else None


def _expm1(m: Match) -> Result:
    """e^x - 1 and 1 - e^x are in `_complement`; this is 1 + expm1(x) -> e^x, its inverse."""
    x, y = m.inputs
    pairs = ((x, y), (y, x)) if m.op.type == "add" else ((x, y),)
    for a, b in pairs:
        if m.graph.number_of(a.name) != 1:
            continue
        if m.op.type == "add":
            inner = operand(m.graph, b.name, "expm1")
        else:
            down = operand(m.graph, b.name, "neg")
            inner = None if down is None else operand(m.graph, down.inputs[0], "expm1")
        if inner is not None:
            return ops.exp(m.graph.value(inner.inputs[0]))
    return None


def _log1p(m: Match) -> Result:
    """log(1 + x), log(1 - x)."""
    inner = operand(m.graph, m.op.inputs[0], "add", "sub")
    if inner is None:
        return None
    x, y = (m.graph.value(n) for n in inner.inputs)
    if m.graph.number_of(x.name) == 1:
        return ops.log1p(y if inner.type == "add" else -y)
    if m.graph.number_of(y.name) == 1 and inner.type == "add":
        return ops.log1p(x)
    return None


def _sqrt1pm1(m: Match) -> Result:
    """√(1 + u) - 1."""
    found = _one_minus(m)
    root = None if found is None else operand(m.graph, found[1].name, "sqrt")
    inside = None if root is None else operand(m.graph, root.inputs[0], "add")
    if found is None or inside is None:
        return None
    for a, b in (inside.inputs, inside.inputs[::-1]):
        u = m.graph.value(b)
        if m.graph.number_of(a) == 1 and u.type == found[1].type:
            return _signed(-found[0], as_value(ops.sqrt1pm1(u)))
    return None


def _whole(rewrite: Callable[[Match], Result]) -> Callable[[Match], Result]:
    """In the op's own shape: a number of 1 may have been broadcast, and then it is the number that had all the axes."""

    def shaped(m: Match) -> Result:
        built = rewrite(m)
        assert not isinstance(built, tuple)
        return None if built is None else ops.broadcast_to(built, common_shape(*m.inputs))

    return shaped


RULES: Final = (
    Rule(
        name="one-minus-scaled", formula="1 - σ(x) -> σ(-x); 1 - e^s -> -expm1(s); 2σ(x) - 1 -> tanh(x/2)",
        why="the difference loses every digit that 1 - p shares with 1", numerics="more_accurate", roots=("sub", "add"),
        rewrite=_whole(_complement),
        fires=(
            Example(_X, lambda x: 1.0 - op.sigmoid(x), lambda x: op.sigmoid(-x)),
            Example(_X, lambda x: op.exp(x) - 1.0, lambda x: op.expm1(x)),
            Example(_X, lambda x: 1.0 - op.exp(x), lambda x: -op.expm1(x)),
            Example(_X, lambda x: 1.0 - op.softmax(x, axis=1), lambda x: -op.expm1(op.log_softmax(x, axis=1))),
            Example(_X, lambda x: 2.0 * op.sigmoid(2.0 * x) - 1.0, lambda x: op.tanh(x)),
        ),
        stays=(Example(_X, lambda x: 1.0 - x), Example(_X, lambda x: 2.0 - op.sigmoid(x)),
            Example(_XY, lambda x, y: op.exp(x) - y)),
    ),
    Rule(
        name="one-minus-blend", formula="1 - (y·p + (1 - y)·q) -> y·(1 - p) + (1 - y)·(1 - q), p and q probabilities",
        why="as one-minus-scaled, for the probability of the target", numerics="more_accurate", roots=("sub", "add"),
        rewrite=_whole(_blend),
        fires=(
            Example(
                _XY, lambda x, y: 1.0 - (y * op.sigmoid(x) + (1.0 - y) * op.sigmoid(-x)),
                lambda x, y: y * op.sigmoid(-x) + (1.0 - y) * op.sigmoid(x),
            ),
        ),
        stays=(Example(_XY, lambda x, y: 1.0 - (y * op.sigmoid(x) + (1.0 - x) * op.sigmoid(-x))),),
    ),
    Rule(
        name="one-minus-tanh",
        formula="1 - tanh²(x) -> 4·σ(2x)·σ(-2x); 1 ∓ tanh(x) -> 2·σ(∓2x); c ± c·tanh(x) -> 2c·σ(±2x)",
        why="as one-minus-scaled",
        numerics="more_accurate", roots=("sub", "add"), rewrite=_whole(_tanh),
        fires=(
            Example(
                _X, lambda x: 1.0 - op.square(op.tanh(x)), lambda x: 4.0 * (op.sigmoid(2.0 * x) * op.sigmoid(-2.0 * x)),
            ),
            Example(_X, lambda x: 1.0 - op.tanh(x), lambda x: 2.0 * op.sigmoid(-2.0 * x)),
            Example(_X, lambda x: 1.0 + op.tanh(x), lambda x: 2.0 * op.sigmoid(2.0 * x)),
            Example(_X, lambda x: 0.5 + 0.5 * op.tanh(x), lambda x: op.sigmoid(2.0 * x)),
            Example(_X, lambda x: 0.5 - 0.5 * op.tanh(x), lambda x: op.sigmoid(-2.0 * x)),
            Example(_X, lambda x: -3.0 * op.tanh(x) + 3.0, lambda x: 6.0 * op.sigmoid(-2.0 * x)),
        ),
        stays=(
            Example(_X, lambda x: 2.0 - op.tanh(x)), Example(_X, lambda x: 0.5 + 0.25 * op.tanh(x)),
            Example(_XY, lambda x, y: 1.0 - op.tanh(x) * op.tanh(y)),
        ),
    ),
    Rule(
        name="root-minus-one", formula="√(1 + u) - 1 -> sqrt1pm1(u)", why="as one-minus-scaled",
        numerics="more_accurate",
        roots=("sub", "add"), rewrite=_whole(_sqrt1pm1),
        fires=(Example(_X, lambda x: op.sqrt(1.0 + op.square(x)) - 1.0, lambda x: op.sqrt1pm1(op.square(x))),),
        stays=(Example(_X, lambda x: op.sqrt(2.0 + op.square(x)) - 1.0),),
    ),
    Rule(
        name="one-plus-expm1", formula="1 + expm1(x) -> e^x", why="one operation fewer", numerics="more_accurate",
        roots=("add", "sub"),
        rewrite=_whole(_expm1),
        fires=(Example(_X, lambda x: 1.0 + op.expm1(x), lambda x: op.exp(x)),),
        stays=(Example(_X, lambda x: 2.0 + op.expm1(x)),),
    ),
    Rule(
        name="log-of-one-plus", formula="log(1 + x) -> log1p(x)", why="1 + x loses the digits of a small x",
        numerics="more_accurate",
        roots=("log",), rewrite=_log1p,
        fires=(
            Example(_X, lambda x: op.log(1.0 + x), lambda x: op.log1p(x)),
            Example(_X, lambda x: op.log(1.0 - x), lambda x: op.log1p(-x)),
        ),
        stays=(Example(_X, lambda x: op.log(1e-6 + x)),),
    ),
    Rule(
        name="log1p-of-expm1", formula="log1p(expm1(x)) -> x", why="inverse of one another", numerics="more_accurate",
        before=lambda x: op.log1p(op.expm1(x)), after=lambda x: x,
        fires=(Example(_X, lambda x: op.abs(op.log1p(op.expm1(x))), lambda x: op.abs(x)),),
        stays=(Example(_X, lambda x: op.expm1(op.log1p(x))),),
    ),
)  # fmt: skip
