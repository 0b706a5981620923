"""Rectangular parts of a tensor, and their gradient: padding with zeros."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphloss import ops
from graphloss.errors import ArgumentTypeError, IndexRangeError, ShapeError
from graphloss.ir import dims
from graphloss.ir.dims import Call, Dim, Equations, SymDim
from graphloss.ir.forms import Slice
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Types
from graphloss.ir.tensor import Index, Tensor, apply, set_indexer
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import define
from graphloss.ops.shape import moved, some

__all__ = ["getitem", "pad", "slice_axes", "window"]


def at_least_zero(d: Dim) -> bool:
    """Whether d >= 0 follows from its form, symbols being >= 0."""
    if isinstance(d, int):
        return d >= 0
    for monomial, coefficient in d.terms:
        if len(monomial) == 1 and isinstance(monomial[0], Call) and monomial[0].fn == "max":
            rest = dims.sub(d, SymDim(((monomial, coefficient),)))
            sides = [at_least_zero(dims.add(rest, dims.mul(coefficient, a))) for a in monomial[0].args]
            return any(sides) if coefficient > 0 else all(sides)
    return all(c >= 0 and all(isinstance(a, str) for a in m) for m, c in d.terms)


def _inside(low: Dim, high: Dim, equations: Equations, what: str) -> None:
    """low <= high, shown now or left as an equation of the run."""
    gap = dims.sub(high, low)
    if isinstance(gap, int) and gap < 0:
        raise IndexRangeError("a slice reaches outside its operand", f"{what} <= {high}", low)
    if not at_least_zero(gap):
        equations.equal(dims.maximum(high, low), high, "slice")


def _slice_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (x,) = types
    starts, sizes, steps = attrs["starts"], attrs["sizes"], attrs["steps"]
    if not len(starts) == len(sizes) == len(steps) == x.rank or 0 in steps:
        raise ShapeError(
            "a slice needs a start, a size and a step other than 0 for each axis",
            f"{x.rank} of each",
            (starts, sizes, steps),
        )
    for start, size, step, length in zip(starts, sizes, steps, x.shape, strict=True):
        if isinstance(size, int) and size < 0:
            raise ShapeError("a slice has a negative size", "0 or more", size)
        if size == 0 or (start, size, step) == (0, length, 1):
            continue
        reach = dims.add(start, dims.mul(step, dims.sub(size, 1)))  # the last element read
        first, last = (start, reach) if step > 0 else (reach, start)
        _inside(0, first, equations, "0")
        _inside(last, dims.sub(length, 1), equations, "last index")
    return (x.with_shape(tuple(sizes)),)


def _slice(x: Array, starts: Sequence[int], sizes: Sequence[int], steps: Sequence[int]) -> Array:
    return (
        x[np.ix_(*(start + step * np.arange(size) for start, size, step in zip(starts, sizes, steps, strict=True)))]
        if x.ndim
        else x
    )


def _slice_vjp(x: Tensor, g: Tensor, attrs: Attrs) -> Tensor:
    low: list[Dim] = []
    high: list[Dim] = []
    cut: dict[int, tuple[Dim, Dim, int]] = {}
    for axis, (start, size, step) in enumerate(zip(attrs["starts"], attrs["sizes"], attrs["steps"], strict=True)):
        if size == 0:
            return ops.zeros_like(x)
        if step < 0:  # read backwards is the same place read forwards
            g = window(g, {axis: (dims.sub(size, 1), size, -1)})
            start, step = dims.add(start, dims.mul(step, dims.sub(size, 1))), -step
        length = x.type.shape[axis]
        if step > 1:  # step - 1 zeros behind each element
            wide = unsqueezed = ops.unsqueeze(g, axis + 1)
            none = (0,) * unsqueezed.type.rank
            wide = pad(unsqueezed, none, tuple(step - 1 if i == axis + 1 else 0 for i in range(len(none))))
            size = dims.mul(size, step)
            g = ops.reshape(wide, tuple(size if i == axis else d for i, d in enumerate(g.type.shape)))
        behind = dims.sub(length, dims.add(start, size))
        if step > 1:
            behind = dims.maximum(behind, 0)
            cut[axis] = (0, length, 1)
        low.append(start)
        high.append(behind)
    return window(pad(g, low, high), cut)


define(
    "slice", ("x",), _slice_infer, _slice, vjp=moved(_slice_vjp), linear=True, halves=True, ulp=0,
    attrs=(AttrSpec("starts", "shape"), AttrSpec("sizes", "shape"), AttrSpec("steps", "ints")),
    lower=lambda t, o, a: Slice(tuple(a["starts"]), tuple(a["steps"])),
    samples=some(
        (4, 7), {"starts": (1, 0), "sizes": (2, 7), "steps": (1, 1)},
        {"starts": (0, 1), "sizes": (4, 3), "steps": (1, 2)},
        {"starts": (3, 6), "sizes": (4, 3), "steps": (-1, -3)}, {"starts": (0, 0), "sizes": (0, 7), "steps": (1, 1)},
    ),
    summary="Along each axis `sizes` elements from `starts` on, `steps` apart.", formula="out[i] = x[start + step * i]",
)  # fmt: skip


def _pad_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (x,) = types
    low, high = attrs["low"], attrs["high"]
    if not len(low) == len(high) == x.rank:
        raise ShapeError("pad needs a count before and behind each axis", f"{x.rank} of each", (low, high))
    for d in (*low, *high):
        if isinstance(d, int) and d < 0:
            raise ShapeError("pad cannot take elements away", "0 or more", d)
    return (x.with_shape(tuple(dims.add(dims.add(a, d), b) for a, d, b in zip(low, x.shape, high, strict=True))),)


def _pad_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    (x,) = operands
    for axis, (low, high) in enumerate(zip(attrs["low"], attrs["high"], strict=True)):
        shape = x.type.shape
        parts = [
            ops.fill((*shape[:axis], d, *shape[axis + 1 :]), 0, x.type.dtype) if d != 0 else None for d in (low, high)
        ]
        whole = [p for p in (parts[0], x, parts[1]) if p is not None]
        x = ops.concat(whole, axis) if len(whole) > 1 else x
    return (x,)


def _pad_vjp(x: Tensor, g: Tensor, attrs: Attrs) -> Tensor:
    return window(g, {i: (low, d, 1) for i, (low, d) in enumerate(zip(attrs["low"], x.type.shape, strict=True))})


define(
    "pad", ("x",), _pad_infer, lambda x, low, high: np.pad(x, list(zip(low, high, strict=True))) if x.ndim else x,
    attrs=(AttrSpec("low", "shape"), AttrSpec("high", "shape")), expand=_pad_expand, vjp=moved(_pad_vjp), linear=True,
    ulp=0,
    samples=some(
        (2, 3), {"low": (1, 0), "high": (0, 2)}, {"low": (0, 0), "high": (0, 0)}, {"low": (0, 1), "high": (2, 1)},
    ),
    summary="Zeros before and behind each axis.",
)  # fmt: skip


def window(x: Tensor, parts: Mapping[int, tuple[Dim, Dim, int]]) -> Tensor:
    """(start, size, step) for some axes, all of the others; x itself if that is all of it."""
    full = {i: (0, d, 1) for i, d in enumerate(x.type.shape)}
    wanted = {**full, **parts}
    if wanted == full:
        return x
    starts, sizes, steps = zip(*(wanted[i] for i in range(x.type.rank)), strict=True)
    return apply("slice", (x,), {"starts": starts, "sizes": sizes, "steps": steps})[0]


def pad(x: Tensor, low: Sequence[Dim], high: Sequence[Dim]) -> Tensor:
    """x with low[i] zeros before and high[i] behind axis i; x itself if there are none."""
    if all(d == 0 for d in (*low, *high)):
        return x
    return apply("pad", (x,), {"low": tuple(low), "high": tuple(high)})[0]


def slice_axes(
    x: Tensor, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int], steps: Sequence[int] | None = None
) -> Tensor:
    """x[start:end:step] along each of `axes`, as Python counts: negative from the end, too far means to the end."""
    steps = [1] * len(axes) if steps is None else steps
    parts = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = rules.axis_of(axis, x.type.rank)
        parts[axis] = _python_slice(slice(start, end, step), x.type.shape[axis])
    return window(x, parts)


def getitem(x: Tensor, key: Index) -> Tensor:
    """x[key] for whole numbers, slices, `...` and None (a new axis)."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(
        not (k is None or k is Ellipsis or isinstance(k, (int, np.integer, slice))) or isinstance(k, bool) for k in keys
    ):
        raise ArgumentTypeError(
            "a Variable is indexed by whole numbers, slices, ... and None", got=repr(key), hint="use gather or pick"
        )
    used = sum(k is not None and k is not Ellipsis for k in keys)
    rank = x.type.rank
    if used > rank or keys.count(Ellipsis) > 1:
        raise IndexRangeError("too many indices", f"at most {rank} and one ...", repr(key))
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    parts: dict[int, tuple[Dim, Dim, int]] = {}
    gone: list[int] = []  # axes of the operand
    new: list[int] = []  # axes of the result
    axis, out = 0, 0
    for k in keys:
        if k is None:
            new.append(out)
            out += 1
        elif k is Ellipsis:
            axis, out = axis + rank - used, out + rank - used
        elif isinstance(k, slice):
            parts[axis] = _python_slice(k, x.type.shape[axis])
            axis, out = axis + 1, out + 1
        else:
            parts[axis] = _python_index(int(k), x.type.shape[axis], axis)
            gone.append(axis)
            axis += 1
    x = window(x, parts)
    x = ops.squeeze(x, gone) if gone else x
    return ops.unsqueeze(x, new) if new else x


set_indexer(getitem)


def _minimum(a: Dim, b: Dim) -> Dim:
    return min(a, b) if isinstance(a, int) and isinstance(b, int) else dims.sub(a, _positive(dims.sub(a, b)))


def _positive(d: Dim) -> Dim:
    return d if at_least_zero(d) else dims.maximum(d, 0)


def _python_index(k: int, length: Dim, axis: int) -> tuple[Dim, Dim, int]:
    if isinstance(length, int) and not -length <= k < length:
        raise IndexRangeError(f"index {k} is out of range for axis {axis}", f"-{length} <= index < {length}", k)
    return (k if k >= 0 else dims.add(length, k), 1, 1)


def _python_slice(key: slice, length: Dim) -> tuple[Dim, Dim, int]:
    """(start, size, step) of key along an axis of `length`, as slice.indices has it."""
    for part in (key.start, key.stop, key.step):
        if part is not None and (isinstance(part, bool) or not isinstance(part, (int, np.integer))):
            raise ArgumentTypeError("a slice has whole numbers", got=repr(key))
    step = 1 if key.step is None else int(key.step)
    if step == 0:
        raise ShapeError("the step of a slice is 0", "another step", 0)
    if isinstance(length, int):
        places = range(*key.indices(length))
        return (places.start if len(places) else 0, len(places), step)
    # Positions are clamped to [0, N], or to [-1, N-1] backwards; counted from 1 less there, so that both read the same.
    back = 1 if step < 0 else 0

    def place(k: int | None, default: Dim) -> Dim:
        if k is None:
            return default
        k = int(k)
        if k < 0:
            return dims.sub(_positive(dims.add(length, k + back)), back)
        return _minimum(dims.sub(length, back), k)

    start = place(key.start, dims.sub(length, 1) if back else 0)
    stop = place(key.stop, -1 if back else length)
    span = dims.sub(start, stop) if back else dims.sub(stop, start)
    size = dims.floordiv(dims.add(_positive(span), abs(step) - 1), abs(step)) if abs(step) > 1 else _positive(span)
    return start, size, step
