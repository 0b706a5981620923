"""One kernel from one group: levels of its values, passes over the row, what is kept between passes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from graphloss.errors import UnsupportedError
from graphloss.ir import dims as d
from graphloss.ir.dims import Dim
from graphloss.ir.scalar import EXPENSIVE, FUNCTIONS
from graphloss.schedule import layout
from graphloss.schedule.group import Group
from graphloss.schedule.kernel import (
    Access,
    Action,
    Apply,
    Buffer,
    Check,
    CheckInterval,
    CheckSite,
    Column,
    Const,
    DimValue,
    IndexedLoad,
    Iota,
    Keep,
    Kernel,
    Level,
    Load,
    Node,
    RowReduce,
    Store,
    Tile,
    Total,
    operands,
    renumbered,
)
from graphloss.schedule.layout import Layout
from graphloss.schedule.stages import Staged
from graphloss.schedule.values import Call, Checked, Constant, Extent, Position, Read, Reduction, Root, Value

# Elements per chunk of parallel work, and the widest row that is unrolled with lanes as rows.
CHUNK = 32768
UNROLLED_ROW = 24
# Unrolled scalar functions of one kernel: beyond this, compiling costs more than a loop over the row.
UNROLLED_CALLS = 1536
# About as many chunks has a kernel that sums along its rows' columns, if its rows are many.
COLUMN_CHUNKS = 64


@dataclass
class Built:
    """A kernel, its partial buffers by reduction id, and the atoms of its row, in the order of sums of columns."""

    kernel: Kernel
    partials: dict[int, Buffer] = field(default_factory=dict)
    row: tuple[int, ...] = ()


class KernelBuilder:
    def __init__(self, staged: Staged, group: Group, name: str, sites: list[CheckSite]) -> None:
        self.s, self.group, self.name, self.sites = staged, group, name, sites
        self.atoms = staged.lowered.atoms
        self.nodes: list[Node] = []
        self.index: dict[int, int] = {}  # value id -> node
        self.buffers: dict[str, Buffer] = {}
        # node -> first pass that can use it (row level), or the pass it belongs to (element level)
        self.ready: dict[int, int] = {}

    def build(self) -> Built:
        g = self.group
        values = [g.external[i] for i in g.external] + g.values
        self.axes = self._layout(values)
        row = self.axes.row
        row_size = self.axes.size(row) if row is not None else None
        inner = self.axes.size(self.axes.inner) if self.axes.inner is not None else None
        outer = tuple(self.axes.size(a) for a in self.axes.outer)
        self.tile = self._tile(outer, row_size, inner)
        for vid in self.group.partials:
            if vid in self.s.segment:
                kept = sorted(self.s.atoms[vid], key=self.s.rank.__getitem__)
                self.grain = layout.segment(self.axes, self.s.segment[vid], kept)
        for vid, read in g.external.items():
            self._value(read)
            self.index[vid] = self.index[read.id]
        for v in g.values:
            self._value(v)
        roots = [self._store_plan(r) for r in g.roots]
        partials = self._partials(row_size, outer)
        self._stores(roots)
        passes = 1 + max(
            (n.at[0] for n in self.nodes if n.level == Level.ELEMENT or isinstance(n.action, RowReduce)), default=-1
        )
        self._spread_passes()
        split = (
            not outer
            and inner is None
            and row is not None
            and not any(isinstance(n.action, RowReduce) for n in self.nodes)
        )
        kernel = Kernel(
            self.name, self.tile, outer, row_size, inner, passes, tuple(self.nodes), tuple(self.buffers.values()),
            split, self.grain,
        )  # fmt: skip
        return Built(kernel, partials, row or ())

    # --- axes

    def _layout(self, values: list[Value]) -> Layout:
        g = self.group
        stores = [self.atoms.strides(r.strides) for r in g.roots]
        loads = [self.atoms.strides(v.strides) for v in values if isinstance(v, (Read, Position))]
        atoms = g.frame.atoms if g.frame is not None else frozenset()
        for access in (*stores, *loads):
            atoms |= frozenset(access)
        indexed = [self.atoms.strides(v.strides) for v in values if isinstance(v, Read) and v.index_stride is not None]
        return layout.choose(atoms, g.frame, [*stores, *loads], self.atoms.sizes, indexed)

    def _tile(self, outer: tuple[Dim, ...], row: Dim | None, inner: Dim | None) -> str:
        if inner is not None:
            self.grain = rows_per_chunk(d.mul(row if row is not None else 1, inner), 1)
            return Tile.COLUMNS
        calls = sum(isinstance(v, Call) for v in self.group.values)
        if isinstance(row, int) and 0 < row <= UNROLLED_ROW and outer and calls * row <= UNROLLED_CALLS:
            self.grain = max(16, CHUNK // row // 16 * 16)
            return Tile.LANES_ARE_ROWS
        self.grain = CHUNK if not outer else rows_per_chunk(row if row is not None else 1)
        if outer and any(i in self.s.column and i not in self.s.segment for i in self.group.partials):
            # each chunk has a row of sums per column: few chunks, so that these stay small beside the rows themselves
            rows = d.mul(d.floordiv(d.product(outer), 16 * COLUMN_CHUNKS), 16)
            self.grain = d.maximum(d.maximum(self.grain, 16), rows)
        return Tile.ROWS

    # --- nodes

    def _add(self, action: Action, level: Level, at: tuple[int, ...], ready: int) -> int:
        self.nodes.append(Node(action, level, at))
        self.ready[len(self.nodes) - 1] = ready
        return len(self.nodes) - 1

    def _level(self, varies: frozenset[int]) -> Level:
        if self.axes.row is not None and varies & set(self.axes.row):
            return Level.ELEMENT
        rest = [a for axis in self.axes.outer for a in axis] + list(self.axes.inner or ())
        return Level.ROW if varies & set(rest) else Level.SCALAR

    def _place(self, action: Action, level: Level, args: tuple[int, ...]) -> int:
        """Adds a pure node at the earliest pass its arguments allow."""
        level = max((level, *(self.nodes[a].level for a in args)))
        first = max((self.ready[a] for a in args), default=0)
        return self._add(action, level, () if level == Level.SCALAR else (first,), first)

    def _arg(self, v: Value) -> int:
        return self.index[v.id]

    def _access(self, buffer: str, offset: Dim, strides: dict[int, Dim]) -> Access:
        self.buffers.setdefault(buffer, self.s.lowered.buffers[buffer])
        return Access(buffer, offset, self.axes.strides(strides))

    def _value(self, v: Value) -> None:
        if v.id in self.index:
            return
        if isinstance(v, Constant):
            node = self._place(Const(v.dtype, v.value), Level.SCALAR, ())
        elif isinstance(v, Extent):
            node = self._place(DimValue(v.dtype, v.dim), Level.SCALAR, ())
        elif isinstance(v, Position):
            node = self._position(v)
        elif isinstance(v, Read):
            node = self._read(v)
        elif isinstance(v, Checked):
            node = self._check(v)
        elif isinstance(v, Call):
            args = tuple(self._arg(x) for x in v.deps)
            node = self._place(Apply(v.dtype, v.fn, args), Level.SCALAR, args)
        elif isinstance(v, Reduction):
            (x,) = v.deps
            arg = self._arg(x)
            at = self.ready[arg]
            node = self._add(RowReduce(v.dtype, v.kind, arg), Level.ROW, (at,), at + 1)
        else:
            raise UnsupportedError(f"the scheduler has no node for {type(v).__name__}")
        self.index[v.id] = node

    def _read(self, v: Read) -> int:
        strides = self.atoms.strides(v.strides)
        access = self._access(v.buffer, v.offset, strides)
        if v.deps:
            index = self._arg(v.deps[0])
            assert v.index_stride is not None
            return self._place(
                IndexedLoad(v.dtype, access, index, v.index_stride), self._level(frozenset(strides)), (index,)
            )
        return self._place(Load(v.dtype, access), self._level(frozenset(strides)), ())

    def _position(self, v: Position) -> int:
        strides = self.atoms.strides(v.strides)
        terms = []
        for axis, atoms in enumerate(self.axes.axes):
            present = [a for a in atoms if a in strides]
            if not present:
                continue
            step = strides.get(atoms[-1], 0)
            whole = len(present) == len(atoms) and all(
                strides[p] == d.mul(strides[q], self.atoms.sizes[q]) for p, q in itertools.pairwise(atoms)
            )
            if not whole:
                raise layout.RowSplit
            level = self._level(frozenset(atoms))
            if isinstance(step, int):
                terms.append(self._place(Iota(v.dtype, axis, 0, step), level, ()))
            else:
                scale = self._place(DimValue(v.dtype, step), Level.SCALAR, ())
                index = self._place(Iota(v.dtype, axis), level, ())
                terms.append(self._place(Apply(v.dtype, "mul", (index, scale)), level, (index, scale)))
        if v.start != 0 or not terms:
            terms.append(self._place(DimValue(v.dtype, v.start), Level.SCALAR, ()))
        total = terms[0]
        for t in terms[1:]:
            total = self._place(Apply(v.dtype, "add", (total, t)), Level.SCALAR, (total, t))
        return total

    def _check(self, v: Checked) -> int:
        arg = self._arg(v.deps[0])
        site = v.site
        assert site is not None
        strides = self.axes.strides(self.atoms.strides(site.strides))
        level = self.nodes[arg].level
        axes = [self.axes.size(a) for a in self.axes.axes]
        pairs = list(zip(axes, strides, strict=True))
        if level == Level.ROW and self.axes.row is not None:
            del pairs[len(self.axes.outer)]
        elif level == Level.SCALAR:
            pairs = []
        self.sites.append(
            CheckSite(
                site.op,
                site.variable,
                site.loc,
                site.limit,
                site.shape,
                tuple(p[0] for p in pairs),
                tuple(p[1] for p in pairs),
                site.interval,
            )
        )
        slot = len(self.sites) - 1
        if site.interval is not None:
            return self._place(CheckInterval(v.dtype, arg, site.interval.low, site.interval.high, slot), level, (arg,))
        return self._place(Check(v.dtype, arg, site.limit, slot), level, (arg,))

    # --- what leaves the kernel

    def _store_plan(self, root: Root) -> tuple[int, Access, Level]:
        strides = self.atoms.strides(root.strides)
        node = self._arg(root.value)
        level = max(self.nodes[node].level, self._level(frozenset(strides)))
        return node, self._access(root.buffer, root.offset, strides), level

    def _partials(self, row: Dim | None, outer: tuple[Dim, ...]) -> dict[int, Buffer]:
        found: dict[int, Buffer] = {}
        chunks = self.chunks(outer, row)
        for vid, v in self.group.partials.items():
            arg = self._arg(v.deps[0])
            dtype = _partial_dtype(v)
            column = vid in self.s.column and vid not in self.s.segment
            shape: tuple[Dim, ...] = (chunks, row if row is not None else 1) if column else (chunks,)
            buffer = Buffer(f"partial.{self.name}.{len(found)}", dtype, shape, "partial")
            self.s.lowered.buffers[buffer.name] = buffer
            self.buffers[buffer.name] = buffer
            access = Access(buffer.name, 0, tuple(0 for _ in self.axes.axes))
            level = self.nodes[arg].level
            at = (self.ready[arg],) if level != Level.SCALAR else ()
            if column:
                self._add(Column(dtype, v.kind, arg, access), Level.ELEMENT, at, 0)
            else:
                self._add(Total(dtype, v.kind, arg, access), level, at, 0)
            found[vid] = buffer
        return found

    def chunks(self, outer: tuple[Dim, ...], row: Dim | None) -> Dim:
        """How many chunks the kernel's work makes: ceil(positions / grain)."""
        if outer:
            n = d.product(outer)
        elif row is not None and self.group.frame is None:
            n = row
        else:
            return 1
        return d.floordiv(d.add(n, d.sub(self.grain, 1)), self.grain)

    def _stores(self, roots: list[tuple[int, Access, Level]]) -> None:
        for node, access, level in roots:
            at = () if level == Level.SCALAR else (self.ready[node],)
            self._add(Store(self.nodes[node].action.dtype, node, access), level, at, 0)

    def _spread_passes(self) -> None:
        """Element nodes that later passes use are computed again there, or, where that is dear, kept in an output
        buffer."""
        wanted: dict[int, set[int]] = {}
        kept: dict[int, Access] = {}
        free = self._free_outputs()
        cost = self._costs()
        for i in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[i]
            if _is_sink(node.action):
                at = set(node.at)
            elif node.level == Level.ELEMENT:
                at = wanted.setdefault(i, set())
                if len(at) > 1 and cost[i] >= EXPENSIVE and free.get(node.action.dtype):
                    last, access = free[node.action.dtype][-1]
                    if max(at) <= last:
                        kept[i] = access
                        free[node.action.dtype].pop()
                        at = {min(at)}
            else:
                continue
            for a in operands(node.action):
                if self.nodes[a].level == Level.ELEMENT:
                    wanted.setdefault(a, set()).update(at)
        self._rebuild(wanted, kept)

    def _free_outputs(self) -> dict[str, list[tuple[int, Access]]]:
        """Per dtype the stores that write every element once, to buffers this kernel does not read: (pass, access)."""
        if self.tile == Tile.LANES_ARE_ROWS:
            return {}  # the whole row stays in registers
        read = {n.action.access.buffer for n in self.nodes if isinstance(n.action, (Load, IndexedLoad))}
        free: dict[str, list[tuple[int, Access]]] = {}
        for n in self.nodes:
            if not isinstance(n.action, Store) or n.level != Level.ELEMENT or n.action.access.buffer in read:
                continue
            if all(s != 0 for s in n.action.access.strides):
                free.setdefault(n.action.dtype, []).append((n.at[0], n.action.access))
        return free

    def _costs(self) -> list[int]:
        """What an element node costs again in a later pass: its functions down to loads and row values, at most
        EXPENSIVE each."""
        cost: list[int] = []
        for n in self.nodes:
            own = FUNCTIONS[n.action.fn].cost if isinstance(n.action, Apply) and n.level == Level.ELEMENT else 0
            cost.append(
                min(EXPENSIVE, own + sum(cost[a] for a in operands(n.action) if self.nodes[a].level == Level.ELEMENT))
            )
        return cost

    def _rebuild(self, wanted: dict[int, set[int]], kept: dict[int, Access]) -> None:
        nodes: list[Node] = []
        new: dict[int, int] = {}
        for i, node in enumerate(self.nodes):
            at = node.at
            if node.level == Level.ELEMENT and not _is_sink(node.action):
                if not wanted[i]:
                    continue
                at = tuple(sorted(wanted[i]))
            action = renumbered(node.action, new)
            if i in kept:
                nodes.append(Node(action, node.level, at[:1]))
                action = Keep(action.dtype, len(nodes) - 1, kept[i])
            new[i] = len(nodes)
            nodes.append(Node(action, node.level, at))
        self.nodes = nodes


def rows_per_chunk(per_row: Dim, multiple: int = 16) -> Dim:
    """Rows per chunk: about CHUNK elements, a multiple of the tile height where a chunk has that many rows."""
    rows = d.maximum(d.floordiv(CHUNK, d.maximum(per_row, 1)), 1)
    if isinstance(rows, int):
        # a power of two below that, so that kernels on rows of several widths begin chunks at the same rows
        return rows // multiple * multiple if rows >= multiple else 1 << (rows.bit_length() - 1)
    return rows if multiple == 1 else d.maximum(d.mul(d.floordiv(rows, multiple), multiple), 1)


def _partial_dtype(v: Reduction) -> str:
    if v.kind in ("sum", "prod"):
        return "float64" if v.dtype in ("float32", "float64") else "int64"
    return "bool" if v.kind in ("any", "all") else v.dtype


def _is_sink(action: Action) -> bool:
    return isinstance(action, (RowReduce, Total, Column, Store))
