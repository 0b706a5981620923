"""Reverse accumulation over a list of applied ops: for the differentiate pass and for the eager tape.

It is select-aware. A cotangent may carry a predicate: it is its value where the predicate holds and 0 elsewhere,
whatever its value
says there. `where` gives its two operands such cotangents without computing anything; products, quotients and moves of
axes hand
the predicate on; a sum, a matrix product or anything else first selects. So an untaken branch contributes exactly 0,
even where
the derivative of what was not taken is inf or NaN, and a cotangent is selected at most where it is summed and at its
end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from graphloss import dtypes, ops
from graphloss.errors import UnsupportedError
from graphloss.ir.builder import Value
from graphloss.ir.opdef import OpDef, get
from graphloss.ir.tensor import Mode, Tensor, current, using
from graphloss.ir.types import TensorType
from graphloss.ops import rules

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
    """`value` where `predicate` holds (broadcast to it), 0 elsewhere."""

    __slots__ = ("_selected", "predicate", "value")

    def __init__(self, value: Tensor, predicate: Tensor) -> None:
        self.value = value
        self.predicate = predicate
        self._selected: Tensor | None = None

    @property
    def type(self) -> TensorType:
        return self.value.type

    def select(self) -> Tensor:
        """The plain tensor, built once."""
        if self._selected is None:
            self._selected = ops.where(self.predicate, self.value, 0.0)
        return self._selected


def key_of(x: Tensor) -> Hashable:
    """What makes two handles the same value."""
    return x.name if isinstance(x, Value) else id(x)


class CotangentMode:
    """The mode in which vjp rules run: hands predicates on, and applies everything else in the mode around it."""

    def __init__(self, inner: Mode) -> None:
        self.inner = inner
        self._zeros: dict[Hashable, Tensor] = {}
        self._both: dict[tuple[Hashable, Hashable], tuple[Tensor, Tensor, Tensor]] = {}
        self._moves: dict[Hashable, tuple[Tensor, Tensor]] = {}  # the operand stays alive with its result, as above

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
                return self._under(x, condition)
            return Masked(ops.where(condition, x.value, y), x.predicate) if isinstance(x, Masked) else None
        if key_of(x) in self._zeros:
            if _fits(condition.type, y.type):
                return self._under(y, ops.logical_not(condition))
            return Masked(ops.where(condition, x, y.value), y.predicate) if isinstance(y, Masked) else None
        return None

    def _hand_on(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> Tensor | None:
        masked = [x for x in inputs if isinstance(x, Masked)]
        if not masked:
            return None
        first, raw = masked[0], tuple(x.value if isinstance(x, Masked) else x for x in inputs)

        def result(predicate: Tensor) -> Tensor:
            return Masked(self.inner.apply(op, raw, attrs)[0], predicate)

        if op.name in _UNARY:
            return result(first.predicate)
        if op.name == "broadcast_to" and first.predicate.type.rank <= first.type.rank:
            return result(first.predicate)
        if op.name == "mul":
            return result(first.predicate if len(masked) == 1 else self._and(masked[0].predicate, masked[1].predicate))
        if op.name == "div" and not isinstance(inputs[1], Masked):
            return result(first.predicate)
        if op.name in ("add", "sub") and len(masked) == 2 and key_of(first.predicate) == key_of(masked[1].predicate):
            return result(first.predicate)
        if op.name in _MOVES:
            return result(self._moved(op, _padded(first.predicate, first.type.rank), attrs))
        if op.name == "place":
            axis, rank = attrs["axis"], first.type.rank
            assert isinstance(axis, int)
            beside = {"axes": (rules.axis_of(axis, rank + 1),)}
            return result(self._moved(get("unsqueeze"), _padded(first.predicate, rank), beside))
        if op.name == "reshape" and first.predicate.type.shape == first.type.shape:
            return result(self.inner.apply(op, (first.predicate,), attrs)[0])
        if op.name == "reduce_sum":
            return self._sum(op, first, attrs)
        return None

    def _moved(self, op: OpDef, predicate: Tensor, attrs: Mapping[str, object]) -> Tensor:
        """A predicate after a move of its axes: one for each move, so that cotangents under it still add up."""
        key = (op.name, key_of(predicate), tuple(attrs.items()))
        if key not in self._moves:
            self._moves[key] = (self.inner.apply(op, (predicate,), attrs)[0], predicate)
        return self._moves[key][0]

    def _sum(self, op: OpDef, x: Masked, attrs: Mapping[str, object]) -> Tensor:
        """Hands the predicate on where it is the same along the axes summed; else selects, then sums."""
        rank = x.type.rank
        axes, keepdims = attrs["axes"], attrs["keepdims"]
        assert axes is None or isinstance(axes, tuple)
        gone = {a % rank for a in axes} if axes is not None else set(range(rank))
        lead = rank - x.predicate.type.rank
        shape = (1,) * lead + x.predicate.type.shape
        if any(shape[a] != 1 for a in gone) or len(gone) == rank:
            return self.inner.apply(op, (x.select(),), attrs)[0]
        total = self.inner.apply(op, (x.value,), attrs)[0]
        if keepdims:
            return Masked(total, x.predicate)
        predicate = _padded(x.predicate, rank)
        return Masked(total, ops.squeeze(predicate, tuple(sorted(gone))) if gone else predicate)

    def _under(self, x: Tensor, condition: Tensor) -> Tensor:
        if isinstance(x, Masked):
            return Masked(x.value, self._and(x.predicate, condition))
        return Masked(x, condition)

    def _and(self, a: Tensor, b: Tensor) -> Tensor:
        if key_of(a) == key_of(b):
            return a
        pair = (key_of(a), key_of(b))
        if pair not in self._both:
            self._both[pair] = (ops.logical_and(a, b), a, b)  # the operands stay alive: eager keys are addresses
        return self._both[pair][0]


def _fits(condition: TensorType, x: TensorType) -> bool:
    """Whether `condition` broadcasts to x without making it larger."""
    lead = x.rank - condition.rank
    return lead >= 0 and all(c in (1, d) for c, d in zip(condition.shape, x.shape[lead:], strict=True))


def _padded(predicate: Tensor, rank: int) -> Tensor:
    lead = rank - predicate.type.rank
    return ops.unsqueeze(predicate, tuple(range(lead))) if lead else predicate


def plain(x: Tensor) -> Tensor:
    """A cotangent without predicate."""
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
    if a.op.vjp is not None:
        return a.op.vjp(a.inputs, a.outputs, cotangents, a.attrs)
    if not any(dtypes.is_float(x.type.dtype) for x in a.outputs):
        return [None] * len(a.inputs)
    raise UnsupportedError(
        f"{a.op.name} has no derivative: {a.op.no_vjp}", op=a.op.name, where=getattr(a.place, "loc", None),
        hint="name its operand in no_grad_set if no gradient should flow through it",
    )  # fmt: skip


def _total(parts: dict[Hashable, list[Tensor]], key: Hashable) -> Tensor | None:
    """The sum of all contributions, formed once."""
    found = parts.get(key)
    if not found:
        return None
    total = found[0]
    for part in found[1:]:
        total = ops.add(total, part)  # where the predicates differ, the mode selects both first
    parts[key] = [total]
    return total
