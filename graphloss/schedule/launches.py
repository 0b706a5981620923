"""Which steps of a plan are kernels of their own, and which small ones belong to another: what runs ahead of its walk,
what finishes it.

A walk over tensors leaves one partial result per chunk. Adding these up, and computing a few scalars of the sums, is
the end of that kernel. What a walk must know of all its rows before it starts, as the number of labels that count, is
its beginning, as long as that looks only at what the walk itself reads once per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphloss.ir import dims as d
from graphloss.schedule.chunked import Step
from graphloss.schedule.kernel import Buffer, Column, IndexedLoad, Keep, Kernel, Level, Load, Store, Total


@dataclass(frozen=True, slots=True)
class Part:
    """A small step belongs to the kernel `of`: `ahead` of its walk, or behind it."""

    of: str
    ahead: bool

    def __str__(self) -> str:
        return f"ahead of {self.of}" if self.ahead else f"finishes {self.of}"


def parts(steps: Sequence[Step]) -> dict[str, Part]:
    """Of each step that belongs to a kernel, by name, to which; all others stand for themselves."""
    kernels = [s for s in steps if isinstance(s, Kernel)]
    order = {k.name: i for i, k in enumerate(kernels)}
    found: dict[str, Part] = {}
    maker: dict[str, str] = {}
    users: dict[str, Kernel] = {}  # of what a kernel and its finish make: the first walk that reads it
    for kernel in kernels:
        reads, writes = touched(kernel)
        makers = [maker[b] for b in reads if b in maker]
        if makers and _finishes(kernel):
            found[kernel.name] = Part(max(makers, key=order.__getitem__), ahead=False)
        else:
            for name in makers:
                users.setdefault(name, kernel)
        maker.update(dict.fromkeys(writes, found[kernel.name].of if kernel.name in found else kernel.name))
    for name, walk in users.items():
        if _runs_ahead(kernels[order[name]], walk):
            inside = [finish for finish, part in found.items() if part.of == name]
            found.update(dict.fromkeys((name, *inside), Part(walk.name, ahead=True)))
    return found


def touched(kernel: Kernel) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the buffers that a kernel reads and of those that it writes."""
    reads: dict[str, None] = {}
    writes: dict[str, None] = {}
    for node in kernel.nodes:
        action = node.action
        if isinstance(action, (Load, IndexedLoad)):
            reads[action.access.buffer] = None
        elif isinstance(action, (Store, Total, Column, Keep)):
            writes[action.access.buffer] = None
    return tuple(n for n in reads if n not in writes), tuple(writes)


def _finishes(kernel: Kernel) -> bool:
    """Whether a kernel looks at partial results and scalars only, and makes of them what is no larger."""
    buffers = {b.name: b for b in kernel.buffers}
    reads, writes = ([buffers[n] for n in names] for names in touched(kernel))
    small = all(b.role == "partial" or _scalar(b) for b in reads)
    return small and (any(b.role == "partial" for b in reads) or all(map(_scalar, writes)))


def _runs_ahead(kernel: Kernel, walk: Kernel) -> bool:
    """Whether a kernel makes sums and scalars alone, of what the walk reads at most once per row."""
    buffers = {b.name: b for b in kernel.buffers}
    reads, writes = ([buffers[n] for n in names] for names in touched(kernel))
    rows = {n.action.access.buffer for n in walk.nodes
            if isinstance(n.action, (Load, IndexedLoad)) and n.level is not Level.ELEMENT}  # fmt: skip
    return all(b.role == "partial" or _scalar(b) for b in writes) and all(b.name in rows or _scalar(b) for b in reads)


def _scalar(buffer: Buffer) -> bool:
    return d.product(buffer.shape) == 1
