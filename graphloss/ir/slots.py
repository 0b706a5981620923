"""The arguments of `append_op`, given by slot, in the order of the OpDef."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from graphloss.errors import ArgumentTypeError, AttrError
from graphloss.ir.opdef import OpDef
from graphloss.ir.operator import find_slot
from graphloss.ir.variable import Variable

Argument: TypeAlias = Variable | str
Slots: TypeAlias = Mapping[str, Argument | Sequence[Argument]]


def arguments(op: OpDef, given: Slots, find: Callable[[str], Variable]) -> list[Variable]:
    """The operands of `op`; names are looked up by `find`."""
    by_slot = _by_slot(op.name, "input", op.inputs, given)
    found: list[Variable] = []
    for i, slot in enumerate(op.inputs):
        repeats = op.variadic and i == len(op.inputs) - 1
        items = by_slot.get(i)
        if not items and not (repeats and items is not None):
            raise AttrError(f"{op.name} lacks its input {slot!r}", expected=", ".join(op.inputs))
        if len(items) > 1 and not repeats:
            raise AttrError(f"input {slot!r} of {op.name} takes one variable", got=f"{len(items)} of them")
        found.extend(item if isinstance(item, Variable) else find(item) for item in items)
    return found


def results(op: OpDef, given: Slots) -> list[str | None]:
    """The names wanted for the outputs of `op`; None where no slot says one."""
    by_slot = _by_slot(op.name, "output", op.outputs, given)
    names: list[str | None] = []
    for i, slot in enumerate(op.outputs):
        items = by_slot.get(i, [])
        if len(items) > 1:
            raise AttrError(f"output {slot!r} of {op.name} takes one variable", got=f"{len(items)} of them")
        names.append(None if not items else items[0] if isinstance(items[0], str) else items[0].name)
    return names


def _by_slot(op: str, kind: str, slots: Sequence[str], given: Slots) -> dict[int, list[Argument]]:
    if not isinstance(given, Mapping):
        raise ArgumentTypeError(f"{op}: {kind}s are given by slot", expected="dict", got=type(given).__name__)
    found: dict[int, list[Argument]] = {}
    for slot, value in given.items():
        at = find_slot(slot, slots) if isinstance(slot, str) else None
        if at is None:
            raise AttrError(f"{op} has no {kind} slot {slot!r}", expected=", ".join(slots) or "none")
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        found[at] = [item for item in items if isinstance(item, (Variable, str))]
        if len(found[at]) < len(items):
            raise ArgumentTypeError(f"{op}: {kind} {slot!r} must be given as variables or names", got=repr(value))
    return found
