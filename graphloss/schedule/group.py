"""Which values share a kernel: roots are gathered by place and row structure; what crosses kernels is stored or
recomputed."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from graphloss.ir.dims import Dim
from graphloss.ir.scalar import EXPENSIVE, FUNCTIONS
from graphloss.schedule import layout
from graphloss.schedule.kernel import Buffer
from graphloss.schedule.stages import Frame, Place, Staged
from graphloss.schedule.values import Call, Checked, Constant, Extent, Position, Read, Reduction, Root, Value
from graphloss.schedule.workspace import row_major

# A value of another kernel is computed again where that costs at most this much per element, otherwise read from
# memory; and up to the second number where at most one tensor of its size is read for it, so that the store and the
# load are saved.
RECOMPUTE_LIMIT = 2 * EXPENSIVE + 4
RECOMPUTE_NARROW = 5 * EXPENSIVE
# What is smaller than the loops that need it would be computed in each of their turns.
RECOMPUTE_SMALL = 8


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a value lies in memory."""

    buffer: str
    offset: Dim
    strides: tuple[tuple[int, Dim], ...]


@dataclass(eq=False)
class Group:
    """A kernel to be: its roots, and reductions whose partial results leave it."""

    place: Place
    frame: Frame | None
    roots: list[Root] = field(default_factory=list)
    partials: dict[int, Reduction] = field(default_factory=dict)  # totals and columns, by value id
    values: list[Value] = field(default_factory=list)  # everything computed here, operands first
    external: dict[int, Read] = field(default_factory=dict)  # value id -> load of its buffer


class Grouping:
    """Fills groups from the last place to the first, since a group decides what earlier ones must store."""

    def __init__(self, staged: Staged) -> None:
        self.s = staged
        self.groups: list[Group] = []
        self._open: dict[Place, dict[tuple[Frame | None, frozenset[int]], Group]] = {}
        self._places: list[Place] = []  # of those open, a heap of negated ones
        self._stored: dict[int, Stored] = {}
        self._positions = {x.id: i for i, x in enumerate(staged.order) if isinstance(x, Value)}
        self._count = 1 + max(self._positions, default=0)
        self._rank = staged.rank
        self.results: dict[int, str] = {}  # reduction id -> buffer with its finished value

    def run(self) -> list[Group]:
        s = self.s
        for i, item in enumerate(s.order):
            if isinstance(item, Root):
                place, frame = s.root_place[i]
                self._add_root(item, place, frame)
        done: list[Group] = []
        while self._places:
            level, sub = heapq.heappop(self._places)
            here = self._merge(list(self._open.pop((-level, -sub)).values()))
            for g in here:
                self._fill(g)
            done.extend(here)
        self.groups = done[::-1]
        return self.groups

    # --- roots

    def _group(self, place: Place, frame: Frame | None, atoms: frozenset[int]) -> Group:
        if place not in self._open:
            self._open[place] = {}
            heapq.heappush(self._places, (-place[0], -place[1]))
        key = (frame, frozenset() if frame is not None else atoms)
        return self._open[place].setdefault(key, Group(place, frame))

    def _add_root(self, root: Root, place: Place, frame: Frame | None) -> None:
        v = root.value
        strides = self.s.lowered.atoms.strides(root.strides)
        new = set(strides) == self._atoms(v) and v.id not in self._stored and not self.s.is_leaf(v)
        if v.id in self.s.total or v.id in self.s.column:
            if new and root.offset == 0 and strides == self.plain(v):
                # the kernel that combines the partial results writes straight to the root's buffer
                self._stored[v.id] = Stored(root.buffer, 0, tuple(strides.items()))
                self._partial(v, root.buffer)
                return
            new = False
        self._group(place, frame, frozenset(strides) | self._atoms(v)).roots.append(root)
        if new:
            self._stored[v.id] = Stored(root.buffer, root.offset, tuple(strides.items()))

    def _partial(self, v: Value, buffer: str) -> None:
        assert isinstance(v, Reduction)
        self._group(self.s.place[v.id], self.s.frame[v.id], self._atoms(v.deps[0])).partials[v.id] = v
        self.results[v.id] = buffer

    def plain(self, v: Value) -> dict[int, Dim]:
        """How a value lies in a buffer of its own: stride by atom."""
        order = self._layout(v)
        return dict(zip(order, row_major([self.s.lowered.atoms.sizes[a] for a in order]), strict=True))

    def _atoms(self, v: Value) -> frozenset[int]:
        return self.s.atoms[v.id]

    def _merge(self, groups: list[Group]) -> list[Group]:
        """Frameless groups join one that loads the same memory, if they load any, and has their loops: as its rows or
        its elements."""
        homes = [g for g in groups if g.frame is not None]
        loose = sorted((g for g in groups if g.frame is None), key=lambda g: -len(self._domain(g)))
        for g in loose:
            atoms = self._domain(g)
            home = next((f for f in homes if self._share(f, g) and self._takes(f, g, atoms)), None)
            if home is None:
                homes.append(g)
            else:
                home.roots += g.roots
                home.partials.update(g.partials)
        return homes

    def _takes(self, home: Group, g: Group, atoms: frozenset[int]) -> bool:
        """Whether the loops over `atoms` are loops of `home`; a frameless one becomes rows of them where it can."""
        if home.frame is not None:
            return atoms in (home.frame.outer, home.frame.atoms)
        around = self._domain(home)
        if not atoms < around or not self._reads(g) or (self.s.split and len(around - atoms) > 1):
            return False  # what is stored later may not walk several atoms as one row
        frame = Frame(atoms, around - atoms)
        values = self._below(home) + self._below(g)
        accesses = [self.s.lowered.atoms.strides(x.strides) for x in (*home.roots, *g.roots)]
        accesses += [self.s.lowered.atoms.strides(v.strides) for v in values if isinstance(v, (Read, Position))]
        try:
            rows = layout.choose(around, frame, accesses, self.s.lowered.atoms.sizes)
        except layout.RowSplit:
            return False
        if rows.outer:
            home.frame = frame
        return bool(rows.outer)

    def _domain(self, g: Group) -> frozenset[int]:
        atoms: frozenset[int] = frozenset()
        for r in g.roots:
            atoms |= self._atoms(r.value) | frozenset(self.s.lowered.atoms.strides(r.strides))
        for p in g.partials.values():
            atoms |= self._atoms(p.deps[0])
        return atoms

    def _share(self, a: Group, b: Group) -> bool:
        reads = self._reads(b)
        return not reads or bool(self._reads(a) & reads)

    def _reads(self, g: Group) -> set[str]:
        return {v.buffer for v in self._below(g) if isinstance(v, Read)}

    def _below(self, g: Group) -> list[Value]:
        stack: list[Value] = [r.value for r in g.roots] + list(g.partials.values())
        seen: dict[int, Value] = {}
        while stack:
            v = stack.pop()
            if v.id not in seen:
                seen[v.id] = v
                stack.extend(v.deps)
        return list(seen.values())

    # --- closure

    def _fill(self, g: Group) -> None:
        """Finds what the group computes itself; everything else is loaded, and stored by the group that owns it."""
        needed: dict[int, Value] = {}
        stack: list[Value] = [x for r in g.roots for x in (r.value,)] + [x for p in g.partials.values() for x in p.deps]
        while stack:
            v = stack.pop()
            if v.id in needed or v.id in g.external:
                continue
            if self._inline(g, v):
                needed[v.id] = v
                stack.extend(v.deps)
            else:
                g.external[v.id] = self._load(v)
        g.values = [needed[i] for i in sorted(needed, key=lambda i: self._positions[i])]

    def _inline(self, g: Group, v: Value) -> bool:
        if isinstance(v, (Constant, Extent, Position)) or (isinstance(v, Read) and not v.deps):
            return True
        if v.id in self.s.total or v.id in self.s.column:
            return False
        frame, place = self.s.frame[v.id], self.s.place[v.id]
        if place == g.place and (frame is None or frame == g.frame):
            return not (isinstance(v, Reduction) and frame is None)
        if isinstance(v, Reduction) or v.id in self._stored:
            return False
        return self._cheap(v, g)

    def _cheap(self, v: Value, g: Group) -> bool:
        """Whether computing `v` again, down to what is stored or smaller, costs less than its way through memory."""
        atoms = self._atoms(v)
        cost, most = 0, RECOMPUTE_SMALL if self._repeats(g, atoms) else RECOMPUTE_NARROW
        wide: set[str | int] = set()
        stack, seen = [v], {v.id}
        while stack and cost <= most:
            x = stack.pop()
            if isinstance(x, Call):
                cost += FUNCTIONS[x.fn].cost
            elif isinstance(x, Read):
                cost += 1
            elif isinstance(x, Checked):
                cost += 2
            stored = x is not v and x.id in self._stored
            if (stored or isinstance(x, Read)) and atoms and atoms <= self._atoms(x):
                wide.add(x.buffer if isinstance(x, Read) else x.id)
            if isinstance(x, Reduction) or stored or (self.s.frame[x.id] is not None and self._atoms(x) < atoms):
                continue
            for y in x.deps:
                if y.id not in seen:
                    seen.add(y.id)
                    stack.append(y)
        return cost <= (min(most, RECOMPUTE_LIMIT) if len(wide) > 1 else most)

    def _repeats(self, g: Group, atoms: frozenset[int]) -> bool:
        """Whether the kernel would compute a value over `atoms` anew in each turn of an outer loop."""
        if g.frame is not None:
            return bool(atoms & g.frame.row) and atoms < g.frame.atoms
        around = self._domain(g)
        return atoms < around and max(around, key=lambda a: self._rank.get(a, a)) in atoms

    def _load(self, v: Value) -> Read:
        """A load of the buffer that holds `v`; the group that computes `v` gets the store, or the partial result."""
        known = self._stored.get(v.id)
        if known is None:
            strides = self.plain(v)
            buffer = f"temp.{len(self.s.lowered.buffers)}"
            shape = tuple(self.s.lowered.atoms.sizes[a] for a in strides)
            self.s.lowered.buffers[buffer] = Buffer(buffer, v.dtype, shape, "temp")
            known = self._stored[v.id] = Stored(buffer, 0, tuple(strides.items()))
            if v.id in self.s.total or v.id in self.s.column:
                self._partial(v, buffer)
            else:
                root = Root(v, buffer, 0, known.strides)
                self._group(self.s.place[v.id], self.s.frame[v.id], self._atoms(v)).roots.append(root)
        self._count += 1
        own = tuple(a for a, _ in known.strides)
        read = Read(self._count, v.dtype, own=own, buffer=known.buffer, offset=known.offset, strides=known.strides)
        self.s.atoms[read.id] = frozenset(own)
        return read

    def _layout(self, v: Value) -> list[int]:
        frame = self.s.frame[v.id]
        row = frame.row if frame is not None else frozenset()
        by_rank = sorted(self._atoms(v), key=lambda a: self._rank.get(a, a))
        if not row & set(by_rank):
            return by_rank
        first = min(i for i, a in enumerate(by_rank) if a in row)
        rest = [a for a in by_rank if a not in row]
        return rest[:first] + [a for a in by_rank if a in row] + rest[first:]
