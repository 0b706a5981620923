"""The last rules that speak of composites, when no gradient is to come: what would hide a derivative's form before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.ir.graph import Graph
from graphloss.ir.tensor import Tensor
from graphloss.passes.differentiate import pinned
from graphloss.passes.stable.terms import operand
from graphloss.rewrite.driver import rewrite
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule
from graphloss.rewrite.trace import Trace

_XY: Final = {"x": "f32[N, C]", "y": "f32[N, C]"}


def _apart(m: Match) -> Result:
    """y - logsumexp(x) = (y - m) - log Σ e^(x-m), and the other way round."""
    x, y = m.inputs
    for whole, other, sign in ((y, x, 1), (x, y, -1)):
        parts = _parts(m, whole)
        if parts is None:
            continue
        top, rest = parts
        gap = other - top if sign > 0 else top - other
        # where the maximum is infinite, it is the logsumexp
        return ops.where(ops.isfinite(top), gap - rest if sign > 0 else rest + gap, gap)
    return None


def _parts(m: Match, x: Value) -> tuple[Tensor, Tensor] | None:
    """The maximum and the logarithm of the sum after it, in the shape of the logsumexp: ops that softmax shares."""
    squeezed = operand(m.graph, x.name, "squeeze")
    inner = operand(m.graph, x.name if squeezed is None else squeezed.inputs[0], "logsumexp")
    if inner is None or not inner.attr["keepdims"]:
        return None
    source = m.graph.value(inner.inputs[0])
    axis = inner.attr["axis"]
    assert isinstance(axis, int)
    top = ops.reduce_max(source, axis, True)
    rest = ops.log(ops.reduce_sum(ops.exp(source - top), axis, True))
    return (top, rest) if squeezed is None else (ops.squeeze(top, axis), ops.squeeze(rest, axis))


def _example(x: Tensor, y: Tensor) -> Tensor:
    top = ops.reduce_max(x, 1, True)
    gap = y - top
    return ops.where(ops.isfinite(top), gap - ops.log(ops.reduce_sum(ops.exp(x - top), 1, True)), gap)


RULES: Final = (
    Rule(
        name="logsumexp-apart", formula="y - logsumexp(x) -> (y - max x) - log Σ e^(x - max x)",
        why="at 1e4 the logsumexp has three digits behind the point, and its difference from y no more",
        numerics="more_accurate", roots=("sub",), rewrite=_apart,
        fires=(
            Example(
                _XY, lambda x, y: y - op.logsumexp(x, axis=1, keepdims=True), _example,
            ),
        ),
        stays=(Example(_XY, lambda x, y: y + op.logsumexp(x, axis=1, keepdims=True)),),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Refine:
    name: str = "refine"

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        return rewrite(graph, RULES, trace, self.name, pinned(graph))
