"""The forms of primitive ops: the few structures that the scheduler knows, instead of op names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy.typing as npt

from graphloss.ir.dims import Dim
from graphloss.ir.loops import Nest
from graphloss.ir.scalar import Expr

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Map:
    """out[i] = expr(operands[i]); operands have the output's shape after broadcasting (right-aligned, only 1
    broadcasts)."""

    expr: Expr


@dataclass(frozen=True, slots=True)
class Reduce:
    """kind over `axes` (non-negative, sorted): sum, prod, max, min (NaN wins), any, all, argmax, argmin (lowest index
    wins, NaN wins)."""

    kind: str
    axes: tuple[int, ...]
    keepdims: bool


@dataclass(frozen=True, slots=True)
class Expand:
    """Broadcasting to the output's shape, right-aligned; only dimensions 1 grow."""


@dataclass(frozen=True, slots=True)
class Reshape:
    """The same elements in row-major order under the output's shape (squeeze and unsqueeze are reshapes)."""


@dataclass(frozen=True, slots=True)
class Transpose:
    """out.shape[i] = in.shape[perm[i]]."""

    perm: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """out[i0, ...] = in[starts[0] + i0 * steps[0], ...]; starts are already in range, the output's shape gives the
    lengths.

    Steps may be negative, not 0.
    """

    starts: tuple[Dim, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pick:
    """operands (x, index): out[o..., i...] = x[o..., index[o..., i...], i...] along `axis`; the index has x's shape
    without `axis`.

    An index outside [0, x.shape[axis]) is an error of the run, reported with its position.
    """

    axis: int


@dataclass(frozen=True, slots=True)
class Gather:
    """operands (x, index): out = x[index] along axis 0, out.shape = index.shape + x.shape[1:]; indices are checked."""


@dataclass(frozen=True, slots=True)
class Iota:
    """out[...] = position along `axis`; no operands, the output's type gives shape and dtype."""

    axis: int


@dataclass(frozen=True, slots=True)
class Fill:
    """Every element is `value`; no operands. A dimension is its number in this run."""

    value: float | int | bool | Dim


@dataclass(frozen=True, slots=True)
class InRange:
    """The operand itself, integers; an element outside [0, limit) is an error of the run, reported with its
    position."""

    limit: Dim


@dataclass(frozen=True, slots=True)
class Within:
    """operands (x) or (x, mask): x itself, floats; one outside [low, high] where the mask is true is an error of the
    run, reported with its position.

    NaN passes.
    """

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Concat:
    """The operands side by side along `axis`."""

    axis: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A way to make a host call in pieces.

    A piece takes consecutive positions of axis `operands[i]` of operand i (None: the whole operand) and gives the same
    positions along axis `output` of the only output; with None, the pieces add up to the output.
    """

    operands: tuple[int | None, ...]
    output: int | None


@dataclass(frozen=True, slots=True)
class Host:
    """A NumPy call between kernels: fn(arrays, output shapes) -> one array per output.

    fn raises a graphloss error for bad values; it must not keep or change its arguments. `into(arrays, outputs)`, where
    there is one, does the same without memory for a result. `cuts` are independent of each other.
    """

    fn: Callable[[tuple[Array, ...], tuple[tuple[int, ...], ...]], tuple[Array, ...]]
    into: Callable[[tuple[Array, ...], tuple[Array, ...]], None] | None = None
    cuts: tuple[Cut, ...] = ()


@dataclass(frozen=True, slots=True)
class Loops:
    """A loop nest on whole arrays: its inputs are the operands, its outputs the results, in their order.

    `sizes` are those of the nest, as dimensions of the operands.
    """

    nest: Nest
    sizes: tuple[Dim, ...]


Form: TypeAlias = (
    Map | Reduce | Expand | Reshape | Transpose | Slice | Pick | Gather | Iota | Fill | InRange | Within | Concat
    | Loops | Host
)  # fmt: skip
