"""Rows in memory to columns in registers and back: one vector per column, one lane per row."""

from __future__ import annotations

from typing import Final

from llvmlite import ir

from graphloss.codegen import flow
from graphloss.codegen.flow import i64
from graphloss.codegen.values import Lanes

QUAD: Final = 4  # columns moved together; a row of four float32 is one 128-bit access


def can_transpose(width: int, columns: int) -> bool:
    """Whether rows of this many elements are worth moving four columns at a time."""
    return width >= QUAD and columns >= QUAD


def starts(columns: int) -> list[int]:
    """First columns of the groups of four; the last group overlaps its neighbour rather than leave the row."""
    return [min(c, columns - QUAD) for c in range(0, columns, QUAD)]


def load_columns(lanes: Lanes, base: ir.Value, distance: ir.Value, columns: int, dtype: str) -> list[ir.Value]:
    """The columns of `lanes.width` rows of memory that lie `distance` elements apart."""
    quad = lanes.with_width(QUAD)
    rows = _rows(lanes, base, distance, dtype)
    found: list[ir.Value | None] = [None] * columns
    for first in starts(columns):
        pieces = [quad.load(quad.element(row, i64(first), dtype) if first else row, dtype) for row in rows]
        for c, column in enumerate(_square(lanes, [lanes.join(pieces[g::QUAD]) for g in range(QUAD)])):
            found[first + c] = column
    return [column for column in found if column is not None]


def store_columns(lanes: Lanes, base: ir.Value, distance: ir.Value, columns: list[ir.Value], dtype: str) -> None:
    """The inverse of `load_columns`."""
    quad = lanes.with_width(QUAD)
    rows = _rows(lanes, base, distance, dtype)
    for first in starts(len(columns)):
        for g, vector in enumerate(_square(lanes, columns[first : first + QUAD])):
            for k, piece in enumerate(lanes.split(vector, QUAD)):
                row = rows[g + QUAD * k]
                quad.store(quad.element(row, i64(first), dtype) if first else row, piece, dtype)


def _rows(lanes: Lanes, base: ir.Value, distance: ir.Value, dtype: str) -> list[ir.Value]:
    # A chain of additions to one register would wait for itself; multiples of the distance do not.
    builder = lanes.builder
    offsets = [flow.mul(builder, distance, i64(row)) for row in range(lanes.width)]
    return [base if flow.known(o) == 0 else lanes.element(base, o, dtype) for o in offsets]


def _square(lanes: Lanes, vectors: list[ir.Value]) -> list[ir.Value]:
    """Transposes the 4 x 4 squares at the same place of four vectors: element j of vector i becomes element i of j."""
    a, b, c, d = vectors
    low, high = _pick(lanes, (0, 0, 1, 1)), _pick(lanes, (2, 2, 3, 3))
    ab, cd = lanes.shuffle(a, b, low), lanes.shuffle(c, d, low)
    ab2, cd2 = lanes.shuffle(a, b, high), lanes.shuffle(c, d, high)
    first, second = _halves(lanes, 0), _halves(lanes, 2)
    return [
        lanes.shuffle(ab, cd, first), lanes.shuffle(ab, cd, second),
        lanes.shuffle(ab2, cd2, first), lanes.shuffle(ab2, cd2, second),
    ]  # fmt: skip


def _pick(lanes: Lanes, elements: tuple[int, ...]) -> list[int]:
    """In each group of four: elements of a and b in turn."""
    return [g + e + (lanes.width if i % 2 else 0) for g in range(0, lanes.width, QUAD) for i, e in enumerate(elements)]


def _halves(lanes: Lanes, start: int) -> list[int]:
    """In each group of four: two neighbours of a, then two of b."""
    return [
        g + start + i + (lanes.width if from_b else 0)
        for g in range(0, lanes.width, QUAD)
        for from_b in (False, True)
        for i in range(2)
    ]
