"""Expands every composite op into primitives, after the last rule that speaks of composites."""

from __future__ import annotations

from dataclasses import dataclass

from graphloss.ir.graph import Graph
from graphloss.ir.opdef import OpDef, all_ops
from graphloss.passes.differentiate import pinned
from graphloss.rewrite.driver import rewrite
from graphloss.rewrite.rule import Match, Result, Rule
from graphloss.rewrite.trace import Trace


@dataclass(frozen=True)
class Decompose:
    """Expands every composite; what is left has a scalar expression or a form."""

    name: str = "decompose"

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        return rewrite(graph, expansions(early_only=False), trace, self.name, pinned(graph))


_cache: dict[tuple[int, bool], tuple[Rule, ...]] = {}


def expansions(*, early_only: bool) -> tuple[Rule, ...]:
    """One rule for each composite, or for the early ones; made again when ops were added to the registry."""
    defined = tuple(all_ops())
    key = (len(defined), early_only)
    if key not in _cache:
        _cache[key] = tuple(_expansion(op) for op in defined if op.expand is not None and (op.early or not early_only))
    return _cache[key]


def _expansion(op: OpDef) -> Rule:
    assert op.expand is not None
    expand = op.expand

    def build(m: Match) -> Result:
        return tuple(expand(m.inputs, m.op.attr))

    return Rule(
        name=f"expand-{op.name}", formula=f"{op.name} = {op.formula or 'its definition'}",
        why="the scheduler knows primitive ops only",
        numerics="exact", roots=(op.name,), rewrite=build,
    )  # fmt: skip
