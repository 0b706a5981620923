"""Statements of a program: frozen ops and writes, and the handle that a user sees of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from graphloss.errors import AttrError
from graphloss.ir.graph import Attr, Op
from graphloss.ir.location import Location
from graphloss.ir.opdef import get
from graphloss.ir.printer import statement_text

if TYPE_CHECKING:
    from graphloss.ir.block import Block


@dataclass(frozen=True, slots=True)
class Write:
    """From here on, `target` means `value`; a run that succeeds commits it to the scope if `target` is persistable."""

    target: str
    value: str
    role: str = field(default="forward", compare=False)
    loc: Location | None = field(default=None, compare=False)
    scope: str = field(default="", compare=False)


# Ops that a compilation replaces by the ops of a derivative; their attribute no_grad holds names.
GRAD: Final = "grad"  # what gradients() and append_backward() record
JACOBIAN_DIAG: Final = "jacobian_diag"  # what hessian_diag() records, of a gradient
DERIVATIVES: Final = frozenset({GRAD, JACOBIAN_DIAG})

Statement: TypeAlias = Op | Write

_WRITE_INPUTS = ("value",)
_WRITE_OUTPUTS = ("target",)


class Operator:
    """One statement of a block: an op, or a write (whose type is "write").

    Slots are the names of the OpDef's inputs and outputs; their case does not matter, so `X` finds `x`.
    """

    def __init__(self, block: Block, entry: Statement) -> None:
        self.block = block
        self.entry = entry

    @property
    def type(self) -> str:
        return self.entry.type if isinstance(self.entry, Op) else "write"

    @property
    def idx(self) -> int:
        """Position in the block."""
        for i, op in enumerate(self.block.ops):
            if op is self:
                return i
        return -1

    @property
    def input_names(self) -> tuple[str, ...]:
        """The input slots."""
        return get(self.entry.type).inputs if isinstance(self.entry, Op) else _WRITE_INPUTS

    @property
    def output_names(self) -> tuple[str, ...]:
        """The output slots."""
        return get(self.entry.type).outputs if isinstance(self.entry, Op) else _WRITE_OUTPUTS

    @property
    def input_arg_names(self) -> tuple[str, ...]:
        """The variables read, in order."""
        return self.entry.inputs if isinstance(self.entry, Op) else (self.entry.value,)

    @property
    def output_arg_names(self) -> tuple[str, ...]:
        """The variables defined or written, in order."""
        return self.entry.outputs if isinstance(self.entry, Op) else (self.entry.target,)

    def input(self, slot: str) -> list[str]:
        """Names of the variables in an input slot; a slot that repeats has all the remaining ones."""
        return self._slot("input", slot, self.input_names, self.input_arg_names)

    def output(self, slot: str) -> list[str]:
        return self._slot("output", slot, self.output_names, self.output_arg_names)

    def _slot(self, kind: str, slot: str, slots: Sequence[str], names: Sequence[str]) -> list[str]:
        at = find_slot(slot, slots)
        if at is None:
            raise AttrError(f"{self.type} has no {kind} slot {slot!r}", expected=", ".join(slots) or "none", op=self)
        return list(names[at:] if at == len(slots) - 1 else names[at : at + 1])

    def all_attrs(self) -> dict[str, Attr]:
        """All attributes, the op's own first."""
        own: Mapping[str, Attr] = self.entry.attr if isinstance(self.entry, Op) else {}
        return {
            **own,
            "op_role": self.entry.role,
            "op_namescope": self.entry.scope,
            "op_callstack": str(self.entry.loc) if self.entry.loc else "",
        }

    @property
    def attr_names(self) -> tuple[str, ...]:
        return tuple(self.all_attrs())

    def has_attr(self, name: str) -> bool:
        return name in self.all_attrs()

    def attr(self, name: str) -> Attr:
        attrs = self.all_attrs()
        if name not in attrs:
            raise AttrError(f"{self.type} has no attribute {name!r}", expected=", ".join(attrs), op=self)
        return attrs[name]

    def attr_type(self, name: str) -> str:
        """The kind of an attribute: "int", "float", "axes", …"""
        self.attr(name)
        specs = get(self.entry.type).attrs if isinstance(self.entry, Op) else ()
        return next((spec.kind for spec in specs if spec.name == name), "str")

    @property
    def role(self) -> str:
        return self.entry.role

    @property
    def location(self) -> Location | None:
        """Where the user wrote it."""
        return self.entry.loc

    def to_string(self, throw_on_error: bool = False) -> str:
        """The statement as text: `%y = exp(%x) : f32[10]`."""
        if isinstance(self.entry, Write):
            return statement_text("write", self.entry.target, self.entry.value)
        return self.block.op_text(self.entry)

    __str__ = to_string

    def __repr__(self) -> str:
        return f"<Operator {self.to_string()}>"

    def renamed(self, old: str, new: str) -> None:
        """Every mention of the variable `old` becomes `new`."""

        def name(n: Attr) -> str:
            return new if n == old else str(n)

        entry = self.entry
        if isinstance(entry, Write):
            self.entry = replace(entry, target=name(entry.target), value=name(entry.value))
        else:
            inputs, outputs = tuple(map(name, entry.inputs)), tuple(map(name, entry.outputs))
            attrs = entry.attrs
            if entry.type in DERIVATIVES:
                attrs = tuple((k, tuple(map(name, v)) if isinstance(v, tuple) else v) for k, v in attrs)
            self.entry = replace(entry, inputs=inputs, outputs=outputs, attrs=attrs)


def find_slot(slot: str, slots: Sequence[str]) -> int | None:
    """The position of a slot, by its name in any case."""
    lowered = slot.lower()
    return next((i for i, s in enumerate(slots) if s.lower() == lowered), None)
