"""When each value is computed: levels between whole-tensor sums, sub-levels between row structures."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from graphloss.ir import dims as d
from graphloss.schedule.values import (
    Call,
    Constant,
    Extent,
    Opaque,
    Position,
    Read,
    Reduction,
    Root,
    Value,
)
from graphloss.schedule.workspace import Lowered

Place: TypeAlias = tuple[int, int]

# Reductions that may be done for all columns of a chunk of rows at once.
COLUMN_KINDS: Final = ("sum", "max", "min")
# Such a row has at most so many elements, and is worth it from so many rows on.
COLUMNS_WIDE: Final = 8192
COLUMNS_LONG: Final = 512
# Elements that are worth a chunk, and chunks that are worth having threads.
SEGMENT: Final = 4096
SEGMENTS: Final = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """A row structure: reductions run along the atoms `row`, one result per index of the atoms `outer`."""

    outer: frozenset[int]
    row: frozenset[int]

    @property
    def atoms(self) -> frozenset[int]:
        return self.outer | self.row


@dataclass
class Staged:
    """`order`: everything in topological order. By value id: `atoms`, `place`, `frame`; `total` and `column` are
    reductions whose
    result is complete only after their kernel."""

    lowered: Lowered
    order: list[Value | Opaque | Root]
    atoms: dict[int, frozenset[int]] = field(default_factory=dict)
    place: dict[int, Place] = field(default_factory=dict)
    frame: dict[int, Frame | None] = field(default_factory=dict)
    total: set[int] = field(default_factory=set)
    column: set[int] = field(default_factory=set)
    segment: dict[int, frozenset[int]] = field(
        default_factory=dict
    )  # of those in column: one result per chunk, sums over
    split: bool = False
    segments: bool = True
    rank: dict[int, int] = field(default_factory=dict)  # atoms in the order of the memory that is read and written
    host_level: dict[int, int] = field(default_factory=dict)  # by position in order
    root_place: dict[int, tuple[Place, Frame | None]] = field(default_factory=dict)  # by position in order

    def is_leaf(self, v: Value) -> bool:
        return isinstance(v, (Constant, Extent, Position)) or (isinstance(v, Read) and not v.deps)


def stage(lowered: Lowered, *, split: bool = False, segments: bool = True) -> Staged:
    """Places every value. With `split`, reductions over several atoms are always done one atom at a time; without
    `segments`, a reduction of row values has a kernel of its own."""
    staged = Staged(lowered, _regular(lowered, split), split=split, segments=segments)
    _ranks(staged)
    _levels(staged)
    return staged


# --- reductions over what the operand does not vary along, and over atoms that do not merge into one loop


def _regular(lowered: Lowered, split: bool) -> list[Value | Opaque | Root]:
    order: list[Value | Opaque | Root] = []
    alias: dict[int, Value] = {}
    atoms: dict[int, frozenset[int]] = {}
    count = 1 + max((x.id for x in lowered.values if isinstance(x, Value)), default=0)

    def add(v: Value) -> Value:
        nonlocal count
        if v.id < 0:
            v.id = count
            count += 1
        atoms[v.id] = _own_atoms(lowered, v, atoms)
        order.append(v)
        return v

    for item in lowered.values:
        if isinstance(item, Root):
            item.value = alias.get(item.value.id, item.value)
            order.append(item)
        elif isinstance(item, Opaque):
            order.append(item)
        else:
            item.deps = tuple(alias.get(x.id, x) for x in item.deps)
            if isinstance(item, Reduction):
                alias[item.id] = _reduction(lowered, item, atoms, add, split)
            else:
                add(item)
    return order


def _own_atoms(lowered: Lowered, v: Value, atoms: dict[int, frozenset[int]]) -> frozenset[int]:
    found = frozenset(lowered.atoms.resolve(v.own)) if not isinstance(v, Reduction) else frozenset()
    for x in v.deps:
        found |= atoms[x.id]
    return found - frozenset(lowered.atoms.resolve(v.over)) if isinstance(v, Reduction) else found


def _reduction(
    lowered: Lowered, item: Reduction, atoms: dict[int, frozenset[int]], add: Callable[[Value], Value], split: bool
) -> Value:
    (arg,) = item.deps
    over = lowered.atoms.resolve(item.over)
    varying = tuple(a for a in over if a in atoms[arg.id])
    still = [a for a in over if a not in atoms[arg.id]]
    kept = atoms[arg.id] - set(varying)
    result: Value = arg
    if item.kind in ("argmax", "argmin"):
        result = (
            add(Reduction(-1, item.dtype, (arg,), kind=item.kind, over=varying))
            if varying
            else add(Constant(-1, item.dtype))
        )
        return result
    if varying:
        groups = [varying]
        if kept and len(varying) > 1 and (split or not _merges(lowered, varying)):
            groups = [(a,) for a in reversed(varying)]
        for group in groups:
            result = add(Reduction(-1, item.dtype, (result,), kind=item.kind, over=group))
    if still and item.kind in ("sum", "prod"):
        if result.dtype != item.dtype:
            result = add(Call(-1, item.dtype, (result,), fn="cast"))
        size = add(Extent(-1, item.dtype, dim=d.product(tuple(lowered.atoms.sizes[a] for a in still))))
        result = add(Call(-1, item.dtype, (result, size), fn="mul" if item.kind == "sum" else "pow"))
    return result


def _merges(lowered: Lowered, over: tuple[int, ...]) -> bool:
    """Whether every access in the program walks these atoms as one loop."""
    inside = set(over)
    for item in lowered.values:
        if isinstance(item, (Read, Root, Position)):
            strides = lowered.atoms.strides(item.strides)
            if not inside & set(strides):
                continue
            for p, q in itertools.pairwise(over):
                if p not in strides or q not in strides or strides[p] != d.mul(strides[q], lowered.atoms.sizes[q]):
                    return False
    return True


def _ranks(s: Staged) -> None:
    """An order of atoms that follows the layout of the buffers that are read."""
    accesses = [x for x in s.order if isinstance(x, (Read, Root))]
    for item in sorted(accesses, key=lambda x: -len(x.strides)):
        for a in s.lowered.atoms.strides(item.strides):
            s.rank.setdefault(a, len(s.rank))


# --- levels


def _levels(s: Staged) -> None:
    lowered, order = s.lowered, s.order
    position: dict[int, int] = {}
    producers: dict[str, list[int]] = {}
    edges: list[list[tuple[int, int]]] = []
    for i, item in enumerate(order):
        found: list[tuple[int, int]] = []
        if isinstance(item, Value):
            position[item.id] = i
            s.atoms[item.id] = _own_atoms(lowered, item, s.atoms)
            if isinstance(item, Reduction) and not s.atoms[item.id] and item.kind not in ("argmax", "argmin"):
                s.total.add(item.id)
            found = [(position[x.id], int(x.id in s.total)) for x in item.deps]
            if isinstance(item, Read):
                found += [(p, 1) for p in producers.get(item.buffer, ())]
        elif isinstance(item, Root):
            found = [(position[item.value.id], int(item.value.id in s.total))]
            producers.setdefault(item.buffer, []).append(i)
        else:
            found = [(p, 0) for b in item.inputs for p in producers.get(b, ())]
            for b in item.outputs:
                producers.setdefault(b, []).append(i)
        edges.append(found)
    late = _late(lowered, order, edges)
    for i, item in enumerate(order):
        if isinstance(item, Value):
            _place(s, item, late[i])
    _join_users(s)
    for i, item in enumerate(order):
        if isinstance(item, Root):
            _place_root(s, i, item, late[i])
        elif isinstance(item, Opaque):
            s.host_level[i] = late[i]


def _late(lowered: Lowered, order: list[Value | Opaque | Root], edges: list[list[tuple[int, int]]]) -> list[int]:
    """The level of each item: as late as tensors that are stored allow, and otherwise where its operands are.

    A sum that only the loss value needs thus joins the kernel of the gradient instead of asking for one of its own.
    """
    early = [0] * len(order)
    for i, found in enumerate(edges):
        early[i] = max((early[j] + gap for j, gap in found), default=0)
    free = 1 + max(early, default=0)
    level = [
        early[i] if isinstance(x, Root) and lowered.atoms.strides(x.strides) else free for i, x in enumerate(order)
    ]
    for i in range(len(order) - 1, -1, -1):
        if level[i] < free:
            for j, gap in edges[i]:
                level[j] = min(level[j], level[i] - gap)
    last = _last_loads(order, edges, level, free)
    for i, found in enumerate(edges):
        if level[i] == free:
            # what is loaded waits for nobody, but a host call or nest that reads inputs only has a place of its own
            known = (level[j] + gap for j, gap in found if edges[j] or isinstance(order[j], Opaque))
            level[i] = max(known, default=early[i])
            level[i] = max(level[i], last[i])
    return level


def _last_loads(
    order: list[Value | Opaque | Root], edges: list[list[tuple[int, int]]], level: list[int], free: int
) -> list[int]:
    """For what no stored tensor needs and that is made of inputs alone: the level at which these are loaded last.

    A penalty on weights thus joins the kernel that adds its gradient to that of the rest. -1 where inputs differ.
    """
    last = [-1] * len(order)
    for i in range(len(order) - 1, -1, -1):
        if level[i] < free and isinstance(order[i], Root):
            last[i] = level[i]
        for j, gap in edges[i]:
            if gap == 0:
                last[j] = max(last[j], last[i])
    for i, found in enumerate(edges):
        if found:
            loads = {last[j] for j, _ in found if edges[j] or isinstance(order[j], Read)}
            alone = level[i] == free and isinstance(order[i], Value) and len(loads) == 1
            last[i] = loads.pop() if alone else -1
    return last


def _place(s: Staged, v: Value, level: int) -> None:
    sub = 0
    near: list[tuple[int, Value]] = []
    for x in v.deps:
        at = s.place[x.id]
        if at[0] == level and x.id not in s.total:
            behind = at[1] + int(x.id in s.column)
            sub = max(sub, behind)
            near.append((behind, x))
    frames = {s.frame[x.id] for at_, x in near if at_ == sub and x.id not in s.column} - {None}
    frame = next(iter(frames)) if len(frames) == 1 else None
    atoms = s.atoms[v.id]
    if isinstance(v, Reduction):
        below = s.atoms[v.deps[0].id]
        over = below - atoms
        if len(frames) > 1 or (frame is not None and below not in (frame.outer, frame.atoms)):
            sub, frame = sub + 1, None
        if v.id in s.total:
            pass
        elif frame is None and _in_columns(s, v, over):
            frame = Frame(over, atoms)
            s.column.add(v.id)
        elif frame is None:
            frame = Frame(atoms, over)
        elif frame == Frame(atoms, over):
            pass
        elif over == frame.outer and below == frame.atoms and v.kind in COLUMN_KINDS:
            s.column.add(v.id)
        elif _in_segments(s, v, frame, below):
            s.column.add(v.id)
            s.segment[v.id] = over
        else:
            sub, frame = sub + 1, Frame(atoms, over)
    elif len(frames) > 1 or (frame is not None and not atoms <= frame.atoms):
        sub, frame = sub + 1, None
    s.place[v.id] = (level, sub)
    s.frame[v.id] = frame


def _in_columns(s: Staged, v: Reduction, over: frozenset[int]) -> bool:
    """Whether a reduction over leading axes is added up by chunks of these axes, for all columns side by side.

    That walks over memory in order, and in parallel. Not where partial results, a row of them per chunk, could be as
    large as what they are the sums of; nor where so few rows are reduced that they stay in the cache for what needs the
    result.
    """
    kept = s.atoms[v.id]
    if v.kind not in COLUMN_KINDS or not over | kept <= s.rank.keys() or (s.split and len(kept) > 1):
        return False
    long, wide = (d.product(tuple(s.lowered.atoms.sizes[a] for a in x)) for x in (over, kept))
    if not isinstance(wide, int) or wide > COLUMNS_WIDE or (isinstance(long, int) and long < COLUMNS_LONG):
        return False
    return max(s.rank[a] for a in over) < min(s.rank[a] for a in kept)


def _in_segments(s: Staged, v: Reduction, frame: Frame, below: frozenset[int]) -> bool:
    """Whether row values are reduced further in their own kernel, each of whose chunks then makes one result."""
    kept, over = s.atoms[v.id], below - s.atoms[v.id]
    if not s.segments or v.kind not in COLUMN_KINDS or below != frame.outer or not kept <= s.rank.keys():
        return False
    if not frame.atoms <= s.rank.keys() or max(s.rank[a] for a in kept) > min(s.rank[a] for a in over | frame.row):
        return False
    count, size = (d.product(tuple(s.lowered.atoms.sizes[a] for a in x)) for x in (kept, over | frame.row))
    inner = min(s.rank[a] for a in over) > max(s.rank[a] for a in frame.row)
    known = inner or all(isinstance(s.lowered.atoms.sizes[a], int) for a in over)  # no row at all would make no chunk
    few = (isinstance(size, int) and size < SEGMENT) or (isinstance(count, int) and count < SEGMENTS)
    return known and not few


def _join_users(s: Staged) -> None:
    """Moves values, within their level, to the sub-level of their users where they then share a kernel.

    A sum over the labels alone could be had at once, but belongs into the loop over the same rows that comes later.
    """
    users: dict[int, list[Value]] = {}
    for item in s.order:
        if isinstance(item, Value):
            for x in item.deps:
                users.setdefault(x.id, []).append(item)
    for v in reversed(s.order):
        if not isinstance(v, Value) or v.id in s.total or v.id in s.column:
            continue
        (level, sub), frame = s.place[v.id], s.frame[v.id]
        near = [u for u in users.get(v.id, ()) if s.place[u.id][0] == level]
        alike = {
            u.id for u in near if (s.frame[u.id] == frame if frame is not None else s.atoms[u.id] == s.atoms[v.id])
        }
        joined = min((s.place[u.id][1] for u in near if u.id in alike), default=sub)
        apart = min((s.place[u.id][1] - 1 for u in near if u.id not in alike), default=joined)
        if sub < joined <= apart:
            s.place[v.id] = (level, joined)


def _place_root(s: Staged, i: int, root: Root, level: int) -> None:
    v = root.value
    atoms = frozenset(a for a, _ in _resolved(s, root))
    if v.id in s.total:
        s.root_place[i] = ((max(level, s.place[v.id][0] + 1), 0), None)
    elif s.is_leaf(v):
        s.root_place[i] = ((level, 0), None)
    else:
        at, frame = s.place[v.id], s.frame[v.id]
        if v.id in s.column or (frame is not None and not atoms <= frame.atoms):
            at, frame = (at[0], at[1] + 1), None
        s.root_place[i] = (at, frame)


def _resolved(s: Staged, root: Root) -> list[tuple[int, d.Dim]]:
    return list(s.lowered.atoms.strides(root.strides).items())
