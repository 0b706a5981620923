"""The edit distance of two sequences of tokens: a row of the table of distances at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from graphloss.errors import ArgumentTypeError, ShapeError
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Loops
from graphloss.ir.loop_builder import Handle, NestBuilder
from graphloss.ir.loops import Expr, Nest, Size, Use, cast, const, minimum, select, unequal
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.check import refuse
from graphloss.ops.define import define, no_gradient

_INPUTS: Final = ("input", "label", "input_length", "label_length")
_LENGTH: Final = "a length in [0, {%s}]"
_NOT_EMPTY: Final = "a label of at least one token that is not ignored"


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    for name, t, rank in zip(_INPUTS, types, (2, 2, 1, 1), strict=True):
        rules.expect(t, "int", name)
        if t.rank != rank:
            raise ShapeError(f"{name} has the wrong rank", rank, rules.show(t.shape))
        rules.equal_shapes(types[0].shape[:1], t.shape[:1], equations, f"edit_distance, {name} and samples")
    ignored = attrs["ignored"]
    if not isinstance(ignored, tuple) or any(isinstance(i, bool) or not isinstance(i, int) for i in ignored):
        raise ArgumentTypeError("ignored tokens are integers", "a tuple of int", repr(ignored))
    return (TensorType("float32", types[0].shape[:1]),)


def _lower(types: Types, outputs: Types, attrs: Attrs) -> Loops:
    nest = _nest(tuple(t.dtype for t in types), attrs["normalized"], attrs["ignored"])
    return Loops(nest, (types[0].shape[0], types[0].shape[1], types[1].shape[1]))


@lru_cache(maxsize=64)
def _nest(dtypes: tuple[str, ...], normalized: bool, ignored: tuple[int, ...]) -> Nest:
    b = NestBuilder("edit_distance")
    N, A, B = b.sizes("N", "A", "B")
    shapes = ((N, A), (N, B), (N,), (N,))
    given, wanted, given_lengths, wanted_lengths = (
        b.input(name, d, shape) for name, d, shape in zip(_INPUTS, dtypes, shapes, strict=True)
    )
    distance = b.output("distance", "float32", (N,))
    left, right = b.scratch("left", "int64", (A,)), b.scratch("right", "int64", (B,))
    row = b.scratch("row", "int64", (B + 1,))  # distances of the tokens of `left` so far to each prefix of `right`
    with b.parallel("n", N) as n:
        rows = _kept(b, given, given_lengths, n, A, left, ignored)
        columns = _kept(b, wanted, wanted_lengths, n, B, right, ignored)
        if normalized:
            columns = b.check(
                "columns", wanted_lengths, n, columns > 0, _NOT_EMPTY, value=columns, other=0
            )  # fmt: skip
        with b.vector("j", 0, columns + 1) as j:
            row[j] = j
        with b.loop("i", 0, rows) as i:
            token = b.let("token", left[i])
            corner, before = b.var("corner", i), b.var("before", i + 1)
            row[0] = i + 1
            with b.loop("j", 0, columns) as j:
                above = b.let("above", row[j + 1])
                replaced = corner + select(unequal(token, right[j]), const(1, "int64"), 0)
                b.assign(before, minimum(replaced, minimum(above, before) + 1))
                b.assign(corner, above)
                row[j + 1] = before
        total = cast(row[columns], "float32")
        distance[n] = total / cast(columns, "float32") if normalized else total
    return b.nest()


def _kept(
    b: NestBuilder, tokens: Handle, lengths: Handle, n: Use, limit: Size, into: Handle, ignored: tuple[int, ...]
) -> Use:
    """Copies the tokens of sample n that are not ignored; how many they are."""
    claimed = b.let("claimed", cast(lengths[n], "int64"))
    ok = (claimed >= 0) & (claimed <= limit)
    length = b.check("length", lengths, n, ok, _LENGTH % limit.name, value=claimed)
    count = b.var("count", const(0, "int64"))
    with b.loop("k", 0, length) as k:
        token = b.let("token", cast(tokens[n, k], "int64"))
        keep: Expr = const(True, "bool")
        for i in ignored:
            keep = keep & unequal(token, i)
        kept = b.let("kept", keep)
        into.store(count, token, when=kept)
        b.assign(count, count + select(kept, const(1, "int64"), 0))
    return count


def _reference(
    given: Array, wanted: Array, given_lengths: Array, wanted_lengths: Array, normalized: bool, ignored: tuple[int, ...]
) -> Array:
    (N, A), B = given.shape, wanted.shape[1]
    refuse("input_length", given_lengths, (given_lengths < 0) | (given_lengths > A), (_LENGTH % "A").format(A=A))
    refuse("label_length", wanted_lengths, (wanted_lengths < 0) | (wanted_lengths > B), (_LENGTH % "B").format(B=B))
    keep = [
        [[t for t in tokens[n, : lengths[n]].tolist() if t not in ignored] for n in range(N)]
        for tokens, lengths in ((given, given_lengths), (wanted, wanted_lengths))
    ]
    sizes = np.array([len(tokens) for tokens in keep[1]], np.int64)
    if normalized:
        refuse("label_length", sizes, sizes == 0, _NOT_EMPTY)
    out = np.array([_distance(a, b) for a, b in zip(*keep, strict=True)], np.float32)
    return out / sizes.astype(np.float32) if normalized else out


def _distance(a: Sequence[int], b: Sequence[int]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        new = [i + 1]
        for j, y in enumerate(b):
            new.append(min(row[j] + (x != y), row[j + 1] + 1, new[j] + 1))
        row = new
    return row[-1]


def _samples(rng: np.random.Generator) -> list[Sample]:
    def integers(*values: object) -> tuple[Array, ...]:
        return tuple(np.array(v, np.int64) for v in values)

    books = [[1, 2, 3], [4, 5, 6], [4, 4, 4], [1, 1, 1]], [[1, 3, 4, 1], [4, 5, 8, 1], [7, 7, 7, 1], [1, 1, 1, 1]]
    some = rng.integers(0, 3, (3, 7)), rng.integers(0, 3, (3, 5)).astype(np.int32)
    return [
        Sample(integers(*books, [3] * 4, [4] * 4)),
        Sample(integers(*books, [3, 2, 0, 1], [4, 1, 2, 3]), {"normalized": False}),
        Sample((*some, *integers([7, 3, 0], [5, 4, 0])), {"normalized": False, "ignored": (1,)}),
        Sample(integers(np.zeros((0, 2)), np.zeros((0, 3)), [], [])),
        Sample(integers(np.zeros((2, 0)), np.zeros((2, 0)), [0, 0], [0, 0]), {"normalized": False}),
    ]


define(
    "edit_distance", _INPUTS, _infer, _reference, lower=_lower, vjp=no_gradient, samples=_samples, ulp=1,
    attrs=(AttrSpec("normalized", "bool", True), AttrSpec("ignored", "any", ())),
    summary="How many tokens must be put in, taken out or replaced to make the label of the input, over the label's"
    " length if normalized; tokens that are ignored are taken out of both first.",
    source="Levenshtein, Binary codes capable of correcting deletions, insertions, and reversals, 1966",
)  # fmt: skip


def edit_distance(
    input: Tensor, label: Tensor, input_length: Tensor, label_length: Tensor, normalized: bool, ignored: Sequence[int]
) -> Tensor:
    """float32 [N] for integer tokens [N, A] and [N, B] and how many of each row count."""
    attrs = {"normalized": normalized, "ignored": tuple(ignored)}
    return apply("edit_distance", (input, label, input_length, label_length), attrs)[0]
