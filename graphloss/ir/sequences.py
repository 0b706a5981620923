"""Packed sequences: which variables hold the offsets that divide a dimension.

Rows of several sequences lie one after the other; int64 offsets [S+1] say where each of the S sequences begins and the
last one ends. Offsets divide a dimension, so every variable whose first dimension is that one has the sequences.
`Program.sequences` names the offsets of a variable, an input or a result that was said to have some; where its
sequences are divided again, those of the outer levels come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from graphloss.errors import ArgumentTypeError, AttrError, ShapeError
from graphloss.ir.dims import Dim, add, lone, sub
from graphloss.ir.printer import type_text
from graphloss.ir.types import TensorType

if TYPE_CHECKING:
    from graphloss.ir.program import Program
    from graphloss.ir.variable import Variable

OFFSETS_SUFFIX: Final = "@LOD"


def check_divisible(name: str, shape: Sequence[int | None] | None, lod_level: int) -> None:
    """ShapeError if the first dimension of a variable with sequences is not one known at run time only."""
    if not shape or shape[0] not in (None, -1):
        raise ShapeError(
            f"{name!r} is declared with lod_level={lod_level}", "a first dimension None, the number of all rows",
            f"shape {shape}", hint="a plain array has lod_level=0",
        )  # fmt: skip


def declare(var: Variable) -> None:
    """Gives a data variable `x` of lod_level k its offsets: the data variables x@LOD (of the rows), x@LOD@LOD, …"""
    program, names = var.block.program, [var.name]
    for level in range(var.declared_lod_level):
        names.append(names[-1] + OFFSETS_SUFFIX)
        count = program.bind_symbol(var.name + ".seq" * (level + 1), names[-1])
        type = TensorType("int64", (add(count, 1),))
        var.block.create_var(names[-1], type=type, stop_gradient=True, is_data=True)
    if names[1:]:
        program.sequences[var.name] = tuple(reversed(names[1:]))


def divide(rows: Variable, offsets: Variable) -> None:
    """Says that `offsets` divide dimension 0 of `rows`, and of every variable with that dimension."""
    if not rows.type.shape or lone(rows.type.shape[0]) is None:
        raise ShapeError("sequences are a division of a dimension known at run time only", got=type_text(rows.type))
    if offsets.type.dtype != "int64" or offsets.type.rank != 1:
        raise ShapeError("offsets are int64 of shape [S+1]", got=type_text(offsets.type))
    rows.block.program.sequences[rows.name] = (offsets.name,)
    rows.block.program.edited()


def levels(var: Variable) -> tuple[str, ...]:
    """The names of all offsets of `var`, those of its rows last, as `LoDTensor.lod()` has them; () without any.

    They are what was said of the variable itself, or of one with the same first dimension, the first such there is. An
    input has just those that it was declared with. A number is no such dimension: a parameter of as many rows has no
    sequences.
    """
    table = var.block.program.sequences
    if not table or var.name in table:
        return table.get(var.name, ())
    if var.is_data or not var.has_type or not var.type.shape or isinstance(var.type.shape[0], int):
        return ()
    dim, divided = var.type.shape[0], list(_divided(var.block.program))
    found = next((names for d, names in divided if d == dim), None)
    if found is None:
        same = var.block.program.equations.same
        found = next((names for d, names in divided if same(d, dim)), ())
    return found


def _divided(program: Program) -> Iterator[tuple[Dim, tuple[str, ...]]]:
    """Dimensions with the offsets that divide them: of rows, and of sequences of them where these are divided too."""
    variables = program.global_block().vars
    for name, offsets in program.sequences.items():
        dim = variables[name].type.shape[0]
        for n in range(len(offsets), 0, -1):
            yield dim, offsets[:n]
            dim = sub(variables[offsets[n - 1]].type.shape[0], 1)


def owner(program: Program, offsets: str) -> str | None:
    """The name of the data variable that was declared with these offsets; None where an op made them."""
    variables = program.global_block().vars
    return next((n for n, names in program.sequences.items() if offsets in names and variables[n].is_data), None)


def check_level(lod_level: object, name: str) -> int:
    """`lod_level` as a number; ArgumentTypeError or AttrError if it is none, or below 0."""
    if lod_level is None:
        return 0
    if isinstance(lod_level, bool) or not isinstance(lod_level, int):
        raise ArgumentTypeError(f"lod_level of {name!r} is no integer", "int", type(lod_level).__name__)
    if lod_level < 0:
        raise AttrError(f"lod_level of {name!r} is negative", "0, or the depth of the sequences", lod_level)
    return lod_level
