"""Kernels that differ only in the names of their buffers and symbols: one code for all, each on a table of its own.

A long chain of ops is cut into many kernels, most of which are equal to others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from graphloss.codegen.identity import kernel_text
from graphloss.codegen.table import Table
from graphloss.schedule.kernel import Kernel
from graphloss.schedule.nest import Native


def alike(kernels: Iterable[Native]) -> dict[str, tuple[str, Table]]:
    """kernel -> the first one of its code, and its own table in the layout which that code takes; those with a code of
    their own are left out."""
    found: dict[str, tuple[str, Table]] = {}
    for near in _parted(kernels, _outline):
        for equal in _parted(near, kernel_text):
            tables = [Table.build([k]) for k in equal]
            found.update((k.name, (equal[0].name, t)) for k, t in zip(equal, tables, strict=True))
    return found


def _parted(kernels: Iterable[Native], key: Callable[[Native], Hashable]) -> list[list[Native]]:
    """Kernels of equal key, if there are several."""
    parts: dict[Hashable, list[Native]] = {}
    for kernel in kernels:
        parts.setdefault(key(kernel), []).append(kernel)
    return [part for part in parts.values() if len(part) > 1]


def _outline(kernel: Native) -> Hashable:
    """What equal kernels have in common, for little time."""
    return len(kernel.buffers), len(kernel.nodes) if isinstance(kernel, Kernel) else kernel.nest.name
