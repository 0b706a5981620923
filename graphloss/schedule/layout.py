"""From atoms to the axes of a kernel: order by memory, merge neighbours, choose row and inner axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphloss.ir import dims as d
from graphloss.ir.dims import Dim
from graphloss.schedule.stages import Frame

Strides = Mapping[int, Dim]


class RowSplit(Exception):
    """The row atoms of a kernel do not merge into one axis; the scheduler then splits the reduction."""


class NoSegments(Exception):
    """Results of trailing loops are not what a chunk of the kernel walks; the scheduler then gives them a kernel."""


@dataclass(frozen=True)
class Layout:
    """Axes as runs of atoms: outer…, row?, inner?."""

    outer: tuple[tuple[int, ...], ...]
    row: tuple[int, ...] | None
    inner: tuple[int, ...] | None
    sizes: Mapping[int, Dim]

    @property
    def axes(self) -> tuple[tuple[int, ...], ...]:
        return (
            *self.outer,
            *((self.row,) if self.row is not None else ()),
            *((self.inner,) if self.inner is not None else ()),
        )

    def size(self, axis: tuple[int, ...]) -> Dim:
        return d.product(tuple(self.sizes[a] for a in axis))

    def strides(self, access: Strides) -> tuple[Dim, ...]:
        """The stride of an access along each axis: that of the axis's last atom."""
        return tuple(access.get(axis[-1], 0) for axis in self.axes)


def choose(
    atoms: frozenset[int], frame: Frame | None, accesses: Sequence[Strides], sizes: Sequence[Dim],
    indexed: Sequence[Strides] = (),
) -> Layout:  # fmt: skip
    """Axes for a kernel over `atoms`; accesses come with stores first, `indexed` are those of what an index names.

    There is no inner axis where an index names whole rows and nothing else varies along the row and that axis: lanes
    along the row read these rows as they lie, lanes along the inner axis would gather each element.
    """
    order = _order(atoms, accesses)
    table = {a: sizes[a] for a in order}
    if not order:
        return Layout((), None, None, table)
    if frame is None:
        axes = merge([order], accesses, sizes)
        return Layout(tuple(axes[:-1]), axes[-1], None, table)
    row = [a for a in order if a in frame.row]
    last = max(i for i, a in enumerate(order) if a in frame.row)
    after = list(order[last + 1 :])
    before = [a for a in order[: last + 1] if a not in frame.row]
    rows = merge([row], accesses, sizes)
    if len(rows) != 1:
        raise RowSplit
    inner = merge([after], accesses, sizes) if after else []
    if inner and any(access.get(row[-1]) == 1 for access in indexed):
        both = [access for access in accesses if frame.row & set(access) and access.get(inner[-1][-1], 0) != 0]
        if not both:
            return Layout((*merge([before], accesses, sizes), *inner), rows[0], None, table)
    outer = merge([before], accesses, sizes) + inner[:-1]
    return Layout(tuple(outer), rows[0], inner[-1] if inner else None, table)


def _order(atoms: frozenset[int], accesses: Sequence[Strides]) -> list[int]:
    """Atoms in the order of the access that has most of them (the first of those), the others in front."""
    order: list[int] = []
    for access in sorted(accesses, key=lambda x: -len(atoms & set(x))):
        missing = [a for a in access if a in atoms and a not in order]
        order = missing + order
    return [a for a in sorted(atoms) if a not in order] + order


def merge(runs: Sequence[Sequence[int]], accesses: Sequence[Strides], sizes: Sequence[Dim]) -> list[tuple[int, ...]]:
    """Atoms in this order as axes: neighbours of one run are one loop where all accesses walk them as one."""
    axes: list[tuple[int, ...]] = []
    for run in runs:
        for a in run:
            if axes and _one_loop(axes[-1][-1], a, accesses, sizes):
                axes[-1] = (*axes[-1], a)
            else:
                axes.append((a,))
    return axes


def _one_loop(p: int, q: int, accesses: Sequence[Strides], sizes: Sequence[Dim]) -> bool:
    return all(access.get(p, 0) == d.mul(access.get(q, 0), sizes[q]) for access in accesses)


def segment(axes: Layout, over: frozenset[int], kept: Sequence[int]) -> Dim:
    """How many outer positions add up to one result, where results vary along `kept`, in this order, and not along
    `over`: the trailing outer atoms, and all inner ones."""
    walked = [a for axis in axes.outer for a in axis]
    inner = frozenset(axes.inner or ())
    rest = over - inner
    if not inner <= over or walked[: len(kept)] != list(kept) or frozenset(walked[len(kept) :]) != rest:
        raise NoSegments
    return d.product(tuple(axes.sizes[a] for a in rest))
