"""Removes ops that no fetch and no write needs."""

from __future__ import annotations

from dataclasses import dataclass

from graphloss.ir.graph import Graph
from graphloss.passes.measure import needed_with_sizes
from graphloss.rewrite.trace import Trace


@dataclass(frozen=True)
class Dce:
    name: str = "dce"

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        needed = needed_with_sizes(graph)
        kept = tuple(op for op in graph.ops if not needed.isdisjoint(op.outputs))
        if len(kept) == len(graph.ops):
            return graph
        names = {*graph.feeds, *graph.states, *(o for op in kept for o in op.outputs)}
        return graph.replace(ops=kept, types={n: t for n, t in graph.types.items() if n in names})
