"""Scores of chosen classes only: what the losses over a large vocabulary are made of."""

from __future__ import annotations

import math

from graphloss import ops
from graphloss.ir.tensor import Tensor, apply, cast


def chosen_scores(x: Tensor, ids: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x_n · W[c] + b[c] for the classes c of row n: x [N, D], ids [N, M], W [K, D], b [K, 1] or [K] -> [N, M].

    Only the rows of W that are named are read, and its gradient is one scatter-add of as many rows.
    """
    scores = ops.reduce_sum(taken(weight, ids) * ops.unsqueeze(x, (1,)), (2,))
    if bias is None:
        return scores
    shift = taken(bias, ids)
    return scores + (shift if bias.type.rank == 1 else ops.squeeze(shift, 2))


def taken(table: Tensor, ids: Tensor) -> Tensor:
    """The rows of `table` that `ids`, of any shape, names."""
    return apply("gather", (table, ids), {})[0]


def log_uniform_log_p(ids: Tensor, classes: int, dtype: str) -> Tensor:
    """ln P(c) of the log-uniform distribution, P(c) = ln((c+2)/(c+1)) / ln(classes+1)."""
    return ops.log(ops.log1p(1.0 / (cast(ids, dtype) + 1.0))) - math.log(math.log(classes + 1))
