"""Sums over a placed value: `place` puts one element into each row, so the sum along its axis is that element."""

from __future__ import annotations

from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.ir.tensor import Tensor
from graphloss.passes.stable.terms import mixes_row, operand
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule

_GY: Final = {"g": "f32[N]", "y": "i64[N]"}
_XGY: Final = {"x": "f32[N, 5]", **_GY}


def _axes(m: Match, rank: int) -> tuple[int, ...]:
    given = m.op.attr["axes"]
    return tuple(range(rank)) if given is None else tuple(sorted(int(a) % rank for a in given))  # type: ignore[arg-type,union-attr]


def _summed(m: Match, x: Tensor, axis: int, axes: tuple[int, ...]) -> Result:
    """The sum over `axes` where `x` is what the sum over `axis` alone gives, without that axis."""
    keep = bool(m.op.attr["keepdims"])
    if keep:
        x, rest = ops.unsqueeze(x, axis), tuple(a for a in axes if a != axis)
    else:
        rest = tuple(a - (a > axis) for a in axes if a != axis)
    return ops.reduce_sum(x, rest, keep) if rest else x


def _sum(m: Match) -> Result:
    """Σ place(g, y) = g. The index was checked, so each row has its element."""
    placed = operand(m.graph, m.op.inputs[0], "place")
    if placed is None:
        return None
    rank = m.inputs[0].type.rank
    axis, axes = int(placed.attr["axis"]) % rank, _axes(m, rank)  # type: ignore[arg-type]
    return _summed(m, m.graph.value(placed.inputs[0]), axis, axes) if axis in axes else None


def _product(m: Match) -> Result:
    """Σ place(g, y)·f = g·pick(f, y), where f mixes the row, so that a NaN in it is everywhere."""
    product = operand(m.graph, m.op.inputs[0], "mul")
    if product is None:
        return None
    for first, second in (product.inputs, product.inputs[::-1]):
        placed = operand(m.graph, first, "place")
        f: Value = m.graph.value(second)
        if placed is None or f.type.shape != m.graph.type_of(first).shape:
            continue
        axis, axes = int(placed.attr["axis"]) % f.type.rank, _axes(m, f.type.rank)  # type: ignore[arg-type]
        if axis in axes and mixes_row(m.graph, f.name, axis):
            g, y = (m.graph.value(n) for n in placed.inputs)
            return _summed(m, g * ops.pick(f, y, axis), axis, axes)
    return None


RULES: Final = (
    Rule(
        name="sum-of-placed", formula="Σ place(g, y) -> g along the axis of the classes",
        why="a reduction fewer in the gradient of pick", numerics="exact", roots=("reduce_sum",), rewrite=_sum,
        fires=(
            Example(
                _GY, lambda g, y: op.reduce_sum(op.place(g, y, depth=(5,), axis=1), axes=(1,)) * 2.0, lambda g,
                y: g * 2.0
            ),
            Example(
                _GY, lambda g, y: op.reduce_sum(op.place(g, y, depth=(5,), axis=1), axes=(1,), keepdims=True),
                lambda g, y: op.unsqueeze(g, axes=(1,)),
            ),
        ),
        stays=(Example(_GY, lambda g, y: op.reduce_sum(op.place(g, y, depth=(5,), axis=1), axes=(0,))),),
    ),
    Rule(
        name="sum-of-placed-product", formula="Σ place(g, y)·f -> g·pick(f, y), f a softmax or its logarithm",
        why="one element of each row is read instead of all", numerics="exact", roots=("reduce_sum",), rewrite=_product,
        fires=(
            Example(
                _XGY,
                lambda x, g, y: op.reduce_sum(op.place(g, y, depth=(5,), axis=1) * op.softmax(x, axis=1), axes=(1,)),
                lambda x, g, y: g * op.pick(op.softmax(x, axis=1), y, axis=1),
            ),
        ),
        stays=(Example(_XGY, lambda x, g, y: op.reduce_sum(op.place(g, y, depth=(5,), axis=1) * x, axes=(1,))),),
    ),
)  # fmt: skip
