"""Jacobians of values with respect to one x, as a diagonal plus outer products: what `diagonal` tracks.

For a value v each of whose elements j has an own element i(j) of x,

    ∂v_j/∂x_i = [i = i(j)] local_j + Σ_k left_k[j] · right_k[i],      own_j = ∂v_j/∂x_i(j)

Elementwise ops scale all parts; a sum over the classes of a row turns `local` into an outer product. `left`, `local`
and `own` are laid out as v is, `right` as x is. `own` is kept by itself: a mask on the way is a `where` there, and not
a product that a NaN survives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from graphloss import ops
from graphloss.errors import UnsupportedError
from graphloss.ir.builder import GraphBuilder
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.tensor import Tensor, cast, current

# For each axis of x the axis of v that runs along it, counted from the right (1 is the last); None if v has none.
Places: TypeAlias = tuple[int | None, ...]
Dims: TypeAlias = tuple[Dim, ...]
# total(t, axes): t summed over axes, which stay as ones
Total: TypeAlias = Callable[[Tensor, tuple[int, ...]], Tensor]


@dataclass(frozen=True)
class Source:
    """Where a space comes from: the space, the places and the shape of a value before its elements were moved.

    A slice of them begins at `starts`; None for a reshape.
    """

    space: Space
    at: Places
    shape: Dims
    starts: tuple[Dim, ...] | None


@dataclass(frozen=True)
class Space:
    """The elements that derivatives are taken by: those of x, or those that a reshape or a slice left of them."""

    shape: Dims
    source: Source | None = None

    def places(self) -> Places:
        """Those of x itself; an axis of dimension 1 needs none."""
        rank = len(self.shape)
        return tuple(None if d == 1 else rank - a for a, d in enumerate(self.shape))

    def owned(self, at: Places) -> bool:
        """Whether each element of a value with these places has an own element of x."""
        return all(p is not None or d == 1 for p, d in zip(at, self.shape, strict=True))


@dataclass(frozen=True)
class Outer:
    """left[j]·right[i]: x's axes in `mixed` are i's own, along the others i and j agree."""

    left: Tensor
    right: Tensor
    mixed: frozenset[int]


@dataclass(frozen=True)
class Jacobian:
    """See above. `outer` is None where only `own` is known; `own` is None where elements have no own element of x."""

    space: Space
    at: Places
    own: Tensor | None
    local: Tensor | None
    outer: tuple[Outer, ...] | None

    def map(self, fn: Callable[[Tensor], Tensor], at: Places | None = None) -> Jacobian:
        """`fn`, which is linear, on every part that is laid out as v is; `at` if it moves axes."""
        outer = None if self.outer is None else tuple(replace(o, left=fn(o.left)) for o in self.outer)
        own = None if self.own is None else fn(self.own)
        local = own if self.local is self.own else None if self.local is None else fn(self.local)
        return replace(self, at=self.at if at is None else at, own=own, local=local, outer=outer)

    def own_at(self, at: Places, rank: int) -> Tensor | None:
        """`own` where the value is broadcast to a value of this rank that has places `at`; None for zeros."""
        if self.own is not None or self.outer is None:
            return self.own
        parts = [full_product(o.left, laid_out(o.right, at, rank)) for o in self.outer]
        return ops.sums(parts) if parts else None


class Mixes(Exception):
    """The form above does not hold; the text says why."""


def full(t: Tensor, shape: Dims) -> Tensor:
    return t if t.type.shape == shape else ops.broadcast_to(t, shape)


def full_product(left: Tensor, right: Tensor) -> Tensor:
    return left * cast(right, left.type.dtype)


def start(x: Tensor) -> Jacobian:
    """That of x itself."""
    space = Space(x.type.shape)
    ones = ops.ones_like(x)
    return Jacobian(space, space.places(), ones, ones, ())


def joined(jacobians: Sequence[Jacobian]) -> Places:
    """The places of a value made elementwise of several, or Mixes."""
    first = jacobians[0]
    if any(j.space != first.space for j in jacobians):
        raise Mixes("it meets x in another shape")
    at: list[int | None] = []
    for places in zip(*(j.at for j in jacobians), strict=True):
        found = {p for p in places if p is not None}
        if len(found) > 1:
            raise Mixes("it meets x with its axes in another order")
        at.append(found.pop() if found else None)
    known = [p for p in at if p is not None]
    if len(set(known)) != len(known):
        raise Mixes("two axes of x meet in one")
    return tuple(at)


def add(parts: Sequence[tuple[Jacobian, Callable[[Tensor], Tensor]]], rank: int) -> Jacobian:
    """Σ fn(part) for linear fns that broadcast: the chain rule of an elementwise op, whose result has this rank."""
    at = joined([j for j, _ in parts])
    space = parts[0][0].space
    own: list[Tensor] = []
    local: list[Tensor] = []
    outer: dict[tuple[int, frozenset[int]], list[Outer]] = {}
    for j, fn in parts:
        mine = j.own_at(at, rank) if space.owned(at) else None
        if mine is not None:
            own.append(fn(mine))
        if j.local is not None:
            local.append(own[-1] if j.local is mine else fn(j.local))
        for o in j.outer or ():
            outer.setdefault((id(o.right), o.mixed), []).append(replace(o, left=fn(o.left)))
    merged = tuple(replace(same[0], left=ops.sums([o.left for o in same])) for same in outer.values())
    known = all(j.outer is not None for j, _ in parts)
    total = ops.sums(own) if own else None
    same_parts = len(own) == len(local) and all(a is b for a, b in zip(own, local, strict=True))
    return Jacobian(
        space, at, total,
        total if same_parts else ops.sums(local) if local else None,
        merged if known else None,
    )  # fmt: skip


def laid_out(right: Tensor, at: Places, rank: int) -> Tensor:
    """A tensor laid out as x, in the layout of a value with places `at`; axes of x without a place have dimension 1."""
    gone = tuple(a for a, p in enumerate(at) if p is None)
    kept = [p for p in at if p is not None]
    t = ops.squeeze(right, gone) if gone else right
    order = sorted(range(len(kept)), key=lambda i: -kept[i])
    if order != list(range(len(kept))):
        t = ops.transpose(t, tuple(order))
    new = tuple(a for a in range(rank) if rank - a not in kept)
    return ops.unsqueeze(t, new) if new else t


def as_x(t: Tensor, at: Places) -> Tensor:
    """A tensor in the layout of a value with places `at`, laid out as x; it has dimension 1 along all other axes."""
    rank, kept = t.type.rank, [p for p in at if p is not None]
    gone = tuple(a for a in range(rank) if rank - a not in kept)
    if any(t.type.shape[a] != 1 for a in gone):
        raise Mixes("each of its sums over x has weights of its own")
    if gone:
        t = ops.squeeze(t, gone)
    order = sorted(kept, reverse=True)
    perm = tuple(order.index(p) for p in kept)
    if perm != tuple(range(len(perm))):
        t = ops.transpose(t, perm)
    new = tuple(a for a, p in enumerate(at) if p is None)
    return ops.unsqueeze(t, new) if new else t


def summed(j: Jacobian, shape: Dims, axes: Collection[int], keepdims: bool, total: Total) -> Jacobian:
    """That of the sum over `axes` of a value of `shape`; `total` does the summing."""
    rank = len(shape)
    over = {a: rank - p for a, p in enumerate(j.at) if p is not None and rank - p in axes}
    extra = tuple(a for a in axes if a not in over.values())
    every = tuple(sorted(axes))

    def dropped(t: Tensor) -> Tensor:
        return t if keepdims or not every else ops.squeeze(t, every)

    at = tuple(None if a in over else _moved(p, rank, every, keepdims) for a, p in enumerate(j.at))
    if not over:
        return j.map(lambda t: dropped(total(full(t, shape), extra)), at)
    if j.outer is None:
        raise Mixes("it sums over elements of x in another shape")
    outer: list[Outer] = []

    def one(like: Tensor) -> Tensor:
        return ops.fill((1,) * (rank if keepdims else rank - len(every)), 1.0, like.type.dtype)

    if j.local is not None:
        right = as_x(total(full(j.local, shape), extra), j.at)
        outer.append(Outer(one(j.local), right, frozenset(over)))
    for o in j.outer:
        shared = {a: axis for a, axis in over.items() if a not in o.mixed}
        left = total(full(o.left, shape), tuple(a for a in every if a not in shared.values()))
        if not shared:
            outer.append(replace(o, left=dropped(left)))
            continue
        # along what is left of the mixed axes i and j do not agree, so that x's layout has no place for j
        beside = tuple(None if a in o.mixed else p for a, p in enumerate(j.at))
        right = full_product(as_x(left, beside), o.right)
        outer.append(Outer(one(left), right, o.mixed | frozenset(over)))
    return Jacobian(j.space, at, None, None, tuple(outer))


def _moved(place: int | None, rank: int, gone: Collection[int], keepdims: bool) -> int | None:
    if place is None or keepdims:
        return place
    return place - sum(a > rank - place for a in gone)


def elsewhere(
    j: Jacobian, shape: Dims, new: Dims, starts: Dims | None, move: Callable[[Tensor], Tensor]
) -> Jacobian:
    """That of the same elements in another arrangement, in which sums over them are sums over axes again."""
    kept = {len(shape) - p for p in j.at if p is not None}
    if j.own is None or any(d != 1 for a, d in enumerate(shape) if a not in kept):
        raise Mixes("it moves the elements of a value in which an element of x is not at one place")
    own = move(full(j.own, shape))
    space = Space(new, Source(j.space, j.at, shape, starts))
    return Jacobian(space, space.places(), own, own, () if j.outer == () else None)


def returned(
    j: Jacobian, shape: Dims, new: Dims, starts: Dims | None, move: Callable[[Tensor], Tensor]
) -> Jacobian | None:
    """That of the elements moved back to where `elsewhere` took them from; None if this move does something else."""
    source = j.space.source
    if source is None or j.at != j.space.places() or j.own is None or not same(source.shape, new):
        return None
    if (source.starts is None) != (starts is None) or not same(source.starts or (), starts or ()):
        return None
    own = move(full(j.own, shape))
    return Jacobian(source.space, source.at, own, own, () if j.outer == () else None)


def same(a: Dims, b: Dims) -> bool:
    """Whether the dimensions are equal, by what is known of them where ops are built now."""
    mode = current()
    known = mode.equations if isinstance(mode, GraphBuilder) else Equations()
    return len(a) == len(b) and all(x == y or known.same(x, y) for x, y in zip(a, b, strict=True))


def refusal(why: str, op: str, where: object) -> UnsupportedError:
    return UnsupportedError(
        f"the diagonal of this Hessian has no form of its own: {why}",
        op=op, where=where,
        hint="products with the whole Hessian always exist: gradients([gradient], [x], [v]), or hessp of a function",
    )  # fmt: skip
