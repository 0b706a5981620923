"""Reverse accumulation over a list of applied ops: for the differentiate pass and for the eager tape.

It is select-aware (`cotangents`), and knows cotangents by the logarithm of a value (`relative`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from graphloss import dtypes
from graphloss.errors import UnsupportedError
from graphloss.ir.opdef import OpDef
from graphloss.ir.tensor import Tensor, current, using
from graphloss.passes import relative
from graphloss.passes.cotangents import CotangentMode, key_of, plain


@dataclass(frozen=True)
class Applied:
    """An op as it was applied: `place` is anything the caller wants back when it is differentiated."""

    op: OpDef
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    attrs: Mapping[str, object]
    place: object = None


def backprop(
    applied: Sequence[Applied],
    seeds: Sequence[tuple[Tensor, Tensor]],
    wanted: Sequence[Tensor],
    *,
    stopped: Sequence[Tensor] = (),
    enter: Callable[[Applied], None] | None = None,
    thorough: bool = False,
) -> list[Tensor | None]:
    """The cotangent of each of `wanted`, None where no path leads to it.

    `applied` is in the order of computation; `seeds` are (target, its cotangent); nothing flows into `stopped`.
    `enter` is called before the rule of an op runs; `thorough` follows zeros through sums too. Builds in the current
    mode.

    Raises:
        UnsupportedError: a path leads through an op that has no derivative; the text says why.
    """
    inner = current()
    mode = CotangentMode(inner, thorough)
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
