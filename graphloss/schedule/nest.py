"""Loop nests among the kernels: what a nest op becomes, and how its iterations are cut into chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from graphloss.ir import dims as d
from graphloss.ir import loops
from graphloss.ir.dims import Dim
from graphloss.ir.loops import Apply, Const, Expr, Nest, Size
from graphloss.schedule.kernel import Buffer, Kernel

# Chunks of a nest at most: scratch exists once per chunk, and there are fewer threads.
CHUNKS: Final = 32


@dataclass(frozen=True, slots=True)
class NestKernel:
    """A loop nest on buffers, one per array of the nest, in its order; `sizes` are the values of the nest's sizes.

    Chunk c runs the iterations from c * grain on, one after the other; its scratch is row c of the scratch buffers.
    `slots` gives the slot of the status block for each check, by name. One that works `in_place` changes the memory of
    a state, and runs only if all checks before it have passed.
    """

    name: str
    nest: Nest
    sizes: tuple[Dim, ...]
    buffers: tuple[Buffer, ...]
    slots: tuple[tuple[str, int], ...]
    in_place: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return self._of(*loops.GIVEN)

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._of(*loops.MADE)

    def _of(self, *kinds: str) -> tuple[str, ...]:
        pairs = zip(self.buffers, self.nest.arrays, strict=True)
        return tuple(dict.fromkeys(b.name for b, a in pairs if a.kind in kinds))

    @property
    def extent(self) -> Dim:
        return dimension(self.nest.extent, self.bound)

    @property
    def grain(self) -> Dim:
        return grain(self.extent)

    @property
    def bound(self) -> dict[str, Dim]:
        return dict(zip(self.nest.sizes, self.sizes, strict=True))

    @property
    def work(self) -> Dim:
        """About how many elements the nest visits: those of its arrays, of scratch in every iteration."""
        total: Dim = 0
        for array in self.nest.arrays:
            size = elements(array, self.bound)
            total = d.add(total, d.mul(size, self.extent) if array.kind == loops.SCRATCH else size)
        return total


Native: TypeAlias = Kernel | NestKernel


def grain(extent: Dim) -> Dim:
    """Iterations in a chunk; a function of the size only."""
    return d.maximum(1, d.floordiv(d.add(extent, CHUNKS - 1), CHUNKS))


def chunk_count(extent: Dim) -> Dim:
    per = grain(extent)
    return d.floordiv(d.add(extent, d.sub(per, 1)), per)


def elements(array: loops.Array, sizes: dict[str, Dim]) -> Dim:
    return d.product(tuple(dimension(n, sizes) for n in array.shape))


def strides(array: loops.Array, sizes: dict[str, Dim]) -> tuple[Dim, ...]:
    """The number of elements, then the distance from element to element along each dimension."""
    found: list[Dim] = [1]
    for n in reversed(array.shape):
        found.append(d.mul(found[-1], dimension(n, sizes)))
    return tuple(reversed(found))


def dimension(e: Expr, sizes: dict[str, Dim]) -> Dim:
    """A size expression of a nest (sums and products of sizes and integers) as a dimension."""
    if isinstance(e, Const):
        return int(e.value)
    if isinstance(e, Size):
        return sizes[e.name]
    if isinstance(e, Apply):
        args = [dimension(a, sizes) for a in e.args]
        if e.fn in _FUNCTIONS:
            return _FUNCTIONS[e.fn](*args)
    raise TypeError(f"not a size: {e}")


_FUNCTIONS: Final = {"add": d.add, "sub": d.sub, "mul": d.mul, "max": d.maximum, "floordiv": d.floordiv}
