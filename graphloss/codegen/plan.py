"""Which nodes of a kernel are emitted where: before, in and after the loop of each pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from graphloss.ir.scalar import EXPENSIVE, FUNCTIONS
from graphloss.schedule.kernel import (
    Action,
    Apply,
    Column,
    IndexedLoad,
    Keep,
    Kernel,
    Level,
    Load,
    RowReduce,
    Store,
    Total,
    operands,
)

INLINE_LIMIT: Final = 40  # long functions of one kernel; losses have fewer than a dozen


@dataclass(slots=True)
class Pass:
    """One loop over the row, by node positions.

    `before`: row-level nodes; `inside`: element-level values and stores; `reduces`, `totals`, `columns`: what the loop
    accumulates; `uses`: row-level values that it reads; `cost`: of one element, in additions.
    """

    before: list[int] = field(default_factory=list)
    inside: list[int] = field(default_factory=list)
    reduces: list[int] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    uses: list[int] = field(default_factory=list)
    cost: int = 0
    number: int = 0

    @property
    def in_loop(self) -> Iterator[int]:
        yield from self.inside
        yield from self.reduces
        yield from self.totals
        yield from self.columns


class Plan:
    """The passes of a kernel; the last one has no loop and holds what comes after."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.passes = [Pass() for _ in range(kernel.passes + 1)]
        nodes = kernel.nodes
        for position, node in enumerate(nodes):
            action = node.action
            if isinstance(action, RowReduce):
                self.passes[node.at[0]].reduces.append(position)
            elif isinstance(action, Column):
                self.passes[node.at[0]].columns.append(position)
            elif isinstance(action, Total):
                per_element = self.level(action.arg) is Level.ELEMENT
                (self.passes[node.at[0]].totals if per_element else self.passes[node.at[0]].before).append(position)
            elif node.level is Level.ELEMENT:
                for p in node.at:
                    self.passes[p].inside.append(position)
            elif node.level is Level.ROW:
                self.passes[node.at[0]].before.append(position)
        for number, step in enumerate(self.passes):
            uses = (o for p in step.in_loop for o in self._read_in(number, p) if self.level(o) is Level.ROW)
            step.number = number
            step.uses = list(dict.fromkeys(uses))
            step.cost = sum(cost(nodes[p].action) for p in step.in_loop)

    def _read_in(self, number: int, position: int) -> tuple[int, ...]:
        node = self.kernel.nodes[position]
        later = isinstance(node.action, Keep) and number != node.at[0]
        return () if later else operands(node.action)

    def level(self, position: int) -> Level:
        """How often the value of a node exists; the value of a row reduction exists once per row."""
        node = self.kernel.nodes[position]
        return Level.ROW if isinstance(node.action, RowReduce) else node.level

    @property
    def loops(self) -> list[Pass]:
        return self.passes[: self.kernel.passes]

    @property
    def has_rows(self) -> bool:
        """Whether anything is computed once per row."""
        return any(step.before or step.uses or step.reduces for step in self.passes)

    def positions(self, kind: type) -> list[int]:
        """The nodes with this kind of action."""
        return [p for p, n in enumerate(self.kernel.nodes) if isinstance(n.action, kind)]


def cost(action: Action) -> int:
    """A rough cost in additions."""
    if isinstance(action, Apply):
        return FUNCTIONS[action.fn].cost
    if isinstance(action, IndexedLoad):
        return 4
    return 1 if isinstance(action, (Load, Store, Keep, RowReduce, Total)) else 0


def inlines(kernel: Kernel) -> bool:
    """Whether long functions are written out where they are used: not in a kernel of so many that compiling it would
    take seconds."""
    return sum(cost(n.action) >= EXPENSIVE for n in kernel.nodes if isinstance(n.action, Apply)) <= INLINE_LIMIT


def kernel_cost(kernel: Kernel) -> int:
    """A rough cost of one element over all passes, in additions; what is done once per row is shared out if known."""
    passes = Plan(kernel).passes
    once = sum(cost(kernel.nodes[p].action) for step in passes for p in step.before)
    row = 1 if kernel.row is None else kernel.row
    return sum(step.cost for step in passes) + (once // max(row, 1) if isinstance(row, int) else 0) + 1
