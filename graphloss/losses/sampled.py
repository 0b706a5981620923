"""Softmax cross entropy over the true classes and a few drawn ones, corrected for how they were drawn."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses.labels import held
from graphloss.losses.scores import log_uniform_log_p

# What is taken off the logit of a drawn class that is a label of its row: enough that it counts for nothing.
HIT = 1e20


def drawn_classes(
    label: Tensor, classes: int, count: int, dtype: str, seed: int, step: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The labels [N, T] beside `count` different classes that all rows share, and ln Q of each entry: [N, T+S].

    Q is count·P where no draw was a repetition, else the probability 1 − (1−P)^tries that a class comes up in the
    draws that it took.
    """
    drawn, tries = ops.sample_log_uniform_unique(count, classes, seed, step)
    entries = (label, ops.unsqueeze(drawn, (0,)))
    log_q = [_log_q(ids, classes, count, tries, dtype) for ids in entries]
    n = label.type.shape[0]
    ids, log_q_of_ids = (ops.concat([a, ops.broadcast_to(b, (n, count))], 1) for a, b in (entries, log_q))
    return ids, log_q_of_ids


def _log_q(ids: Tensor, classes: int, count: int, tries: Tensor, dtype: str) -> Tensor:
    log_p = log_uniform_log_p(ids, classes, dtype)
    draws = cast(tries, dtype)
    seen = ops.log1mexp(draws * ops.log1p(-ops.exp(log_p)))
    return ops.where(ops.equal(tries, count), log_p + ops.log(draws), seen)


def sampled_softmax(logits: Tensor, ids: Tensor, log_q: Tensor, true: int, remove_accidental_hits: bool) -> Tensor:
    """−(1/T) Σ_{t<T} log_softmax(s)_t with s = logits[ids] − ln Q; [N]. The first T entries of a row are its labels.

    A drawn class that equals a label of its row loses 1e20 if accidental hits are removed.
    """
    s = ops.take_along(logits, ids, 1)
    count = ids.type.shape[1]
    assert isinstance(count, int)
    labels, drawn = ops.split(ids, [true, count - true], 1)
    if remove_accidental_hits:
        hit = ops.reduce_any(ops.equal(ops.unsqueeze(drawn, (2,)), ops.unsqueeze(labels, (1,))), (2,))
        kept, tried = ops.split(s, [true, count - true], 1)
        s = ops.concat([kept, ops.where(hit, tried - HIT, tried)], 1)
    log_p = ops.log_softmax(s - held(log_q), axis=1)
    return -ops.reduce_mean(ops.getitem(log_p, (slice(None), slice(0, true))), (1,))
