"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphloss import ops
from graphloss.errors import ShapeError
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.forms import Array, Cut, Host
from graphloss.ir.opdef import Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply, unify
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import define

__all__ = ["matmul", "mul_flat"]

FLAGS = (AttrSpec("transpose_x", "bool", False), AttrSpec("transpose_y", "bool", False))


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    x, y = types
    dtype = rules.agree(types)
    rules.expect(x, "number")
    if not x.rank or not y.rank:
        raise ShapeError("matmul takes vectors and matrices", "a rank of 1 or more", f"{x} and {y}")
    rows, inner = _sides(x.shape, attrs["transpose_x"])
    last, columns = _sides(y.shape, attrs["transpose_y"])
    if x.rank == 1:
        rows, inner = None, x.shape[0]
    if y.rank == 1:
        last, columns = y.shape[0], None
    assert inner is not None and last is not None
    if rules.join(inner, last, equations, "matmul") is None:
        raise ShapeError(
            "the inner dimensions of matmul differ", inner, f"{last}, in {rules.show(x.shape)} @ {rules.show(y.shape)}"
        )
    batch = rules.broadcast([x.shape[:-2], y.shape[:-2]], equations, "matmul")
    return (TensorType(dtype, (*batch, *(d for d in (rows, columns) if d is not None))),)


def _sides(shape: tuple[Dim, ...], transposed: bool) -> tuple[Dim | None, Dim | None]:
    """Rows and columns after the transposition."""
    if len(shape) < 2:
        return None, None
    return (shape[-1], shape[-2]) if transposed else (shape[-2], shape[-1])


def _matmul(x: Array, y: Array, transpose_x: bool, transpose_y: bool, out: Array | None = None) -> Array:
    a = x.swapaxes(-1, -2) if transpose_x and x.ndim > 1 else x
    b = y.swapaxes(-1, -2) if transpose_y and y.ndim > 1 else y
    product: Array = np.matmul(a, b) if out is None else np.matmul(a, b, out=out)
    return product


def _lower(types: Types, out: Types, attrs: Attrs) -> Host:
    def fn(arrays: tuple[Array, ...], shapes: tuple[tuple[int, ...], ...]) -> tuple[Array, ...]:
        return (np.asarray(_matmul(arrays[0], arrays[1], **attrs)),)

    def into(arrays: tuple[Array, ...], outputs: tuple[Array, ...]) -> None:
        _matmul(arrays[0], arrays[1], **attrs, out=outputs[0])

    return Host(fn, into, _cuts(types, attrs))


def _cuts(types: Types, attrs: Attrs) -> tuple[Cut, ...]:
    """Of matrices: by rows, by columns, and along the axis that is summed."""
    if any(t.rank != 2 for t in types):
        return ()
    row, left = (1, 0) if attrs["transpose_x"] else (0, 1)
    right, column = (1, 0) if attrs["transpose_y"] else (0, 1)
    return Cut((row, None), 0), Cut((None, column), 1), Cut((left, right), None)


def _vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    x, y = operands
    dy = g[0]
    assert dy is not None
    # vectors as matrices of one row or column
    a = ops.unsqueeze(x, 0) if x.type.rank == 1 else x
    b = ops.unsqueeze(y, 1) if y.type.rank == 1 else y
    if x.type.rank == 1:
        dy = ops.unsqueeze(dy, dy.type.rank if y.type.rank == 1 else dy.type.rank - 1)
    if y.type.rank == 1:
        dy = ops.unsqueeze(dy, dy.type.rank)
    tx, ty = attrs["transpose_x"] and x.type.rank > 1, attrs["transpose_y"] and y.type.rank > 1
    rows, dz = a, dy
    if a.type.rank > 2 and b.type.rank == 2 and not tx:  # all rows times one matrix: nothing to sum over batches
        rows, dz = ops.flatten(a, a.type.rank - 1), ops.flatten(dy, a.type.rank - 1)
    gx = matmul(b, dz, transpose_x=ty, transpose_y=True) if tx else matmul(dz, b, transpose_y=not ty)
    gy = matmul(dz, rows, transpose_x=True, transpose_y=tx) if ty else matmul(rows, dz, transpose_x=not tx)
    gx = gx if rows is a else ops.reshape(gx, a.type.shape)
    return _back(gx, a, x), _back(gy, b, y)


def _back(g: Tensor, matrix: Tensor, operand: Tensor) -> Tensor:
    """`g` summed over the batch axes that `matrix` was broadcast along, in the shape of `operand`."""
    g = ops.unbroadcast(g, matrix)
    return g if matrix is operand else ops.reshape(g, operand.type.shape)


def _samples(rng: np.random.Generator) -> list[Sample]:
    def numbers(*shapes: tuple[int, ...]) -> tuple[Array, ...]:
        return tuple(rng.normal(size=s) for s in shapes)

    return [
        Sample(numbers((2, 3), (3, 4))),
        Sample(numbers((3, 2), (3, 4)), {"transpose_x": True}),
        Sample(numbers((2, 3), (4, 3)), {"transpose_y": True}),
        Sample(numbers((5, 3, 2), (4, 3)), {"transpose_x": True, "transpose_y": True}),
        Sample(numbers((5, 1, 2, 3), (6, 3, 4))),
        Sample(numbers((3,), (3,))),
        Sample(numbers((2, 3), (3,))),
        Sample(numbers((3,), (5, 3, 2))),
        Sample(numbers((0, 3), (3, 4))),
        Sample(numbers((2, 0), (0, 4))),
    ]


define(
    "matmul", ("x", "y"), _infer, _matmul, attrs=FLAGS, lower=_lower, vjp=_vjp, samples=_samples, ulp=16,
    summary="Matrix product of the last two axes, leading axes broadcast; a vector is a row before, a column behind.",
    formula="out[…, i, j] = Σ_k x[…, i, k] y[…, k, j]", source="numpy.matmul",
)  # fmt: skip


def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """x @ y, each with its last two axes exchanged first where asked; operands are promoted to one dtype."""
    return apply("matmul", unify("matmul", x, y), {"transpose_x": transpose_x, "transpose_y": transpose_y})[0]


def mul_flat(x: Tensor, y: Tensor, x_num_col_dims: int = 1, y_num_col_dims: int = 1) -> Tensor:
    """Product of x and y as matrices, whose columns are the axes from the given ones on.

    The result has the leading axes of x and the trailing ones of y.
    """
    left, right = x.type.shape[:x_num_col_dims], y.type.shape[y_num_col_dims:]
    flat = matmul(ops.flatten(x, x_num_col_dims), ops.flatten(y, y_num_col_dims))
    return flat if len(left) == len(right) == 1 else ops.reshape(flat, (*left, *right))
