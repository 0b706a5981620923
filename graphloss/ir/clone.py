"""Copies of programs, whole or without what only training needs."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from graphloss.ir.dims import Equations
from graphloss.ir.graph import Op
from graphloss.ir.operator import Operator, Statement
from graphloss.ir.variable import Variable

if TYPE_CHECKING:
    from graphloss.ir.program import Program


def cloned(source: Program, empty: Program, for_test: bool) -> Program:
    """Copies `source` into `empty`.

    For a test, ops of the roles backward and optimize go, and all that depends on what they made.
    """
    block, old = empty.global_block(), source.global_block()
    empty.location = source.location
    empty.family = source.family
    empty.equations = Equations(tuple(source.equations.recorded))
    empty.random_seed = source.random_seed
    empty.adopt_symbols(source)
    kept = _forward(old.ops) if for_test else old.ops
    gone = {n for op in old.ops for n in _defined(op.entry)} - {n for op in kept for n in _defined(op.entry)}
    statements: dict[int, Operator] = {}
    for op in kept:
        statements[id(op)] = made = Operator(block, _tested(op.entry) if for_test else op.entry)
        block.ops.append(made)
    for name, var in old.vars.items():
        if name not in gone:
            block.vars[name] = twin = _twin(var)
            twin.block = block
            twin.op = statements.get(id(var.op))
    empty.sequences = {n: v for n, v in source.sequences.items() if {n, *v} <= block.vars.keys()}
    empty.edited()
    return empty


def _twin(var: Variable) -> Variable:
    twin = copy.copy(var)
    for key, value in vars(var).items():
        if isinstance(value, dict):  # optimize_attr: the copy's may be changed
            setattr(twin, key, dict(value))
    return twin


def _defined(entry: Statement) -> tuple[str, ...]:
    return entry.outputs if isinstance(entry, Op) else ()


def _forward(ops: Collection[Operator]) -> list[Operator]:
    """The ops of role forward that read nothing an op of another role made."""
    gone: set[str] = set()
    kept: list[Operator] = []
    for op in ops:
        if op.role != "forward" or not gone.isdisjoint(op.input_arg_names):
            gone.update(_defined(op.entry))
        else:
            kept.append(op)
    return kept


def _tested(entry: Statement) -> Statement:
    if not isinstance(entry, Op) or "is_test" not in entry.attr:
        return entry
    return replace(entry, attrs=tuple((k, True if k == "is_test" else v) for k, v in entry.attrs))
