"""Noise-contrastive estimation: the true classes of a row against a few that are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graphloss import ops
from graphloss.ir.dims import Dim
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses.labels import held
from graphloss.losses.scores import chosen_scores, log_uniform_log_p, taken


@dataclass(frozen=True, slots=True)
class Noise:
    """A distribution of negatives: `draw(shape)` gives classes, `log_p(classes, dtype)` their log-probabilities."""

    draw: Callable[[tuple[Dim, ...]], Tensor]
    log_p: Callable[[Tensor, str], Tensor]


def uniform_noise(classes: int, seed: int, step: Tensor | None = None) -> Noise:
    """P(c) = 1/K."""
    return Noise(
        lambda shape: ops.sample_uniform(shape, classes, seed, step),
        lambda ids, dtype: ops.fill((), -math.log(classes), dtype),
    )


def log_uniform_noise(classes: int, seed: int, step: Tensor | None = None) -> Noise:
    """P(c) = ln((c+2)/(c+1)) / ln K; the last class, K−1, is never drawn although it has a probability."""
    return Noise(
        lambda shape: ops.sample_log_uniform(shape, classes - 1, seed, step),
        lambda ids, dtype: log_uniform_log_p(ids, classes - 1, dtype),
    )


def custom_noise(p: Tensor, own: Tensor, other: Tensor, seed: int, step: Tensor | None = None) -> Noise:
    """P(c) = p[c]; (own, other) is the `ops.alias_table` of p."""
    return Noise(
        lambda shape: ops.sample_alias(own, other, shape, seed, step),
        lambda ids, dtype: ops.log(cast(taken(held(p), ids), dtype)),
    )


def forced(classes: Sequence[int], noise: Noise) -> Noise:
    """The probabilities of `noise`, but each row draws just these classes."""
    row = np.array([classes], np.int64)
    return Noise(lambda shape: ops.broadcast_to(ops.literal(row), shape), noise.log_p)


def nce(
    x: Tensor,
    label: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    negatives: int,
    noise: Noise,
    sample_weight: Tensor | None = None,
) -> Tensor:
    """w·(Σ_true −ln(o/(o+q)) + Σ_drawn −ln(q/(o+q))) per row, [N], with o = σ(x·W_c + b_c) and q = k·P(c).

    x [N, D], label [N, T] int64 with T known, W [K, D], b [K, 1], sample_weight w [N]; k = `negatives`.
    """
    n, true = label.type.shape
    assert isinstance(true, int)
    drawn = noise.draw((n, negatives))
    ids = ops.concat([ops.check_index(label, weight.type.shape[0]), drawn], 1)
    scores = chosen_scores(x, ids, weight, bias)
    log_q = ops.broadcast_to(noise.log_p(ids, x.type.dtype) + math.log(negatives), (n, true + negatives))
    (s, r), (log_qs, log_qr) = (ops.split(t, [true, negatives], 1) for t in (scores, log_q))
    cost = ops.reduce_sum(_accepted(s, log_qs), (1,)) + ops.reduce_sum(_rejected(r, log_qr), (1,))
    return cost if sample_weight is None else cost * held(sample_weight)


def _accepted(s: Tensor, log_q: Tensor) -> Tensor:
    """−ln(o/(o+q)) = ln(1 + q + q·e^−s), in terms that are all positive."""
    return ops.softplus(log_q) + ops.softplus(-ops.softplus(-log_q) - s)


def _rejected(s: Tensor, log_q: Tensor) -> Tensor:
    """−ln(q/(o+q)) = ln(1 + o/q)."""
    return ops.softplus(ops.logsigmoid(s) - log_q)
