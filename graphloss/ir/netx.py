"""A graph as a networkx graph, for drawing and for questions about paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphloss.ir.graph import Graph
from graphloss.ir.printer import type_text

if TYPE_CHECKING:
    import networkx


def to_networkx(graph: Graph) -> networkx.MultiDiGraph[str | int]:
    """One node for each value and for each op, and an edge for each operand and each result.

    A value's node is its name, with `kind` "feed", "state" or "value", its `type` as text, whether it is `fetched`, and
    the states it is `written` to; an op's node is its position in the graph, with `kind` "op", `op` (the op's type),
    `attrs`, `role` and `scope`. Edges carry the `position` of the operand or result.

    Example:
        >>> from graphloss.ir.parser import parse_graph
        >>> g = to_networkx(parse_graph("program @g { feed %x : f32[3] %y = exp(%x) : f32[3] fetch %y }"))
        >>> list(g.edges()), g.nodes[0]["op"], g.nodes["y"]["type"]
        ([('x', 0), (0, 'y')], 'exp', 'f32[3]')
    """
    import networkx

    out: networkx.MultiDiGraph[str | int] = networkx.MultiDiGraph(name=graph.name)
    writes: dict[str, list[str]] = {}
    for state, value in graph.writes:
        writes.setdefault(value, []).append(state)
    for name, type in graph.types.items():
        kind = "feed" if name in graph.feeds else "state" if name in graph.states else "value"
        written = tuple(writes.get(name, ()))
        out.add_node(name, kind=kind, type=type_text(type), fetched=name in graph.fetches, written=written)
    for node, op in enumerate(graph.ops):
        out.add_node(node, kind="op", op=op.type, attrs=op.attr, role=op.role, scope=op.scope)
        for i, name in enumerate(op.inputs):
            out.add_edge(name, node, position=i)
        for i, name in enumerate(op.outputs):
            out.add_edge(node, name, position=i)
    return out
