"""Known composites along a row: softmax, log_softmax, logsumexp, and a pick of one."""

from __future__ import annotations

from typing import Final

from graphloss import ops
from graphloss.passes.stable.terms import is_row_constant_of, mixes_row, operand, same_shift
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule

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
)  # fmt: skip
