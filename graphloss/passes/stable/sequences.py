"""Losses of sequences behind the op that normalises their scores."""

from __future__ import annotations

from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.ir.tensor import apply
from graphloss.passes.stable.terms import operand
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule, Surroundings

_CTC: Final = {"x": "f32[T, N, C]", "y": "i64[N, 2]", "t": "i64[N]", "s": "i64[N]"}


def _logits(graph: Surroundings, x: Value) -> Value | None:
    """The scores that x, or what x is a transposition of, is the log_softmax of along the last axis of x."""
    turned = operand(graph, x.name, "transpose")
    inner = operand(graph, x.name if turned is None else turned.inputs[0], "log_softmax")
    if inner is None:
        return None
    rank = x.type.rank
    perm = tuple(range(rank)) if turned is None else turned.attr["perm"]
    axis = inner.attr["axis"]
    assert isinstance(perm, tuple) and isinstance(axis, int)
    if perm[-1] != axis % rank:
        return None
    scores = graph.value(inner.inputs[0])
    if turned is None:
        return scores
    out = ops.transpose(scores, tuple(int(p) for p in perm))  # type: ignore[arg-type]
    assert isinstance(out, Value)
    return out


def _ctc(m: Match) -> Result:
    scores, *rest = m.inputs
    logits = _logits(m.graph, scores)
    return None if logits is None else apply("ctc_with_logits", (logits, *rest), m.op.attr)[:2]


RULES: Final = (
    Rule(
        name="ctc-of-log-softmax", formula="ctc(log_softmax(x), …) -> ctc_with_logits(x, …)",
        why="the gradient softmax − posterior in one pass, and the logarithms without their rounding",
        numerics="more_accurate", roots=("ctc",), rewrite=_ctc,
        fires=(
            Example(
                _CTC, lambda x, y, t, s: op.ctc(op.log_softmax(x, axis=2), y, t, s, blank=-1),
                lambda x, y, t, s: op.ctc_with_logits(x, y, t, s, blank=-1),
            ),
            Example(
                {**_CTC, "x": "f32[N, T, C]"},
                lambda x, y, t, s: op.ctc(op.transpose(op.log_softmax(x, axis=-1), perm=(1, 0, 2)), y, t, s, blank=-1),
                lambda x, y, t, s: op.ctc_with_logits(op.transpose(x, perm=(1, 0, 2)), y, t, s, blank=-1),
            ),
        ),
        stays=(
            Example(_CTC, lambda x, y, t, s: op.ctc(x, y, t, s, blank=-1)),
            Example(_CTC, lambda x, y, t, s: op.ctc(op.log_softmax(x, axis=0), y, t, s, blank=-1)),
        ),
    ),
)  # fmt: skip
