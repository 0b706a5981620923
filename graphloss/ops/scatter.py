"""Ops that put rows where an index says, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphloss import ops
from graphloss.errors import DtypeError, ShapeError
from graphloss.ir import dims
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.forms import Host
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import row_sums, rules
from graphloss.ops.define import define, no_gradient
from graphloss.ops.index import check


def _scatter_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    index, updates = types
    shape = tuple(attrs["shape"])
    rules.expect(index, "int", "the index")
    rules.expect(updates, "number", "the updates")
    if not shape:
        raise ShapeError("scatter_add adds to rows", "a rank of 1 or more", "rank 0")
    rules.equal_shapes(updates.shape, index.shape + shape[1:], equations, "scatter_add")
    return (updates.with_shape(shape),)


def _scatter(index: Array, updates: Array, shape: tuple[int, ...]) -> Array:
    check("scatter_add", index, shape[0])
    out = np.zeros(shape, np.float64 if updates.dtype.kind == "f" else updates.dtype)
    np.add.at(out, index, updates)  # in index order: the same bits each time
    return out.astype(updates.dtype)


def _scatter_vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    assert g[0] is not None
    return None, apply("gather", (g[0], operands[0]), {})[0]


define(
    "scatter_add", ("index", "updates"), _scatter_infer, _scatter, attrs=(AttrSpec("shape", "shape"),), linear=True,
    ulp=1,
    lower=lambda t, o, a: row_sums.scatter_add(t[1].dtype, t[0].dtype, _sizes(o[0].shape, t[0].shape)),
    vjp=_scatter_vjp,
    samples=lambda rng: [
        Sample((np.array([4, 0, 4, 2]), rng.normal(size=(4, 3))), {"shape": (5, 3)}),
        Sample((rng.integers(0, 5, (2, 3)), rng.normal(size=(2, 3))), {"shape": (5,)}),
        Sample((np.zeros((0,), np.int64), np.zeros((0, 2))), {"shape": (3, 2)}),
    ],
    summary="Zeros of `shape` to whose rows the updates are added; repeated indices add up, in order.",
    formula="out[index[i]] += updates[i]",
)  # fmt: skip


def _sizes(shape: Sequence[Dim], index: Sequence[Dim]) -> tuple[Dim, Dim, Dim]:
    """Rows, indices, elements of a row."""
    return shape[0], dims.product(tuple(index)), dims.product(tuple(shape[1:]))


def _add_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    x, index, updates = types
    rules.expect(index, "int", "the index")
    if x.rank == 0:
        raise ShapeError("index_add adds to rows", "a rank of 1 or more", "rank 0")
    if x.dtype != updates.dtype:
        raise DtypeError("index_add takes updates of the operand's dtype", x.dtype, updates.dtype)
    rules.equal_shapes(updates.shape, index.shape + x.shape[1:], equations, "index_add")
    return (x,)


def _add(x: Array, index: Array, updates: Array) -> Array:
    check("index_add", index, len(x))
    out = x.copy()
    np.add.at(out, index, updates)
    return out


def _add_vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    assert g[0] is not None
    return g[0], None, apply("gather", (g[0], operands[1]), {})[0]


define(
    "index_add", ("x", "index", "updates"), _add_infer, _add, linear=True, ulp=1, vjp=_add_vjp,
    lower=lambda t, o, a: row_sums.index_add(t[0].dtype, t[1].dtype, _sizes(t[0].shape, t[1].shape)),
    samples=lambda rng: [
        Sample((rng.normal(size=(5, 3)), np.array([4, 0, 4, 2]), rng.normal(size=(4, 3)))),
        Sample((rng.normal(size=5), rng.integers(0, 5, (2, 3)), rng.normal(size=(2, 3)))),
        Sample((rng.normal(size=(3, 2)), np.zeros((0,), np.int64), np.zeros((0, 2)))),
    ],
    summary="The operand with the updates added to its rows, one after the other; repeated indices add up.",
    formula="x[index[i]] += updates[i]",
)  # fmt: skip


def _last_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (index,) = types
    rules.expect(index, "int", "the index")
    if index.rank != 1:
        raise ShapeError("last_at takes a vector of indices", "rank 1", f"rank {index.rank}")
    return (TensorType("int64", tuple(attrs["depth"])),)


def _last(index: Array, depth: tuple[int, ...]) -> Array:
    check("last_at", index, depth[0])
    out = np.full(depth, -1, np.int64)
    np.maximum.at(out, index, np.arange(len(index)))
    return out


define(
    "last_at", ("index",), _last_infer, _last, attrs=(AttrSpec("depth", "shape"),), ulp=0, vjp=no_gradient,
    lower=lambda t, o, a: Host(lambda arrays, shapes: (_last(arrays[0], shapes[0]),)),
    samples=lambda rng: [
        Sample((np.array([2, 0, 2, 4]),), {"depth": (5,)}), Sample((np.array([1, 1], np.int32),), {"depth": (2,)}),
        Sample((np.zeros((0,), np.int64),), {"depth": (3,)}),
    ],
    summary="For each row in [0, depth) the last place of the index that names it, or -1.",
    formula="out[r] = max {i : index[i] = r}",
)  # fmt: skip


def _replace_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    x, index, updates = types
    rules.expect(index, "int", "the index")
    if x.rank == 0 or index.rank != 1:
        raise ShapeError("scatter replaces rows that a vector names", "x of rank 1 or more, index of rank 1",
                         f"rank {x.rank} and {index.rank}")  # fmt: skip
    dtype = rules.agree((x, updates))
    rules.equal_shapes(updates.shape, index.shape + x.shape[1:], equations, "scatter")
    return (x.with_dtype(dtype),)


def _replace(x: Array, index: Array, updates: Array, add: bool) -> Array:
    check("scatter", index, x.shape[0])
    out = x.copy()
    if add:
        out[index] = _scatter(index, updates, x.shape)[index]
    else:
        last = _last(index, x.shape[:1])
        out[last >= 0] = updates[last[last >= 0]]
    return out


def _rows(flags: Tensor, rank: int) -> Tensor:
    """Flags of rows, to be broadcast along what a row holds."""
    return ops.unsqueeze(flags, tuple(range(1, rank)))


def _replace_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    x, index, updates = operands
    rows = x.type.shape[0]
    last = last_at(index, rows)
    if attrs["add"]:
        return (ops.where(_rows(last >= 0, x.type.rank), scatter_add(index, updates, x.type.shape), x),)
    # one gather from x and the updates together, so that no updates at all are a case like the others
    source = ops.where(last >= 0, last + ops.size((rows,)), ops.iota((rows,)))
    return (apply("gather", (ops.concat([x, updates]), source), {})[0],)


def _replace_vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    x, index, _ = operands
    assert g[0] is not None
    last = last_at(index, x.type.shape[0])
    by_x = ops.where(_rows(last >= 0, x.type.rank), 0.0, g[0])
    by_updates = apply("gather", (g[0], index), {})[0]
    if not attrs["add"]:
        won = ops.equal(apply("gather", (last, index), {})[0], ops.iota(index.type.shape))
        by_updates = ops.where(_rows(won, x.type.rank), by_updates, 0.0)
    return by_x, None, by_updates


define(
    "scatter", ("x", "index", "updates"), _replace_infer, _replace, attrs=(AttrSpec("add", "bool", False),),
    linear=True, ulp=1, expand=_replace_expand, vjp=_replace_vjp,
    samples=lambda rng: [
        Sample((rng.normal(size=(5, 3)), np.array([4, 0, 4, 2]), rng.normal(size=(4, 3))), {"add": add})
        for add in (False, True)
    ] + [
        Sample((rng.normal(size=3), np.array([1, 1, 1], np.int32), rng.normal(size=3))),
        Sample((rng.normal(size=(3, 2)), np.zeros((0,), np.int64), np.zeros((0, 2)))),
        Sample((rng.normal(size=(3, 2)), np.zeros((0,), np.int64), np.zeros((0, 2))), {"add": True}),
    ],
    summary="x with its row index[i] replaced by updates[i]: the last of them where it repeats, or (add) their sum.",
    formula="out[index[i]] = updates[i]",
)  # fmt: skip


def scatter_add(index: Tensor, updates: Tensor, shape: Sequence[Dim]) -> Tensor:
    """Zeros of `shape` with updates[i] added to row index[i]."""
    return apply("scatter_add", (index, updates), {"shape": tuple(shape)})[0]


def last_at(index: Tensor, depth: Dim) -> Tensor:
    """For each row in [0, depth) the last place of `index` that names it, or -1."""
    return apply("last_at", (index,), {"depth": (depth,)})[0]


def scatter(x: Tensor, index: Tensor, updates: Tensor, *, add: bool = False) -> Tensor:
    """x with row index[i] replaced by updates[i]; an index of shape [N, 1] counts as [N]."""
    if index.type.rank == 2 and index.type.shape[1] == 1:
        index = ops.squeeze(index, 1)
    return apply("scatter", (x, index, updates), {"add": add})[0]


def index_add(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    """x with updates[i] added to row index[i]; equal indices add up, in order."""
    return apply("index_add", (x, index, updates), {})[0]
