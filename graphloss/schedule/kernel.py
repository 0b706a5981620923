"""Kernels: what the scheduler hands to code generation. Plain data that prints as loops.

A kernel walks a box of axes: outer axes, at most one row axis (the one its reductions run along), at most one inner
axis.

    for each outer index o (and, vectorised, each inner index i):      # one "row" per (o, i)
        for pass p in 0 .. passes-1:
            row-level nodes with at == p                               # before the loop of pass p
            for r in row axis:  element-level nodes with p in at       # accumulates the reductions with at == p
        row-level nodes with at == passes                              # after the last loop

Nodes are in SSA form and refer to each other by position. A node's level says how often it is computed: SCALAR once
per kernel
call, ROW once per row, ELEMENT once per element. An element node with several passes in `at` is computed again in
each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeAlias

from graphloss.ir.dims import Dim
from graphloss.ir.forms import Within
from graphloss.ir.location import Location


class Level(IntEnum):
    SCALAR = 0
    ROW = 1
    ELEMENT = 2


class Tile:
    """How a kernel is vectorised."""

    LANES_ARE_ROWS = "lanes are rows"  # row axis of a few known elements, unrolled; lanes along the last outer axis
    ROWS = "rows"  # lanes along the row axis; row-level values of 16 rows are one vector
    COLUMNS = "columns"  # lanes along the inner axis; row-level values live in a scratch tile of inner positions


@dataclass(frozen=True, slots=True)
class Buffer:
    """An array in memory. `shape` is for printing and for allocation; element type is the memory type (bool: one byte).

    role: "input" (feed or state), "output" (fetched or written), "temp" (between kernels), "partial" (float64 or the
    dtype of a
    max, one value per chunk, or one row of values per chunk for column results).
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...]
    role: str


@dataclass(frozen=True, slots=True)
class Access:
    """Where a kernel reads or writes `buffer`: offset + sum of index * stride over the kernel's axes, in elements.

    `strides` has one entry per axis of the kernel, in the order outer..., row?, inner?; 0 where the value does not
    vary.
    """

    buffer: str
    offset: Dim
    strides: tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class Const:
    dtype: str
    value: float | int | bool


@dataclass(frozen=True, slots=True)
class DimValue:
    """A dimension of this run as a number."""

    dtype: str
    dim: Dim


@dataclass(frozen=True, slots=True)
class Iota:
    """start + step * (index along kernel axis `axis`)."""

    dtype: str
    axis: int
    start: Dim = 0
    step: int = 1


@dataclass(frozen=True, slots=True)
class Load:
    dtype: str
    access: Access


@dataclass(frozen=True, slots=True)
class IndexedLoad:
    """buffer[access + value(index) * stride]; 0 <= index < limit must hold (the index node went through a Check)."""

    dtype: str
    access: Access
    index: int
    stride: Dim


@dataclass(frozen=True, slots=True)
class Check:
    """The value of `index`, which must lie in [0, limit); where it does not, the run reports check `slot` at this row
    and goes on with 0.

    The status block keeps, per slot, the lowest position and the value found there. The position of a row-level node
    is linear over
    the outer and inner axes, of an element-level node over all axes of the kernel (outer, row, inner), of a scalar
    node 0.
    Rows and lanes that are masked off are not checked.
    """

    dtype: str
    index: int
    limit: Dim
    slot: int


@dataclass(frozen=True, slots=True)
class CheckInterval:
    """The value of `arg`, floats, which must lie in [low, high] or be NaN; where it does not, the run reports check
    `slot` as `Check` does, the value found there as the bits of a float64."""

    dtype: str
    arg: int
    low: float
    high: float
    slot: int


@dataclass(frozen=True, slots=True)
class Apply:
    """A scalar function of other nodes; fn is in ir.scalar.FUNCTIONS; `cast` converts to `dtype`."""

    dtype: str
    fn: str
    args: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RowReduce:
    """Reduces an element node along the row axis: sum, prod, max, min (NaN wins), any, all, argmax, argmin (int64;
    lowest wins, NaN wins).

    Its value is a row-level value available after the loop of pass at[0]. An empty row gives the neutral element.
    float32 sums go through blocks of at most 4096 elements into float64 and come back as float32.
    """

    dtype: str
    kind: str
    arg: int


@dataclass(frozen=True, slots=True)
class Total:
    """Reduces a node (any level above SCALAR) over all its positions into partial buffer `access` at the index of the
    chunk.

    A row-level arg counts once per row. sum, prod: float64 (int64 for integers); max, min: the arg's dtype; any, all:
    bool.
    `access.strides` is ignored: chunk c writes element c.
    """

    dtype: str
    kind: str
    arg: int
    access: Access


@dataclass(frozen=True, slots=True)
class Column:
    """Sums an element node over the outer axes of a chunk (kind sum, max, min) into row c of a partial buffer
    [chunks, row]."""

    dtype: str
    kind: str
    arg: int
    access: Access


@dataclass(frozen=True, slots=True)
class Store:
    """Writes an element- or row-level node (scalar-level: once)."""

    dtype: str
    arg: int
    access: Access


@dataclass(frozen=True, slots=True)
class Keep:
    """An element value that several passes use and that is dear to compute again.

    In the first pass of `at` it is arg's value, also written to `access`; in the later passes of `at` it is read back
    from there.
    """

    dtype: str
    arg: int
    access: Access


Action: TypeAlias = (
    Const
    | DimValue
    | Iota
    | Load
    | IndexedLoad
    | Check
    | CheckInterval
    | Apply
    | RowReduce
    | Total
    | Column
    | Store
    | Keep
)


def operands(action: Action) -> tuple[int, ...]:
    """The nodes whose values an action reads."""
    if isinstance(action, Apply):
        return action.args
    if isinstance(action, (IndexedLoad, Check)):
        return (action.index,)
    if isinstance(action, (CheckInterval, RowReduce, Total, Column, Store, Keep)):
        return (action.arg,)
    return ()


def renumbered(action: Action, new: Mapping[int, int]) -> Action:
    """The action where the nodes that it reads have other positions."""
    if all(new[a] == a for a in operands(action)):
        return action
    if isinstance(action, Apply):
        return replace(action, args=tuple(new[a] for a in action.args))
    if isinstance(action, (IndexedLoad, Check)):
        return replace(action, index=new[action.index])
    assert isinstance(action, (CheckInterval, RowReduce, Total, Column, Store, Keep))
    return replace(action, arg=new[action.arg])


@dataclass(frozen=True, slots=True)
class Node:
    """An action with its level and the passes it belongs to (see the module's text); SCALAR nodes have at == ()."""

    action: Action
    level: Level
    at: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckSite:
    """What a failed check reports: the op, where the user wrote it, the variable's name, the limit or the interval, and
    how to show the position.

    A position unravels over `axes`; the tensor's own linear index is the sum of axis index * stride over `strides`,
    and unravels over `shape`. `expected`, where a loop nest checks, says what should stand there, with `sizes` in
    braces. A position `in_sample` is the number of a sample and a step in it, over `axes`; `strides` is () where the
    tensor may hold packed samples.
    """

    op: str
    variable: str
    loc: Location | None
    limit: Dim
    shape: tuple[Dim, ...]
    axes: tuple[Dim, ...] = ()
    strides: tuple[Dim, ...] = ()
    interval: Within | None = None
    expected: str = ""
    sizes: tuple[tuple[str, Dim], ...] = ()
    in_sample: bool = False


@dataclass(frozen=True, slots=True)
class Kernel:
    """One parallel loop nest. `outer` axes, then `row` (None: no row axis), then `inner` (None: no inner axis).

    Work is cut into chunks of consecutive outer positions (LANES_ARE_ROWS, ROWS, COLUMNS) — or, where there is no
    outer axis, of the row
    axis when no row reduction exists (`split_row`). `grain` is how many outer positions (or row elements) make a chunk:
    a dimension expression, so a function of the size only.
    """

    name: str
    tile: str
    outer: tuple[Dim, ...]
    row: Dim | None
    inner: Dim | None
    passes: int
    nodes: tuple[Node, ...]
    buffers: tuple[Buffer, ...]
    split_row: bool
    grain: Dim

    @property
    def axes(self) -> tuple[Dim, ...]:
        return (
            *self.outer,
            *((self.row,) if self.row is not None else ()),
            *((self.inner,) if self.inner is not None else ()),
        )

    @property
    def row_axis(self) -> int:
        return len(self.outer)
