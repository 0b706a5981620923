"""Makes an update of a state by sums of rows one of these rows only, so that its cost does not grow with the state."""

from __future__ import annotations

from dataclasses import dataclass

from graphloss import ops
from graphloss.ir.builder import GraphBuilder, Value
from graphloss.ir.graph import Graph, Op
from graphloss.ir.tensor import Tensor, using
from graphloss.rewrite.trace import Record, Trace


@dataclass(frozen=True)
class RowUpdates:
    """w - c·scatter_add(i, u), written to w, becomes index_add(w, i, -c·u): gradient descent after a gather.

    Only where c is one number and the result has no other use; otherwise all of w is needed anyway.
    """

    name: str = "row updates"

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        found = {value: found for state, value in graph.writes if (found := _match(graph, state, value)) is not None}
        if not found:
            return graph
        builder = GraphBuilder(graph)
        renamed: dict[str, str] = {}
        for op in graph.ops:
            if op.outputs[0] not in found:
                builder.append(op)
                continue
            factors, sums = found[op.outputs[0]]
            builder.like(op)
            begin = len(builder.ops)
            with using(builder):
                index, updates = map(builder.value, sums.inputs)
                factor: Tensor | float | None = None
                for value in map(builder.value, factors):
                    factor = value if factor is None else value * factor
                if op.type == "sub":
                    factor = -1.0 if factor is None else -factor
                scaled = updates if factor is None else updates * factor
                result = ops.index_add(builder.value(op.inputs[0]), index, scaled)
            assert isinstance(result, Value)
            renamed[op.outputs[0]] = result.name
            trace.add(Record(self.name, "rows of a state", op, tuple(builder.ops[begin:]), op.loc))
        return builder.finish(writes=tuple((s, renamed.get(v, v)) for s, v in graph.writes))


def _match(graph: Graph, state: str, value: str) -> tuple[tuple[str, ...], Op] | None:
    """The factors and the scatter_add of an update of `state`, one operand of which is the state itself."""
    op = graph.definition.get(value)
    if op is None or op.type not in ("sub", "add") or op.inputs[0] != state:
        return None
    if value in graph.fetches or graph.users.get(value) or sum(v == value for _, v in graph.writes) > 1:
        return None
    factors: list[str] = []
    name = op.inputs[1]
    while True:
        below = graph.definition.get(name)
        if below is None:
            return None
        if below.type == "scatter_add":
            return (tuple(factors), below) if graph.types[name].shape == graph.types[state].shape else None
        if below.type != "mul":
            return None
        numbers = [x for x in below.inputs if graph.types[x].size == 1]
        rest = [x for x in below.inputs if graph.types[x].size != 1]
        if len(numbers) != 1 or graph.types[rest[0]].shape != graph.types[state].shape:
            return None
        factors += numbers
        (name,) = rest
