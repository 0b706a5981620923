"""The probability of all other classes: 1 minus a softmax, where that is close to 0."""

from __future__ import annotations

import math
from typing import Final

from graphloss import ops
from graphloss.ir.graph import Op
from graphloss.ir.tensor import Tensor, apply
from graphloss.passes.stable.terms import operand
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule

_X: Final = {"x": "f32[N, C]"}
_PICK: Final = {"x": "f32[N, C]", "y": "i64[N]"}
# What hands elements on as they are.
_MOVES: Final = (
    "pick", "gather", "gather_nd", "slice", "reshape", "transpose", "squeeze", "unsqueeze", "broadcast_to", "detach"
)  # fmt: skip
_MOST: Final = 24  # moves one after the other


def _log_of_others(log_p: Tensor, axis: int) -> Tensor:
    """log(1 - p): of the one class that may have more than half of the probability, by the sum over the others."""
    most = log_p > -math.log(2)
    others = ops.logsumexp(ops.where(most, -math.inf, log_p), axis, keepdims=True)
    return ops.where(most, others, ops.log1mexp(ops.minimum(log_p, -math.log(2), tie="first")))


def _rewrite(m: Match) -> Result:
    moves: list[Op] = []
    name = m.op.inputs[0]
    while (move := operand(m.graph, name, *_MOVES)) is not None and len(moves) < _MOST:
        moves.append(move)
        name = move.inputs[0]
    source = operand(m.graph, name, "log_softmax")
    if source is None:
        return None
    axis = source.attr["axis"]
    assert isinstance(axis, int)
    value = _log_of_others(m.graph.value(name), axis)
    for move in reversed(moves):
        rest = [m.graph.value(n) for n in move.inputs[1:]]
        value = apply(move.type, [value, *rest], move.attr)[0]
    return value


RULES: Final = (
    Rule(
        name="log-of-other-classes",
        formula="log(1 - e^l) -> log Σ e^(l of the other classes), for l > -log 2, l a log_softmax",
        why="log p of a nearly certain class is rounded to 0, while the others are still told apart",
        numerics="more_accurate", roots=("log1mexp",), rewrite=_rewrite,
        fires=(
            Example(_X, lambda x: op.log1mexp(op.log_softmax(x, axis=1)),
                lambda x: _log_of_others(op.log_softmax(x, axis=1), 1)),
            Example(_X, lambda x: op.log(1.0 - op.softmax(x, axis=0)),
                lambda x: _log_of_others(op.log_softmax(x, axis=0), 0)),
            Example(_PICK, lambda x, y: op.log(1.0 - op.pick(op.softmax(x, axis=1), y, axis=1)),
                lambda x, y: op.pick(_log_of_others(op.log_softmax(x, axis=1), 1), y, axis=1)),
        ),
        stays=(
            Example(_X, lambda x: op.log1mexp(x)),
            Example(_X, lambda x: op.log1mexp(2.0 * op.log_softmax(x, axis=1))),
        ),
    ),
)  # fmt: skip
