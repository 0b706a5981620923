"""`v[...]` on every kind of tensor; what it means is said where the slicing ops are."""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import TypeAlias

from graphloss.ir.tensor import Tensor

Item: TypeAlias = int | slice | EllipsisType | None
Index: TypeAlias = Item | tuple[Item, ...]
Indexer: TypeAlias = Callable[[Tensor, Index], Tensor]

_indexers: list[Indexer] = []


def set_indexer(indexer: Indexer) -> Indexer:
    """Says what `indexed` calls; the slicing ops do so once, when they are defined."""
    _indexers[:] = [indexer]
    return indexer


def indexed(x: Tensor, index: Index) -> Tensor:
    """`x[index]`: integers drop their axis, slices may have steps, `...` and None mean what they mean in NumPy."""
    return _indexers[0](x, index)
