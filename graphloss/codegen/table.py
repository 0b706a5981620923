"""The layout of the one argument of compiled code: an int64 array of sizes and addresses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.ir.loop_live import checks
from graphloss.ir.loops import SCRATCH
from graphloss.schedule.kernel import (
    Access,
    Check,
    CheckInterval,
    Column,
    DimValue,
    IndexedLoad,
    Iota,
    Keep,
    Kernel,
    Load,
    Store,
    Total,
)
from graphloss.schedule.nest import Native, NestKernel, strides

# The first words: the dispatch function of the threads (0: run everything on the caller), then the status block.
DISPATCH: Final = 0
STATUS: Final = 1
_HEADER: Final = 2

# One check slot of the status block: lowest bad row (INT64_MAX: none), the value found there, its lock (0).
STATUS_WORDS: Final = 3
NO_ROW: Final = 2**63 - 1


def accesses(kernel: Kernel) -> Iterator[Access]:
    """Every access of the kernel, in the order of its nodes."""
    for node in kernel.nodes:
        if isinstance(node.action, (Load, IndexedLoad, Keep, Total, Column, Store)):
            yield node.action.access


def work(kernel: Native) -> Dim:
    """How many elements the kernel walks over."""
    if isinstance(kernel, NestKernel):
        return kernel.work
    return dims.product(kernel.axes)


def extent(kernel: Native) -> Dim:
    """How many positions are cut into chunks: of the outer axes together, or of the row axis (`split_row`)."""
    if isinstance(kernel, NestKernel):
        return kernel.extent
    return kernel.row if kernel.split_row and kernel.row is not None else dims.product(kernel.outer)


def chunks(kernel: Native) -> Dim:
    """How many chunks the kernel has; `kernel.grain` is at least 1."""
    return dims.floordiv(dims.add(extent(kernel), dims.sub(kernel.grain, 1)), kernel.grain)


def kernel_dims(kernel: Native) -> Iterator[Dim]:
    """Every dimension expression that the code of the kernel reads, constants included."""
    yield from (kernel.grain, chunks(kernel), extent(kernel), work(kernel))
    if isinstance(kernel, NestKernel):
        yield from kernel.sizes
        stepped = {check.array for check in checks(kernel.nest.body) if check.step is not None}
        for array in kernel.nest.arrays:
            size, *steps = strides(array, kernel.bound)
            yield from (*steps, size) if array.kind == SCRATCH or array.name in stepped else steps
        return
    yield from kernel.axes
    for access in accesses(kernel):
        yield access.offset
        yield from access.strides
    for node in kernel.nodes:
        action = node.action
        if isinstance(action, DimValue):
            yield action.dim
        elif isinstance(action, Iota):
            yield action.start
        elif isinstance(action, IndexedLoad):
            yield action.stride
        elif isinstance(action, Check):
            yield action.limit


@dataclass(frozen=True)
class Table:
    """Where each size and address lies in the argument.

    The caller fills word `DISPATCH` and word `STATUS`, then `table.dims` evaluated, from word `first_dim` on, then the
    addresses of `table.buffers`, from word `first_buffer` on. Constant dimensions are in the code, not in the table.

    Example:
        >>> table = Table((dims.symbol("N"),), ("x", "loss"), 0)
        >>> table.dim_index(dims.symbol("N")), table.buffer_index("loss"), table.slots
        (2, 4, 5)
    """

    dims: tuple[Dim, ...]
    buffers: tuple[str, ...]
    checks: int

    @classmethod
    def build(cls, kernels: Iterable[Native], sizes: Iterable[Dim] = ()) -> Table:
        """The table that serves all kernels of one program, and what calls them by these sizes."""
        kernels = list(kernels)
        read = (*(d for k in kernels for d in kernel_dims(k)), *sizes)
        found = dict.fromkeys(d for d in read if not isinstance(d, int))
        buffers = dict.fromkeys(b.name for k in kernels for b in k.buffers)
        plain = [k for k in kernels if isinstance(k, Kernel)]
        buffers.update(dict.fromkeys(a.buffer for k in plain for a in accesses(k)))
        slots = [n.action.slot for k in plain for n in k.nodes if isinstance(n.action, (Check, CheckInterval))]
        slots += [slot for k in kernels if isinstance(k, NestKernel) for _, slot in k.slots]
        return cls(tuple(found), tuple(buffers), max(slots, default=-1) + 1)

    @property
    def first_dim(self) -> int:
        return _HEADER

    @property
    def first_buffer(self) -> int:
        return _HEADER + len(self.dims)

    @property
    def slots(self) -> int:
        """The length of the argument in words."""
        return _HEADER + len(self.dims) + len(self.buffers)

    def dim_index(self, dim: Dim) -> int:
        """The word that holds a symbolic dimension."""
        return self._dim_words[dim]

    def buffer_index(self, name: str) -> int:
        """The word that holds the address of a buffer."""
        return self._buffer_words[name]

    @cached_property
    def _dim_words(self) -> dict[Dim, int]:
        return {dim: self.first_dim + i for i, dim in enumerate(self.dims)}

    @cached_property
    def _buffer_words(self) -> dict[str, int]:
        return {name: self.first_buffer + i for i, name in enumerate(self.buffers)}
