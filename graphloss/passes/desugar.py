"""Expands composite ops that are spelling only (`OpDef.early`), before any rule looks at the graph."""

from __future__ import annotations

from dataclasses import dataclass

from graphloss.ir.graph import Graph
from graphloss.passes.decompose import expansions
from graphloss.passes.differentiate import pinned
from graphloss.rewrite.driver import rewrite
from graphloss.rewrite.trace import Trace


@dataclass(frozen=True)
class Desugar:
    name: str = "desugar"

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        rules = expansions(early_only=True)
        names = {r.roots[0] for r in rules}
        if not any(op.type in names for op in graph.ops):
            return graph
        return rewrite(graph, rules, trace, self.name, pinned(graph))
