"""Ops that move elements without changing them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphloss import dtypes, ops
from graphloss.errors import ArgumentTypeError, ShapeError
from graphloss.ir import dims
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.forms import Concat, Expand, Reshape, Transpose
from graphloss.ir.opdef import Attrs, AttrSpec, Sample, Types, Vjp
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import Samples, define, unbroadcast

__all__ = [
    "broadcast_to",
    "concat",
    "flatten",
    "reshape",
    "split",
    "squeeze",
    "stack",
    "tile",
    "transpose",
    "unsqueeze",
    "unstack",
]


def moved(fn: object) -> Vjp:
    """A vjp from fn(x, g, attrs) of an op with one operand."""

    def vjp(
        operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
    ) -> tuple[Tensor | None, ...]:
        assert g[0] is not None and callable(fn)
        return (fn(operands[0], g[0], attrs),)

    return vjp


def some(shape: tuple[int, ...], *attrs: Attrs) -> Samples:
    """One sample of `shape` for each set of attributes."""
    return lambda rng: [Sample((rng.normal(size=shape),), a) for a in attrs]


def whole_shape(shape: Sequence[Dim], size: Dim) -> tuple[Dim, ...]:
    """`shape` with its one -1 replaced by what makes it hold `size` elements."""
    free = [i for i, d in enumerate(shape) if d == -1]
    if len(free) > 1 or any(isinstance(d, int) and d < -1 for d in shape):
        raise ShapeError("a shape has at most one -1 and no other negative dimension", got=rules.show(tuple(shape)))
    if not free:
        return tuple(shape)
    rest = dims.product(tuple(d for d in shape if d != -1))
    if rest == 0:
        raise ShapeError("-1 beside a dimension 0 could be anything", got=rules.show(tuple(shape)))
    return tuple(dims.floordiv(size, rest) if d == -1 else d for d in shape)


def _reshape_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (x,) = types
    shape = whole_shape(attrs["shape"], x.size)
    if rules.join(x.size, dims.product(shape), equations, "reshape") is None:
        raise ShapeError(
            "the number of elements changes",
            f"{x.size} as in {rules.show(x.shape)}",
            f"{dims.product(shape)} in {rules.show(shape)}",
        )
    return (x.with_shape(shape),)


define(
    "reshape", ("x",), _reshape_infer, lambda x, shape: x.reshape(shape), attrs=(AttrSpec("shape", "shape"),),
    linear=True, halves=True, ulp=0,
    lower=lambda t, o, a: Reshape(), vjp=moved(lambda x, g, a: reshape(g, x.type.shape)),
    samples=some((2, 6), {"shape": (3, 4)}, {"shape": (12,)}, {"shape": (2, 1, 3, 2)}, {"shape": (4, -1)}),
    summary="The same elements in row-major order under another shape; one dimension may be -1.",
)  # fmt: skip


def _transpose_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (x,) = types
    if sorted(attrs["perm"]) != list(range(x.rank)):
        raise ShapeError("perm does not name each axis once", f"an order of 0 … {x.rank - 1}", attrs["perm"])
    return (x.with_shape(tuple(x.shape[p] for p in attrs["perm"])),)


define(
    "transpose", ("x",), _transpose_infer, lambda x, perm: x.transpose(perm), attrs=(AttrSpec("perm", "ints"),),
    linear=True, halves=True, ulp=0,
    lower=lambda t, o, a: Transpose(tuple(a["perm"])),
    vjp=moved(lambda x, g, a: transpose(g, tuple(int(i) for i in np.argsort(a["perm"])))),
    samples=some((2, 3, 4), {"perm": (2, 0, 1)}, {"perm": (0, 2, 1)}),
    summary="Axes in another order: out.shape[i] = x.shape[perm[i]].",
)  # fmt: skip


def _squeeze_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (x,) = types
    axes = rules.axes_of(attrs["axes"], x.rank)
    for a in axes:
        if rules.join(x.shape[a], 1, equations, "squeeze") is None:
            raise ShapeError(f"axis {a} cannot be squeezed", "a dimension of 1", x.shape[a])
    return (x.with_shape(tuple(d for i, d in enumerate(x.shape) if i not in axes)),)


define(
    "squeeze", ("x",), _squeeze_infer, lambda x, axes: x.squeeze(tuple(axes)), attrs=(AttrSpec("axes", "axes"),),
    linear=True, halves=True, ulp=0,
    lower=lambda t, o, a: Reshape(), vjp=moved(lambda x, g, a: unsqueeze(g, rules.axes_of(a["axes"], x.type.rank))),
    samples=some((1, 3, 1), {"axes": (0,)}, {"axes": (0, -1)}, {"axes": ()}),
    summary="Without the named axes, which have dimension 1.",
)  # fmt: skip


def _unsqueeze_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (x,) = types
    rank = x.rank + len(attrs["axes"])
    axes = rules.axes_of(attrs["axes"], rank)
    old = iter(x.shape)
    return (x.with_shape(tuple(1 if i in axes else next(old) for i in range(rank))),)


define(
    "unsqueeze", ("x",), _unsqueeze_infer, lambda x, axes: np.expand_dims(x, tuple(axes)),
    attrs=(AttrSpec("axes", "axes"),), linear=True, halves=True, ulp=0,
    lower=lambda t, o, a: Reshape(), vjp=moved(lambda x, g, a: squeeze(g, rules.axes_of(a["axes"], g.type.rank))),
    samples=some((2, 3), {"axes": (0,)}, {"axes": (1, -1)}, {"axes": ()}),
    summary="With axes of dimension 1 added, which `axes` numbers in the result.",
)  # fmt: skip


def _broadcast_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (x,) = types
    target = tuple(attrs["shape"])
    lead = len(target) - x.rank
    for i, d in enumerate(x.shape if lead >= 0 else ()):
        if d != 1 and rules.join(d, target[lead + i], equations, "broadcast_to") is None:
            lead = -1
            break
    if lead < 0:
        raise ShapeError("the shape does not broadcast to the one asked for", rules.show(target), rules.show(x.shape))
    return (x.with_shape(target),)


define(
    "broadcast_to", ("x",), _broadcast_infer, lambda x, shape: np.broadcast_to(x, shape).copy(),
    attrs=(AttrSpec("shape", "shape"),), linear=True, halves=True,
    lower=lambda t, o, a: Expand(), vjp=moved(lambda x, g, a: unbroadcast(g, x)), ulp=0,
    samples=some((3, 1), {"shape": (3, 4)}, {"shape": (2, 3, 4)}, {"shape": (3, 1)}, {"shape": (3, 0)}),
    summary="Repeated along new axes and axes of dimension 1, aligned at the last axis.",
)  # fmt: skip


def _concat_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    if not types:
        raise ShapeError("concat takes at least one operand")
    dtype, rank = rules.agree(types), types[0].rank
    axis = rules.axis_of(attrs["axis"], rank)
    shape = list(types[0].shape)
    for t in types[1:]:
        for i in range(rank if t.rank == rank else 0):
            both = (
                dims.add(shape[i], t.shape[i]) if i == axis else rules.join(shape[i], t.shape[i], equations, "concat")
            )
            if both is None:
                break
            shape[i] = both
        else:
            if t.rank == rank:
                continue
        raise ShapeError(
            f"the operands differ in more than axis {axis}", rules.show(types[0].shape), rules.show(t.shape)
        )
    return (TensorType(dtype, tuple(shape)),)


def _concat_vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    assert g[0] is not None
    axis = rules.axis_of(attrs["axis"], operands[0].type.rank)
    return tuple(split(g[0], [x.type.shape[axis] for x in operands], axis))


define(
    "concat", ("x",), _concat_infer, lambda *x, axis: np.concatenate(x, axis), attrs=(AttrSpec("axis", "axis", 0),),
    variadic=True, halves=True,
    lower=lambda t, o, a: Concat(rules.axis_of(a["axis"], o[0].rank)), vjp=_concat_vjp, linear=True, ulp=0,
    samples=lambda rng: [
        Sample((rng.normal(size=(2, 3)), rng.normal(size=(2, 0)), rng.normal(size=(2, 1))), {"axis": 1}),
        Sample((rng.normal(size=(2, 3)), rng.normal(size=(1, 3))), {"axis": 0}),
        Sample((rng.normal(size=(2,)),), {"axis": -1}),
    ],
    summary="The operands side by side along an axis.",
)  # fmt: skip


def reshape(x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """The elements of x in row-major order under `shape`, where one dimension may be -1."""
    return apply("reshape", (x,), {"shape": whole_shape(shape, x.type.size)})[0]


def flatten(x: Tensor, axis: int = 1) -> Tensor:
    """A matrix: the axes before `axis` as rows, the others as columns."""
    if not 0 <= axis <= x.type.rank:
        raise ShapeError("axis is out of range", f"0 <= axis <= {x.type.rank}", axis)
    shape = x.type.shape
    return reshape(x, (dims.product(shape[:axis]), dims.product(shape[axis:])))


def transpose(x: Tensor, perm: Sequence[int] | None = None) -> Tensor:
    """Axes in the order `perm`; None reverses them."""
    order = range(x.type.rank)[::-1] if perm is None else [rules.axis_of(p, x.type.rank) for p in perm]
    return apply("transpose", (x,), {"perm": tuple(order)})[0]


def squeeze(x: Tensor, axes: int | Sequence[int] | None = None) -> Tensor:
    """Without `axes` (None: without every axis declared 1)."""
    if axes is None:
        axes = [i for i, d in enumerate(x.type.shape) if d == 1]
    return apply("squeeze", (x,), {"axes": rules.axes_of([axes] if isinstance(axes, int) else axes, x.type.rank)})[0]


def unsqueeze(x: Tensor, axes: int | Sequence[int]) -> Tensor:
    """With axes of dimension 1 at the places `axes` of the result."""
    new = [axes] if isinstance(axes, int) else list(axes)
    return apply("unsqueeze", (x,), {"axes": rules.axes_of(new, x.type.rank + len(new))})[0]


def broadcast_to(x: Tensor, shape: Sequence[Dim]) -> Tensor:
    """x repeated to `shape`; x itself if it has that shape."""
    return x if x.type.shape == tuple(shape) else apply("broadcast_to", (x,), {"shape": tuple(shape)})[0]


def tile(x: Tensor, repeats: Sequence[int]) -> Tensor:
    """x laid side by side `repeats[i]` times along axis i."""
    shape = x.type.shape
    if len(repeats) != len(shape) or any(not isinstance(r, int) or r < 1 for r in repeats):
        raise ShapeError("tile needs one positive count for each axis", f"{len(shape)} counts", tuple(repeats))
    apart = tuple(d for r, n in zip(repeats, shape, strict=True) for d in ((1, n) if r > 1 else (n,)))
    grown = tuple(d for r, n in zip(repeats, shape, strict=True) for d in ((r, n) if r > 1 else (n,)))
    if apart == shape:
        return x
    return reshape(
        broadcast_to(reshape(x, apart), grown), tuple(dims.mul(r, n) for r, n in zip(repeats, shape, strict=True))
    )


def concat(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors side by side along `axis`; their dtypes are promoted."""
    if isinstance(xs, Tensor) or not xs:
        raise ArgumentTypeError(
            "concat takes a list of Variables", "one or more", "a Variable" if isinstance(xs, Tensor) else "none"
        )
    return apply("concat", _promoted(xs), {"axis": rules.axis_of(axis, xs[0].type.rank)})[0]


def stack(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors, all of one shape, along a new axis."""
    if isinstance(xs, Tensor) or not xs:
        raise ArgumentTypeError(
            "stack takes a list of Variables", "one or more", "a Variable" if isinstance(xs, Tensor) else "none"
        )
    return concat([unsqueeze(x, axis) for x in xs], rules.axis_of(axis, xs[0].type.rank + 1))


def _promoted(xs: Sequence[Tensor]) -> list[Tensor]:
    found = dict.fromkeys(x.type.dtype for x in xs)
    dtype = next(iter(found)) if len(found) == 1 else str(np.result_type(*map(dtypes.computed, found)))
    return [ops.cast(x, dtype) for x in xs]


def split(x: Tensor, sections: int | Sequence[Dim], axis: int = -1) -> list[Tensor]:
    """Equal parts (a number of them) or parts of given lengths (one may be -1) along `axis`.

    That the parts make up an axis whose length only the run knows is checked in the run.
    """
    axis = rules.axis_of(axis, x.type.rank)
    length = x.type.shape[axis]
    if isinstance(sections, int):
        each = dims.exact_div(length, sections) if sections > 0 else None
        if each is None and sections > 0 and not isinstance(length, int):
            each = dims.floordiv(length, sections)
        if each is None:
            raise ShapeError("the axis does not split into equal parts", f"a multiple of {sections}", length)
        parts: tuple[Dim, ...] = (each,) * sections
    else:
        rest = length
        for d in sections:
            rest = rest if d == -1 else dims.sub(rest, d)
        parts = tuple(rest if d == -1 else d for d in sections)
        if isinstance(rest, int) and (rest < 0 or (rest > 0 and -1 not in sections)):
            raise ShapeError("the parts do not make up the axis", length, tuple(sections))
    total: Dim = 0
    for d in parts:
        total = dims.add(total, d)
    if total != length:
        x = reshape(x, tuple(total if i == axis else d for i, d in enumerate(x.type.shape)))
    found = []
    place: Dim = 0
    for d in parts:
        found.append(ops.window(x, {axis: (place, d, 1)}))
        place = dims.add(place, d)
    return found


def unstack(x: Tensor, axis: int = 0) -> list[Tensor]:
    """The slices along `axis`, without it; its dimension must be a number."""
    axis = rules.axis_of(axis, x.type.rank)
    length = x.type.shape[axis]
    if not isinstance(length, int):
        raise ShapeError("only an axis of known length can be unstacked", "a number", length)
    return [squeeze(part, axis) for part in split(x, [1] * length, axis)]
