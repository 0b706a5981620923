"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from graphloss import dtypes, ops
from graphloss.errors import ShapeError
from graphloss.ir import scalar
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Form, Map, Reduce
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Infer, Lower, Sample, Types, Vjp
from graphloss.ir.tensor import Tensor, apply, cast
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import Samples, define, no_gradient

__all__ = [
    "argmax",
    "argmin",
    "reduce_all",
    "reduce_any",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_sum",
]

Axes: TypeAlias = int | Sequence[int] | None
# Which elements get the cotangent where several are the extreme one.
TIES = ("share", "all", "first")

ATTRS = (AttrSpec("axes", "axes", None), AttrSpec("keepdims", "bool", False))


def _lower(kind: str) -> Lower:
    def lower(types: Types, out: Types, attrs: Attrs) -> Form:
        axes = rules.axes_of(attrs["axes"], types[0].rank)
        return Reduce(kind, axes, attrs["keepdims"]) if axes else Map(scalar.arg(0, types[0].dtype))

    return lower


def _samples(*attrs: Attrs, low: float = -2.0, edges: bool = True) -> Samples:
    def make(rng: np.random.Generator) -> list[Sample]:
        found = []
        for a in ({}, *attrs):
            found += [
                Sample((rng.uniform(low, 2.0, (2, 3, 4)),), {"axes": axes, **a}) for axes in (None, (1,), (0, -1))
            ]
            found.append(Sample((rng.uniform(low, 2.0, (3, 1)),), {"axes": (1,), "keepdims": True, **a}))
            found.append(Sample((rng.uniform(low, 2.0, ()),), dict(a)))
            found.append(Sample((np.zeros((0, 3)),), {"axes": (1,), **a}))
            if edges:
                x = np.array([[1e4, -1e4, 0.0], [np.inf, 1.0, 2.0], [np.nan, np.inf, 1.0], [-np.inf, -np.inf, -np.inf]])
                found.append(Sample((x,), {"axes": (1,), **a}, edge=True, differentiable=False))
        return found

    return make


def grow(g: Tensor, x: Tensor, attrs: Attrs) -> Tensor:
    """The value `g` of a reduction of `x`, with the reduced axes back as ones."""
    if attrs["keepdims"]:
        return g
    return ops.unsqueeze(g, rules.axes_of(attrs["axes"], x.type.rank))


def _of_sum(fn: Callable[[Tensor, Tensor, Tensor, Attrs], Tensor]) -> Vjp:
    """A vjp from fn(x, out, g, attrs), where out and g have the reduced axes as ones."""

    def vjp(
        operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
    ) -> tuple[Tensor | None, ...]:
        (x,) = operands
        assert g[0] is not None
        return (fn(x, grow(outputs[0], x, attrs), grow(g[0], x, attrs), attrs),)

    return vjp


def _axis(axes: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if axes is None else tuple(axes)


def _sum(x: Array, axes: Sequence[int] | None, keepdims: bool) -> Array:
    wide = np.float64 if x.dtype.kind == "f" else x.dtype
    return np.sum(x, axis=_axis(axes), keepdims=keepdims, dtype=wide).astype(x.dtype)


def _prod(x: Array, axes: Sequence[int] | None, keepdims: bool) -> Array:
    wide = np.float64 if x.dtype.kind == "f" else x.dtype
    result: Array = np.prod(x, axis=_axis(axes), keepdims=keepdims, dtype=wide).astype(x.dtype)
    return result


define(
    "reduce_sum", ("x",), rules.reduction(), _sum, attrs=ATTRS, lower=_lower("sum"), linear=True, samples=_samples(),
    vjp=_of_sum(lambda x, out, g, a: ops.broadcast_to(g, x.type.shape)),
    summary="Sum over axes; of no element 0.", formula="Σ x",
)  # fmt: skip


def _mean(x: Array, axes: Sequence[int] | None, keepdims: bool) -> Array:
    count = x.size if axes is None else int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    total = np.asarray(np.sum(x, axis=_axis(axes), keepdims=keepdims, dtype=np.float64))
    return (total / count).astype(x.dtype)


def _count(x: Tensor, attrs: Attrs) -> Tensor:
    shape = x.type.shape
    return ops.size(tuple(shape[a] for a in rules.axes_of(attrs["axes"], len(shape))), x.type.dtype)


define(
    "reduce_mean", ("x",), rules.reduction("float"), _mean, attrs=ATTRS, early=True, samples=_samples(), linear=True,
    expand=lambda x, a: (reduce_sum(x[0], a["axes"], a["keepdims"]) / _count(x[0], a),),
    vjp=_of_sum(lambda x, out, g, a: ops.broadcast_to(g / _count(x, a), x.type.shape)),
    summary="Mean over axes; of no element NaN.", formula="Σ x / number of elements summed",
)  # fmt: skip


def _product_vjp(x: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> Tensor:
    # The product of the others: with one 0 it is that of all but it, with two it is 0; never a division by 0.
    axes = rules.axes_of(attrs["axes"], x.type.rank)
    is_zero = ops.equal(x, 0.0)
    nonzero = ops.where(is_zero, 1.0, x)
    product = reduce_prod(nonzero, axes, True)
    count = reduce_sum(cast(is_zero, x.type.dtype), axes, True)
    others = ops.where(is_zero, product, ops.where(ops.equal(count, 0.0), product / nonzero, 0.0))
    return g * ops.where(ops.greater(count, 1.0), 0.0, others)


def _prod_samples(rng: np.random.Generator) -> list[Sample]:
    zeros = np.array([[1.0, 0.0, 3.0], [0.0, 0.0, 2.0], [2.0, 3.0, 4.0]])
    return [*_samples(low=0.5)(rng), Sample((zeros,), {"axes": (1,)})]


define(
    "reduce_prod", ("x",), rules.reduction(), _prod, attrs=ATTRS, lower=_lower("prod"), samples=_prod_samples,
    vjp=_of_sum(_product_vjp), ulp=8,
    summary="Product over axes; of no element 1. The gradient is exact with zeros.", formula="Π x",
)  # fmt: skip


def _extreme(fn: Callable[..., Array]) -> Callable[..., Array]:
    def reference(x: Array, axes: Sequence[int] | None, keepdims: bool, tie: str) -> Array:
        _none_empty(x, axes)
        return fn(x, axis=_axis(axes), keepdims=keepdims)

    return reference


def _none_empty(x: Array, axes: Sequence[int] | None) -> None:
    over = tuple(range(x.ndim)) if axes is None else axes
    if x.size == 0 and any(x.shape[a] == 0 for a in over):
        if any(d == 0 for i, d in enumerate(x.shape) if i not in {a % x.ndim for a in over}):
            return  # no result either
        raise ShapeError(
            "the extreme value of no element is asked for", "at least one element", f"shape {x.shape}, axes {over}"
        )


def _check_tie(attrs: Attrs) -> None:
    rules.one_of(attrs["tie"], TIES, "tie")


def _nonempty(infer: Infer) -> Infer:
    def both(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
        out = infer(types, attrs, equations)
        shape = types[0].shape
        over = (attrs["axis"],) if "axis" in attrs else rules.axes_of(attrs["axes"], len(shape))
        reduced = {a % len(shape) for a in over}
        # where another dimension is 0 too there is no result, and nothing is asked for
        if any(shape[a] == 0 for a in reduced) and not any(d == 0 for a, d in enumerate(shape) if a not in reduced):
            raise ShapeError("the extreme value of no element is asked for", "at least one element", rules.show(shape))
        return out

    return both


def _winners(x: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> Tensor:
    axes, shape = rules.axes_of(attrs["axes"], x.type.rank), x.type.shape
    best = ops.equal(x, out)
    if attrs["tie"] == "all":
        return ops.where(best, g, 0.0)
    if attrs["tie"] == "share":
        hits = cast(best, x.type.dtype)
        return ops.where(best, g / reduce_sum(hits, axes, True), 0.0)
    position: Tensor | None = None  # row-major among the reduced axes
    for a in axes:
        ones = tuple(d if i == a else 1 for i, d in enumerate(shape))
        index = ops.iota(ones, a, "int64")
        position = index if position is None else position * ops.size((shape[a],), "int64") + index
    if position is None:
        return g
    first = reduce_min(ops.where(best, position, ops.size(tuple(shape[a] for a in axes), "int64")), axes, True)
    return ops.where(ops.equal(position, first), g, 0.0)


for _name, _fn in (("max", np.max), ("min", np.min)):
    define(
        f"reduce_{_name}", ("x",), rules.checked(_nonempty(rules.reduction()), _check_tie), _extreme(_fn),
        attrs=(*ATTRS, AttrSpec("tie", "str", "share")), lower=_lower(_name), vjp=_of_sum(_winners), ulp=0, linear=True,
        samples=_samples({"tie": "all"}, {"tie": "first"}),
        summary=f"The {_name}imum over axes; NaN wins; of no element an error. Where several are equal the gradient is "
        "shared equally, goes to all, or to the first.",
        formula=f"{_name} x", source="torch.amax (share), fluid.layers.reduce_max (all), torch.max(dim) (first)",
    )  # fmt: skip


def _of_bools(rng: np.random.Generator) -> list[Sample]:
    x = rng.random((3, 4)) > 0.3
    return [Sample((x,), {"axes": axes}) for axes in (None, (1,), (0,), ())] + [Sample((x[:0],), {})]


for _name, _logic in (("all", np.all), ("any", np.any)):
    define(
        f"reduce_{_name}", ("x",), rules.reduction("bool"),
        lambda x, axes, keepdims, fn=_logic: fn(x, axis=_axis(axes), keepdims=keepdims),
        attrs=ATTRS, lower=_lower(_name), vjp=no_gradient, ulp=0, samples=_of_bools,
        summary=f"Whether {_name} conditions hold; of none {_name == 'all'}.",
    )  # fmt: skip


def _index_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    rules.expect(types[0], "number")
    axis = rules.axis_of(attrs["axis"], types[0].rank)
    return (TensorType("int64", rules.reduced_shape(types[0].shape, (axis,), attrs["keepdims"])),)


def _index_samples(rng: np.random.Generator) -> list[Sample]:
    x = rng.normal(size=(2, 3, 4))
    ties = np.array([[1.0, 2.0, 2.0], [np.nan, 3.0, np.nan], [np.inf, np.inf, 0.0], [-np.inf, -np.inf, -np.inf]])
    return [Sample((x,), {"axis": a, "keepdims": k}) for a, k in ((0, False), (1, True), (-1, False))] + [
        Sample((ties,), {"axis": 1}, edge=True), Sample((x[:0],), {"axis": 1}),
    ]  # fmt: skip


def _index_reference(fn: Callable[..., Array]) -> Callable[..., Array]:
    def reference(x: Array, axis: int, keepdims: bool) -> Array:
        _none_empty(x, (axis,))
        if x.size == 0:
            return np.zeros_like(np.sum(x, axis=axis, keepdims=keepdims), np.int64)
        return fn(x, axis=axis, keepdims=keepdims)

    return reference


def _index_lower(kind: str) -> Lower:
    return lambda types, out, attrs: Reduce(kind, (rules.axis_of(attrs["axis"], types[0].rank),), attrs["keepdims"])


for _name, _index in (("max", np.argmax), ("min", np.argmin)):
    define(
        f"arg{_name}", ("x",), _nonempty(_index_infer), _index_reference(_index), vjp=no_gradient, ulp=0,
        attrs=(AttrSpec("axis", "axis"), AttrSpec("keepdims", "bool", False)), samples=_index_samples,
        lower=_index_lower(f"arg{_name}"),
        summary=f"The index of the {_name}imum along an axis, int64; the lowest index wins, NaN wins.",
        source=f"numpy.arg{_name}",
    )  # fmt: skip


def _reduce(name: str, x: Tensor, axis: Axes, keepdims: bool, **attrs: object) -> Tensor:
    if isinstance(axis, (int, np.integer)):
        axis = (int(axis),)
    axes = rules.axes_of(axis, x.type.rank)
    return apply(name, (x,), {"axes": axes, "keepdims": keepdims, **attrs})[0]


def reduce_sum(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Σ x over `axis` (an axis, several, or None: all); conditions are counted as int64."""
    return _reduce("reduce_sum", cast(x, "int64") if x.type.dtype == "bool" else x, axis, keepdims)


def reduce_mean(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Σ x / count over `axis`; integers are averaged in float64; of no element NaN."""
    return _reduce("reduce_mean", x if dtypes.is_float(x.type.dtype) else cast(x, "float64"), axis, keepdims)


def reduce_prod(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Π x over `axis`."""
    return _reduce("reduce_prod", x, axis, keepdims)


def reduce_max(x: Tensor, axis: Axes = None, keepdims: bool = False, *, tie: str = "share") -> Tensor:
    """max x over `axis`; `tie` ("share", "all", "first") says where the gradient goes if several are equal."""
    return _reduce("reduce_max", x, axis, keepdims, tie=tie)


def reduce_min(x: Tensor, axis: Axes = None, keepdims: bool = False, *, tie: str = "share") -> Tensor:
    """min x over `axis`; `tie` as in reduce_max."""
    return _reduce("reduce_min", x, axis, keepdims, tie=tie)


def reduce_all(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether every condition holds along `axis`."""
    return _reduce("reduce_all", x, axis, keepdims)


def reduce_any(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """Whether some condition holds along `axis`."""
    return _reduce("reduce_any", x, axis, keepdims)


def argmax(x: Tensor, axis: int = -1, keepdims: bool = False) -> Tensor:
    """The index of the largest element along `axis`, int64; the lowest of equal ones."""
    return apply("argmax", (x,), {"axis": rules.axis_of(axis, x.type.rank), "keepdims": keepdims})[0]


def argmin(x: Tensor, axis: int = -1, keepdims: bool = False) -> Tensor:
    """The index of the smallest element along `axis`, int64; the lowest of equal ones."""
    return apply("argmin", (x,), {"axis": rules.axis_of(axis, x.type.rank), "keepdims": keepdims})[0]
