"""Known composites in sums of logarithms: softmax, log_softmax, logsumexp, softplus, sigmoid, log cosh, picks."""

from __future__ import annotations

import math
from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.passes.stable.terms import is_row_constant_of, mixes_row, operand, same_shift, scaled_operand
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule, Surroundings

_X: Final = {"x": "f32[N, C]"}
_XY: Final = {"x": "f32[N, C]", "y": "f32[N, C]"}
_PICK: Final = {"x": "f32[N, C]", "y": "i64[N]"}


def shifted_by_its_row(m: Match) -> bool:
    """c is a reduction of x that does not change along the axis."""
    axis = m.attrs["axis"]
    assert isinstance(axis, int)
    x, c = m.values["x"], m.values["c"]
    # where c has more dimensions, the axis is none of x's, which may have none at all
    return c.type.rank <= x.type.rank and is_row_constant_of(m.graph, c.name, x.name, axis % x.type.rank)


def same_reduction(m: Match) -> bool:
    """c and d are one reduction, and d has the dimensions of the logsumexp."""
    c, d = m.values["c"], m.values["d"]
    out = m.graph.type_of(m.op.inputs[0])
    return same_shift(m.graph, c.name, d.name) and out.shape == m.graph.type_of(m.op.inputs[1]).shape


def same_axis(m: Match) -> bool:
    """The axis that is picked along is the one that is summed over, and the one that is dropped."""
    rank = m.values["x"].type.rank
    axis, other, gone = m.attrs["axis"], m.attrs["other"], m.attrs.get("gone")
    assert isinstance(axis, int) and isinstance(other, int) and isinstance(gone, tuple)
    return axis % rank == other % rank and [int(g) % rank for g in gone] == [axis % rank]  # type: ignore[arg-type]


def _one_hot_sum(m: Match) -> Result:
    """Σ one_hot(y)·f along the axis of the classes: f at y, where f mixes the row, so that a NaN in it is
    everywhere."""
    product = operand(m.graph, m.op.inputs[0], "mul")
    if product is None:
        return None
    for first, second in (product.inputs, product.inputs[::-1]):
        hot = operand(m.graph, first, "one_hot")
        if hot is None or not hot.attr["strict"]:
            continue
        f, t = m.graph.value(second), m.graph.type_of(first)
        if f.type.rank != t.rank or not all(map(m.graph.same_dim, f.type.shape, t.shape)):
            continue
        axis = int(hot.attr["axis"]) % t.rank  # type: ignore[arg-type]
        given = m.op.attr["axes"]
        axes = tuple(range(t.rank)) if given is None else tuple(sorted(int(a) % t.rank for a in given))  # type: ignore[arg-type,union-attr]
        if axis not in axes or not mixes_row(m.graph, f.name, axis):
            continue
        picked = ops.pick(f, m.graph.value(hot.inputs[0]), axis)
        if m.op.attr["keepdims"]:
            picked = ops.unsqueeze(picked, axis)
            rest = tuple(a for a in axes if a != axis)
        else:
            rest = tuple(a - (a > axis) for a in axes if a != axis)
        return ops.reduce_sum(picked, rest, bool(m.op.attr["keepdims"])) if rest else picked
    return None


def _log_cosh(m: Match) -> Result:
    """logaddexp(x, -x) = log cosh x + log 2."""
    x, y = m.inputs
    for a, b in ((x, y), (y, x)):
        negated = operand(m.graph, b.name, "neg")
        if negated is not None and negated.inputs[0] == a.name:
            return ops.log_cosh(a) + math.log(2)
        if _opposite_products(m.graph, a, b):
            return ops.log_cosh(a) + math.log(2)
    return None


def _opposite_products(graph: Surroundings, a: Value, b: Value) -> bool:
    p, q = scaled_operand(graph, a.name), scaled_operand(graph, b.name)
    return p is not None and q is not None and p[1].name == q[1].name and p[0] == -q[0]


def _logaddexp_of_zero(m: Match) -> Result:
    x, y = m.inputs
    for a, b in ((x, y), (y, x)):
        if m.graph.number_of(b.name) == 0 and a.type.rank >= b.type.rank and b.type.size == 1:
            return ops.softplus(a)
    return None


def _softplus_by_parts(m: Match) -> Result:
    """max(x, 0) + softplus(-|x|) -> softplus(x)."""
    for a, b in (m.inputs, m.inputs[::-1]):
        tail = operand(m.graph, b.name, "softplus")
        down = None if tail is None else operand(m.graph, tail.inputs[0], "neg")
        size = None if down is None else operand(m.graph, down.inputs[0], "abs")
        top = operand(m.graph, a.name, "relu", "maximum", "clamp_min")
        if size is None or top is None or (top.inputs[0] != size.inputs[0] and size.inputs[0] not in top.inputs):
            continue
        x = m.graph.value(size.inputs[0])
        others = [n for n in top.inputs if n != x.name]
        zero = top.type == "relu" or (top.type == "clamp_min" and top.attr["min"] == 0)
        if (zero or [m.graph.number_of(n) for n in others] == [0]) and m.graph.type_of(a.name) == x.type:
            return ops.softplus(x)
    return None


def _logaddexp_by_parts(m: Match) -> Result:
    """max(x, y) + softplus(-|x - y|) -> logaddexp(x, y)."""
    for a, b in (m.inputs, m.inputs[::-1]):
        top, tail = operand(m.graph, a.name, "maximum"), operand(m.graph, b.name, "softplus")
        down = None if tail is None else operand(m.graph, tail.inputs[0], "neg")
        size = None if down is None else operand(m.graph, down.inputs[0], "abs")
        gap = None if size is None else operand(m.graph, size.inputs[0], "sub")
        if top is not None and gap is not None and set(gap.inputs) == set(top.inputs) and len(set(top.inputs)) == 2:
            return ops.logaddexp(*(m.graph.value(n) for n in top.inputs))
    return None


RULES: Final = (
    Rule(
        name="logsumexp-minus-row", formula="x - logsumexp(x, axis) -> log_softmax(x, axis)",
        why="keeps (x - max) apart, which x - logsumexp loses at large x", numerics="more_accurate",
        before=lambda x, *, axis: op.sub(x, op.logsumexp(x, axis=axis, keepdims=True)),
        after=lambda x, axis: op.log_softmax(x, axis=axis),
        fires=(
            Example(_X, lambda x: x - op.logsumexp(x, axis=1, keepdims=True), lambda x: op.log_softmax(x, axis=1)),
        ),
        stays=(Example(_XY, lambda x, y: x - op.logsumexp(y, axis=1, keepdims=True)),),
    ),
    Rule(
        name="row-minus-logsumexp", formula="logsumexp(x, axis) - x -> -log_softmax(x, axis)",
        why="as logsumexp-minus-row",
        numerics="more_accurate", before=lambda x, *, axis: op.sub(op.logsumexp(x, axis=axis, keepdims=True), x),
        after=lambda x, axis: -op.log_softmax(x, axis=axis),
        fires=(
            Example(_X, lambda x: op.logsumexp(x, axis=1, keepdims=True) - x, lambda x: -op.log_softmax(x, axis=1)),
        ),
        stays=(Example(_XY, lambda x, y: op.logsumexp(y, axis=1, keepdims=True) - x),),
    ),
    Rule(
        name="pick-minus-logsumexp", formula="pick(x, y) - logsumexp(x) -> pick(log_softmax(x), y)",
        why="as logsumexp-minus-row",
        numerics="more_accurate", when=(same_axis,),
        before=lambda x, y, *, axis, other, gone: op.sub(
            op.pick(x, y, axis=axis), op.squeeze(op.logsumexp(x, axis=other, keepdims=True), axes=gone)
        ),
        after=lambda x, y, axis: op.pick(op.log_softmax(x, axis=axis), y, axis=axis),
        fires=(
            Example(
                _PICK, lambda x, y: op.pick(x, y, axis=1) - op.squeeze(op.logsumexp(x, axis=1, keepdims=True),
                    axes=(1,)),
                lambda x, y: op.pick(op.log_softmax(x, axis=1), y, axis=1),
            ),
        ),
        stays=(
            Example(
                {"x": "f32[N, N]", "y": "i64[N]"},
                lambda x, y: op.pick(x, y, axis=1) - op.squeeze(op.logsumexp(x, axis=0, keepdims=True), axes=(0,)),
            ),
        ),
    ),
    Rule(
        name="logsumexp-minus-pick", formula="logsumexp(x) - pick(x, y) -> -pick(log_softmax(x), y)",
        why="as logsumexp-minus-row",
        numerics="more_accurate", when=(same_axis,),
        before=lambda x, y, *, axis, other, gone: op.sub(
            op.squeeze(op.logsumexp(x, axis=other, keepdims=True), axes=gone), op.pick(x, y, axis=axis)
        ),
        after=lambda x, y, axis: -op.pick(op.log_softmax(x, axis=axis), y, axis=axis),
        fires=(
            Example(
                _PICK, lambda x, y: op.squeeze(op.logsumexp(x, axis=1, keepdims=True), axes=(1,)) - op.pick(x, y,
                    axis=1),
                lambda x, y: -op.pick(op.log_softmax(x, axis=1), y, axis=1),
            ),
        ),
        stays=(
            Example(
                {"x": "f32[N, N]", "y": "i64[N]"},
                lambda x, y: op.squeeze(op.logsumexp(x, axis=0, keepdims=True), axes=(0,)) - op.pick(x, y, axis=1),
            ),
        ),
    ),
    Rule(
        name="column-pick-minus-logsumexp",
        formula="unsqueeze(pick(x, y)) - logsumexp(x, keepdims) -> unsqueeze(pick(log_softmax(x), y))",
        why="as logsumexp-minus-row", numerics="more_accurate", when=(same_axis,),
        before=lambda x, y, *, axis, other, gone: op.sub(
            op.unsqueeze(op.pick(x, y, axis=axis), axes=gone), op.logsumexp(x, axis=other, keepdims=True)
        ),
        after=lambda x, y, axis, gone: op.unsqueeze(op.pick(op.log_softmax(x, axis=axis), y, axis=axis), axes=gone),
        fires=(
            Example(
                _PICK,
                lambda x, y: op.unsqueeze(op.pick(x, y, axis=1), axes=(1,)) - op.logsumexp(x, axis=1, keepdims=True),
                lambda x, y: op.unsqueeze(op.pick(op.log_softmax(x, axis=1), y, axis=1), axes=(1,)),
            ),
        ),
        stays=(
            Example(
                {"x": "f32[N, N]", "y": "i64[N]"},
                lambda x, y: op.unsqueeze(op.pick(x, y, axis=1), axes=(1,)) - op.logsumexp(x, axis=0, keepdims=True),
            ),
        ),
    ),
    Rule(
        name="exp-of-log-softmax", formula="exp(log_softmax(x)) -> softmax(x)",
        why="one logarithm and one exponential fewer",
        numerics="more_accurate", before=lambda x, *, axis: op.exp(op.log_softmax(x, axis=axis)),
        after=lambda x, axis: op.softmax(x, axis=axis),
        fires=(Example(_X, lambda x: op.exp(op.log_softmax(x, axis=1)), lambda x: op.softmax(x, axis=1)),),
        stays=(Example(_X, lambda x: op.exp(2.0 * op.log_softmax(x, axis=1))),),
    ),
    Rule(
        name="exp-of-minus-softplus", formula="exp(-softplus(x)) -> sigmoid(-x)", why="the sigmoid in its own function",
        numerics="more_accurate", before=lambda x: op.exp(-op.softplus(x)), after=lambda x: op.sigmoid(-x),
        fires=(Example(_X, lambda x: op.exp(-op.softplus(x)), lambda x: op.sigmoid(-x)),),
        stays=(Example(_X, lambda x: op.exp(op.softplus(x))),),
    ),
    Rule(
        name="shift-of-log-softmax", formula="log_softmax(x - c) -> log_softmax(x), c a reduction of x over the row",
        why="log_softmax shifts by itself; no gradient through a maximum", numerics="more_accurate",
        when=(shifted_by_its_row,),
        before=lambda x, c, *, axis: op.log_softmax(op.sub(x, c), axis=axis), after=lambda x,
        axis: op.log_softmax(x, axis=axis),
        fires=(
            Example(
                _X, lambda x: op.log_softmax(x - op.reduce_max(x, axes=(1,), keepdims=True), axis=1),
                lambda x: op.log_softmax(x, axis=1),
            ),
        ),
        stays=(
            Example(_X, lambda x: op.log_softmax(x - op.reduce_max(x, axes=(0,), keepdims=True), axis=1)),
            Example({"x": "f32[N, C]", "c": "f32[N, 1]"}, lambda x, c: op.log_softmax(x - c, axis=1)),
            Example(_X, lambda x: op.log_softmax(2.0 - x, axis=0)),
        ),
    ),
    Rule(
        name="shift-of-softmax", formula="softmax(x - c) -> softmax(x), c a reduction of x over the row",
        why="as shift-of-log-softmax",
        numerics="more_accurate", when=(shifted_by_its_row,),
        before=lambda x, c, *, axis: op.softmax(op.sub(x, c), axis=axis), after=lambda x,
        axis: op.softmax(x, axis=axis),
        fires=(
            Example(
                _X, lambda x: op.softmax(x - op.reduce_max(x, axes=(1,), keepdims=True), axis=1),
                lambda x: op.softmax(x, axis=1),
            ),
        ),
        stays=(Example(_X, lambda x: op.softmax(x - op.reduce_max(x, axes=(0,), keepdims=True), axis=1)),),
    ),
    Rule(
        name="logsumexp-by-hand", formula="logsumexp(x - c) + c -> logsumexp(x), c a reduction of x over the row",
        why="logsumexp shifts by itself; no gradient through a maximum", numerics="more_accurate",
        when=(shifted_by_its_row, same_reduction),
        before=lambda x, c, d, *, axis: op.add(op.logsumexp(op.sub(x, c), axis=axis, keepdims=True), d),
        after=lambda x, axis: op.logsumexp(x, axis=axis, keepdims=True),
        fires=(
            Example(
                _X,
                lambda x: op.logsumexp(x - op.reduce_max(x, axes=(1,), keepdims=True), axis=1, keepdims=True)
                + op.reduce_max(x, axes=(1,), keepdims=True),
                lambda x: op.logsumexp(x, axis=1, keepdims=True),
            ),
        ),
        stays=(
            Example(
                {"x": "f32[N, C]", "c": "f32[N, 1]"},
                lambda x, c: op.logsumexp(x - op.reduce_max(x, axes=(1,), keepdims=True), axis=1, keepdims=True) + c,
            ),
        ),
    ),
    Rule(
        name="logsumexp-by-hand-without-axis", formula="squeeze(logsumexp(x - c)) + c -> squeeze(logsumexp(x))",
        why="as logsumexp-by-hand",
        numerics="more_accurate", when=(shifted_by_its_row, same_reduction),
        before=lambda x, c, d, *, axis,
        gone: op.add(op.squeeze(op.logsumexp(op.sub(x, c), axis=axis, keepdims=True), axes=gone), d),
        after=lambda x, axis, gone: op.squeeze(op.logsumexp(x, axis=axis, keepdims=True), axes=gone),
        fires=(
            Example(
                _X,
                lambda x: op.squeeze(
                    op.logsumexp(x - op.reduce_max(x, axes=(1,), keepdims=True), axis=1, keepdims=True), axes=(1,)
                ) + op.reduce_max(x, axes=(1,)),
                lambda x: op.squeeze(op.logsumexp(x, axis=1, keepdims=True), axes=(1,)),
            ),
        ),
        stays=(
            Example(
                {"x": "f32[N, C]", "c": "f32[N]"},
                lambda x, c: op.squeeze(
                    op.logsumexp(x - op.reduce_max(x, axes=(1,), keepdims=True), axis=1, keepdims=True), axes=(1,)
                ) + c,
            ),
        ),
    ),
    Rule(
        name="one-hot-sum", formula="Σ one_hot(y)·f -> pick(f, y), f a softmax or its logarithm",
        why="one element of the row instead of all, and 0·inf is not formed", numerics="more_accurate",
        roots=("reduce_sum",),
        rewrite=_one_hot_sum,
        fires=(
            Example(
                {"x": "f32[N, 5]", "y": "i64[N]"},
                lambda x, y: op.reduce_sum(op.one_hot(y, depth=(5,), axis=1) * op.log_softmax(x, axis=1), axes=(1,)),
                lambda x, y: op.pick(op.log_softmax(x, axis=1), y, axis=1),
            ),
        ),
        stays=(
            Example({"x": "f32[N, 5]", "y": "i64[N]"}, lambda x,
                y: op.reduce_sum(op.one_hot(y, depth=(5,), axis=1) * x, axes=(1,))),
            Example(
                {"x": "f32[5, 5]", "y": "i64[5]"},
                lambda x, y: op.reduce_sum(op.one_hot(y, depth=(5,), axis=1) * op.softmax(x, axis=1), axes=(0,)),
            ),
        ),
    ),
    Rule(
        name="logaddexp-of-zero", formula="logaddexp(x, 0) -> softplus(x)", why="one spelling, one operand",
        numerics="exact",
        roots=("logaddexp",), rewrite=_logaddexp_of_zero,
        fires=(Example(_X, lambda x: op.logaddexp(x, 0.0), lambda x: op.softplus(x)),),
        stays=(Example(_X, lambda x: op.logaddexp(x, 1.0)),),
    ),
    Rule(
        name="log-cosh", formula="logaddexp(x, -x) -> log_cosh(x) + log 2", why="keeps x²/2 near 0",
        numerics="more_accurate",
        roots=("logaddexp",), rewrite=_log_cosh,
        fires=(Example(_X, lambda x: op.logaddexp(x, -x), lambda x: op.log_cosh(x) + math.log(2)),),
        stays=(Example(_XY, lambda x, y: op.logaddexp(x, -y)),),
    ),
    Rule(
        name="part-of-logaddexp", formula="x - logaddexp(x, y) -> -softplus(y - x)",
        why="no cancellation where y is far below x",
        numerics="more_accurate", before=lambda x, y: op.sub(x, op.logaddexp(x, y)), after=lambda x,
        y: -op.softplus(y - x),
        fires=(Example(_XY, lambda x, y: x - op.logaddexp(y, x), lambda x, y: -op.softplus(y - x)),),
        stays=(Example({**_XY, "z": "f32[N, C]"}, lambda x, y, z: z - op.logaddexp(x, y)),),
    ),
    Rule(
        name="logaddexp-minus-part", formula="logaddexp(x, y) - x -> softplus(y - x)", why="as part-of-logaddexp",
        numerics="more_accurate", before=lambda x, y: op.sub(op.logaddexp(x, y), x), after=lambda x,
        y: op.softplus(y - x),
        fires=(Example(_XY, lambda x, y: op.logaddexp(x, y) - x, lambda x, y: op.softplus(y - x)),),
        stays=(Example({**_XY, "z": "f32[N, C]"}, lambda x, y, z: op.logaddexp(x, y) - z),),
    ),
    Rule(
        name="x-minus-softplus", formula="x - softplus(x) -> -softplus(-x)", why="no cancellation at large x",
        numerics="more_accurate",
        before=lambda x: op.sub(x, op.softplus(x)), after=lambda x: -op.softplus(-x),
        fires=(Example(_X, lambda x: x - op.softplus(x), lambda x: -op.softplus(-x)),),
        stays=(Example(_XY, lambda x, y: x - op.softplus(y)),),
    ),
    Rule(
        name="softplus-minus-x", formula="softplus(x) - x -> softplus(-x)", why="no cancellation at large x",
        numerics="more_accurate",
        before=lambda x: op.sub(op.softplus(x), x), after=lambda x: op.softplus(-x),
        fires=(Example(_X, lambda x: op.softplus(x) - x, lambda x: op.softplus(-x)),),
        stays=(Example(_XY, lambda x, y: op.softplus(x) - y),),
    ),
    Rule(
        name="softplus-plus-x", formula="softplus(-x) + x -> softplus(x)", why="one operation fewer",
        numerics="more_accurate",
        before=lambda x: op.add(op.softplus(-x), x), after=lambda x: op.softplus(x),
        fires=(Example(_X, lambda x: op.softplus(-x) + x, lambda x: op.softplus(x)),),
        stays=(Example(_XY, lambda x, y: op.softplus(-x) + y),),
    ),
    Rule(
        name="minus-softplus-minus-x", formula="-softplus(-x) - x -> -softplus(x)", why="one operation fewer",
        numerics="more_accurate",
        before=lambda x: op.sub(-op.softplus(-x), x), after=lambda x: -op.softplus(x),
        fires=(Example(_X, lambda x: -op.softplus(-x) - x, lambda x: -op.softplus(x)),),
        stays=(Example(_XY, lambda x, y: -op.softplus(-x) - y),),
    ),
    Rule(
        name="log-odds", formula="softplus(x) - softplus(-x) -> x", why="the logarithm of the odds of σ(x) is x itself",
        numerics="more_accurate", before=lambda x: op.sub(op.softplus(x), op.softplus(-x)), after=lambda x: x,
        fires=(Example(_X, lambda x: op.exp(op.softplus(x) - op.softplus(-x)), lambda x: op.exp(x)),),
        stays=(Example(_XY, lambda x, y: op.softplus(x) - op.softplus(-y)),),
    ),
    Rule(
        name="log-odds-against", formula="softplus(-x) - softplus(x) -> -x", why="as log-odds",
        numerics="more_accurate",
        before=lambda x: op.sub(op.softplus(-x), op.softplus(x)), after=lambda x: -x,
        fires=(Example(_X, lambda x: op.exp(op.softplus(-x) - op.softplus(x)), lambda x: op.exp(-x)),),
        stays=(Example(_XY, lambda x, y: op.softplus(-x) - op.softplus(y)),),
    ),
    Rule(
        name="softplus-by-hand", formula="max(x, 0) + softplus(-|x|) -> softplus(x)",
        why="one function, and its derivative at 0",
        numerics="exact", roots=("add",), rewrite=_softplus_by_parts,
        fires=(Example(_X, lambda x: op.relu(x) + op.softplus(-op.abs(x)), lambda x: op.softplus(x)),),
        stays=(Example(_XY, lambda x, y: op.relu(y) + op.softplus(-op.abs(x))),),
    ),
    Rule(
        name="logaddexp-by-hand", formula="max(x, y) + softplus(-|x - y|) -> logaddexp(x, y)",
        why="one function, and its derivative at x = y",
        numerics="exact", roots=("add",), rewrite=_logaddexp_by_parts,
        fires=(Example(_XY, lambda x, y: op.maximum(x, y) + op.softplus(-op.abs(x - y)), lambda x,
            y: op.logaddexp(x, y)),),
        stays=(Example(_XY, lambda x, y: op.maximum(x, 0.5) + op.softplus(-op.abs(x - y))),),
    ),
)  # fmt: skip
