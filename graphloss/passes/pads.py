"""Sums of what was laid side by side: the gradient of slices is one tensor of their gradients, not a sum of padded
ones."""

from __future__ import annotations

from typing import Final

from graphloss import ops
from graphloss.ir import dims
from graphloss.ir.builder import Value
from graphloss.ir.dims import Dim, SymDim
from graphloss.ir.tensor import Tensor
from graphloss.passes.stable.terms import operand
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule

_PARTS: Final = {"x": "f64[4, 2]", "y": "f64[4, 3]"}


def _sum_of_parts(m: Match) -> Result:
    """[a, 0] + [0, b] = [a, b], wherever the parts of both sides meet or one of them is 0."""
    graph = m.graph
    sides = [operand(graph, n, "concat") for n in m.op.inputs]
    left, right = sides
    if left is None or right is None or left.attr["axis"] != right.attr["axis"]:
        return None
    if m.inputs[0].type != m.inputs[1].type:
        return None
    axis = int(left.attr["axis"])  # type: ignore[arg-type]
    a, b = ([graph.value(n) for n in side.inputs] for side in (left, right))
    parts: list[Tensor] = []
    while a and b:
        x, y = a[0], b[0]
        n, k = x.type.shape[axis], y.type.shape[axis]
        if n == k:
            parts.append(y if _is_zero(m, x) else x if _is_zero(m, y) else x + y)
            del a[0], b[0]
            continue
        for one, many, rest in ((a, b, dims.sub(n, k)), (b, a, dims.sub(k, n))):
            if _is_zero(m, one[0]) and _at_least_zero(rest):
                parts.append(many.pop(0))
                shape = one[0].type.shape
                rest_of_it = ops.fill((*shape[:axis], rest, *shape[axis + 1 :]), 0, one[0].type.dtype)
                assert isinstance(rest_of_it, Value)
                one[0] = rest_of_it
                break
        else:
            return None
    return None if a or b else ops.concat(parts, axis)


def _is_zero(m: Match, x: Value) -> bool:
    made = m.graph.op_of(x.name)
    return made is not None and made.type == "fill" and made.attr["value"] == 0


def _at_least_zero(d: Dim) -> bool:
    return all(c >= 0 for _, c in d.terms) if isinstance(d, SymDim) else d >= 0


def _zero(width: int) -> Tensor:
    return op.fill(shape=(4, width), value=0, dtype="float64")


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        name="sum-of-parts", formula="[a, 0] + [0, b] -> [a, b]; [a, b] + [c, d] -> [a + c, b + d]",
        why="each part is written once, and nothing is padded", numerics="exact", roots=("add",),
        rewrite=_sum_of_parts,
        fires=(
            Example(
                _PARTS, lambda x, y: op.concat(x, _zero(3), axis=1) + op.concat(_zero(2), y, axis=1),
                lambda x, y: op.concat(x, y, axis=1),
            ),
            Example(
                _PARTS,
                lambda x, y: op.concat(_zero(1), x, _zero(3), axis=1) + op.concat(_zero(3), y, axis=1),
                lambda x, y: op.concat(_zero(1), x, y, axis=1),
            ),
            Example(
                _PARTS, lambda x, y: op.concat(x, y, axis=1) + op.concat(_zero(2), y, axis=1),
                lambda x, y: op.concat(x, y + y, axis=1),
            ),
        ),
        stays=(
            Example(_PARTS, lambda x, y: op.concat(x, y, axis=1) + op.concat(y, x, axis=1)),
            Example(
                {"x": "f64[4, 4]"},
                lambda x: op.concat(x, x, axis=1) + op.reshape(op.concat(x, x, axis=0), shape=(4, 8)),
            ),
        ),
    ),
)  # fmt: skip
