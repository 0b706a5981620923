"""One spelling for what means the same: the normal forms that the rules of the other families match."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import numpy as np

from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.ir.tensor import apply
from graphloss.passes.stable.terms import as_value, operand
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule

_X: Final = {"x": "f32[N, C]"}
_XY: Final = {"x": "f32[N, C]", "y": "f32[N, C]"}


def _reshape(m: Match) -> Result:
    """A reshape that only adds or only drops dimensions of 1."""
    (x,) = m.inputs
    shape, target = x.type.shape, m.op.attr["shape"]
    assert isinstance(target, tuple)
    if len(target) > len(shape):
        added = _ones(shape, target)
        return None if added is None else apply("unsqueeze", (x,), {"axes": added})[0]
    if len(target) < len(shape):
        dropped = _ones(target, shape)
        return None if dropped is None else apply("squeeze", (x,), {"axes": dropped})[0]
    return x if shape == target else None


def _ones(short: tuple[object, ...], long: tuple[object, ...]) -> tuple[int, ...] | None:
    """The places of the ones in `long` without which it is `short`."""
    found, rest = [], list(short)
    for i, d in enumerate(long):
        if rest and rest[0] == d:
            rest.pop(0)
        elif d == 1:
            found.append(i)
        else:
            return None
    return None if rest else tuple(found)


def _unsqueeze(m: Match) -> Result:
    """unsqueeze(squeeze(x)) of the same axes, and of a reduction without its axes."""
    (x,) = m.inputs
    rank = x.type.rank
    axes = m.op.attr["axes"]
    assert isinstance(axes, tuple)
    new = tuple(sorted(int(a) % (rank + len(axes)) for a in axes))  # type: ignore[arg-type]
    inner = operand(m.graph, x.name, "squeeze")
    if inner is not None:
        source = m.graph.value(inner.inputs[0])
        gone = inner.attr["axes"]
        assert isinstance(gone, tuple)
        if tuple(sorted(int(a) % source.type.rank for a in gone)) == new:  # type: ignore[arg-type]
            return source
    inner = operand(m.graph, x.name, "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "logsumexp")
    if inner is None or inner.attr["keepdims"]:
        return None
    source = m.graph.value(inner.inputs[0])
    rank = source.type.rank
    attr = inner.attr
    given = (attr["axis"],) if "axis" in attr else attr["axes"]
    reduced = tuple(range(rank)) if given is None else tuple(sorted(int(a) % rank for a in given))  # type: ignore[arg-type,union-attr]
    return apply(inner.type, (source,), {**attr, "keepdims": True})[0] if reduced == new else None


def _logsumexp(m: Match) -> Result:
    if m.op.attr["keepdims"]:
        return None
    (x,) = m.inputs
    axis = m.op.attr["axis"]
    assert isinstance(axis, int)
    kept = apply("logsumexp", (x,), {"axis": axis, "keepdims": True})[0]
    return apply("squeeze", (kept,), {"axes": (axis % x.type.rank,)})[0]


def _binary_of_broadcast(m: Match) -> Result:
    """An elementwise op broadcasts by itself: broadcast_to before it is dropped where the other operand has the
    shape."""
    x, y = m.inputs
    out = tuple(_joined(a, b) for a,
        b in zip(x.type.shape, y.type.shape, strict=True)) if x.type.rank == y.type.rank else None
    if out is None:
        return None
    for i, (side, other) in enumerate(((x, y), (y, x))):
        inner = operand(m.graph, side.name, "broadcast_to")
        if inner is not None and other.type.shape == out:
            small = m.graph.value(inner.inputs[0])
            operands = (small, y) if i == 0 else (x, small)
            return apply(m.op.type, operands, m.op.attr)[0]
    return None


def _joined(a: Dim, b: Dim) -> Dim:
    return b if a == 1 else a


def _fold_sum(m: Match) -> Result:
    """(x + c) + d -> x + (c + d), and the same with differences.

    Only where c + d is a number of the type: 1 + 1e-12 is not, and (1 - p) + 1e-12 is 1e-12 for p = 1.
    """
    x, y = m.inputs
    last = m.graph.number_of(y.name)
    other, sign = x, 1.0
    if last is None and m.op.type == "add":
        last, other = m.graph.number_of(x.name), y
    inner = operand(m.graph, other.name, "add", "sub")
    if last is None or inner is None or other.type.dtype not in ("float32", "float64"):
        return None
    second = float(last) if m.op.type == "add" else -float(last)
    a, b = inner.inputs
    c = m.graph.number_of(b)
    if c is not None:
        base, first = a, float(c) if inner.type == "add" else -float(c)
    elif (c := m.graph.number_of(a)) is not None:
        base, first = b, float(c)
        sign = 1.0 if inner.type == "add" else -1.0
    else:
        return None
    rest, total = m.graph.value(base), _exact_sum(first, second, other.type.dtype)
    if rest.type != other.type or total is None:
        return None
    if sign < 0:
        return total - rest
    return rest if total == 0 else as_value(rest + total)


def _exact_sum(a: float, b: float, dtype: str) -> float | None:
    """a + b, both as numbers of `dtype`, if it is one, too."""
    kind = np.dtype(dtype).type
    a, b = float(kind(a)), float(kind(b))
    if not (math.isfinite(a) and math.isfinite(b)):
        return None
    total = Fraction(a) + Fraction(b)
    rounded = float(kind(float(total)))
    return rounded if math.isfinite(rounded) and Fraction(rounded) == total else None


def _gone(m: Match) -> Result:
    """x + 0, x - 0, x·1, x / 1: x, if it has the type of the result."""
    x, y = m.inputs
    unit = 0.0 if m.op.type in ("add", "sub") else 1.0
    sides = ((x, y), (y, x)) if m.op.type in ("add", "mul") else ((x, y),)
    for keep, other in sides:
        if m.graph.number_of(other.name) == unit and keep.type.rank >= other.type.rank:
            shape = other.type.shape
            lead = keep.type.rank - other.type.rank
            if all(d in (1, k) for d, k in zip(shape, keep.type.shape[lead:], strict=True)):
                return keep
    return None



def _cast_one_hot(m: Match) -> Result:
    inner = operand(m.graph, m.op.inputs[0], "one_hot")
    dtype = m.op.attr["dtype"]
    if inner is None or dtype not in ("float32", "float64") or inner.attr["dtype"] == "bool":
        return None
    return apply("one_hot", (m.graph.value(inner.inputs[0]),), {**inner.attr, "dtype": dtype})[0]


RULES: Final = (
    Rule(
        name="cast-of-one-hot", formula="cast(one_hot(y)) -> one_hot(y) of that dtype", why="one spelling",
        numerics="exact", roots=("cast",),
        rewrite=_cast_one_hot,
        fires=(
            Example(
                {"y": "i64[N]"}, lambda y: op.cast(op.one_hot(y, depth=(5,), dtype="int64"), dtype="float64"),
                lambda y: op.one_hot(y, depth=(5,), dtype="float64"),
            ),
        ),
        stays=(Example({"y": "i64[N]"}, lambda y: op.cast(y, dtype="float64")),),
    ),
    Rule(
        name="negation-of-negation", formula="-(-x) -> x", why="one operation fewer, and it hides other forms",
        numerics="exact",
        before=lambda x: op.neg(op.neg(x)), after=lambda x: x,
        fires=(Example(_X, lambda x: op.exp(op.neg(op.neg(x))), lambda x: op.exp(x)),),
        stays=(Example(_X, lambda x: op.neg(op.abs(op.neg(x)))),),
    ),
    Rule(
        name="sum-with-negation", formula="x + (-y) -> x - y", why="one spelling of a difference", numerics="exact",
        before=lambda x, y: op.add(x, op.neg(y)), after=lambda x, y: op.sub(x, y),
        fires=(Example(_XY, lambda x, y: x + (-y), lambda x, y: x - y),
            Example(_XY, lambda x, y: (-y) + x, lambda x, y: x - y)),
        stays=(Example(_XY, lambda x, y: -(x + y)),),
    ),
    Rule(
        name="difference-with-negation", formula="x - (-y) -> x + y", why="one spelling of a sum", numerics="exact",
        before=lambda x, y: op.sub(x, op.neg(y)), after=lambda x, y: op.add(x, y),
        fires=(Example(_XY, lambda x, y: x - (-y), lambda x, y: x + y),),
        stays=(Example(_XY, lambda x, y: -(x - y)),),
    ),
    Rule(
        name="reshape-of-ones",
        formula="reshape that adds or drops dimensions of 1 -> unsqueeze, squeeze; to its own shape -> x",
        why="one spelling of a kept dimension", numerics="exact", roots=("reshape",), rewrite=_reshape,
        fires=(
            Example(_X, lambda x: op.reshape(x, shape=(dims.symbol("N"), 1, dims.symbol("C"))),
                lambda x: op.unsqueeze(x, axes=(1,))),
        ),
        stays=(Example({"x": "f32[4, 6]"}, lambda x: op.reshape(x, shape=(6, 4))),),
    ),
    Rule(
        name="kept-dimension",
        formula="unsqueeze(reduce(x), axes) -> reduce(x, keepdims=True); unsqueeze(squeeze(x)) -> x",
        why="one spelling of a kept dimension", numerics="exact", roots=("unsqueeze",), rewrite=_unsqueeze,
        fires=(
            Example(
                _X, lambda x: op.unsqueeze(op.reduce_sum(x, axes=(1,)), axes=(1,)),
                lambda x: op.reduce_sum(x, axes=(1,), keepdims=True),
            ),
        ),
        stays=(Example(_X, lambda x: op.unsqueeze(op.reduce_sum(x, axes=(1,)), axes=(0,))),),
    ),
    Rule(
        name="logsumexp-keeps", formula="logsumexp(x) -> squeeze(logsumexp(x, keepdims=True))",
        why="one spelling of a kept dimension",
        numerics="exact", roots=("logsumexp",), rewrite=_logsumexp,
        fires=(
            Example(
                _X, lambda x: op.logsumexp(x, axis=1),
                lambda x: op.squeeze(op.logsumexp(x, axis=1, keepdims=True), axes=(1,)),
            ),
        ),
        stays=(Example(_X, lambda x: op.logsumexp(x, axis=1, keepdims=True)),),
    ),
    Rule(
        name="broadcast-is-implied", formula="x + broadcast_to(y) -> x + y where x has that shape",
        why="elementwise ops broadcast by themselves; one spelling", numerics="exact",
        roots=("add", "sub", "mul", "div"),
        rewrite=_binary_of_broadcast,
        fires=(
            Example(
                {"x": "f32[4, 3]", "y": "f32[4, 1]"}, lambda x, y: x - op.broadcast_to(y, shape=(4, 3)), lambda x,
                y: x - y,
            ),
        ),
        stays=(Example({"x": "f32[1, 3]", "y": "f32[4, 1]"}, lambda x, y: x - op.broadcast_to(y, shape=(4, 3))),),
    ),
    Rule(
        name="neutral-number", formula="x + 0, x - 0, x·1, x / 1 -> x", why="nothing to compute", numerics="exact",
        roots=("add", "sub", "mul", "div"), rewrite=_gone,
        fires=(Example(_X, lambda x: op.exp(x * 1.0), lambda x: op.exp(x)),
            Example(_X, lambda x: op.exp(0.0 + x), lambda x: op.exp(x))),
        stays=(Example(_X, lambda x: 0.0 * x), Example(_X, lambda x: 1.0 / x), Example(_X, lambda x: x - x)),
    ),
    Rule(
        name="sum-of-numbers", formula="(x + c) + d -> x + (c + d) if that is exact",
        why="one addition fewer; numbers that cancel go",
        numerics="reassociates", roots=("add", "sub"), rewrite=_fold_sum,
        fires=(
            Example(_X, lambda x: (x + 1.5) - 0.5, lambda x: x + 1.0),
            Example(_X, lambda x: 2.0 + (1.0 - x), lambda x: 3.0 - x),
        ),
        stays=(Example(_XY, lambda x, y: (x + y) + 1.0), Example(_X, lambda x: (1.0 - x) + 1e-12)),
    ),
)  # fmt: skip
