"""What the code of one kernel shares: addresses, values of the scalar level, where nodes are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from llvmlite import ir

from graphloss import dtypes
from graphloss.codegen import flow
from graphloss.codegen.call import CallFrame
from graphloss.codegen.plan import inlines
from graphloss.codegen.table import Table
from graphloss.codegen.values import Target
from graphloss.schedule.kernel import Access, Action, Column, Kernel, Level, Total


@dataclass(frozen=True, slots=True)
class Value:
    """A node's value in registers: every lane, and the one number where all lanes hold the same.

    `ramp` is set where lane l holds ramp + l (64-bit), so that comparisons need no 64-bit vectors.
    """

    vector: ir.Value
    scalar: ir.Value | None = None
    ramp: ir.Value | None = None


@dataclass(frozen=True, slots=True)
class Scalar:
    """The same index in every lane."""

    value: ir.Value


@dataclass(frozen=True, slots=True)
class Ramp:
    """Lane l is at index base + l."""

    base: ir.Value


@dataclass(frozen=True, slots=True)
class Spread:
    """Each lane has its own index."""

    vector: ir.Value


Index: TypeAlias = Scalar | Ramp | Spread


@dataclass(slots=True)
class Place:
    """Where a node is evaluated: the index along each kernel axis, and which lanes exist.

    `bases` holds the address of a node's access with the axes in `counted` already counted.
    `rows` gives the position of lane 0 that a failed check reports, and the distance from lane to lane. `step` is the
    number of the pass.
    """

    axes: Mapping[int, Index]
    mask: ir.Value | None
    rows: Callable[[], tuple[ir.Value, ir.Value]]
    step: int = 0
    bases: Mapping[int, ir.Value] = field(default_factory=dict)
    counted: frozenset[int] = frozenset()


Values: TypeAlias = dict[int, Value]


def lane_count(kernel: Kernel, target: Target) -> int:
    """Lanes follow the narrowest float of the innermost level; without floats, the widest integer."""
    nodes = [node for node in kernel.nodes if not isinstance(node.action, (Total, Column))]
    inside = [node for node in nodes if node.level is Level.ELEMENT]
    found = {node.action.dtype for node in inside or nodes}
    floats = [dtypes.itemsize(dtypes.computed(d)) for d in found if dtypes.is_float(d)]
    size = min(floats) if floats else max((4, *(dtypes.itemsize(d) for d in found)))
    return target.vector_bytes // size


A = TypeVar("A", bound=Action)


class Frame(CallFrame):
    """The function of a kernel under construction."""

    def __init__(self, function: ir.Function, module: ir.Module, kernel: Kernel, table: Table, target: Target) -> None:
        super().__init__(function, module, table, target, lane_count(kernel, target))
        self.kernel = kernel
        self.scalars: Values = {}
        self.actions = [node.action for node in kernel.nodes]
        self.inline = inlines(kernel)

    # addresses

    def address(self, access: Access, axes: Mapping[int, ir.Value], dtype: str) -> ir.Value:
        """The address of the access with the scalar indices `axes` counted and all others 0."""
        offset = self.dim(access.offset)
        for axis, index in axes.items():
            offset = flow.add(self.builder, offset, flow.mul(self.builder, index, self.dim(access.strides[axis])))
        base = self.buffer(access.buffer)
        return base if flow.known(offset) == 0 else self.lanes.element(base, offset, dtype)

    def row_axes(self, row: ir.Value) -> dict[int, ir.Value]:
        """The index along each outer axis of the row with a linear number."""
        outer = self.kernel.outer
        found: dict[int, ir.Value] = {}
        for axis in range(len(outer) - 1, 0, -1):
            row, found[axis] = flow.divide(self.builder, row, self.dim(outer[axis]))
        if outer:
            found[0] = row
        return found

    # nodes

    def expect(self, position: int, kind: type[A]) -> A:
        """The action at `position`, which is known to be of this kind."""
        action = self.actions[position]
        assert isinstance(action, kind)
        return action

    # checks

    def report(self, slot: int, bad: ir.Value, found: ir.Value, place: Place) -> None:
        """Records the lanes `bad` (mask) with the values `found` (64-bit)."""
        self.report_lanes(self.lanes, slot, bad, found, place.rows)
