"""Algebra on primitive ops: what costs less and is the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.ir.dims import Dim
from graphloss.ir.graph import Graph
from graphloss.ir.tensor import apply
from graphloss.passes import fold, pads, products
from graphloss.passes.differentiate import pinned
from graphloss.passes.stable import normal
from graphloss.passes.stable.terms import operand
from graphloss.rewrite.driver import rewrite
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule
from graphloss.rewrite.trace import Trace

_X: Final = {"x": "f32[N, C]"}
_XY: Final = {"x": "f32[N, C]", "y": "f32[N, C]"}
_CXY: Final = {"c": "bool[N, C]", **_XY}


def _is_power_of_two(c: float) -> bool:
    return math.isfinite(c) and abs(math.frexp(c)[0]) == 0.5 and 2.0**-60 <= abs(c) <= 2.0**60


def _division(m: Match) -> Result:
    """x / c for a power of two c: the reciprocal is exact, so both round the same number."""
    x, y = m.inputs
    c = m.graph.number_of(y.name)
    if c is None or c == 1 or not _is_power_of_two(float(c)) or not x.type.dtype.startswith("float"):
        return None
    return x * ops.broadcast_to(ops.fill((), 1 / float(c), x.type.dtype), y.type.shape)


def _product_of_numbers(m: Match) -> Result:
    """c·(d·x) for a power of two c or d."""
    for a, b in (m.inputs, m.inputs[::-1]):
        c, inner = m.graph.number_of(a.name), operand(m.graph, b.name, "mul")
        if c is None or inner is None or a.type.rank > 0 or not a.type.dtype.startswith("float"):
            continue
        for d, x in (inner.inputs, inner.inputs[::-1]):
            number = m.graph.number_of(d)
            if number is None or m.graph.type_of(x) != b.type:
                continue
            if _is_power_of_two(float(c)) or _is_power_of_two(float(number)):
                return m.graph.value(x) * (float(c) * float(number))
    return None


def _minus_times(m: Match) -> Result:
    """(-x)·y -> -(x·y), c·(-x) -> (-c)·x, (-1)·x -> -x; quotients the same."""
    x, y = m.inputs
    sides = (x, y)
    for i, side in enumerate(sides):
        c = m.graph.number_of(side.name)
        other = sides[1 - i]
        if m.op.type == "mul" and c == -1 and side.type.rank == 0:
            return -other
        down = operand(m.graph, other.name, "neg")
        if c is not None and c != 0 and down is not None and side.type.rank == 0 and not isinstance(c, bool):
            source, number = m.graph.value(down.inputs[0]), ops.fill((), -c, side.type.dtype)
            return apply(m.op.type, (number, source) if i == 0 else (source, number), {})[0]
    for i, side in enumerate(sides):
        down = operand(m.graph, side.name, "neg")
        if down is not None:
            source = m.graph.value(down.inputs[0])
            return -apply(m.op.type, (source, y) if i == 0 else (x, source), {})[0]
    return None


def _minus_product(m: Match) -> Result:
    """-(c·x) -> (-c)·x."""
    inner = operand(m.graph, m.op.inputs[0], "mul")
    if inner is None:
        return None
    for a, b in (inner.inputs, inner.inputs[::-1]):
        c, t = m.graph.number_of(a), m.graph.type_of(a)
        if c is not None and c != 0 and t.rank == 0:
            return m.graph.value(b) * ops.fill((), -c, t.dtype)
    return None


def _sum(m: Match) -> Result:
    """A sum over nothing, over axes of 1, of a negation, of a sum."""
    (x,) = m.inputs
    rank, keep = x.type.rank, bool(m.op.attr["keepdims"])
    given = m.op.attr["axes"]
    axes = tuple(range(rank)) if given is None else tuple(sorted(int(a) % rank for a in given))  # type: ignore[arg-type,union-attr]
    if all(x.type.shape[a] == 1 for a in axes):
        return x if keep or not axes else ops.squeeze(x, axes)
    down = operand(m.graph, x.name, "neg")
    if down is not None:
        return -ops.reduce_sum(m.graph.value(down.inputs[0]), axes, keep)
    inner = operand(m.graph, x.name, "reduce_sum")
    if inner is None or bool(inner.attr["keepdims"]) != keep:
        return None
    source = m.graph.value(inner.inputs[0])
    first = inner.attr["axes"]
    full = source.type.rank
    gone = tuple(range(full)) if first is None else tuple(int(a) % full for a in first)  # type: ignore[arg-type,union-attr]
    left = [a for a in range(full) if keep or a not in gone]
    return ops.reduce_sum(source, tuple(sorted({*gone, *(left[a] for a in axes)})), keep)


def _power(m: Match) -> Result:
    x, y = m.inputs
    k = m.graph.number_of(y.name)
    if k is None or y.type.rank > x.type.rank or y.type.size != 1:
        return None
    if k == 1:
        return x
    if k == 2:
        return ops.square(x)
    if k == 3:
        return x * ops.square(x)
    return ops.reciprocal(x) if k == -1 else None


def _root_of_square(m: Match) -> Result:
    (x,) = m.inputs
    inner = operand(m.graph, x.name, "square", "mul")
    if inner is None or len(set(inner.inputs)) != 1:
        return None
    return ops.abs(m.graph.value(inner.inputs[0]))


def _even(m: Match) -> Result:
    """|-x|, |(|x|)|, (-x)², |x|²: the sign of x does not matter."""
    inner = operand(m.graph, m.op.inputs[0], "neg", "abs")
    if inner is None:
        return None
    return apply(m.op.type, (m.graph.value(inner.inputs[0]),), m.op.attr)[0]


def _where(m: Match) -> Result:
    condition, x, y = m.inputs
    shape = _joined(m)
    known = m.graph.number_of(condition.name)
    if known is not None:
        chosen = x if known else y
        return ops.broadcast_to(chosen, shape)
    if x.name == y.name and x.type.shape == shape:
        return x
    down = operand(m.graph, condition.name, "logical_not")
    if down is not None:
        return ops.where(m.graph.value(down.inputs[0]), y, x)
    taken, other = _taken(m, x, condition, 1), _taken(m, y, condition, 2)
    if taken is None and other is None:
        return None
    return ops.where(condition, x if taken is None else taken, y if other is None else other)


def _taken(m: Match, side: Value, condition: Value, place: int) -> Value | None:
    """What `side` is where it is looked at, if it is a choice by the same condition."""
    inner = operand(m.graph, side.name, "where")
    if inner is None or inner.inputs[0] != condition.name:
        return None
    found = m.graph.value(inner.inputs[place])
    return found if found.type.shape == side.type.shape else None


def _joined(m: Match) -> tuple[Dim, ...]:
    shapes = [t.type.shape for t in m.inputs]
    rank = max(map(len, shapes))
    padded: list[tuple[Dim, ...]] = [(1,) * (rank - len(s)) + s for s in shapes]
    return tuple(next((d for d in column if d != 1), 1) for column in zip(*padded, strict=True))


def _select_once(m: Match) -> Result:
    """where(c, where(c, a, b)·y, d) -> where(c, a·y, d)."""
    condition, x, y = m.inputs
    inner = operand(m.graph, x.name, "mul", "div", "neg")
    if inner is None:
        return None
    changed = []
    for name in inner.inputs:
        choice = operand(m.graph, name, "where")
        same = choice is not None and choice.inputs[0] == condition.name
        kept = choice.inputs[1] if choice is not None and same else name
        changed.append(kept if m.graph.type_of(kept).shape == m.graph.type_of(name).shape else name)
    if tuple(changed) == inner.inputs:
        return None
    return ops.where(condition, apply(inner.type, [m.graph.value(n) for n in changed], inner.attr)[0], y)


def _cast(m: Match) -> Result:
    (x,) = m.inputs
    dtype = m.op.attr["dtype"]
    if x.type.dtype == dtype:
        return x
    inner = operand(m.graph, x.name, "cast")
    if inner is None:
        return None
    source = m.graph.value(inner.inputs[0])
    widened = (source.type.dtype, x.type.dtype) in (("float32", "float64"), ("int32", "int64"))
    return source if widened and source.type.dtype == dtype else None


def _move(m: Match) -> Result:
    """Moves that undo each other, and that move nothing."""
    (x,) = m.inputs
    attr, inner = m.op.attr, operand(m.graph, x.name, m.op.type)
    if m.op.type == "transpose":
        perm = attr["perm"]
        assert isinstance(perm, tuple)
        if perm == tuple(range(x.type.rank)):
            return x
        if inner is None:
            return None
        first = inner.attr["perm"]
        assert isinstance(first, tuple)
        return ops.transpose(m.graph.value(inner.inputs[0]),
            tuple(int(first[int(p)]) for p in perm))  # type: ignore[arg-type]
    if m.op.type == "squeeze":
        added = operand(m.graph, x.name, "unsqueeze")
        source = None if added is None else m.graph.value(added.inputs[0])
        if source is not None and added is not None and _places(added.attr["axes"],
            x.type.rank) == _places(attr["axes"], x.type.rank):
            return source
        return x if attr["axes"] == () else None
    shape = attr["shape"]
    assert isinstance(shape, tuple)
    if x.type.shape == shape:
        return x
    return None if inner is None else apply(m.op.type, (m.graph.value(inner.inputs[0]),), attr)[0]


def _places(axes: object, rank: int) -> list[int]:
    assert isinstance(axes, tuple)
    return sorted(int(a) % rank for a in axes)


def _assign(m: Match) -> Result:
    return m.inputs[0]


RULES: Final[tuple[Rule, ...]] = (
    *(r for r in normal.RULES if r.name not in ("logsumexp-keeps", "cast-of-one-hot")),
    *fold.RULES,
    *pads.RULES,
    *products.RULES,
    Rule(
        name="copy", formula="assign(x), detach(x) -> x", why="no derivative is taken any more", numerics="exact",
        roots=("assign", "detach"),
        rewrite=_assign,
        fires=(Example(_X, lambda x: op.exp(op.detach(op.assign(x))), lambda x: op.exp(x)),),
        stays=(Example(_X, lambda x: op.exp(x)),),
    ),
    Rule(
        name="division-by-power-of-two", formula="x / 2^k -> x·2^-k", why="a multiplication costs a quarter",
        numerics="exact", roots=("div",),
        rewrite=_division,
        fires=(Example(_X, lambda x: x / 4.0, lambda x: x * 0.25),),
        stays=(Example(_X, lambda x: x / 3.0), Example(_X, lambda x: 4.0 / x)),
    ),
    Rule(
        name="product-of-numbers", formula="c·(d·x) -> (c·d)·x, c or d a power of two",
        why="one multiplication fewer, rounded the same",
        numerics="exact", roots=("mul",), rewrite=_product_of_numbers,
        fires=(Example(_X, lambda x: 0.5 * (3.0 * x), lambda x: 1.5 * x),),
        stays=(Example(_X, lambda x: 0.3 * (0.7 * x)),),
    ),
    Rule(
        name="negation-outside", formula="(-x)·y -> -(x·y); c·(-x) -> (-c)·x; x / (-y) -> -(x / y)",
        why="negations meet and cancel",
        numerics="exact", roots=("mul", "div"), rewrite=_minus_times,
        fires=(
            Example(_XY, lambda x, y: (-x) * y, lambda x, y: -(x * y)),
            Example(_X, lambda x: 3.0 * (-x), lambda x: -3.0 * x),
            Example(_XY, lambda x, y: (-x) / (-y), lambda x, y: x / y),
        ),
        stays=(Example(_XY, lambda x, y: x * y),),
    ),
    Rule(
        name="negation-of-product", formula="-(c·x) -> (-c)·x", why="one operation fewer", numerics="exact",
        roots=("neg",),
        rewrite=_minus_product,
        fires=(Example(_X, lambda x: -(3.0 * x), lambda x: -3.0 * x),),
        stays=(Example(_XY, lambda x, y: -(x * y)),),
    ),
    Rule(
        name="sum-of-less", formula="Σ -x -> -Σ x; ΣΣ x -> Σ x; Σ over axes of 1 -> squeeze", why="one pass fewer",
        numerics="reassociates",
        roots=("reduce_sum",), rewrite=_sum,
        fires=(
            Example(_X, lambda x: op.reduce_sum(-x, axes=(1,)), lambda x: -op.reduce_sum(x, axes=(1,))),
            Example(_X, lambda x: op.reduce_sum(op.reduce_sum(x, axes=(1,)), axes=(0,)),
                lambda x: op.reduce_sum(x, axes=(0, 1))),
            Example(
                {"x": "f32[N, 1]"}, lambda x: op.reduce_sum(op.exp(x), axes=(1,)),
                lambda x: op.squeeze(op.exp(x), axes=(1,)),
            ),
        ),
        stays=(Example(_X, lambda x: op.reduce_sum(x, axes=(1,))),),
    ),
    Rule(
        name="power-by-number", formula="x^1 -> x, x^2 -> x·x, x^3 -> x·(x·x), x^-1 -> 1/x",
        why="a power costs forty additions",
        numerics="more_accurate", roots=("pow",), rewrite=_power,
        fires=(Example(_X, lambda x: op.pow(x, 2.0), lambda x: op.square(x)),),
        stays=(Example(_X, lambda x: op.pow(x, 0.5)),),
    ),
    Rule(
        name="root-of-square", formula="√(x·x) -> |x|", why="x·x overflows where |x| does not",
        numerics="more_accurate", roots=("sqrt",),
        rewrite=_root_of_square,
        fires=(Example(_X, lambda x: op.sqrt(op.square(x)), lambda x: op.abs(x)),),
        stays=(Example(_XY, lambda x, y: op.sqrt(x * y)),),
    ),
    Rule(
        name="sign-that-does-not-matter", formula="|-x| -> |x|; (-x)² -> x²; |x|² -> x²", why="one operation fewer",
        numerics="exact",
        roots=("abs", "square"), rewrite=_even,
        fires=(Example(_X, lambda x: op.square(-x), lambda x: op.square(x)),),
        stays=(Example(_X, lambda x: op.exp(-x)),),
    ),
    Rule(
        name="choice",
        formula="where(True, x, y) -> x; where(c, x, x) -> x; where(c, where(c, x, z), y) -> where(c, x, y)",
        why="one choice fewer", numerics="exact", roots=("where",), rewrite=_where,
        fires=(
            Example(_CXY, lambda c, x, y: op.where(c, op.where(c, x, y), 0.0), lambda c, x, y: op.where(c, x, 0.0)),
            Example(_CXY, lambda c, x, y: op.where(op.logical_not(c), x, y), lambda c, x, y: op.where(c, y, x)),
            Example(_CXY, lambda c, x, y: op.exp(op.where(c, x, x)), lambda c, x, y: op.exp(x)),
        ),
        stays=(Example({**_CXY, "d": "bool[N, C]"}, lambda c, x, y, d: op.where(c, op.where(d, x, y), 0.0)),),
    ),
    Rule(
        name="select-once", formula="where(c, where(c, x, z)·y, w) -> where(c, x·y, w)", why="one choice fewer",
        numerics="exact",
        roots=("where",), rewrite=_select_once,
        fires=(Example(_CXY, lambda c, x, y: op.where(c, op.where(c, x, 0.0) * y, 0.0), lambda c, x,
            y: op.where(c, x * y, 0.0)),),
        stays=(Example({**_CXY, "d": "bool[N, C]"}, lambda c, x, y, d: op.where(c, op.where(d, x, 0.0) * y, 0.0)),),
    ),
    Rule(
        name="cast-back", formula="cast(x) to its own dtype -> x; float32 to float64 and back -> x",
        why="nothing to compute",
        numerics="exact", roots=("cast",), rewrite=_cast,
        fires=(
            Example(
                {"x": "i32[N]", "y": "i32[N]"}, lambda x, y: op.cast(op.cast(x, dtype="int64"), dtype="int32") + y,
                lambda x, y: x + y,
            ),
        ),
        stays=(Example({"x": "i64[N]"}, lambda x: op.cast(op.cast(x, dtype="int32"), dtype="int64")),),
    ),
    Rule(
        name="moves-that-meet",
        formula="transpose(transpose(x)), reshape(reshape(x)), squeeze(unsqueeze(x)), broadcast_to to its own shape",
        why="one move at most", numerics="exact", roots=("transpose", "reshape", "broadcast_to", "squeeze"),
        rewrite=_move,
        fires=(
            Example(_X, lambda x: op.exp(op.transpose(op.transpose(x, perm=(1, 0)), perm=(1, 0))), lambda x: op.exp(x)),
            Example(
                {"x": "f32[4, 6]"}, lambda x: op.reshape(op.reshape(x, shape=(2, 12)), shape=(8, 3)),
                lambda x: op.reshape(x, shape=(8, 3)),
            ),
        ),
        stays=(Example(_X, lambda x: op.transpose(x, perm=(1, 0))),),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Algebra:
    name: str = "algebra"
    rules: tuple[Rule, ...] = RULES

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        return rewrite(graph, self.rules, trace, self.name, pinned(graph))
