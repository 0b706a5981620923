"""Makes a graph numerically stable: the scaled form, known composites in it, and cancellation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graphloss.ir.graph import Graph
from graphloss.passes.differentiate import pinned
from graphloss.passes.stable import by_label, cancel, compose, normal, others, pairs, placing, sequences, shift
from graphloss.rewrite.driver import rewrite
from graphloss.rewrite.rule import Rule
from graphloss.rewrite.trace import Trace

# The first rule that fits an op wins: normal forms, named composites, the general mechanism, and what it leaves.
RULES: Final[tuple[Rule, ...]] = (
    *normal.RULES, *by_label.RULES, *placing.RULES, *compose.RULES, *pairs.RULES, *shift.RULES, *cancel.RULES,
    *others.RULES, *sequences.RULES,
)  # fmt: skip


@dataclass(frozen=True)
class Stabilise:
    name: str = "stabilise"
    rules: tuple[Rule, ...] = RULES

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        return rewrite(graph, self.rules, trace, self.name, pinned(graph))
