"""Regions of a plan that run in row chunks, so that what is large between their steps exists for some rows at a time.

A region holds host calls that can be cut along the rows and kernels whose outer axis is the rows. Row r of what one
step hands to the next depends on row r only, so the steps may all run on the first rows, then all on the next ones.
Kernels keep their chunks, and with them their partial results: how many rows run at a time changes no bit of theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from graphloss import dtypes
from graphloss.ir import dims as d
from graphloss.ir.dims import Dim
from graphloss.ir.forms import Cut
from graphloss.schedule.in_place import overwrites
from graphloss.schedule.kernel import Buffer, Column, IndexedLoad, Keep, Kernel, Load, Store, Total
from graphloss.schedule.nest import Native, NestKernel
from graphloss.schedule.row_walks import Walk, refitted, rows_in_chunks, walk
from graphloss.schedule.values import HostCall

Step: TypeAlias = Native | HostCall

# What the local buffers of a region may take together: about this, or this part of the sums that it adds up chunk by
# chunk, since each chunk costs a trip over those.
BUDGET: Final = 48 * 2**20
SHARE: Final = 4


@dataclass(frozen=True)
class Region:
    """Steps `begin` to `end` of a plan, which may run some rows at a time.

    `local` are buffers that only these steps use, of which the rows at hand need to exist: name -> slot; buffers of one
    slot may lie in the same memory. `slots` are bytes per row, `sums` bytes of the outputs that pieces add up to,
    `cuts` by step number. Kernels have chunks of `grain` rows. `folds` are buffers of a partial result per chunk for
    each column, of which those of the rows at hand exist, and what they combine to: name -> "sum", "max" or "min".
    """

    begin: int
    end: int
    rows: Dim
    local: Mapping[str, int]
    slots: tuple[Dim, ...]
    sums: tuple[Dim, ...]
    grain: Dim
    cuts: Mapping[int, Cut]
    folds: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """What it is; in figures where no size is open."""
        sizes = (self.rows, *self.slots, *self.sums, self.grain)
        chunk = "" if any(map(d.symbols, sizes)) else f" of {self.chunk({})}"
        row = sum_of(self.slots)
        return f"{self.end - self.begin} steps in row chunks{chunk}, {self.rows} rows, {row} B per row between them"

    def chunk(self, env: Mapping[str, int], forced: int | None = None) -> int:
        """Rows per chunk, a function of the sizes only: a multiple of the grain, chunks of about one size.

        `forced` rows are rounded up to such a multiple.
        """
        rows = d.evaluate(self.rows, env)
        grain = d.evaluate(self.grain, env)
        if forced is not None:
            return _up(forced, grain)
        row = max(1, sum(d.evaluate(n, env) for n in self.slots))
        budget = max(BUDGET, sum(d.evaluate(n, env) for n in self.sums) // SHARE)
        most = max(budget // row // grain, 1) * grain
        chunks = max(1, -(-rows // most))
        return _up(max(-(-rows // chunks), 1), grain)


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def regions(
    steps: Sequence[Step], buffers: dict[str, Buffer], results: set[str], *, small: bool = False
) -> tuple[list[Step], list[Region]]:
    """The steps in an order where the steps of each region stand together, and the regions.

    Kernels inside walk by rows, and partial results have the shapes that follow, in `buffers` too. A region that is
    known to need less than the budget is none, unless `small` asks for it.
    """
    return _Finder(steps, buffers, results, small).run(list(steps))


@dataclass
class _Partition:
    """Steps before the region, in it and after it; what the region hands on row by row; how its host calls are cut."""

    before: list[Step]
    inside: list[Step]
    after: list[Step]
    aligned: set[str]
    cuts: list[Cut | None]


class _Finder:
    def __init__(self, steps: Sequence[Step], buffers: dict[str, Buffer], results: set[str], small: bool) -> None:
        self.readers: dict[str, set[int]] = {}  # of the whole plan, by id
        self.writers = Counter(b for step in steps for b in writes(step))  # how many, in the whole plan
        self.steps: list[Step] = []  # keeps the ids their own
        self.walks: dict[tuple[int, Dim], Walk | None] = {}
        for step in steps:
            self._enter(step)
        self.buffers = buffers
        self.results = results
        self.small = small

    def _enter(self, step: Step) -> None:
        self.steps.append(step)
        for b in reads(step):
            self.readers.setdefault(b, set()).add(id(step))

    def run(self, steps: list[Step]) -> tuple[list[Step], list[Region]]:
        for rows in self._candidates(steps):
            found = self._region(steps, rows)
            if found is None:
                continue
            part, region = found
            before, left = self.run(part.before)
            after, right = self.run(part.after)
            n = len(before)
            region = _shifted(region, n)
            order = [*before, *part.inside, *after]
            return order, [*left, region, *(_shifted(r, n + len(part.inside)) for r in right)]
        return steps, []

    def _candidates(self, steps: list[Step]) -> list[Dim]:
        """Leading dimensions of what host calls give row by row."""
        found: dict[Dim, None] = {}
        for step in steps:
            if isinstance(step, HostCall) and any(c.output == 0 for c in step.form.cuts):
                shape = self.buffers[step.outputs[0]].shape
                found[shape[0]] = None
        return list(found)

    def _temporary(self, buffer: str) -> bool:
        return self.buffers[buffer].role == "temp" and buffer not in self.results

    def _region(self, steps: list[Step], rows: Dim) -> tuple[_Partition, Region] | None:
        outside: set[int] = set()  # steps that would hand nothing on in the region
        joined: set[int] = set()
        while True:
            part = self._partition(steps, rows, outside, joined)
            local = self._local(part)
            idle = {id(s) for s in part.inside if not local & {*reads(s), *writes(s)}}
            if not local:
                return None
            if not idle:
                break
            outside |= idle
            joined = {id(s) for s in part.inside} - outside
        slot_of, slots = self._slots(part.inside, local)
        need = d.mul(rows, sum_of(slots))
        if not self.small and isinstance(need, int) and need <= BUDGET:
            return None
        cuts = {i: c for i, c in enumerate(part.cuts) if c is not None}
        sums = [writes(part.inside[i])[0] for i, c in cuts.items() if c.output is None]
        grain, folds = self._settle(part, rows, local)
        region = Region(
            0, len(part.inside), rows, slot_of, tuple(slots), tuple(self._bytes(b, 0) for b in sums), grain, cuts, folds
        )
        return part, region

    def _settle(self, part: _Partition, rows: Dim, local: set[str]) -> tuple[Dim, dict[str, str]]:
        """Kernels in the region as they walk there, what finishes them behind it."""
        walks = {id(s): w for s in part.inside if isinstance(s, Kernel) and (w := self._walk(s, rows)) is not None}
        widest: Dim = 1
        for b in sorted(local):
            n = d.product(self.buffers[b].shape[1:])
            widest = n if widest == 1 or n == widest else d.maximum(widest, n)
        grain = rows_in_chunks(tuple(walks.values()), widest)
        partials: dict[str, Buffer] = {}
        for i, step in enumerate(part.inside):
            if id(step) in walks:
                part.inside[i], made = walks[id(step)].in_chunks(grain)
                partials.update(made)
        self.buffers.update(partials)
        part.after = [
            *(k for w in walks.values() for k in w.finish),
            *(refitted(s, partials) if isinstance(s, Kernel) else s for s in part.after),
        ]
        for step in part.after:
            self._enter(step)
        return grain, {b: kind for w in walks.values() for b, kind in w.columns.items()}

    def _walk(self, kernel: Kernel, rows: Dim) -> Walk | None:
        key = (id(kernel), rows)
        if key not in self.walks:
            self.walks[key] = walk(kernel, rows)
        return self.walks[key]

    def _partition(self, steps: list[Step], rows: Dim, outside: set[int], joined: set[int]) -> _Partition:
        """Steps that can run on some rows are inside from the first host call on that gives rows; of kernels those that
        read what is handed on there, and those that `joined` before."""
        part = _Partition([], [], [], set(), [])
        whole: set[str] = set()  # written in the region, complete only after it
        late: set[str] = set()  # written after it
        for step in steps:
            read = set(reads(step))
            given: tuple[set[str], Cut | None] | None = None
            if id(step) not in outside and not read & (whole | late):
                given = self._by_rows(step, rows, part.aligned, id(step) in joined)
            if given is not None:
                aligned = {b for b in given[0] if self.writers[b] == 1}
                part.inside.append(step)
                part.cuts.append(given[1])
                part.aligned |= aligned
                whole |= set(writes(step)) - aligned
            elif read & (part.aligned | whole | late) or (isinstance(step, NestKernel) and step.in_place):
                part.after.append(step)
                late |= set(writes(step))
            else:
                part.before.append(step)
        return part

    def _local(self, part: _Partition) -> set[str]:
        inside = {id(s) for s in part.inside}
        return {b for b in part.aligned if self.readers.get(b, set()) <= inside and self._temporary(b)}

    # --- one step on some rows

    def _by_rows(self, step: Step, rows: Dim, aligned: set[str], joined: bool) -> tuple[set[str], Cut | None] | None:
        """What `step` gives row by row if it runs on some rows, and how it is cut; None if it cannot run so, or has
        nothing to do with these rows."""
        if isinstance(step, Kernel):
            return self._kernel_by_rows(step, rows, aligned, joined)
        if not isinstance(step, HostCall):
            return None
        if isinstance(step, NestKernel):
            return None
        for cut in step.form.cuts:
            if not {*cut.operands, cut.output} <= {0, None} or len(step.outputs) != 1:
                continue
            pairs = list(zip(step.inputs, cut.operands, strict=True))
            if all(self._leads(b, rows) if axis == 0 else b not in aligned for b, axis in pairs):
                if cut.output == 0 and self._leads(step.outputs[0], rows):
                    return {step.outputs[0]}, cut
                # sums of half precision would be rounded after each chunk
                if cut.output is None and aligned & set(step.inputs) and dtypes.itemsize(self._dtype(step)) >= 4:
                    return set(), cut
        return None

    def _kernel_by_rows(
        self, kernel: Kernel, rows: Dim, aligned: set[str], joined: bool
    ) -> tuple[set[str], None] | None:
        if not joined and aligned.isdisjoint(reads(kernel)):
            return None
        if (walk := self._walk(kernel, rows)) is None:
            return None
        given = {b for b in writes(walk.kernel) if b in self.buffers and self._leads(b, rows)}
        found = joined
        for node in walk.kernel.nodes:
            action = node.action
            if isinstance(action, (Load, IndexedLoad)):
                if action.access.buffer in aligned:
                    found = True
                    if not self._in_row(walk, action):
                        return None
            elif (isinstance(action, (Store, Keep)) and not self._in_row(walk, action)) or isinstance(
                action, (Total, Column)
            ):
                given.discard(action.access.buffer)
        return (given, None) if found else None

    def _dtype(self, call: HostCall) -> str:
        return self.buffers[call.outputs[0]].dtype

    def _leads(self, buffer: str, rows: Dim) -> bool:
        shape = self.buffers[buffer].shape
        return bool(shape) and shape[0] == rows

    def _in_row(self, walk: Walk, action: Load | IndexedLoad | Store | Keep) -> bool:
        return walk.in_row(action, d.product(self.buffers[action.access.buffer].shape[1:]))

    # --- memory

    def _bytes(self, buffer: str, axis: int) -> Dim:
        b = self.buffers[buffer]
        return d.mul(d.product(b.shape[axis:]), dtypes.itemsize(b.dtype))

    def _slots(self, steps: list[Step], local: set[str]) -> tuple[dict[str, int], list[Dim]]:
        """Memory of each local buffer: that of one that is read no more, or that the same kernel reads for the last
        time, each element before it is overwritten."""
        last = {b: i for i, s in enumerate(steps) for b in (*writes(s), *reads(s)) if b in local}
        slots: list[Dim] = []
        holder: list[str] = []
        slot_of: dict[str, int] = {}
        for i, step in enumerate(steps):
            for b in writes(step):
                if b not in local or b in slot_of:
                    continue
                size = self._bytes(b, 1)
                for s, old in enumerate(holder):
                    free = last[old] < i or (
                        last[old] == i and isinstance(step, Kernel) and old in reads(step) and overwrites(step, b, old)
                    )
                    if free and slots[s] == size:
                        slot_of[b], holder[s] = s, b
                        break
                else:
                    slot_of[b] = len(slots)
                    slots.append(size)
                    holder.append(b)
        return slot_of, slots


def sum_of(sizes: Sequence[Dim]) -> Dim:
    total: Dim = 0
    for n in sizes:
        total = d.add(total, n)
    return total


def _shifted(region: Region, n: int) -> Region:
    cuts = {i + n: c for i, c in region.cuts.items()}
    return replace(region, begin=region.begin + n, end=region.end + n, cuts=cuts)


def reads(step: Step) -> tuple[str, ...]:
    """Buffers that a step reads from memory as they were before it."""
    if isinstance(step, HostCall):
        return step.inputs
    if isinstance(step, NestKernel):
        return _of_nest(step, "in")
    found = (n.action.access.buffer for n in step.nodes if isinstance(n.action, (Load, IndexedLoad)))
    return tuple(dict.fromkeys(found))


def writes(step: Step) -> tuple[str, ...]:
    """Buffers that a step writes."""
    if isinstance(step, HostCall):
        return step.outputs
    if isinstance(step, NestKernel):
        return _of_nest(step, "out")
    found = (n.action.access.buffer for n in step.nodes if isinstance(n.action, (Store, Keep, Total, Column)))
    return tuple(dict.fromkeys(found))


def _of_nest(step: NestKernel, kind: str) -> tuple[str, ...]:
    return tuple(b.name for b, a in zip(step.buffers, step.nest.arrays, strict=True) if a.kind == kind)
