"""Reverse accumulation over a list of applied ops: for the differentiate pass and for the eager tape.

It is select-aware. A cotangent may carry predicates: it is its value where all of them hold and 0 elsewhere, whatever
its value says there. `where` gives its two operands such cotangents without computing anything; products, quotients and
moves of axes hand predicates on, and a sum of two those that they share; a reduction, a matrix product or anything else
first selects. So an untaken branch contributes exactly 0, even where the derivative of what was not taken is inf or
NaN, and a cotangent is selected at most where it is summed and at its end. Rows that were selected stay known as such:
the next factor may be NaN there.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final

from graphloss import dtypes, ops
from graphloss.errors import UnsupportedError
from graphloss.ir.builder import Value
from graphloss.ir.opdef import OpDef, get
from graphloss.ir.tensor import Mode, Tensor, current, using
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.passes import relative

# Ops that move elements and for which a predicate of the same shape moves along.
_MOVES: Final = frozenset({"squeeze", "unsqueeze", "transpose"})
_UNARY: Final = frozenset({"neg", "cast", "assign"})


@dataclass(frozen=True)
class Applied:
    """An op as it was applied: `place` is anything the caller wants back when it is differentiated."""

    op: OpDef
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    attrs: Mapping[str, object]
    place: object = None


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

    def __init__(self, inner: Mode) -> None:
        self.inner = inner
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
        if op.name == "reshape" and all(p.type.shape == first.type.shape for p in first.predicates):
            return result(lambda p: self._moved(op, p, attrs))
        if op.name == "reduce_sum":
            return self._sum(op, first, attrs)
        if op.name == "matmul" and inputs[0] is first and not attrs["transpose_x"] and rank > 1:
            # the rows of the first operand are those of the product, each for itself
            rows = [p for p in first.predicates if p.type.rank and p.type.shape[-1] == 1]
            return Masked(self.inner.apply(op, tuple(map(plain, inputs)), attrs)[0], (), rows) if rows else None
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
            return None
        first, second = (_selected(x.value, [p for p in x.pending if key_of(p) not in keys]) for x in (a, b))
        pending = _union(*(p for x in (a, b) for p in x.pending if key_of(p) in keys))
        rest = keys - {key_of(p) for p in pending}
        held = [p for p in a.held if key_of(p) in rest]
        return Masked(build(first, second), pending, held)

    def _sum(self, op: OpDef, x: Masked, attrs: Mapping[str, object]) -> Tensor:
        """Hands on the predicates that are the same along the axes summed; by the others it selects, then sums."""
        rank = x.type.rank
        axes, keepdims = attrs["axes"], attrs["keepdims"]
        assert axes is None or isinstance(axes, tuple)
        gone = {a % rank for a in axes} if axes is not None else set(range(rank))

        def constant(p: Tensor) -> bool:
            shape = (1,) * (rank - p.type.rank) + p.type.shape
            return len(gone) < rank and all(shape[a] == 1 for a in gone)

        def moved(p: Tensor) -> Tensor:
            if keepdims or not gone:
                return p
            return self._moved(get("squeeze"), _padded(p, rank), {"axes": tuple(sorted(gone))})

        value = _selected(x.value, [p for p in x.pending if not constant(p)])
        total = self.inner.apply(op, (value,), attrs)[0]
        pending, held = ([moved(p) for p in ps if constant(p)] for ps in (x.pending, x.held))
        return Masked(total, pending, held) if pending or held else total


def _under(x: Tensor, condition: Tensor) -> Masked:
    if isinstance(x, Masked):
        pending = _union(*x.pending, condition)
        return Masked(x.value, pending, [p for p in x.held if key_of(p) != key_of(condition)])
    return Masked(x, (condition,))


def _union(*predicates: Tensor) -> tuple[Tensor, ...]:
    """Each once."""
    return tuple({key_of(p): p for p in predicates}.values())


def _selected(value: Tensor, predicates: Sequence[Tensor]) -> Tensor:
    return ops.where(reduce(ops.logical_and, predicates), value, 0.0) if predicates else value


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


def backprop(
    applied: Sequence[Applied],
    seeds: Sequence[tuple[Tensor, Tensor]],
    wanted: Sequence[Tensor],
    *,
    stopped: Sequence[Tensor] = (),
    enter: Callable[[Applied], None] | None = None,
) -> list[Tensor | None]:
    """The cotangent of each of `wanted`, None where no path leads to it.

    `applied` is in the order of computation; `seeds` are (target, its cotangent); nothing flows into `stopped`.
    `enter` is called
    before the rule of an op runs. Builds in the current mode.

    Raises:
        UnsupportedError: a path leads through an op that has no derivative; the text says why.
    """
    inner = current()
    mode = CotangentMode(inner)
    ends = {key_of(x) for x in stopped}
    active = {key_of(x) for x in wanted} - ends
    path: list[Applied] = []
    for a in applied:
        if any(key_of(x) in active for x in a.inputs):
            path.append(a)
            active.update(k for k in (key_of(x) for x in a.outputs) if k not in ends)
    parts: dict[Hashable, list[Tensor]] = {}
    for target, seed in seeds:
        if key_of(target) in active:
            parts.setdefault(key_of(target), []).append(seed)
    for a in reversed(path):
        if not any(key_of(x) in parts for x in a.outputs):
            continue
        if enter is not None:
            enter(a)
        with using(mode):
            cotangents = [_total(parts, key_of(x)) for x in a.outputs]
            given = _pull(a, cotangents)
        for x, part in zip(a.inputs, given, strict=True):
            if part is not None and key_of(x) in active:
                parts.setdefault(key_of(x), []).append(part)
    with using(mode):
        totals = [_total(parts, key_of(x)) for x in wanted]
    return [None if t is None else plain(t) for t in totals]


def _pull(a: Applied, cotangents: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
    where = getattr(a.place, "loc", None)
    if a.op.vjp is not None:
        try:
            return relative.pull(a.op, a.inputs, a.outputs, cotangents, a.attrs)
        except UnsupportedError as error:
            raise error.with_op(a.op.name, where) from None
    if not any(dtypes.is_float(x.type.dtype) for x in a.outputs):
        return [None] * len(a.inputs)
    raise UnsupportedError(
        f"{a.op.name} has no derivative: {a.op.no_vjp}", op=a.op.name, where=where,
        hint="name its operand in no_grad_set if no gradient should flow through it",
    )  # fmt: skip


def _total(parts: dict[Hashable, list[Tensor]], key: Hashable) -> Tensor | None:
    """The sum of all contributions, formed once."""
    found = parts.get(key)
    if not found:
        return None
    total = relative.total(found)
    parts[key] = [total]
    return total
