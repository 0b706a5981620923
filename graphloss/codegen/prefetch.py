"""Prefetching: which pass asks for the memory that the next rows will touch, and how far ahead.

The arithmetic of the dearest pass hides the latency best: on rows of 1,000 that does not fit the caches, asking there
for both what will be read and what will be written takes a quarter to a third off the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from llvmlite import ir

from graphloss.codegen import flow
from graphloss.codegen.flow import I32
from graphloss.codegen.frame import Frame
from graphloss.codegen.plan import Plan
from graphloss.schedule.kernel import Access, Keep, Load, Store

NEAR: Final = 256  # elements, along one long row: 4 to 12 % from what no longer fits the second-level cache on
AHEAD: Final = 2048  # elements: two rows of a thousand, sixteen short ones


@dataclass(frozen=True, slots=True)
class Stream:
    """A node whose access runs along the lanes without gaps; `writes`: the memory will be written."""

    position: int
    writes: bool


def streams(plan: Plan, axis: int) -> dict[int, list[Stream]]:
    """For each pass (by number) the accesses to prefetch in it: each distinct one once, in its dearest pass.

    Only those that run along `axis`, that of the lanes.
    """
    kernel = plan.kernel
    seen: dict[Access, list[tuple[int, int]]] = {}
    written: set[Access] = set()
    for step in plan.loops:
        for position in step.inside:
            action = kernel.nodes[position].action
            if isinstance(action, (Load, Keep, Store)) and action.access.strides[axis] == 1:
                seen.setdefault(action.access, []).append((step.number, position))
                if not isinstance(action, Load):
                    written.add(action.access)
    found: dict[int, list[Stream]] = {}
    for access, places in seen.items():
        number, position = max(places, key=lambda place: plan.passes[place[0]].cost)
        found.setdefault(number, []).append(Stream(position, access in written))
    return found


def distances(frame: Frame, wanted: list[Stream]) -> dict[int, tuple[ir.Value, bool]]:
    """By node: how many elements away the memory lies that a later row will touch, and whether it will be written."""
    axis = len(frame.kernel.outer) - 1
    found: dict[int, tuple[ir.Value, bool]] = {}
    if axis < 0:
        return found
    for stream in wanted:
        action = frame.actions[stream.position]
        assert isinstance(action, (Load, Keep, Store))
        stride = action.access.strides[axis]
        if stride == 0:
            continue
        distance = frame.at_entry(("ahead", stride), _ahead(frame, frame.dim(stride)))
        found[stream.position] = (distance, stream.writes)
    return found


def _ahead(frame: Frame, stride: ir.Value) -> Callable[[ir.IRBuilder], ir.Value]:
    def make(builder: ir.IRBuilder) -> ir.Value:
        length = flow.known(frame.dim(frame.kernel.row or 1))
        if length is not None:
            return flow.mul(builder, stride, flow.i64(max(1, AHEAD // max(1, length))))
        size = frame.dim(frame.kernel.row or 1)
        one = flow.i64(1)
        size = builder.select(builder.icmp_signed(">", size, one), size, one)
        rows = builder.udiv(flow.i64(AHEAD), size)
        rows = builder.select(builder.icmp_signed(">", rows, one), rows, one)
        return builder.mul(stride, rows)

    return make


def emit(frame: Frame, base: ir.Value, offset: ir.Value, writes: bool, dtype: str) -> None:
    """Asks for the line of memory at element `offset` from `base`; an address beyond the array does no harm."""
    pointer = frame.lanes.element(base, offset, dtype)
    # for writing or reading, into the first-level cache, of the data side
    kind, level, data = (ir.Constant(I32, v) for v in (int(writes), 3, 1))
    frame.lanes.intrinsic("llvm.prefetch.p0", ir.VoidType(), pointer, kind, level, data)


def access_dtype(frame: Frame, position: int) -> str:
    """The dtype of what an access moves."""
    action = frame.actions[position]
    dtype: str = frame.actions[action.arg].dtype if isinstance(action, Store) else action.dtype
    return dtype
