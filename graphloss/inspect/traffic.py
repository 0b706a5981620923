"""How many bytes the kernels of a plan move, and how few would do.

Two counts. *Every pass*: each tensor that a kernel reads or writes, once in each pass over the row that touches it.
*From memory*: the same without what is still in the cache. Between two passes over a row lies one tile of rows; where
all that the kernel touches of a tile is at most `CACHE` bytes, only the first pass reads memory and only the last write
reaches it. A tensor that does not vary along an outer loop is swept once per turn of that loop, and comes from memory
each time if what is swept in a turn is more than `CACHE`. A loop that strides over memory takes whole lines, unless a
later turn comes back for the rest while the lines are in the cache. Partial results count, and so do the operands and
results of calls between kernels, once each. What a store reads before it writes does not count.

Where the count must choose and only a run knows a size, the size is taken to be `UNKNOWN`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graphloss import dtypes
from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.schedule.chunked import Step
from graphloss.schedule.kernel import (
    Access,
    Apply,
    Buffer,
    Check,
    CheckInterval,
    Column,
    IndexedLoad,
    Iota,
    Keep,
    Kernel,
    Load,
    Node,
    RowReduce,
    Store,
    Tile,
    Total,
)
from graphloss.schedule.plan import Plan

# What a core's second-level cache holds at least, and its line.
CACHE = 512 * 1024
LINE = 64
UNKNOWN = 1024
# Rows, or inner positions, that a tile of each kind takes through all passes before the next.
TILE = {Tile.ROWS: 16, Tile.LANES_ARE_ROWS: 16, Tile.COLUMNS: 256}


@dataclass(frozen=True)
class Traffic:
    """Bytes read from and written to memory, and the sum of both if every pass went there."""

    read: Dim = 0
    written: Dim = 0
    every_pass: Dim = 0

    @property
    def total(self) -> Dim:
        return dims.add(self.read, self.written)

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(dims.add(self.read, other.read), dims.add(self.written, other.written),
                       dims.add(self.every_pass, other.every_pass))  # fmt: skip


def moved(plan: Plan) -> Traffic:
    """What all steps of the plan move."""
    return sum((traffic(step, plan.buffers) for step in plan.steps), Traffic())


def ideal(plan: Plan) -> Traffic:
    """What is needed of each input read once, each result written once."""
    needed: dict[str, Dim] = {}
    for step in plan.steps:
        for name, size in _needed(step, plan.buffers).items():
            needed[name] = max(needed.get(name, 0), size, key=_guess)
    read = _sum(size for name, size in needed.items() if plan.buffers[name].role == "input")
    written = _sum(_size(plan.buffers[name]) for name in dict.fromkeys(plan.results.values()))
    return Traffic(read, written, dims.add(read, written))


def traffic(step: Step, buffers: Mapping[str, Buffer]) -> Traffic:
    """What one kernel, or one call between kernels, moves."""
    if isinstance(step, Kernel):
        return _Count(step).traffic()
    read, written = (_sum(_size(buffers[b]) for b in names) for names in (step.inputs, step.outputs))
    return Traffic(read, written, dims.add(read, written))


def _needed(step: Step, buffers: Mapping[str, Buffer]) -> dict[str, Dim]:
    if isinstance(step, Kernel):
        count = _Count(step)
        return {name: count.footprint(count.loads(name)) for name in count.sizes}
    return {name: _size(buffers[name]) for name in step.inputs}


@dataclass(frozen=True)
class _Use:
    """One place in the kernel's text that reads or writes: `varies` are the axes along which it goes elsewhere."""

    access: Access
    dtype: str
    passes: tuple[int, ...]
    varies: tuple[int, ...]
    indexed: bool = False


class _Count:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.sizes = {b.name: b for b in kernel.buffers}
        self.read: dict[str, list[_Use]] = {}
        self.write: dict[str, list[_Use]] = {}
        self.partials: Dim = 0
        along: list[frozenset[int]] = []
        for node in kernel.nodes:
            along.append(self._along(node, along))
            self._uses(node, along)
        self.loops = self._loops()
        self.stays = self._stays()

    def traffic(self) -> Traffic:
        read, every = self._side(self.read, self.write if self.stays else {})
        written, also = self._side(self.write, {})
        return Traffic(read, dims.add(written, self.partials), dims.add(dims.add(every, also), self.partials))

    def _side(self, side: Mapping[str, list[_Use]], near: Mapping[str, list[_Use]]) -> tuple[Dim, Dim]:
        """From memory, and with every pass; what `near` holds was written by the tile itself a pass before."""
        once: Dim = 0
        every: Dim = 0
        for buffer, uses in side.items():
            passes: dict[int, list[_Use]] = {}
            for use in uses:
                for p in use.passes:
                    passes.setdefault(p, []).append(use)
            sizes = [self.footprint(found) for found in passes.values()]
            every = dims.add(every, _sum(sizes))
            if buffer not in near:
                once = dims.add(once, self._swept(uses) if self.stays else _sum(map(self._swept, passes.values())))
        return once, every

    # --- what the text says

    def _along(self, node: Node, along: list[frozenset[int]]) -> frozenset[int]:
        """The axes that a node varies along."""
        action = node.action
        found: frozenset[int] = frozenset()
        if isinstance(action, Iota):
            found = frozenset((action.axis,))
        elif isinstance(action, (Load, IndexedLoad, Keep)):
            found = frozenset(i for i, s in enumerate(action.access.strides) if s != 0)
        if isinstance(action, Apply):
            found = found.union(*(along[a] for a in action.args))
        elif isinstance(action, (IndexedLoad, Check)):
            found |= along[action.index]
        elif isinstance(action, (CheckInterval, RowReduce)):
            found = along[action.arg]
        return found - {self.kernel.row_axis} if isinstance(action, RowReduce) else found

    def _uses(self, node: Node, along: list[frozenset[int]]) -> None:
        action = node.action
        at = node.at or (0,)
        if isinstance(action, (Total, Column)):
            self.partials = dims.add(self.partials, _size(self.sizes[action.access.buffer]))
        elif isinstance(action, Load):
            self._use(self.read, action.access, action.dtype, at)
        elif isinstance(action, IndexedLoad):
            self._use(self.read, action.access, action.dtype, at, tuple(sorted(along[-1])))
        elif isinstance(action, Store):
            self._use(self.write, action.access, action.dtype, at)
        elif isinstance(action, Keep):
            self._use(self.write, action.access, action.dtype, at[:1])
            self._use(self.read, action.access, action.dtype, at[1:])

    def _use(
        self, side: dict[str, list[_Use]], access: Access, dtype: str, at: tuple[int, ...],
        indexed: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        varies = tuple(i for i, s in enumerate(access.strides) if s != 0) if indexed is None else indexed
        if at:
            side.setdefault(access.buffer, []).append(_Use(access, dtype, at, varies, indexed is not None))

    # --- how much that is

    def loads(self, name: str) -> list[_Use]:
        return self.read.get(name, [])

    def footprint(self, uses: Iterable[_Use]) -> Dim:
        """Bytes that these touch of their buffer; what is indexed besides a walk over it is in the cache."""
        walks = {(u.access, u.varies): u for u in uses}
        if any(not u.indexed for u in walks.values()):
            walks = {key: u for key, u in walks.items() if not u.indexed}
        size = _sum(dims.mul(self._count(u.varies), dtypes.itemsize(u.dtype)) for u in walks.values())
        return min((size, *(_size(self.sizes[u.access.buffer]) for u in walks.values())), key=_guess)

    def _swept(self, uses: list[_Use]) -> Dim:
        """The same from memory: by whole lines, and anew in each turn of an outer loop where a turn outgrows the
        cache."""
        if not uses:
            return 0
        gaps = max(self._gap(u) for u in uses)
        size = min(dims.mul(gaps, self.footprint(uses)), _size(self.sizes[uses[0].access.buffer]), key=_guess)
        return dims.mul(size, max((dims.mul(self._turns(u), self._lines_again(u)) for u in uses), key=_guess))

    def _turns(self, use: _Use) -> Dim:
        """How often an outer loop that the access does not vary along sweeps it from memory."""
        turns: Dim = 1
        for at, (axis, n) in enumerate(self.loops):
            swept = [m for a, m in self.loops[at + 1 :] if a in use.varies]
            if axis not in use.varies and swept and not use.indexed:
                turn = dims.mul(dims.product(tuple(swept)), dtypes.itemsize(use.dtype))
                turns = dims.mul(turns, n) if _guess(turn) > CACHE else turns
        return turns

    def _gap(self, use: _Use) -> int:
        """How many times what is used its lines hold."""
        steps = [abs(_guess(use.access.strides[i])) for i in use.varies]
        return 1 if use.indexed or not steps else max(1, min(min(steps), LINE // dtypes.itemsize(use.dtype)))

    def _lines_again(self, use: _Use) -> int:
        """How often a line comes from memory, where loops stride over other lines before they come back to it."""
        most = LINE // dtypes.itemsize(use.dtype)
        steps = {i: abs(_guess(use.access.strides[i])) for i in use.varies}
        near = min(steps, key=lambda i: (steps[i], -i), default=None)
        if use.indexed or near is None or steps[near] >= most:
            return 1
        innermost = max(at for at, (a, _) in enumerate(self.loops) if a == near)
        lines = dims.product(tuple(n for a, n in self.loops[innermost + 1 :] if a in use.varies))
        return 1 if _guess(lines) * LINE <= CACHE else most // max(1, steps[near])

    def _loops(self) -> list[tuple[int, Dim]]:
        """Axes and their turns as the tile walks them, from the outermost loop; a tiled axis is there twice."""
        kernel = self.kernel
        tiled = {Tile.COLUMNS: len(kernel.axes) - 1, Tile.LANES_ARE_ROWS: len(kernel.outer) - 1}.get(kernel.tile)
        if tiled is None or tiled < 0:
            return list(enumerate(kernel.axes))
        n, row = kernel.axes[tiled], kernel.row_axis
        size = min(TILE[kernel.tile], _guess(n))
        outer = [(i, m) for i, m in enumerate(kernel.outer) if i != tiled]
        inside = [(row, kernel.row)] if kernel.row is not None else []
        return [*outer, (tiled, dims.floordiv(dims.add(n, size - 1), max(size, 1))), *inside, (tiled, size)]

    def _stays(self) -> bool:
        """Whether what a tile touches is still in the cache in the next pass over it."""
        kernel, total = self.kernel, 0
        tiled = set(range(len(kernel.outer))) if kernel.inner is None else {len(kernel.axes) - 1}
        many = _guess(self._count(sorted(tiled))) if tiled else 1
        height = min(TILE[kernel.tile], _guess(kernel.grain)) if kernel.inner is None else TILE[Tile.COLUMNS]
        for uses in (self.read.get(n, []) + self.write.get(n, []) for n in self.sizes):
            widest = 0
            for u in uses:
                rows = min(height, many) if tiled & set(u.varies) else 1
                along = _guess(kernel.row) if kernel.row is not None and kernel.row_axis in u.varies else 1
                widest = max(widest, rows * along * dtypes.itemsize(u.dtype))
            total += widest
        return total <= CACHE

    def _count(self, axes: Iterable[int]) -> Dim:
        return dims.product(tuple(self.kernel.axes[i] for i in axes))


def _size(b: Buffer) -> Dim:
    return dims.mul(dims.product(b.shape), dtypes.itemsize(b.dtype))


def _sum(parts: Iterable[Dim]) -> Dim:
    total: Dim = 0
    for d in parts:
        total = dims.add(total, d)
    return total


def _guess(d: Dim) -> int:
    return dims.evaluate(d, _UNKNOWN) if not isinstance(d, int) else d


_UNKNOWN: Mapping[str, int] = defaultdict(lambda: UNKNOWN)
