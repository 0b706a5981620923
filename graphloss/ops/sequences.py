"""Offsets of packed sequences: their check, and how ops ask for those of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from graphloss.errors import AttrError, ShapeError, UnsupportedError, ValueRangeError
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Host
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.sequences import owner
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ir.variable import Variable
from graphloss.ops import rules
from graphloss.ops.constants import size
from graphloss.ops.define import define, no_gradient

__all__ = ["offsets_of", "with_offsets"]

CHECK_OFFSETS = "check_offsets"


def check_offsets(offsets: Array, rows: int | None, name: str, what: str = "rows") -> None:
    """ValueRangeError, naming `name`, unless int64 `offsets` begin with 0, never fall and end with `rows`."""
    fault = expected = None
    if offsets.ndim != 1 or not offsets.size:
        expected, fault = "a vector that begins with 0", f"shape {list(offsets.shape)}"
    elif offsets[0] != 0:
        expected, fault = "offset 0 to be 0", str(int(offsets[0]))
    elif (offsets[1:] < offsets[:-1]).any():
        at = int(np.argmax(offsets[1:] < offsets[:-1]))
        expected, fault = (
            f"offset {at + 1} to be at least {int(offsets[at])}, where sequence {at} begins",
            str(int(offsets[at + 1])),
        )
    elif rows is not None and offsets[-1] != rows:
        expected, fault = f"the last offset to be {rows}, the number of {what}", str(int(offsets[-1]))
    if fault is not None:
        raise ValueRangeError(
            f"the offsets of the sequences of {name!r} do not divide it", expected, fault, variable=name,
            hint="create_lod_tensor(array, [lengths], place) makes them from the lengths of the sequences",
        )  # fmt: skip


def check_levels(levels: Sequence[Array], rows: int | None, name: str) -> None:
    """`check_offsets` of nested sequences, the outermost first: each level divides the sequences of the next."""
    for outer, inner in pairwise(levels):
        check_offsets(outer, max(inner.size - 1, 0), name, "sequences of the next level")
    if levels:
        check_offsets(levels[-1], rows, name)


def check_equal(offsets: Array, others: Sequence[Array], names: Sequence[str]) -> None:
    """ValueRangeError unless each of `others` has the offsets of the first; `names` are those of all."""
    for other, name in zip(others, names[1:], strict=True):
        lengths, found = np.diff(offsets), np.diff(other)
        if lengths.shape != found.shape:
            raise ValueRangeError(
                f"{names[0]!r} and {name!r} are divided into different sequences", f"{lengths.size} sequences",
                f"{found.size} of {name!r}", variable=name,
            )  # fmt: skip
        if (lengths != found).any():
            at = int(np.argmax(lengths != found))
            raise ValueRangeError(
                f"{names[0]!r} and {name!r} are divided into different sequences",
                f"length {int(lengths[at])} of sequence {at}, as in {names[0]!r}",
                f"length {int(found[at])} in {name!r}", variable=name, hint="both need a row for each step",
            )  # fmt: skip


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    rows, first, *others = types
    rules.expect(rows, "int", "the number of rows")
    names = attrs["names"]
    if not isinstance(names, tuple) or len(names) != len(types) - 1 or not all(isinstance(n, str) for n in names):
        raise AttrError("check_offsets: there is one name for each vector of offsets", len(types) - 1, names)
    if rows.rank:
        raise ShapeError("check_offsets: the number of rows is 0-d", "rank 0", rules.show(rows.shape))
    for name, t in zip(names, types[1:], strict=True):
        if t.dtype != "int64" or t.rank != 1:
            raise ShapeError(f"the offsets of {name!r} are a vector of integers", "int64 of shape [S+1]", str(t))
    for name, t in zip(names[1:], others, strict=True):
        rules.equal_shapes(first.shape, t.shape, equations, f"{names[0]!r} with the sequences of {name!r}")
    return (first,)


def _checked(rows: Array, *offsets: Array, names: tuple[str, ...]) -> Array:
    own = offsets[0].copy()  # what is checked is what is used, even if somebody writes to a feed meanwhile
    check_offsets(own, int(rows), names[0])
    check_equal(own, offsets[1:], names)
    return own


def _sample(rows: int, *offsets: Sequence[int]) -> Sample:
    arrays = tuple(np.array(o, np.int64) for o in offsets)
    return Sample((np.array(rows, np.int64), *arrays), {"names": tuple("xyz"[: len(offsets)])})


define(
    CHECK_OFFSETS, ("rows", "offsets"), _infer, _checked, attrs=(AttrSpec("names", "any"),), variadic=True,
    halves=True, ulp=0,
    vjp=no_gradient, lower=lambda t, o, a: Host(lambda arrays, shapes: (_checked(*arrays, names=a["names"]),)),
    samples=lambda rng: [_sample(5, [0, 2, 2, 5]), _sample(0, [0]), _sample(3, [0, 3], [0, 3]), _sample(0, [0, 0])],
    summary="The offsets of packed sequences, after a check: from 0, never falling, to the number of rows, and the same"
    " as all others that are given.",
)  # fmt: skip


def offsets_of(x: Tensor, *others: Tensor) -> Tensor:
    """The checked offsets of the sequences that dimension 0 of x is divided into: int64 [S+1].

    Sequence s are the rows offsets[s] to offsets[s + 1] - 1. In the run they begin with 0, never fall and end with the
    number of rows; and each of `others` is divided into the same sequences. Otherwise the run is an error, which names
    the variables.

    Raises:
        UnsupportedError: x or one of `others` has no sequences.

    Example:
        >>> import graphloss as gl
        >>> with gl.program_guard(gl.Program()):
        ...     x = gl.data("x", [None, 4], lod_level=1)
        ...     print(offsets_of(gl.layers.softmax(x)).type)
        i64[x.seq+1]
    """
    found = [(x, _fed(x)), *((y, _fed(y)) for y in others)]
    different = [(y, o) for y, o in found[1:] if o is not found[0][1]]
    names = tuple(called(y, o) for y, o in (found[0], *different))
    operands = (size((x.type.shape[0],)), found[0][1], *(offsets_of(y) for y, _ in different))
    return apply(CHECK_OFFSETS, operands, {"names": names})[0]


def with_offsets(rows: Tensor, offsets: Tensor) -> Tensor:
    """`rows`, after saying that `offsets`, int64 [S+1], divide its dimension 0 into sequences.

    In a program that dimension is a symbol, and every variable that has it has these sequences from now on: fetched,
    it is a LoDTensor.

    Raises:
        ShapeError: the dimension of a variable is a number, or `offsets` are no vector of int64.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> from graphloss import ops
        >>> main = gl.Program()
        >>> with gl.program_guard(main):  # the numbers above 0 of each sequence
        ...     x = gl.data("x", [None], lod_level=1)
        ...     first = gl.layers.concat([ops.fill((1,), 0, "int64"), ops.cumsum(ops.cast(x > 0, "int64"))])
        ...     y = with_offsets(ops.gather(x, ops.rows_where(x > 0)), ops.gather(first, offsets_of(x)))
        >>> fed = gl.create_lod_tensor(np.array([1, -2, -3, 4, 5], "float32"), [[2, 3]], gl.CPUPlace())
        >>> gl.Executor().run(main, {"x": fed}, [y], return_numpy=False)
        [LoDTensor(float32 [3], lod=[[0, 1, 3]])]
    """
    rows.divide(offsets)
    return rows


def _fed(x: Tensor) -> Tensor:
    offsets = x.offsets()
    if offsets is None:
        name: Any = getattr(x, "name", "an operand")
        raise UnsupportedError(
            f"{name!r} has no sequences", "a variable of lod_level 1, or one with a row for each of its rows",
            repr(x), hint="declare its input by data(..., lod_level=1), or give the padded form with lengths",
        )  # fmt: skip
    return offsets


def called(x: Tensor, offsets: Tensor) -> str:
    """What an error calls the sequences of x: by the input that was declared with them, else by the tensor itself."""
    declared = owner(offsets.block.program, offsets.name) if isinstance(offsets, Variable) else None
    return declared or str(getattr(x, "name", "x"))
