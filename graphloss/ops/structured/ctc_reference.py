"""What CTC gives, in NumPy: the recursions in logarithms, in float64; and test points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from graphloss.ir.opdef import Array, Attrs, Sample
from graphloss.ops.check import refuse, refuse_step

# What should stand in the data; sizes in braces.
FRAMES: Final = "a number of frames in [0, {T}]"
LENGTH: Final = "a length in [0, {S}]"
PACKED: Final = "a length of 0 or more, all of them adding up to the {S} labels"
SYMBOL: Final = "a class in [0, {C}) other than the blank"


def reference(arrays: Sequence[Array], attrs: Attrs) -> tuple[Array, ...]:
    log_probs = arrays[0]
    labels, frames, lengths = (a.astype(np.int64) for a in arrays[1:])
    T, N, C = log_probs.shape
    blank = attrs["blank"] % C
    padded = _padded(labels, lengths, T, C, frames, blank)
    x = log_probs.astype(np.float64)
    width = padded.shape[1]
    states = np.full((N, 2 * width + 1), blank)
    states[:, 1::2] = padded
    used = np.arange(2 * width + 1) <= 2 * lengths[:, None]
    valid: Array = np.arange(T)[:, None, None] < frames[:, None]
    skips = np.zeros(used.shape, bool)
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    emitted = np.where(used, np.take_along_axis(x, np.broadcast_to(states, (T, *states.shape)), 2), -np.inf)

    def later(a: Array, k: int) -> Array:
        """a of k states before each; nothing before the first."""
        out: Array = np.concatenate([np.full((N, k), -np.inf), a], 1)[:, : a.shape[1]]
        return out

    def earlier(a: Array, k: int) -> Array:
        """a of k states behind each; nothing behind the last."""
        return np.flip(later(np.flip(a, 1), k), 1)

    alpha = np.full((T + 1, *states.shape), -np.inf)  # alpha[t]: all ways to each state in t frames
    alpha[0, :, 0] = 0
    for t in range(T):
        a = alpha[t]
        ways = np.logaddexp(np.logaddexp(a, later(a, 1)), np.where(skips, later(a, 2), -np.inf))
        alpha[t + 1] = np.where(valid[t], ways + emitted[t], a)
    last = np.arange(states.shape[1]) - 2 * lengths[:, None]
    final = np.where((last == 0) | (last == -1), 0.0, -np.inf)
    log_p: Array = np.logaddexp.reduce(np.where(used, alpha[T], -np.inf) + final, axis=1)

    posterior = np.zeros((T, N, C))
    beta = final  # all ways on from each state
    for t in range(T)[::-1]:
        ways = alpha[t + 1] + beta
        weight = np.exp(ways - np.logaddexp.reduce(ways, axis=1)[:, None])  # NaN where there is no way at all
        weight[np.isneginf(log_p)] = np.nan
        row = np.where(np.isnan(weight).any(1, keepdims=True), np.nan, np.zeros((N, C)))
        np.add.at(row, (np.arange(N)[:, None], states), np.where(used, weight, 0.0))
        posterior[t] = np.where(valid[t], row, 0.0)
        a = beta + emitted[t]
        jumps = np.where(skips, a, -np.inf)
        on = np.logaddexp(np.logaddexp(a, earlier(a, 1)), earlier(jumps, 2))
        beta = np.where(valid[t], on, beta)
    return (0.0 - log_p).astype(log_probs.dtype), posterior.astype(log_probs.dtype)


def _padded(labels: Array, lengths: Array, T: int, C: int, frames: Array, blank: int) -> Array:
    """The labels as a matrix, with class 0 behind their ends; an error for what the nest would report first."""
    packed = labels.ndim == 1
    wrong: Array
    refuse("input_lengths", frames, (frames < 0) | (frames > T), FRAMES.format(T=T))
    if packed:
        clipped = np.clip(lengths, 0, labels.size)
        wrong = (lengths < 0) | (lengths > labels.size - (np.cumsum(clipped) - clipped))
        if not wrong.any() and lengths.size:
            wrong[-1] = lengths.sum() != labels.size
        refuse("label_lengths", lengths, wrong, PACKED.format(S=labels.size))
        width = int(lengths.max(initial=0))
        starts = np.cumsum(lengths) - lengths
        places = starts[:, None] + np.arange(width)
        used = np.arange(width) < lengths[:, None]
        matrix = np.where(used, labels[np.where(used, places, 0)], 0) if labels.size else np.zeros(used.shape, int)
    else:
        S = labels.shape[1]
        refuse("label_lengths", lengths, (lengths < 0) | (lengths > S), LENGTH.format(S=S))
        used, matrix = np.arange(S) < lengths[:, None], labels
    wrong = used & ((matrix < 0) | (matrix >= C) | (matrix == blank))
    refuse_step("labels", matrix, wrong, SYMBOL.format(C=C), packed=packed)
    return np.where(used, matrix, 0)


def reference_logits(arrays: Sequence[Array], attrs: Attrs) -> tuple[Array, ...]:
    logits = arrays[0]
    x = logits.astype(np.float64)
    x = x - np.max(x, axis=2, keepdims=True, initial=-np.inf)
    x = x - np.log(np.sum(np.exp(x), axis=2, keepdims=True))
    cost, posterior = reference((x, *arrays[1:]), attrs)
    valid = np.arange(len(x))[:, None, None] < arrays[2][:, None]
    gradient = np.where(valid, np.exp(x) - posterior, 0.0)
    return cost.astype(logits.dtype), posterior.astype(logits.dtype), gradient.astype(logits.dtype)


def samples(rng: np.random.Generator) -> list[Sample]:
    def log_probs(*shape: int) -> Array:
        x = rng.normal(size=shape)
        out: Array = x - np.log(np.exp(x).sum(-1, keepdims=True))
        return out

    def integers(*values: object) -> tuple[Array, ...]:
        return tuple(np.array(v, np.int64) for v in values)

    never = log_probs(5, 1, 4)
    never[1:3, 0, 2] = -np.inf
    return [
        Sample((log_probs(6, 3, 4), *integers([[1, 2, 2], [3, 0, 0], [0, 0, 0]], [6, 4, 0], [3, 1, 0]))),
        Sample((log_probs(6, 3, 4), *integers([1, 1, 1, 0], [6, 4, 2], [3, 1, 0])), {"blank": -1}),
        Sample((log_probs(4, 2, 3), *integers([[0, 2], [2, 0]], [4, 3], [2, 2])), {"blank": 1}),
        Sample((log_probs(4, 1, 3), np.array([[2, 1]], np.int32), *integers([4]), np.array([2], np.uint8))),
        Sample((log_probs(2, 0, 3), *integers(np.zeros((0, 2)), [], []))),
        Sample((log_probs(0, 1, 1), *integers(np.zeros((1, 0)), [0], [0]))),
        Sample(
            (log_probs(3, 2, 3), *integers([[1, 1, 1], [2, 2, 2]], [3, 2], [2, 3])), edge=True, differentiable=False
        ),
        Sample((never, *integers([[2, 3, 2]], [5], [3])), edge=True, differentiable=False),
        Sample((log_probs(4, 1, 3) * 1e4, *integers([[1, 2]], [4], [2])), edge=True, differentiable=False),
    ]
