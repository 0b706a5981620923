"""Ops that take elements by index, and their gradients; `scatter` holds those that put them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphloss import ops
from graphloss.errors import LabelError, ShapeError
from graphloss.ir import dims
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.forms import Gather, InRange, Pick
from graphloss.ir.location import Location
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply, cast
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.check import range_error
from graphloss.ops.define import define, no_gradient

__all__ = ["check_index", "gather", "gather_nd", "one_hot", "pick", "place"]

_LABEL = "labels count from 0; rows to leave out hold the ignore_index"
_INDEX = "indices count from 0; a negative one does not count from the end"


def index_error(
    variable: str, position: Sequence[int], value: int, limit: int, op: str, where: Location | None = None, *,
    picks: bool,
) -> LabelError:  # fmt: skip
    """The error of an index of `variable` at `position` that is not in [0, limit); what `picks` is a label."""
    error = range_error(variable, position, value, f"an index in [0, {limit})", op, where)
    error.hint = _LABEL if picks else _INDEX
    return error


def check(what: str, index: Array, limit: int) -> None:
    """LabelError for the first index outside [0, limit)."""
    bad = (index < 0) | (index >= limit)
    if bad.any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise index_error("index", place, int(index[place]), limit, what, picks=what == "pick")


def _checked_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    rules.expect(types[0], "int", "the index")
    return (types[0],)


def _checked(index: Array, limit: tuple[int, ...]) -> Array:
    check("check_index", index, int(np.prod(limit, dtype=np.int64)))
    return index.copy()


define(
    "check_index", ("index",), _checked_infer, _checked, attrs=(AttrSpec("limit", "shape"),), ulp=0, vjp=no_gradient,
    lower=lambda t, o, a: InRange(dims.product(tuple(a["limit"]))),
    samples=lambda rng: [
        Sample((np.array([[0, 3], [2, 1]]),), {"limit": (4,)}), Sample((np.zeros((0,), np.int32),), {"limit": (0,)}),
    ],
    summary="The index itself, after a check that it lies in [0, Π limit).",
)  # fmt: skip


def _one_hot_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (index,) = types
    rules.expect(index, "int", "the index")
    axis = rules.axis_of(attrs["axis"], index.rank + 1)
    return (TensorType(attrs["dtype"], (*index.shape[:axis], *attrs["depth"], *index.shape[axis:])),)


def _one_hot(index: Array, depth: tuple[int, ...], axis: int, dtype: str, strict: bool) -> Array:
    if strict:
        check("one_hot", index, depth[0])
    result: Array = np.moveaxis(index[..., None] == np.arange(depth[0]), -1, axis).astype(dtype)
    return result


def _one_hot_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    (index,) = operands
    rank = index.type.rank + 1
    axis = rules.axis_of(attrs["axis"], rank)
    if attrs["strict"]:
        index = apply("check_index", (index,), {"limit": attrs["depth"]})[0]
    return (
        cast(
            ops.equal(ops.unsqueeze(index, axis), classes(attrs["depth"][0], axis, rank, index.type.dtype)),
            attrs["dtype"],
        ),
    )


define(
    "one_hot", ("index",), _one_hot_infer, _one_hot, expand=_one_hot_expand, ulp=0, vjp=no_gradient,
    attrs=(
        AttrSpec("depth", "shape"), AttrSpec("axis", "axis", -1), AttrSpec("dtype", "dtype", "float32"),
        AttrSpec("strict", "bool", True),
    ),
    samples=lambda rng: [
        Sample((rng.integers(0, 4, (2, 3)),), {"depth": (4,)}),
        Sample((rng.integers(0, 4, (2, 3)),), {"depth": (4,), "axis": 1}),
        Sample((np.array([-1, 0, 4], np.int32),), {"depth": (4,), "strict": False, "dtype": "float64"}),
        Sample((np.zeros((0,), np.int64),), {"depth": (3,)}),
    ],
    summary="1 at the index along a new axis of length depth, else 0; out of range an error, or all 0 if not strict.",
)  # fmt: skip


def classes(n: Dim, axis: int, rank: int, dtype: str) -> Tensor:
    """0 … n-1 along `axis` of a tensor whose other dimensions are 1."""
    return ops.iota(tuple(n if i == axis else 1 for i in range(rank)), axis, dtype)


def _pick_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    x, index = types
    rules.expect(index, "int", "the index")
    axis = rules.axis_of(attrs["axis"], x.rank)
    rules.equal_shapes(x.shape[:axis] + x.shape[axis + 1 :], index.shape, equations, "pick")
    return (x.with_shape(index.shape),)


def _pick(x: Array, index: Array, axis: int) -> Array:
    check("pick", index, x.shape[axis])
    return np.take_along_axis(x, np.expand_dims(index, axis), axis).squeeze(axis)


def _pick_vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    x, index = operands
    assert g[0] is not None
    axis = rules.axis_of(attrs["axis"], x.type.rank)
    # checked here too: a run that needs the gradient only does not pick
    return place(g[0], check_index(index, x.type.shape[axis]), x.type.shape[axis], axis), None


define(
    "pick", ("x", "index"), _pick_infer, _pick, attrs=(AttrSpec("axis", "axis", -1),), vjp=_pick_vjp, linear=True,
    halves=True, ulp=0,
    lower=lambda t, o, a: Pick(rules.axis_of(a["axis"], t[0].rank)),
    samples=lambda rng: [
        Sample((rng.normal(size=(4, 3)), rng.integers(0, 3, 4))),
        Sample((rng.normal(size=(4, 3)), rng.integers(0, 4, 3).astype(np.int32)), {"axis": 0}),
        Sample((rng.normal(size=(2, 5, 3)), rng.integers(0, 5, (2, 3))), {"axis": 1}),
        Sample((rng.normal(size=(4, 1)), np.zeros(4, np.int64))),
        Sample((np.zeros((0, 3)), np.zeros(0, np.int64))),
    ],
    summary="The element of each row that the index names; an index out of range is an error that names the row.",
    formula="out[n] = x[n, index[n]]",
)  # fmt: skip


def _place_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    x, index = types
    rules.expect(index, "int", "the index")
    rules.equal_shapes(x.shape, index.shape, equations, "place")
    axis = rules.axis_of(attrs["axis"], x.rank + 1)
    return (x.with_shape((*x.shape[:axis], *attrs["depth"], *x.shape[axis:])),)


def _place(x: Array, index: Array, depth: tuple[int, ...], axis: int) -> Array:
    axis = rules.axis_of(axis, x.ndim + 1)
    out = np.zeros((*x.shape[:axis], *depth, *x.shape[axis:]), x.dtype)
    here = np.expand_dims(index, axis) == np.arange(depth[0]).reshape([-1 if i == axis else 1 for i in range(out.ndim)])
    return np.where(here, np.expand_dims(x, axis), out)


def _place_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    x, index = operands
    axis = rules.axis_of(attrs["axis"], x.type.rank + 1)
    here = ops.equal(ops.unsqueeze(index, axis), classes(attrs["depth"][0], axis, x.type.rank + 1, index.type.dtype))
    return (ops.where(here, ops.unsqueeze(x, axis), 0.0),)


define(
    "place", ("x", "index"), _place_infer, _place, attrs=(AttrSpec("depth", "shape"), AttrSpec("axis", "axis", -1)),
    linear=True, ulp=0, expand=_place_expand,
    vjp=lambda x, out, g, a: (None if g[0] is None else pick(g[0], x[1], a["axis"]), None),
    samples=lambda rng: [
        Sample((rng.normal(size=4), rng.integers(0, 3, 4)), {"depth": (3,), "axis": 1}),
        Sample((rng.normal(size=(2, 3)), rng.integers(0, 5, (2, 3))), {"depth": (5,), "axis": 1}),
        Sample((rng.normal(size=3), rng.integers(0, 4, 3)), {"depth": (4,), "axis": 0}),
        Sample((np.zeros(0), np.zeros(0, np.int64)), {"depth": (3,)}),
    ],
    summary="Each element at the place that its index names along a new axis, zeros elsewhere: the transpose of pick.",
    formula="out[n, c] = [c = index[n]] · x[n]",
)  # fmt: skip


def _gather_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    x, index = types
    rules.expect(index, "int", "the index")
    if x.rank == 0:
        raise ShapeError("gather takes rows", "a rank of 1 or more", "rank 0")
    return (x.with_shape(index.shape + x.shape[1:]),)


def _gather(x: Array, index: Array) -> Array:
    check("gather", index, x.shape[0])
    return x[index]


def _gather_vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    assert g[0] is not None
    return ops.scatter_add(operands[1], g[0], operands[0].type.shape), None


define(
    "gather", ("x", "index"), _gather_infer, _gather, lower=lambda t, o, a: Gather(), linear=True, halves=True, ulp=0,
    vjp=_gather_vjp,
    samples=lambda rng: [
        Sample((rng.normal(size=(5, 3)), np.array([4, 0, 4, 2]))),
        Sample((rng.normal(size=(5,)), rng.integers(0, 5, (2, 3)))),
        Sample((rng.normal(size=(5, 2)), np.zeros((0,), np.int64))),
    ],
    summary="The rows that the index names, along axis 0; indices are checked.", formula="out[i] = x[index[i]]",
)  # fmt: skip


def check_index(index: Tensor, limit: Dim) -> Tensor:
    """`index`, after a check that it lies in [0, limit)."""
    return apply("check_index", (index,), {"limit": (limit,)})[0]


def one_hot(index: Tensor, depth: Dim, *, axis: int = -1, dtype: str = "float32", strict: bool = True) -> Tensor:
    """1 at `index` along a new axis of length `depth`, else 0; out of range it raises, or is all 0 if not `strict`."""
    axis = rules.axis_of(axis, index.type.rank + 1)
    return apply("one_hot", (index,), {"depth": (depth,), "axis": axis, "dtype": dtype, "strict": strict})[0]


def pick(x: Tensor, index: Tensor, axis: int = -1) -> Tensor:
    """x[…, index[…], …] along `axis`: `index` has x's shape without that axis."""
    return apply("pick", (x, index), {"axis": rules.axis_of(axis, x.type.rank)})[0]


def place(x: Tensor, index: Tensor, depth: Dim, axis: int = -1) -> Tensor:
    """Zeros with a new axis of length `depth`, and x[…] at index[…] along it: the transpose of `pick`."""
    axis = rules.axis_of(axis, x.type.rank + 1)
    return apply("place", (x, index), {"depth": (depth,), "axis": axis})[0]


def gather(x: Tensor, index: Tensor) -> Tensor:
    """The rows x[index]; an index of shape [N, 1] counts as [N]."""
    if index.type.rank == 2 and index.type.shape[1] == 1:
        index = ops.squeeze(index, 1)
    return apply("gather", (x, index), {})[0]


def gather_nd(x: Tensor, index: Tensor) -> Tensor:
    """x[index[i, 0], index[i, 1], …]: the last axis of `index`, of known length K, holds places in the first K axes."""
    k = index.type.shape[-1] if index.type.rank else 0
    shape = x.type.shape
    if not isinstance(k, int) or not 1 <= k <= len(shape):
        raise ShapeError("the last axis of the index counts axes of the operand", f"1 to {len(shape)}", k)
    flat: Tensor | None = None
    for axis in range(k):
        one = check_index(ops.getitem(index, (..., axis)), shape[axis])
        one = cast(one, "int64")
        flat = one if flat is None else flat * ops.size((shape[axis],)) + one
    assert flat is not None
    rows = ops.reshape(x, (dims.product(shape[:k]), *shape[k:]))
    return apply("gather", (rows, flat), {})[0]
