"""A program's statements in SSA form: each write makes a new version of its name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from graphloss.ir.graph import Op
from graphloss.ir.operator import DERIVATIVES, Operator, Write

if TYPE_CHECKING:
    from graphloss.ir.program import Program


@dataclass
class Linear:
    """All statements of a program, in order, with names that are defined once.

    The first version of a name is the name itself; a write makes the written value the next version. `origins` gives
    each version's kind: "feed", "state", "op" or "undefined"; `statements` the handle behind each op.
    """

    ops: list[Op] = field(default_factory=list)
    statements: list[Operator] = field(default_factory=list)
    last: dict[str, str] = field(default_factory=dict)
    versions: dict[str, list[str]] = field(default_factory=dict)
    writes: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    definition: dict[str, Op] = field(default_factory=dict)

    def depends(self, names: Iterable[str]) -> set[str]:
        """All versions that `names` depend on, themselves included."""
        stack, seen = list(names), set[str]()
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                if name in self.definition:
                    stack.extend(self.definition[name].inputs)
        return seen

    def version_below(self, name: str, targets: Iterable[str]) -> str:
        """The version of `name` that a gradient of `targets` speaks of: the latest they depend on, else the last."""
        known = self.versions.get(name, [name])
        if len(known) > 1:
            below = self.depends(targets)
            for version in reversed(known):
                if version in below:
                    return version
        return known[-1]


def grad_parts(op: Op) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Targets, wrt and target gradients of a `grad` or `jacobian_diag` op."""
    n, m = op.attr["n_targets"], op.attr["n_wrt"]
    assert isinstance(n, int) and isinstance(m, int)
    return op.inputs[:n], op.inputs[n : n + m], op.inputs[n + m :]


def linearise(program: Program) -> Linear:
    """The statements of `program` in SSA form; nothing is dropped and no type is looked at."""
    block = program.global_block()
    out = Linear()

    def read(name: str) -> str:
        version = out.last.get(name)
        if version is None:
            var = block.vars[name]
            out.origins[name] = "feed" if var.is_data else "state" if var.persistable else "undefined"
            define(name, name)
            version = name
        return version

    def define(name: str, version: str) -> None:
        out.last[name] = version
        out.versions.setdefault(name, []).append(version)

    for statement in block.ops:
        entry = statement.entry
        if isinstance(entry, Write):
            value = read(entry.value)
            define(entry.target, value)
            if block.vars[entry.target].persistable:
                out.writes[entry.target] = value
            continue
        if entry.type in DERIVATIVES:
            own_targets, own_wrt, own_seeds = grad_parts(entry)
            targets = [read(i) for i in own_targets]
            wrt = [read(i) and out.version_below(i, targets) for i in own_wrt]
            inputs = (*targets, *wrt, *map(read, own_seeds))
        else:
            inputs = tuple(read(i) for i in entry.inputs)
        op = entry if inputs == entry.inputs else replace(entry, inputs=inputs)
        for name in op.outputs:
            define(name, name)
            out.origins[name] = "op"
            out.definition[name] = op
            if block.vars[name].persistable:  # marked so after it was made: the scope is to keep it
                out.writes[name] = name
        out.ops.append(op)
        out.statements.append(statement)
    return out
