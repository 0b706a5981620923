"""Packed sequences: which variable holds the offsets that divide a dimension.

Rows of several sequences lie one after the other; int64 offsets [S+1] say where each of the S sequences begins and the
last one ends. Offsets belong to a dimension, so every variable whose first dimension is that one has the sequences.
`Program.sequences` maps the dimension to the name of the offsets. The S sequences may be divided again, into
sequences of sequences: then S is a key too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from graphloss.errors import ArgumentTypeError, AttrError, ShapeError
from graphloss.ir.dims import Dim, add, lone, sub
from graphloss.ir.printer import type_text
from graphloss.ir.types import TensorType

if TYPE_CHECKING:
    from graphloss.ir.program import Program
    from graphloss.ir.variable import Variable

OFFSETS_SUFFIX: Final = "@LOD"


def check_divisible(name: str, shape: Sequence[int | None], lod_level: int) -> None:
    """ShapeError if the first dimension of a variable with sequences is not one known at run time only."""
    if lod_level and (not shape or shape[0] not in (None, -1)):
        raise ShapeError(
            f"{name!r} is declared with lod_level={lod_level}", "a first dimension None, the number of all rows",
            f"shape {list(shape)}", hint="a plain array has lod_level=0",
        )  # fmt: skip


def declare(var: Variable) -> None:
    """Gives a data variable `x` of lod_level k its offsets: the data variables x@LOD (of the rows), x@LOD@LOD, …"""
    program = var.block.program
    dim: Dim = var.type.shape[0] if var.type.shape else 1
    name, count = var.name, f"{var.name}.seq"
    for _ in range(var.declared_lod_level):
        name += OFFSETS_SUFFIX
        number = program.bind_symbol(count, name)
        type = TensorType("int64", (add(number, 1),))
        var.block.create_var(name, type=type, stop_gradient=True, is_data=True)
        program.sequences[dim] = name
        dim, count = number, f"{count}.seq"


def divide(rows: Variable, offsets: Variable) -> None:
    """Says that `offsets` divide dimension 0 of `rows`, and of every variable with that dimension."""
    dim = rows.type.shape[0] if rows.type.shape else 1
    if lone(dim) is None:
        raise ShapeError("sequences are a division of a dimension known at run time only", got=type_text(rows.type))
    if offsets.type.dtype != "int64" or offsets.type.rank != 1:
        raise ShapeError("offsets are int64 of shape [S+1]", got=type_text(offsets.type))
    rows.block.program.sequences[dim] = offsets.name
    rows.block.program.edited()


def offsets_name(program: Program, dim: Dim) -> str | None:
    """The name of the offsets that divide `dim`, or a dimension known to be equal to it; the first declared of several.

    A number is no such dimension: a parameter of as many rows has no sequences.
    """
    if isinstance(dim, int) or not program.sequences:
        return None
    found = program.sequences.get(dim)
    if found is not None:
        return found
    return next((name for key, name in program.sequences.items() if program.equations.same(key, dim)), None)


def levels(var: Variable) -> tuple[str, ...]:
    """The names of all offsets of `var`, those of its rows last, as `LoDTensor.lod()` has them; () without any.

    An input has those that it was declared with, whatever its dimensions turn out to be equal to.
    """
    program = var.block.program
    found: list[str] = []
    if program.sequences and var.has_type and var.type.shape:
        dim = var.type.shape[0]
        divided = program.sequences.get if var.is_data else partial(offsets_name, program)
        while (name := divided(dim)) is not None and name not in found:
            found.append(name)
            dim = sub(program.global_block().vars[name].type.shape[0], 1)
    return tuple(reversed(found))


def owner(program: Program, offsets: str) -> str | None:
    """The name of the data variable that was declared with these offsets; None where an op made them."""
    variables = program.global_block().vars
    return next((n for n, v in variables.items() if v.declared_lod_level and offsets in levels(v)), None)


def check_level(lod_level: object, name: str) -> int:
    """`lod_level` as a number; ArgumentTypeError or AttrError if it is none, or below 0."""
    if lod_level is None:
        return 0
    if isinstance(lod_level, bool) or not isinstance(lod_level, int):
        raise ArgumentTypeError(f"lod_level of {name!r} is no integer", "int", type(lod_level).__name__)
    if lod_level < 0:
        raise AttrError(f"lod_level of {name!r} is negative", "0, or the depth of the sequences", lod_level)
    return lod_level
