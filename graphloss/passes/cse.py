"""Makes one op of equal ones: the same op on the same values, operands of commutative ops in any order."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from graphloss.ir.graph import Graph, Op
from graphloss.passes.differentiate import pinned
from graphloss.rewrite.driver import Rewriter
from graphloss.rewrite.pattern import COMMUTATIVE
from graphloss.rewrite.trace import Trace


@dataclass(frozen=True)
class Cse:
    name: str = "cse"

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        return _Merger(graph, trace, self.name, pinned(graph)).run()


class _Merger(Rewriter):
    """The driver makes one op of equal ones in any case; this gives the operands of a commutative op one order."""

    def __init__(self, graph: Graph, trace: Trace, name: str, pinned: Collection[str]) -> None:
        super().__init__(graph, (), trace, name, pinned)
        self._met: set[tuple[str, str, str]] = set()

    def _sweep(self, op: Op) -> None:
        if op.type in COMMUTATIVE and len(op.inputs) == 2 and op.attr.get("tie", "half") == "half":
            x, y = (self._replaced.get(n, n) for n in op.inputs)
            if (op.type, y, x) in self._met:
                op = replace(op, inputs=(y, x))
            else:
                self._met.add((op.type, x, y))
        super()._sweep(op)
