"""Removes checks of data values: all of them unless they are asked for, and those that cannot fail."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from graphloss.ir.graph import Graph, Op
from graphloss.ops.check import CHECK_RANGE
from graphloss.passes.differentiate import pinned
from graphloss.rewrite.trace import Trace

# What these ops give lies in an interval by construction, whatever they are given.
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "one_hot": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0),
    "exp": (0.0, math.inf), "abs": (0.0, math.inf), "square": (0.0, math.inf), "sqrt": (0.0, math.inf),
    "relu": (0.0, math.inf), "softplus": (0.0, math.inf), "tanh": (-1.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class Checks:
    """The graph without its checks, or with `keep` without those of values that are in range by construction.

    It comes before every rule, so that no rule has to look through a check. A kept check hides what its operand is made
    of; so the pass drops it where the operand is a probability that the program itself computes, and no formula loses
    its stable form.
    """

    keep: bool = False
    name: str = "checks"

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        if not any(op.type == CHECK_RANGE for op in graph.ops):
            return graph
        asked = pinned(graph)
        renamed: dict[str, str] = {}
        ops: list[Op] = []
        for op in graph.ops:
            inputs = tuple(renamed.get(n, n) for n in op.inputs)
            if op.type == CHECK_RANGE and not (self.keep and _may_fail(graph, op, inputs[0])):
                if op.outputs[0] in asked:  # a value of its own, whatever else reads the operand
                    ops.append(replace(op, type="assign", inputs=inputs[:1], attrs=()))
                else:
                    renamed[op.outputs[0]] = inputs[0]
            else:
                ops.append(op if inputs == op.inputs else replace(op, inputs=inputs))
        return graph.replace(
            ops=tuple(ops),
            types={n: t for n, t in graph.types.items() if n not in renamed},
            fetches=tuple(renamed.get(n, n) for n in graph.fetches),
            writes=tuple((state, renamed.get(n, n)) for state, n in graph.writes),
        )


def _may_fail(graph: Graph, check: Op, operand: str) -> bool:
    made = graph.definition.get(operand)
    known = None if made is None else _RANGES.get(made.type)
    low, high = check.attr["low"], check.attr["high"]
    assert isinstance(low, float) and isinstance(high, float)
    return known is None or known[0] < low or known[1] > high
