"""Cotangents under predicates, and the mode in which the rules of derivatives hand them on.

A cotangent may carry predicates: it is its value where all of them hold and 0 elsewhere, whatever its value says there.
`where` gives its two operands such cotangents without computing anything; products, quotients and moves of axes hand
predicates on, and a sum of two those that they share; a reduction, a matrix product or anything else first selects. So
an untaken branch contributes exactly 0, even where the derivative of what was not taken is inf or NaN, and a cotangent
is selected at most where it is summed and at its end. Rows that were selected stay known as such: the next factor may
be NaN there.

A `thorough` mode also computes where sums, unions and scatters of elements under predicates saw none of them, and
leaves out the rows of a matrix that a product multiplies by zeros only. That is for what runs as it was written: the
optimiser has made picks and row formulas of most of it, and the rest would cost kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Final

from graphloss import ops
from graphloss.ir import dims
from graphloss.ir.builder import Value
from graphloss.ir.dims import Dim
from graphloss.ir.opdef import OpDef, get
from graphloss.ir.tensor import Mode, Tensor, cast, using
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.passes import relative

# Ops that move elements and for which a predicate of the same shape moves along.
_MOVES: Final = frozenset({"squeeze", "unsqueeze", "transpose"})
_UNARY: Final = frozenset({"neg", "cast", "assign"})
# Ops linear in one operand, whose elements of the result are sums of some of its elements.
_SUMS: Final = frozenset({"broadcast_to", "gather", "pick", "reshape", "scatter_add"})


class Masked(Tensor):
    """`value` where all predicates hold (each broadcast to it), 0 elsewhere; where one of `held` does not, it is 0
    already."""

    __slots__ = ("_selected", "held", "pending", "value")

    def __init__(self, value: Tensor, pending: Iterable[Tensor], held: Iterable[Tensor] = ()) -> None:
        self.value = value
        self.pending = tuple(pending)
        self.held = tuple(held)
        self._selected: Tensor | None = None

    @property
    def type(self) -> TensorType:
        return self.value.type

    @property
    def predicates(self) -> tuple[Tensor, ...]:
        return self.pending + self.held

    def select(self) -> Tensor:
        """The plain tensor, built once."""
        if self._selected is None:
            self._selected = _selected(self.value, self.pending)
        return self._selected


def key_of(x: Tensor) -> Hashable:
    """What makes two handles the same value."""
    return x.name if isinstance(x, Value) else id(x)


class CotangentMode:
    """The mode in which vjp rules run: hands predicates on, and applies everything else in the mode around it."""

    def __init__(self, inner: Mode, thorough: bool = False) -> None:
        self.inner = inner
        self.thorough = thorough
        self._zeros: dict[Hashable, Tensor] = {}
        self._moves: dict[Hashable, tuple[Tensor, Tensor]] = {}  # the operand stays alive: eager keys are addresses

    def apply(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> tuple[Tensor, ...]:
        with using(self.inner):
            handed = self._where(inputs) if op.name == "where" else self._hand_on(op, inputs, attrs)
            if handed is not None:
                return (handed,)
            out = self.inner.apply(op, tuple(plain(x) for x in inputs), attrs)
        if op.name == "fill" and attrs["value"] == 0 and attrs["shape"] == ():
            self._zeros[key_of(out[0])] = out[0]
        return out

    def _where(self, inputs: Sequence[Tensor]) -> Tensor | None:
        """where(c, x, 0) and where(c, 0, x): x under c, or under not c."""
        condition, x, y = inputs
        if isinstance(condition, Masked):
            return None
        if key_of(y) in self._zeros:
            if _fits(condition.type, x.type):
                return _under(x, condition)
            return Masked(ops.where(condition, x.value, y), x.pending, x.held) if isinstance(x, Masked) else None
        if key_of(x) in self._zeros:
            if _fits(condition.type, y.type):
                return _under(y, ops.logical_not(condition))
            return Masked(ops.where(condition, x, y.value), y.pending, y.held) if isinstance(y, Masked) else None
        if isinstance(x, Masked) and isinstance(y, Masked):
            return self._both(x, y, lambda a, b: ops.where(condition, a, b))
        return None

    def _hand_on(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> Tensor | None:
        masked = [x for x in inputs if isinstance(x, Masked)]
        if not masked:
            return None
        first, raw = masked[0], tuple(x.value if isinstance(x, Masked) else x for x in inputs)

        def result(moved: Callable[[Tensor], Tensor] = lambda predicate: predicate) -> Tensor:
            value = self.inner.apply(op, raw, attrs)[0]
            return Masked(value, map(moved, first.pending), map(moved, first.held))

        if op.name in _UNARY:
            return result()
        if op.name == "broadcast_to" and all(p.type.rank <= first.type.rank for p in first.predicates):
            return result()
        if op.name == "mul" or (op.name == "div" and not isinstance(inputs[1], Masked)):
            # what was selected before is no longer: the other factor may be NaN there
            predicates = _union(*(p for x in masked for p in x.predicates))
            return Masked(self.inner.apply(op, raw, attrs)[0], predicates)
        if op.name in ("add", "sub") and len(masked) == 2:
            return self._both(masked[0], masked[1], lambda a, b: self.inner.apply(op, (a, b), attrs)[0])
        rank = first.type.rank
        if op.name in _MOVES:
            return result(lambda p: self._moved(op, _padded(p, rank), attrs))
        if op.name == "slice":
            return result(lambda p: self._moved(op, _padded(p, rank), _sliced(p, first.type, attrs)))
        if op.name == "place":
            axis = attrs["axis"]
            assert isinstance(axis, int)
            beside = {"axes": (rules.axis_of(axis, rank + 1),)}
            return result(lambda p: self._moved(get("unsqueeze"), _padded(p, rank), beside))
        if op.name == "reshape":
            shapes = {key_of(p): _reshaped(p.type, first.type, attrs) for p in first.predicates}
            if all(shape is not None for shape in shapes.values()):
                return result(lambda p: self._moved(op, p, {"shape": shapes[key_of(p)]}))
        if op.name == "reduce_sum":
            return self._sum(op, first, attrs)
        if op.name in ("cumsum", "pad"):
            return self._mixed(op, inputs, attrs, _changed_axes(attrs, rank))
        if op.name == "matmul":
            return self._product(op, inputs, attrs)
        if op.name in _SUMS and self.thorough:
            return self._mixed(op, inputs, attrs, range(rank))
        return None

    def _moved(self, op: OpDef, predicate: Tensor, attrs: Mapping[str, object]) -> Tensor:
        """A predicate after a move of its axes: one for each move, so that cotangents under it still add up."""
        key = (op.name, key_of(predicate), tuple(attrs.items()))
        if key not in self._moves:
            self._moves[key] = (self.inner.apply(op, (predicate,), attrs)[0], predicate)
        return self._moves[key][0]

    def _both(self, a: Masked, b: Masked, build: Callable[[Tensor, Tensor], Tensor]) -> Tensor | None:
        """A sum, or a choice, of two under the predicates that both have; each is selected by what is its own."""
        keys = {key_of(p) for p in a.predicates} & {key_of(p) for p in b.predicates}
        if not keys:
            if not self.thorough:
                return None
            either = ops.logical_or(_all(a.predicates), _all(b.predicates))
            return Masked(build(plain(a), plain(b)), (), (either,))
        first, second = (_selected(x.value, [p for p in x.pending if key_of(p) not in keys]) for x in (a, b))
        pending = _union(*(p for x in (a, b) for p in x.pending if key_of(p) in keys))
        rest = keys - {key_of(p) for p in pending}
        held = [p for p in a.held if key_of(p) in rest]
        return Masked(build(first, second), pending, held)

    def _sum(self, op: OpDef, x: Masked, attrs: Mapping[str, object]) -> Tensor:
        rank = x.type.rank
        axes, keepdims = attrs["axes"], attrs["keepdims"]
        assert axes is None or isinstance(axes, tuple)
        gone = {a % rank for a in axes} if axes is not None else set(range(rank))

        def moved(p: Tensor) -> Tensor:
            if keepdims or not gone:
                return p
            return self._moved(get("squeeze"), _padded(p, rank), {"axes": tuple(sorted(gone))})

        return self._mixed(op, (x,), attrs, gone, moved)

    def _mixed(
        self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object], axes: Collection[int],
        moved: Callable[[Tensor], Tensor] = lambda predicate: predicate,
    ) -> Tensor:  # fmt: skip
        """A linear op that mixes the elements of its masked operand along `axes` only: hands on the predicates that are
        the same along them; by the others it selects first."""
        i, x = next((i, x) for i, x in enumerate(inputs) if isinstance(x, Masked))
        lost = [p for p in x.predicates if len(axes) == x.type.rank or not _same_along(p.type, x.type.rank, axes)]
        keys = {key_of(p) for p in lost}
        raw = [y if y is x else plain(y) for y in inputs]
        raw[i] = _selected(x.value, [p for p in x.pending if key_of(p) in keys])
        value = self.inner.apply(op, raw, attrs)[0]
        pending, held = ([moved(p) for p in ps if key_of(p) not in keys] for ps in (x.pending, x.held))
        if lost and self.thorough:
            raw[i] = _flags(lost, x.type)
            held.append(self.inner.apply(op, raw, attrs)[0] > 0.0)
        return Masked(value, pending, held) if pending or held else value

    def _product(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> Tensor | None:
        """A row of the masked matrix that is 0 gives such a row of the product; if thorough, what meets zeros only in
        the other matrix is left out."""
        i = 0 if isinstance(inputs[0], Masked) else 1
        x, other = inputs[i], plain(inputs[1 - i])
        assert isinstance(x, Masked)
        crossed = attrs["transpose_x"] != attrs["transpose_y"]
        # of the last two axes of the masked one, that which is left and that which is summed
        left, summed = (-2, -1) if (i == 0) != attrs["transpose_y" if i else "transpose_x"] else (-1, -2)
        rank = x.type.rank
        if rank < 2 or other.type.rank < 2:
            return None
        held: list[Tensor] = []
        for p in x.predicates:
            if self.thorough:
                met = self._some(p, x.type, left)
                # its place in the other matrix is the same if one of them is transposed
                met = met if crossed else self._swapped(met)
                other = ops.where(met, other, 0.0) if _fits(met.type, other.type) else other
            if self.thorough or _same_along(p.type, rank, {rank + summed}):
                kept = self._some(p, x.type, summed)
                held.append(kept if left == (-1 if i else -2) else self._swapped(kept))
        both = (plain(x), other) if i == 0 else (other, plain(x))
        product = self.inner.apply(op, both, attrs)[0]
        return Masked(product, (), held) if held else product

    def _some(self, predicate: Tensor, x: TensorType, axis: int) -> Tensor:
        """Where along the others a predicate on `x` holds somewhere along `axis`."""
        if _same_along(predicate.type, x.rank, {x.rank + axis}):
            return _padded(predicate, x.rank)
        return ops.reduce_sum(_flags([predicate], x), (axis,), True) > 0.0

    def _swapped(self, predicate: Tensor) -> Tensor:
        rank = predicate.type.rank
        return self._moved(get("transpose"), predicate, {"perm": (*range(rank - 2), rank - 1, rank - 2)})


def _under(x: Tensor, condition: Tensor) -> Masked:
    if isinstance(x, Masked):
        pending = _union(*x.pending, condition)
        return Masked(x.value, pending, [p for p in x.held if key_of(p) != key_of(condition)])
    return Masked(x, (condition,))


def _union(*predicates: Tensor) -> tuple[Tensor, ...]:
    """Each once."""
    return tuple({key_of(p): p for p in predicates}.values())


def _all(predicates: Sequence[Tensor]) -> Tensor:
    return reduce(ops.logical_and, predicates)


def _selected(value: Tensor, predicates: Sequence[Tensor]) -> Tensor:
    return ops.where(_all(predicates), value, 0.0) if predicates else value


def _flags(predicates: Sequence[Tensor], x: TensorType) -> Tensor:
    """1 where all predicates hold, else 0, in the type of `x`."""
    return ops.broadcast_to(cast(_all(predicates), x.dtype), x.shape)


def _same_along(predicate: TensorType, rank: int, axes: Collection[int]) -> bool:
    """Whether a predicate on something of `rank` is broadcast along each of `axes`."""
    shape = (1,) * (rank - predicate.rank) + predicate.shape
    return all(shape[a] == 1 for a in axes)


def _changed_axes(attrs: Mapping[str, object], rank: int) -> set[int]:
    """The axes along which a cumsum adds up or a pad adds zeros."""
    if "axis" in attrs:
        assert isinstance(attrs["axis"], int)
        return {rules.axis_of(attrs["axis"], rank)}
    low, high = attrs["low"], attrs["high"]
    assert isinstance(low, tuple) and isinstance(high, tuple)
    return {i for i, added in enumerate(zip(low, high, strict=True)) if added != (0, 0)}


def _reshaped(predicate: TensorType, x: TensorType, attrs: Mapping[str, object]) -> tuple[Dim, ...] | None:
    """The shape of a predicate after a reshape of `x`, if it varies along leading axes only that stay together."""
    new = attrs["shape"]
    assert isinstance(new, tuple)
    shape = (1,) * (x.rank - predicate.rank) + predicate.shape
    k = next((i for i in range(x.rank + 1) if all(d == 1 for d in shape[i:])), x.rank)
    if shape[:k] != x.shape[:k]:
        return None
    size = dims.product(shape[:k])
    j = next((j for j in range(len(new) + 1) if dims.product(new[:j]) == size), None)
    return None if j is None else (*new[:j], *(1,) * (len(new) - j))


def _sliced(predicate: Tensor, x: TensorType, attrs: Mapping[str, object]) -> dict[str, object]:
    """The attributes of a slice of `x`, for a predicate with some axes of 1 that are broadcast to it."""
    shape = (1,) * (x.rank - predicate.type.rank) + predicate.type.shape
    wide = [a == b for a, b in zip(shape, x.shape, strict=True)]
    found = {}
    for name, rest in (("starts", 0), ("sizes", 1), ("steps", 1)):
        given = attrs[name]
        assert isinstance(given, tuple)
        found[name] = tuple(n if w else rest for n, w in zip(given, wide, strict=True))
    return {**attrs, **found}


def _fits(condition: TensorType, x: TensorType) -> bool:
    """Whether `condition` broadcasts to x without making it larger."""
    lead = x.rank - condition.rank
    return lead >= 0 and all(c in (1, d) for c, d in zip(condition.shape, x.shape[lead:], strict=True))


def _padded(predicate: Tensor, rank: int) -> Tensor:
    lead = rank - predicate.type.rank
    return ops.unsqueeze(predicate, tuple(range(lead))) if lead else predicate


def plain(x: Tensor) -> Tensor:
    """A cotangent without predicate, divided."""
    x = relative.quotient(x)
    return x.select() if isinstance(x, Masked) else x
