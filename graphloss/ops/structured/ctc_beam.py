"""The most probable labels of CTC: prefix beam search, a NumPy call between kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from graphloss.errors import AttrError, ShapeError
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Host
from graphloss.ir.opdef import Array, Attrs, AttrSpec, OpDef, Sample, Types, register
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.check import refuse
from graphloss.ops.define import no_gradient, quiet

_NOTHING: Final = -np.inf


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    log_probs, lengths = types
    rules.expect(log_probs, "float", "log_probs")
    rules.expect(lengths, "int", "input_lengths")
    if log_probs.rank != 3 or lengths.rank != 1:
        raise ShapeError("a beam search takes (T, N, C) and (N,)", "ranks 3 and 1", f"{log_probs}, {lengths}")
    frames, batch, classes = log_probs.shape
    rules.equal_shapes((batch,), lengths.shape, equations, "ctc_beam_search, lengths and samples")
    width, best, blank = attrs["beam_width"], attrs["top_paths"], attrs["blank"]
    if not 1 <= best <= width:
        raise AttrError("a beam is at least as wide as the paths asked for are many", f"1 to {width} paths", best)
    if blank < 0 or (isinstance(classes, int) and blank >= classes):
        raise AttrError("the blank is none of the classes", f"an index in [0, {classes})", blank)
    found = (batch, best)
    return (
        TensorType("int64", (*found, frames)), TensorType("int64", found), TensorType(log_probs.dtype, found),
    )  # fmt: skip


@dataclass
class _Beam:
    """Prefixes and the logarithms of the probabilities of their paths, by whether these end in a blank."""

    prefixes: list[tuple[int, ...]]
    blank: Array
    symbol: Array

    @property
    def total(self) -> Array:
        out: Array = np.logaddexp(self.blank, self.symbol)
        return out


def _search(x: Array, blank: int, width: int) -> _Beam:
    """The beam after all frames of one sample x [T, C], the most probable prefix first."""
    beam = _Beam([()], np.zeros(1), np.full(1, _NOTHING))
    for frame in x:
        beam = _step(beam, frame, blank, width)
    order = np.argsort(-beam.total, kind="stable")
    return _Beam([beam.prefixes[i] for i in order], beam.blank[order], beam.symbol[order])


def _step(beam: _Beam, frame: Array, blank: int, width: int) -> _Beam:
    total, classes = beam.total, frame.size
    stays = total + frame[blank]
    ends = np.array([p[-1] if p else -1 for p in beam.prefixes])
    again = np.where(ends >= 0, beam.symbol + frame[ends], _NOTHING)  # the last symbol goes on
    longer = total[:, None] + frame  # one symbol more: [prefix, class]
    longer[:, blank] = _NOTHING
    repeated = np.flatnonzero(ends >= 0)  # the same symbol anew needs a blank before it
    longer[repeated, ends[repeated]] = beam.blank[repeated] + frame[ends[repeated]]
    place = {p: i for i, p in enumerate(beam.prefixes)}
    for j, p in enumerate(beam.prefixes):
        i = place.get(p[:-1], -1) if p else -1
        if i >= 0:  # two ways to one prefix: the longer form of i is j
            again[j] = np.logaddexp(again[j], longer[i, p[-1]])
            longer[i, p[-1]] = _NOTHING
    scores = np.concatenate([np.logaddexp(stays, again), longer.ravel()])
    best = np.argsort(-scores, kind="stable")[:width]
    best = best[scores[best] > _NOTHING]
    kept, new = best[best < ends.size], best[best >= ends.size] - ends.size
    prefixes = [beam.prefixes[i] for i in kept] + [(*beam.prefixes[i // classes], int(i % classes)) for i in new]
    nothing = np.full(new.size, _NOTHING)
    return _Beam(
        prefixes, np.concatenate([stays[kept], nothing]), np.concatenate([again[kept], longer.ravel()[new]])
    )  # fmt: skip


def _reference(
    log_probs: Array, lengths: Array, blank: int, beam_width: int, top_paths: int
) -> tuple[Array, Array, Array]:
    T, N, C = log_probs.shape
    if blank >= C:
        raise AttrError("the blank is none of the classes", f"an index in [0, {C})", blank)
    refuse("input_lengths", lengths, (lengths < 0) | (lengths > T), f"a number of frames in [0, {T}]")
    labels = np.full((N, top_paths, T), -1, np.int64)
    sizes = np.zeros((N, top_paths), np.int64)
    log_p = np.full((N, top_paths), _NOTHING, log_probs.dtype)
    for n in range(N):
        beam = _search(log_probs[: lengths[n], n].astype(np.float64), blank, beam_width)
        for k, (prefix, p) in enumerate(zip(beam.prefixes[:top_paths], beam.total, strict=False)):
            labels[n, k, : len(prefix)], sizes[n, k], log_p[n, k] = prefix, len(prefix), p
    return labels, sizes, log_p


def _samples(rng: np.random.Generator) -> list[Sample]:
    x = np.log(rng.dirichlet(np.ones(3), (5, 2)))
    return [
        Sample((x, np.array([5, 3])), {"beam_width": 4}, differentiable=False),
        Sample((x, np.array([0, 2], np.int32)), {"beam_width": 3, "top_paths": 3, "blank": 1}, differentiable=False),
        Sample((x[:, :0], np.zeros(0, np.int64)), {"beam_width": 2}, differentiable=False),
    ]


register(
    OpDef(
        "ctc_beam_search", ("log_probs", "input_lengths"), _infer, quiet(lambda x, a: _reference(x[0], x[1], **a)),
        attrs=(AttrSpec("blank", "int", 0), AttrSpec("beam_width", "int"), AttrSpec("top_paths", "int", 1)),
        outputs=("labels", "lengths", "log_p"), vjp=no_gradient, samples=_samples, ulp=8,
        lower=lambda t, o, a: Host(lambda arrays, shapes: _reference(arrays[0], arrays[1], **a)),
        summary="Labels that a beam search over prefixes finds most probable, best first, -1 behind the end of each;"
        " their lengths and the logarithms of their probabilities, -inf where there are no more labels.",
        source="Graves and Jaitly, Towards end-to-end speech recognition with recurrent neural networks, 2014",
    )
)  # fmt: skip


def ctc_beam_search(
    log_probs: Tensor, input_lengths: Tensor, blank: int, beam_width: int, top_paths: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(labels [N, K, T], their lengths [N, K], their log-probabilities [N, K]) of log-probabilities [T, N, C]."""
    attrs = {"blank": blank, "beam_width": beam_width, "top_paths": top_paths}
    labels, lengths, log_p = apply("ctc_beam_search", (log_probs, input_lengths), attrs)
    return labels, lengths, log_p
