"""Matrix products: many small ones with the same matrix are one."""

from __future__ import annotations

from typing import Final

from graphloss import ops
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule

_BATCH: Final = {"x": "f32[B, N, C]", "y": "f32[C, M]"}


def _one(m: Match) -> Result:
    x, y = m.inputs
    if x.type.rank < 3 or y.type.rank != 2 or m.op.attr["transpose_x"]:
        return None
    product = ops.matmul(ops.flatten(x, x.type.rank - 1), y, transpose_y=bool(m.op.attr["transpose_y"]))
    return ops.reshape(product, (*x.type.shape[:-1], product.type.shape[-1]))


RULES: Final = (
    Rule(
        name="rows-of-one-product", formula="matmul(x[…, n, k], y[k, m]) -> the rows of all batches times y",
        why="one call, and rows that a loss may take some at a time", numerics="exact", roots=("matmul",), rewrite=_one,
        fires=(
            Example(
                _BATCH, lambda x, y: op.matmul(x, y, transpose_x=False, transpose_y=False),
                lambda x, y: ops.reshape(
                    op.matmul(ops.flatten(x, 2), y, transpose_x=False, transpose_y=False),
                    (*x.type.shape[:-1], y.type.shape[-1]),
                ),
            ),
        ),
        stays=(
            Example(
                {"x": "f32[B, N, C]", "y": "f32[B, C, M]"},
                lambda x, y: op.matmul(x, y, transpose_x=False, transpose_y=False),
            ),
            Example(
                {"x": "f32[B, C, N]", "y": "f32[C, M]"},
                lambda x, y: op.matmul(x, y, transpose_x=True, transpose_y=False),
            ),
        ),
    ),
)  # fmt: skip
