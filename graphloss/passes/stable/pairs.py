"""Known composites of two terms: logaddexp, softplus, sigmoid, log cosh."""

from __future__ import annotations

import math
from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.passes.stable.terms import operand, scaled_operand
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule, Surroundings

_X: Final = {"x": "f32[N, C]"}
_XY: Final = {"x": "f32[N, C]", "y": "f32[N, C]"}


def _log_cosh(m: Match) -> Result:
    """logaddexp(x, -x) = log cosh x + log 2."""
    x, y = m.inputs
    for a, b in ((x, y), (y, x)):
        negated = operand(m.graph, b.name, "neg")
        if negated is not None and negated.inputs[0] == a.name:
            return ops.log_cosh(a) + math.log(2)
        if _opposite_products(m.graph, a, b):
            return ops.log_cosh(a) + math.log(2)
    return None


def _opposite_products(graph: Surroundings, a: Value, b: Value) -> bool:
    p, q = scaled_operand(graph, a.name), scaled_operand(graph, b.name)
    return p is not None and q is not None and p[1].name == q[1].name and p[0] == -q[0]


def _logaddexp_of_zero(m: Match) -> Result:
    x, y = m.inputs
    for a, b in ((x, y), (y, x)):
        if m.graph.number_of(b.name) == 0 and a.type.rank >= b.type.rank and b.type.size == 1:
            return ops.softplus(a)
    return None


def _softplus_by_parts(m: Match) -> Result:
    """max(x, 0) + softplus(-|x|) -> softplus(x)."""
    for a, b in (m.inputs, m.inputs[::-1]):
        tail = operand(m.graph, b.name, "softplus")
        down = None if tail is None else operand(m.graph, tail.inputs[0], "neg")
        size = None if down is None else operand(m.graph, down.inputs[0], "abs")
        top = operand(m.graph, a.name, "relu", "maximum", "clamp_min")
        if size is None or top is None or (top.inputs[0] != size.inputs[0] and size.inputs[0] not in top.inputs):
            continue
        x = m.graph.value(size.inputs[0])
        others = [n for n in top.inputs if n != x.name]
        zero = top.type == "relu" or (top.type == "clamp_min" and top.attr["min"] == 0)
        if (zero or [m.graph.number_of(n) for n in others] == [0]) and m.graph.type_of(a.name) == x.type:
            return ops.softplus(x)
    return None


def _logaddexp_by_parts(m: Match) -> Result:
    """max(x, y) + softplus(-|x - y|) -> logaddexp(x, y)."""
    for a, b in (m.inputs, m.inputs[::-1]):
        top, tail = operand(m.graph, a.name, "maximum"), operand(m.graph, b.name, "softplus")
        down = None if tail is None else operand(m.graph, tail.inputs[0], "neg")
        size = None if down is None else operand(m.graph, down.inputs[0], "abs")
        gap = None if size is None else operand(m.graph, size.inputs[0], "sub")
        if top is not None and gap is not None and set(gap.inputs) == set(top.inputs) and len(set(top.inputs)) == 2:
            return ops.logaddexp(*(m.graph.value(n) for n in top.inputs))
    return None


RULES: Final = (
    Rule(
        name="exp-of-minus-softplus", formula="exp(-softplus(x)) -> sigmoid(-x)", why="the sigmoid in its own function",
        numerics="more_accurate", before=lambda x: op.exp(-op.softplus(x)), after=lambda x: op.sigmoid(-x),
        fires=(Example(_X, lambda x: op.exp(-op.softplus(x)), lambda x: op.sigmoid(-x)),),
        stays=(Example(_X, lambda x: op.exp(op.softplus(x))),),
    ),
    Rule(
        name="logaddexp-of-zero", formula="logaddexp(x, 0) -> softplus(x)", why="one spelling, one operand",
        numerics="exact",
        roots=("logaddexp",), rewrite=_logaddexp_of_zero,
        fires=(Example(_X, lambda x: op.logaddexp(x, 0.0), lambda x: op.softplus(x)),),
        stays=(Example(_X, lambda x: op.logaddexp(x, 1.0)),),
    ),
    Rule(
        name="log-cosh", formula="logaddexp(x, -x) -> log_cosh(x) + log 2", why="keeps x²/2 near 0",
        numerics="more_accurate",
        roots=("logaddexp",), rewrite=_log_cosh,
        fires=(Example(_X, lambda x: op.logaddexp(x, -x), lambda x: op.log_cosh(x) + math.log(2)),),
        stays=(Example(_XY, lambda x, y: op.logaddexp(x, -y)),),
    ),
    Rule(
        name="part-of-logaddexp", formula="x - logaddexp(x, y) -> -softplus(y - x)",
        why="no cancellation where y is far below x",
        numerics="more_accurate", before=lambda x, y: op.sub(x, op.logaddexp(x, y)), after=lambda x,
        y: -op.softplus(y - x),
        fires=(Example(_XY, lambda x, y: x - op.logaddexp(y, x), lambda x, y: -op.softplus(y - x)),),
        stays=(Example({**_XY, "z": "f32[N, C]"}, lambda x, y, z: z - op.logaddexp(x, y)),),
    ),
    Rule(
        name="logaddexp-minus-part", formula="logaddexp(x, y) - x -> softplus(y - x)", why="as part-of-logaddexp",
        numerics="more_accurate", before=lambda x, y: op.sub(op.logaddexp(x, y), x), after=lambda x,
        y: op.softplus(y - x),
        fires=(Example(_XY, lambda x, y: op.logaddexp(x, y) - x, lambda x, y: op.softplus(y - x)),),
        stays=(Example({**_XY, "z": "f32[N, C]"}, lambda x, y, z: op.logaddexp(x, y) - z),),
    ),
    Rule(
        name="x-minus-softplus", formula="x - softplus(x) -> -softplus(-x)", why="no cancellation at large x",
        numerics="more_accurate",
        before=lambda x: op.sub(x, op.softplus(x)), after=lambda x: -op.softplus(-x),
        fires=(Example(_X, lambda x: x - op.softplus(x), lambda x: -op.softplus(-x)),),
        stays=(Example(_XY, lambda x, y: x - op.softplus(y)),),
    ),
    Rule(
        name="softplus-minus-x", formula="softplus(x) - x -> softplus(-x)", why="no cancellation at large x",
        numerics="more_accurate",
        before=lambda x: op.sub(op.softplus(x), x), after=lambda x: op.softplus(-x),
        fires=(Example(_X, lambda x: op.softplus(x) - x, lambda x: op.softplus(-x)),),
        stays=(Example(_XY, lambda x, y: op.softplus(x) - y),),
    ),
    Rule(
        name="softplus-plus-x", formula="softplus(-x) + x -> softplus(x)", why="one operation fewer",
        numerics="more_accurate",
        before=lambda x: op.add(op.softplus(-x), x), after=lambda x: op.softplus(x),
        fires=(Example(_X, lambda x: op.softplus(-x) + x, lambda x: op.softplus(x)),),
        stays=(Example(_XY, lambda x, y: op.softplus(-x) + y),),
    ),
    Rule(
        name="minus-softplus-minus-x", formula="-softplus(-x) - x -> -softplus(x)", why="one operation fewer",
        numerics="more_accurate",
        before=lambda x: op.sub(-op.softplus(-x), x), after=lambda x: -op.softplus(x),
        fires=(Example(_X, lambda x: -op.softplus(-x) - x, lambda x: -op.softplus(x)),),
        stays=(Example(_XY, lambda x, y: -op.softplus(-x) - y),),
    ),
    Rule(
        name="log-odds", formula="softplus(x) - softplus(-x) -> x", why="the logarithm of the odds of σ(x) is x itself",
        numerics="more_accurate", before=lambda x: op.sub(op.softplus(x), op.softplus(-x)), after=lambda x: x,
        fires=(Example(_X, lambda x: op.exp(op.softplus(x) - op.softplus(-x)), lambda x: op.exp(x)),),
        stays=(Example(_XY, lambda x, y: op.softplus(x) - op.softplus(-y)),),
    ),
    Rule(
        name="log-odds-against", formula="softplus(-x) - softplus(x) -> -x", why="as log-odds",
        numerics="more_accurate",
        before=lambda x: op.sub(op.softplus(-x), op.softplus(x)), after=lambda x: -x,
        fires=(Example(_X, lambda x: op.exp(op.softplus(-x) - op.softplus(x)), lambda x: op.exp(-x)),),
        stays=(Example(_XY, lambda x, y: op.softplus(-x) - op.softplus(y)),),
    ),
    Rule(
        name="softplus-by-hand", formula="max(x, 0) + softplus(-|x|) -> softplus(x)",
        why="one function, and its derivative at 0",
        numerics="exact", roots=("add",), rewrite=_softplus_by_parts,
        fires=(Example(_X, lambda x: op.relu(x) + op.softplus(-op.abs(x)), lambda x: op.softplus(x)),),
        stays=(Example(_XY, lambda x, y: op.relu(y) + op.softplus(-op.abs(x))),),
    ),
    Rule(
        name="logaddexp-by-hand", formula="max(x, y) + softplus(-|x - y|) -> logaddexp(x, y)",
        why="one function, and its derivative at x = y",
        numerics="exact", roots=("add",), rewrite=_logaddexp_by_parts,
        fires=(Example(_XY, lambda x, y: op.maximum(x, y) + op.softplus(-op.abs(x - y)), lambda x,
            y: op.logaddexp(x, y)),),
        stays=(Example(_XY, lambda x, y: op.maximum(x, 0.5) + op.softplus(-op.abs(x - y))),),
    ),
)  # fmt: skip
