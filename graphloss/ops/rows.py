"""Choosing rows by their values: how many there are only a run tells."""

from __future__ import annotations

import numpy as np

from graphloss.errors import ShapeError
from graphloss.ir import unique_name
from graphloss.ir.dims import Dim, Equations, symbol
from graphloss.ir.forms import Host
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ir.variable import Variable
from graphloss.ops import rules
from graphloss.ops.define import define, no_gradient

__all__ = ["rows_where"]


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    (mask,) = types
    rules.expect(mask, "bool", "the mask")
    if mask.rank != 1 or len(attrs["count"]) != 1:
        raise ShapeError("rows are chosen by a mask of them", "bool[N]", str(mask))
    return (TensorType("int64", tuple(attrs["count"])),)


def _chosen(mask: Array, count: object = None) -> Array:
    return np.flatnonzero(mask).astype(np.int64)


define(
    "rows_where", ("mask",), _infer, _chosen, attrs=(AttrSpec("count", "shape"),), measures=True, ulp=0,
    lower=lambda t, o, a: Host(lambda arrays, shapes: (_chosen(arrays[0]),)), vjp=no_gradient,
    samples=lambda rng: [
        Sample((np.array([True, False, True, True]),), {"count": (3,)}),
        Sample((np.array([False, False]),), {"count": (0,)}),
        Sample((np.zeros(0, bool),), {"count": (0,)}),
    ],
    summary="Where a mask is true, in order; `count` is how many places that are, a symbol that the run binds.",
    formula="out = [i : mask[i]]", source="numpy.flatnonzero",
)  # fmt: skip


def rows_where(mask: Tensor) -> Tensor:
    """The rows [M], int64, in which a mask [N] is true; M is a dimension of its own, known in the run only."""
    return apply("rows_where", (mask,), {"count": (new_size(mask, "rows"),)})[0]


def new_size(x: Tensor, name: str) -> Dim:
    """A dimension of its own for what is made from `x`, known in the run only."""
    if isinstance(x, Variable):
        return x.block.program.fresh_symbol(name)
    return symbol(unique_name.generate(f"{name}.inner"))
