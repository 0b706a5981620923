"""The most probable tags of a linear chain: Viterbi's recursion."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from graphloss.ir.dims import Equations
from graphloss.ir.forms import Loops
from graphloss.ir.loop_builder import NestBuilder
from graphloss.ir.loops import Expr, Nest, cast, const, select
from graphloss.ir.opdef import Array, Attrs, OpDef, Sample, Types, register
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops.define import quiet
from graphloss.ops.structured import chain

INPUTS: Final = ("emission", "transition", "start", "end", "offsets", "length")
_RANKS: Final = (2, 2, 1, 1, 1, 1)


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    chain.check_types(INPUTS, _RANKS, types, equations)
    rows, batch = types[0].shape[0], types[5].shape[0]
    return TensorType("int64", (rows,)), TensorType(types[0].dtype, (batch,))


def _lower(types: Types, outputs: Types, attrs: Attrs) -> Loops:
    (rows, tags), (batch,) = types[0].shape, types[5].shape
    return Loops(_nest(tuple(t.dtype for t in types)), (batch, rows, tags))


@lru_cache(maxsize=16)
def _nest(dtypes: tuple[str, ...]) -> Nest:
    """best[j] is the weight, in float64, of the best way to tag j in a row; came[r, j] the tag before it there."""
    b = NestBuilder("crf_viterbi")
    B, R, K = b.sizes("B", "R", "K")
    shapes: tuple[tuple[Expr, ...], ...] = ((R, K), (K, K), (K,), (K,), (B + 1,), (B,))
    given = [b.input(name, d, shape) for name, d, shape in zip(INPUTS, dtypes, shapes, strict=True)]
    emission, transition, start, end, offsets, length = given
    path, score = b.output("path", "int64", (R,)), b.output("score", dtypes[0], (B,))
    came = b.shared("came", "int64", (R, K))
    best, into = b.scratch("best", "float64", (K,)), b.scratch("into", "float64", (K,))
    with b.parallel("n", B) as n:
        rows = chain.sequences(b, offsets, length, n, B, R)
        stop = b.let("stop", rows.begin + rows.length)
        with b.vector("j", 0, K) as j:
            into[j] = cast(start[j], "float64")
        with b.loop("r", rows.begin, stop) as r:
            with b.vector("j", 0, K) as j:
                best[j] = into[j] + cast(emission[r, j], "float64")
            with b.loop("more", 0, select(r + 1 < stop, chain.ONCE, 0)), b.vector("j", 0, K) as j:
                top = b.var("top", best[0] + cast(transition[0, j], "float64"))
                tag = b.var("tag", const(0, "int64"))
                with b.loop("i", 1, K) as i:
                    value = b.let("value", best[i] + cast(transition[i, j], "float64"))
                    better = b.let("better", value > top)  # of equal ones the first
                    b.assign(tag, select(better, i, tag))
                    b.assign(top, select(better, value, top))
                into[j], came[r + 1, j] = top, tag
        top, tag = b.var("top", const(float("-inf"), "float64")), b.var("tag", const(0, "int64"))
        with b.loop("j", 0, select(rows.length > 0, K, 0)) as j:
            value = b.let("value", best[j] + cast(end[j], "float64"))
            better = b.let("better", value > top)
            b.assign(tag, select(better, j, tag))
            b.assign(top, select(better, value, top))
        score[n] = select(rows.length > 0, cast(top, dtypes[0]), 0.0)
        with b.loop("r", rows.begin, stop, reverse=True) as r:
            path[r] = tag
            b.assign(tag, came.load((r, tag), r > rows.begin))
        with b.vector("r", stop, rows.end) as r:
            path[r] = const(0, "int64")
    return b.nest()


def _reference(arrays: Sequence[Array], attrs: Attrs) -> tuple[Array, ...]:
    emission, transition, start, end = (x.astype(np.float64) for x in arrays[:4])
    offsets, length = arrays[4:]
    path, score = np.zeros(len(emission), np.int64), np.zeros(len(length))
    for n, (begin, count) in enumerate(chain.read_sequences(offsets, length, len(emission))):
        if not count:
            continue
        x = emission[begin : begin + count]
        best, came = start + x[0], np.zeros(x.shape, np.int64)
        for t in range(1, count):
            ways = best[:, None] + transition
            came[t] = ways.argmax(0)
            best = ways.max(0) + x[t]
        tag = int((best + end).argmax())
        score[n] = (best + end)[tag]
        for t in range(count - 1, -1, -1):
            path[begin + t] = tag
            tag = int(came[t, tag])
    return path, score.astype(arrays[0].dtype)


def _samples(rng: np.random.Generator) -> list[Sample]:
    def case(tags: int, blocks: Sequence[int], lengths: Sequence[int], weights: str = "normal") -> tuple[Array, ...]:
        rows = sum(blocks)
        draw = rng.normal if weights == "normal" else lambda size: rng.integers(0, 2, size).astype(np.float64)
        offsets = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int64)
        shapes = ((rows, tags), (tags, tags), (tags,), (tags,))
        return (*(draw(size=s) for s in shapes), offsets, np.array(lengths, np.int64))

    return [
        Sample(case(3, [4, 2, 3], [4, 2, 3])),
        Sample(case(2, [3, 3, 3], [3, 1, 0])),
        Sample(case(1, [2], [2])),
        Sample(case(20, [7, 4], [7, 3])),
        Sample(case(5, [40], [40], "ties")),
        Sample(case(2, [], [])),
    ]


register(
    OpDef(
        "crf_viterbi", INPUTS, _infer, quiet(_reference), outputs=("path", "score"), lower=_lower, samples=_samples,
        no_vjp="the best path does not change where weights change a little", ulp=2,
        summary="For each sequence of rows its most probable tags and their weight; of equal ones those with the lowest"
        " tags from the end. Rows behind a sequence's length have tag 0. Sequences are those of linear_chain_crf.",
        formula="argmax_y start[y_1] + Σ_t emission[t, y_t] + Σ_t transition[y_t, y_t+1] + end[y_T]",
        source="Viterbi, Error bounds for convolutional codes and an asymptotically optimum decoding algorithm, 1967",
    )
)  # fmt: skip


def crf_viterbi(
    emission: Tensor, transition: Tensor, start: Tensor, end: Tensor, offsets: Tensor, length: Tensor
) -> tuple[Tensor, Tensor]:
    """(path [R], score [B]) of emissions [R, K] in sequences of rows."""
    path, score = apply("crf_viterbi", (emission, transition, start, end, offsets, length), {})
    return path, score
