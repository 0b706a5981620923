"""Running sums and sorting: NumPy calls between kernels, and what is built on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphloss import ops
from graphloss.ir import dims
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Host
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import define, no_gradient

__all__ = ["argsort", "cumsum", "take_along"]


def _cumsum(x: Array, axis: int, exclusive: bool, reverse: bool) -> Array:
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    if reverse:
        wide = np.flip(wide, axis)
    total = np.cumsum(wide, axis=axis, dtype=wide.dtype)
    if exclusive:
        first = np.zeros_like(np.take(total, [0], axis)) if total.shape[axis] else np.take(total, [], axis)
        total = np.concatenate([first, np.delete(total, -1, axis) if total.shape[axis] else total], axis)
    out = np.flip(total, axis) if reverse else total
    return np.ascontiguousarray(out.astype(x.dtype))


def _cumsum_vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    assert g[0] is not None
    return (cumsum(g[0], attrs["axis"], exclusive=attrs["exclusive"], reverse=not attrs["reverse"]),)


define(
    "cumsum", ("x",), rules.along_axis("number"), _cumsum, linear=True, ulp=2, vjp=_cumsum_vjp,
    attrs=(AttrSpec("axis", "axis", -1), AttrSpec("exclusive", "bool", False), AttrSpec("reverse", "bool", False)),
    lower=lambda t, o, a: Host(lambda arrays, shapes: (_cumsum(arrays[0], **a),)),
    samples=lambda rng: [
        Sample((rng.normal(size=(2, 3, 4)),), {"axis": axis, "exclusive": e, "reverse": r})
        for axis in (-1, 0, 1) for e in (False, True) for r in (False, True)
    ] + [Sample((np.zeros((0, 3)),), {"axis": 0}), Sample((np.zeros((0, 3)),), {"axis": 0, "exclusive": True})],
    summary="The sum of all elements up to each along an axis; exclusive: before each; reverse: from the end.",
    formula="out[i] = Σ_{j <= i} x[j]", source="numpy.cumsum",
)  # fmt: skip


def _argsort_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    return (rules.along_axis("number")(types, attrs, equations)[0].with_dtype("int64"),)


def _argsort(x: Array, axis: int, descending: bool) -> Array:
    if not descending:
        return np.argsort(x, axis=axis, kind="stable").astype(np.int64)
    # from behind, so that equal elements keep their order
    order = np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    return np.ascontiguousarray(x.shape[axis] - 1 - order).astype(np.int64)


def _argsort_samples(rng: np.random.Generator) -> list[Sample]:
    ties = np.array([[1.0, 2.0, 2.0, 0.0], [np.nan, 3.0, -np.inf, np.inf]])
    return [
        Sample((x,), {"axis": axis, "descending": d}, edge=edge)
        for x, axis, edge in ((rng.normal(size=(2, 3, 4)), 1, False), (ties, -1, True), (ties[:0], 1, False))
        for d in (False, True)
    ]


define(
    "argsort", ("x",), _argsort_infer, _argsort, ulp=0, vjp=no_gradient, samples=_argsort_samples,
    attrs=(AttrSpec("axis", "axis", -1), AttrSpec("descending", "bool", False)),
    lower=lambda t, o, a: Host(lambda arrays, shapes: (_argsort(arrays[0], **a),)),
    summary="Where the elements stand in order along an axis, int64; equal ones keep their order, NaN is the largest.",
    source="numpy.argsort",
)  # fmt: skip


def cumsum(x: Tensor, axis: int = -1, *, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running sums along `axis`."""
    attrs = {"axis": rules.axis_of(axis, x.type.rank), "exclusive": exclusive, "reverse": reverse}
    return apply("cumsum", (x,), attrs)[0]


def argsort(x: Tensor, axis: int = -1, descending: bool = False) -> Tensor:
    """Where the elements stand in order along `axis`, int64."""
    return apply("argsort", (x,), {"axis": rules.axis_of(axis, x.type.rank), "descending": descending})[0]


def take_along(x: Tensor, index: Tensor, axis: int = -1) -> Tensor:
    """x[…, index[…, i, …], …] along `axis`: `index` has x's shape, but for any length of that axis."""
    axis = rules.axis_of(axis, x.type.rank)
    rank = x.type.rank
    perm = [a for a in range(rank) if a != axis] + [axis]
    back = [perm.index(a) for a in range(rank)]
    a, i = ops.transpose(x, perm), ops.transpose(index, perm)
    n = a.type.shape[-1]
    rows = dims.product(a.type.shape[:-1])
    flat = ops.reshape(ops.check_index(i, n), (rows, i.type.shape[-1]))
    flat = flat + ops.iota((rows, 1), 0) * ops.size((n,))
    picked = apply("gather", (ops.reshape(a, (dims.mul(rows, n),)), flat), {})[0]
    return ops.transpose(ops.reshape(picked, (*a.type.shape[:-1], i.type.shape[-1])), back)
