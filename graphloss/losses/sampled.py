"""Softmax cross entropy over the true classes and a few drawn ones, corrected for how they were drawn."""

from __future__ import annotations

from dataclasses import dataclass

from graphloss import ops
from graphloss.ir import dims
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses.labels import held
from graphloss.losses.scores import log_uniform_log_p, taken

# What is taken off the logit of a drawn class that is a label of its row: enough that it counts for nothing.
HIT = 1e20


@dataclass(frozen=True, slots=True)
class Draw:
    """Different classes [S] that all rows share; `log_q(ids, dtype)` is the logarithm of their expected counts.

    Q is count·P where no draw was a repetition, else the probability 1 − (1−P)^tries that a class comes up in the
    draws that it took.
    """

    drawn: Tensor
    tries: Tensor
    classes: int
    count: int

    def log_q(self, ids: Tensor, dtype: str) -> Tensor:
        log_p = log_uniform_log_p(ids, self.classes, dtype)
        draws = cast(self.tries, dtype)
        seen = ops.log1mexp(draws * ops.log1p(-ops.exp(log_p)))
        return ops.where(ops.equal(self.tries, self.count), log_p + ops.log(draws), seen)

    def beside(self, label: Tensor, dtype: str) -> tuple[Tensor, Tensor]:
        """The labels [N, T] beside the drawn classes, and ln Q of each entry: [N, T+S]."""
        entries = (label, ops.unsqueeze(self.drawn, (0,)))
        log_q = [self.log_q(ids, dtype) for ids in entries]
        shape = (label.type.shape[0], self.count)
        ids, log_q_of_ids = (ops.concat([a, ops.broadcast_to(b, shape)], 1) for a, b in (entries, log_q))
        return ids, log_q_of_ids


def draw(classes: int, count: int, seed: int, step: Tensor | None) -> Draw:
    """`count` different log-uniform classes, P(c) = ln((c+2)/(c+1)) / ln(classes+1)."""
    return Draw(*ops.sample_log_uniform_unique(count, classes, seed, step), classes, count)


def sampled_softmax(s: Tensor, ids: Tensor, log_q: Tensor, true: int, remove_accidental_hits: bool) -> Tensor:
    """−(1/T) Σ_{t<T} log_softmax(s − ln Q)_t of the scores s [N, T+S] of the classes `ids`; [N].

    The first T entries of a row are its labels. A drawn class that equals one of them loses 1e20 if accidental hits are
    removed.
    """
    count = ids.type.shape[1]
    assert isinstance(count, int)
    labels, drawn = ops.split(ids, [true, count - true], 1)
    if remove_accidental_hits:
        hit = ops.reduce_any(ops.equal(ops.unsqueeze(drawn, (2,)), ops.unsqueeze(labels, (1,))), (2,))
        kept, tried = ops.split(s, [true, count - true], 1)
        s = ops.concat([kept, ops.where(hit, tried - HIT, tried)], 1)
    log_p = ops.log_softmax(s - held(log_q), axis=1)
    return -ops.reduce_mean(ops.getitem(log_p, (slice(None), slice(0, true))), (1,))


def scores_of(x: Tensor, label: Tensor, drawn: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x·W_c + b_c for the labels [N, T] of each row and for drawn classes [S] that all rows share: [N, T+S].

    All rows of W are taken at once, so that its gradient is one scatter-add.
    """
    n, true = label.type.shape
    parts = (dims.mul(n, true), drawn.type.shape[0])
    index = ops.concat([ops.reshape(label, (parts[0],)), drawn], 0)
    own, shared = ops.split(taken(weight, index), parts, 0)
    of_labels = ops.reduce_sum(ops.reshape(own, (n, true, x.type.shape[1])) * ops.unsqueeze(x, (1,)), (2,))
    of_drawn = ops.matmul(x, shared, False, True)
    if bias is not None:
        a, b = ops.split(taken(bias, index), parts, 0)
        of_labels, of_drawn = of_labels + ops.reshape(a, (n, true)), of_drawn + b
    return ops.concat([of_labels, of_drawn], 1)
