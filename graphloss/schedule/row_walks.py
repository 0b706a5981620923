"""Kernels as walks over the rows of a region: which can be, in chunks of whole rows, and how their sums are held.

A kernel cuts its positions into chunks; if a fixed number of them makes a row, any range of rows is a range of
positions. So those walk by rows whose outer axis is the rows, or the rows with what lies in a row behind them, and
those that walk all elements of all rows as one axis. One that adds up the rows for each column is made into one that
walks by rows and leaves partial sums, and a second that adds up these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from graphloss import dtypes
from graphloss.ir import dims as d
from graphloss.ir.dims import Dim
from graphloss.schedule.kernel import (
    Access,
    Action,
    Apply,
    Buffer,
    Check,
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
from graphloss.schedule.rows import rows_per_chunk

# Rows of a chunk at least; and where chunks leave a row of partial sums each, which is small beside so many rows.
ROWS: Final = 16
COLUMN_ROWS: Final = 64


@dataclass(frozen=True)
class Walk:
    """`kernel` walks by rows, `per_row` positions each; `finish` runs after it."""

    kernel: Kernel
    per_row: Dim
    finish: tuple[Kernel, ...] = ()

    @property
    def columns(self) -> dict[str, str]:
        """Buffers of partial results of columns, and how chunks of them combine."""
        found = (n.action for n in self.kernel.nodes if isinstance(n.action, Column))
        return {c.access.buffer: c.kind for c in found}

    def in_chunks(self, rows: Dim) -> tuple[Kernel, dict[str, Buffer]]:
        """The kernel in chunks of so many rows, and its partial results: one for each chunk, but one alone of columns,
        with which those of the rows at hand are combined."""
        kernel, grain = self.kernel, d.mul(rows, self.per_row)
        cut = kernel.axes[:1] if kernel.split_row else kernel.outer
        chunks = d.floordiv(d.add(d.product(cut), d.sub(grain, 1)), grain)
        made = {n.action.access.buffer for n in kernel.nodes if isinstance(n.action, (Total, Column))}
        partials = {
            b.name: replace(b, shape=(1 if b.name in self.columns else chunks, *b.shape[1:]))
            for b in kernel.buffers
            if b.name in made
        }
        buffers = tuple(partials.get(b.name, b) for b in kernel.buffers)
        return replace(kernel, grain=grain, buffers=buffers), partials

    def in_row(self, action: Load | IndexedLoad | Store | Keep, row: Dim) -> bool:
        """Whether at row r of the kernel all elements of the access lie in row r of a buffer of `row` elements each."""
        access, kernel = action.access, self.kernel
        inside = _inside(kernel, self.per_row)
        if inside is None or not access.strides or d.mul(access.strides[0], inside) != row:
            return False
        spans = [(n, s) for n, s in zip((inside, *kernel.axes[1:]), access.strides, strict=True) if s != 0]
        if isinstance(action, IndexedLoad):
            index = kernel.nodes[action.index].action
            if not isinstance(index, Check):
                return False
            spans.append((index.limit, action.stride))
        top: Dim = access.offset
        low: Dim = access.offset
        for n, stride in spans:
            if isinstance(stride, d.SymDim) and any(c < 0 for _, c in stride.terms):
                return False
            reach = d.mul(d.sub(n, 1), stride)
            if isinstance(stride, int) and stride < 0:
                low = d.add(low, reach)
            else:
                top = d.add(top, reach)
        room = d.sub(d.sub(row, 1), top)
        return isinstance(room, int) and room >= 0 and isinstance(low, int) and low >= 0


def walk(kernel: Kernel, rows: Dim) -> Walk | None:
    """The kernel as a walk over `rows`, if it can be one."""
    if rows == 0:
        return None
    if (split := _split(kernel, rows)) is not None:
        return split
    axes = (kernel.row,) if kernel.split_row else kernel.outer
    inside = d.exact_div(axes[0], rows) if axes and axes[0] is not None else None
    if inside is None:
        return None
    return Walk(kernel, d.product((inside, *(n for n in axes[1:] if n is not None))))


def rows_in_chunks(walks: Sequence[Walk], widest: Dim) -> Dim:
    """How many rows are a chunk for all of these alike, where the widest rows between them have so many elements."""
    least = COLUMN_ROWS if any(w.columns for w in walks) else ROWS
    return d.maximum(rows_per_chunk(widest), least)


def _inside(kernel: Kernel, per_row: Dim) -> Dim | None:
    """How many positions of the first axis make a row."""
    return per_row if kernel.split_row else d.exact_div(per_row, d.product(kernel.outer[1:]))


def refitted(kernel: Kernel, partials: Mapping[str, Buffer]) -> Kernel:
    """A kernel that adds up partial results, for `partials` of other shapes than before."""
    mine = {b.name: partials[b.name] for b in kernel.buffers if b.name in partials}
    if not mine:
        return kernel
    (chunks,) = {b.shape[0] for b in mine.values()}
    return replace(kernel, row=chunks, buffers=tuple(mine.get(b.name, b) for b in kernel.buffers))


# --- sums of columns


def _split(kernel: Kernel, rows: Dim) -> Walk | None:
    """A kernel that adds up rows, lane by lane, in one loop: as a walk over the rows, and what follows the sums."""
    if kernel.tile != Tile.COLUMNS or kernel.outer or kernel.row != rows or kernel.passes != 1:
        return None
    sums = [n.action for n in kernel.nodes if isinstance(n.action, RowReduce)]
    plain = (Const, DimValue, Iota, Load, Apply, RowReduce, Total, Store)
    if kernel.inner is None or not sums or any(s.kind != "sum" for s in sums):
        return None
    if not all(isinstance(n.action, plain) for n in kernel.nodes) or _totals(kernel, Level.ROW):
        return None
    parts = [
        Buffer(f"{kernel.name}.{i}", "float64" if dtypes.is_float(s.dtype) else "int64", (1, kernel.inner), "partial")
        for i, s in enumerate(sums)
    ]
    first, last = _first(kernel, parts), _last(kernel, parts)
    if first is None or last is None:
        return None
    return Walk(first, 1, (last,))


def _first(kernel: Kernel, parts: list[Buffer]) -> Kernel | None:
    """Everything up to the sums, with the lanes as the elements of a row."""
    sums = [n.action.arg for n in kernel.nodes if isinstance(n.action, RowReduce)]
    needed = _needed(kernel, [*sums, *_totals(kernel, Level.ELEMENT), *_stores(kernel, Level.ELEMENT)])
    nodes: list[Node] = []
    new: dict[int, int] = {}
    left = iter(parts)
    for i, node in enumerate(kernel.nodes):
        action = node.action
        if isinstance(action, RowReduce):
            part, arg = next(left), new[action.arg]
            if nodes[arg].level is not Level.ELEMENT:
                return None
            nodes.append(Node(Column(part.dtype, "sum", arg, Access(part.name, 0, (0, 0))), Level.ELEMENT, (0,)))
        elif i in needed:
            action = renumbered(action, new)
            level = _level(action, nodes)
            if isinstance(action, Total) and level is not Level.ELEMENT:
                return None
            nodes.append(Node(action, level, () if level is Level.SCALAR else (0,)))
            new[i] = len(nodes) - 1
    buffers = (*_used(kernel, nodes), *parts)
    return Kernel(kernel.name, Tile.ROWS, (kernel.axes[0],), kernel.inner, None, 1, tuple(nodes), buffers, False, 1)


def _level(action: Action, nodes: list[Node]) -> Level:
    """How often a value exists where the lanes are the row."""
    if isinstance(action, Load):
        along, across = action.access.strides
        return Level.ELEMENT if across != 0 else Level.ROW if along != 0 else Level.SCALAR
    if isinstance(action, Iota):
        return Level.ELEMENT if action.axis == 1 else Level.ROW
    least = Level.ELEMENT if isinstance(action, Store) else Level.SCALAR
    return max((least, *(nodes[a].level for a in operands(action))))


def _last(kernel: Kernel, parts: list[Buffer]) -> Kernel | None:
    """The sums of the partial sums, and what follows them."""
    needed = _needed(kernel, [i for level in (Level.ROW, Level.SCALAR) for i in _stores(kernel, level)])
    nodes: list[Node] = []
    new: dict[int, int] = {}
    left = iter(parts)
    for i, node in enumerate(kernel.nodes):
        action = node.action
        if isinstance(action, RowReduce):
            part = next(left)
            nodes.append(Node(Load(part.dtype, Access(part.name, 0, (kernel.axes[1], 1))), Level.ELEMENT, (0,)))
            nodes.append(Node(RowReduce(part.dtype, "sum", len(nodes) - 1), Level.ROW, (0,)))
            if part.dtype != action.dtype:
                nodes.append(Node(Apply(action.dtype, "cast", (len(nodes) - 1,)), Level.ROW, (1,)))
        elif i in needed:
            if node.level is Level.ELEMENT:
                return None
            nodes.append(replace(node, action=renumbered(action, new)))
        else:
            continue
        new[i] = len(nodes) - 1
    name, buffers = f"{kernel.name}_sums", (*parts, *_used(kernel, nodes))
    return Kernel(name, Tile.COLUMNS, (), 1, kernel.inner, 1, tuple(nodes), buffers, False, 1)


def _stores(kernel: Kernel, level: Level) -> list[int]:
    return [i for i, n in enumerate(kernel.nodes) if isinstance(n.action, Store) and n.level is level]


def _totals(kernel: Kernel, most: Level) -> list[int]:
    """Totals of what exists at most so often."""
    found = [(i, n.action) for i, n in enumerate(kernel.nodes) if isinstance(n.action, Total)]
    return [i for i, t in found if kernel.nodes[t.arg].level <= most]


def _needed(kernel: Kernel, roots: list[int]) -> set[int]:
    """The nodes that these are made of, themselves among them, as far as sums."""
    needed: set[int] = set()
    left = list(roots)
    while left:
        i = left.pop()
        if i not in needed and not isinstance(kernel.nodes[i].action, RowReduce):
            needed.add(i)
            left += operands(kernel.nodes[i].action)
    return needed


def _used(kernel: Kernel, nodes: list[Node]) -> tuple[Buffer, ...]:
    names = {n.action.access.buffer for n in nodes if isinstance(n.action, (Load, Store, Total))}
    return tuple(b for b in kernel.buffers if b.name in names)
