"""Programs as text, and back; a program's text has its writes where they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphloss.ir.dims import Equations, shifted, symbols
from graphloss.ir.graph import Op
from graphloss.ir.operator import Operator, Write
from graphloss.ir.parser import parse_statements
from graphloss.ir.printer import declaration_text, equation_text, program_text, sequences_text, statement_text
from graphloss.ir.variable import Variable

if TYPE_CHECKING:
    from graphloss.ir.program import Program


def text_of_program(program: Program, with_details: bool) -> str:
    """The text of a graph that computes everything, except that a `write` may stand between ops, where it happens.

    A write to a variable that the scope does not keep reads `set`.
    """
    block = program.global_block()
    made = {n for op in block.ops if not isinstance(op.entry, Write) for n in op.output_arg_names}
    lines: list[str] = []
    for var in block.vars.values():
        if var.name not in made and var.has_type and (var.is_data or var.persistable):
            line = declaration_text("feed" if var.is_data else "state", var.name, var.type)
            lines.append(f"{line}  ; {var.details_text}" if with_details else line)
    lines += [equation_text(e) for e in program.equations.recorded]
    for op in block.ops:
        lines += _statement(op, block.vars, with_details)
    lines += [sequences_text(name, offsets) for name, offsets in program.sequences.items()]
    return program_text(program.name, lines)


def _statement(op: Operator, variables: dict[str, Variable], with_details: bool) -> list[str]:
    entry = op.entry
    if isinstance(entry, Write):
        kind = "write" if variables[entry.target].persistable else "set"
        return [statement_text(kind, entry.target, entry.value)]
    line = op.to_string()
    if with_details:
        notes: tuple[str, ...] = (entry.scope if entry.scope != "/" else "", str(entry.loc or ""))
        notes += tuple(f"%{n}: {variables[n].details_text}" for n in entry.outputs)
        line += "  ; " + "; ".join(n for n in notes if n)
    # marked persistable after an op made it: the scope keeps it under its own name
    return [line, *(statement_text("write", n, n) for n in entry.outputs if variables[n].persistable)]


def program_of_text(text: str, empty: Program) -> Program:
    """Builds what `text` says into `empty`; the fetches of a graph's text are of no use to a program."""
    found = parse_statements(text)
    block = empty.global_block()
    empty.name = found.name
    empty.equations = Equations(tuple(found.equations))
    for name in (*found.feeds, *found.states):
        type, fed = found.types[name], name in found.feeds
        block.create_var(name, type=type, persistable=not fed, stop_gradient=fed, is_data=fed)
        for d in type.shape:
            symbol = shifted(d)
            if symbol is not None:
                empty.own_symbol(symbol[0], name)
    for entry in found.statements:
        if isinstance(entry, Op):
            for var in block.take(entry, [found.types[n] for n in entry.outputs]):
                for name in (s for d in var.type.shape for s in symbols(d)):
                    empty.own_symbol(name, "")  # no later shape may take it for its own
            continue
        target = block.vars.get(entry.target)
        if target is None:
            kept = entry.target in found.kept
            target = block.create_var(entry.target, type=found.types[entry.target], persistable=kept)
        elif entry.target in found.kept:
            target.persistable = True
        if entry.target != entry.value:  # else it only says that the scope keeps what the op made
            block.push(entry)
    empty.sequences.update(found.sequences)
    for name in found.feeds:
        block.vars[name].declared_lod_level = len(found.sequences.get(name, ()))
    return empty
