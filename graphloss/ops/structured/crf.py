"""The linear-chain conditional random field: the cost of a path of tags, and the gradients by marginals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from graphloss import ops
from graphloss.errors import UnsupportedError
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Loops
from graphloss.ir.loop_builder import Handle, NestBuilder
from graphloss.ir.loops import Expr, Nest, Size, Use, cast, const, select
from graphloss.ir.opdef import Array, Attrs, OpDef, Sample, Types, register
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops.check import range_error
from graphloss.ops.define import quiet
from graphloss.ops.structured import chain, crf_logarithms, crf_products
from graphloss.ops.structured.chain import ONCE, Rows

INPUTS: Final = ("emission", "transition", "start", "end", "label", "offsets", "length")
_RANKS: Final = (2, 2, 1, 1, 1, 1, 1)


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    chain.check_types(INPUTS, _RANKS, types, equations)
    (rows, tags), (batch,), dtype = types[0].shape, types[6].shape, types[0].dtype
    shapes = ((batch,), (rows, tags), (batch, tags, tags), (batch, tags), (batch, tags))
    return (*(TensorType(dtype, shape) for shape in shapes), TensorType("int64", (rows,)))


def _lower(types: Types, outputs: Types, attrs: Attrs) -> Loops:
    (rows, tags), (batch,) = types[0].shape, types[6].shape
    return Loops(nest(tuple(t.dtype for t in types)), (batch, rows, tags))


# --- the recursions


@lru_cache(maxsize=16)
def nest(dtypes: tuple[str, ...]) -> Nest:
    """By products of exponentials; again, in logarithms, where weights are too far apart for them."""
    b = NestBuilder("linear_chain_crf")
    B, R, K = b.sizes("B", "R", "K")
    shapes: tuple[tuple[Expr, ...], ...] = ((R, K), (K, K), (K,), (K,), (R,), (B + 1,), (B,))
    given = [b.input(name, d, shape) for name, d, shape in zip(INPUTS, dtypes, shapes, strict=True)]
    transition, end, offsets, length = given[1], given[3], given[5], given[6]
    dtype = dtypes[0]
    cost = b.output("cost", dtype, (B,))
    d_emission = b.output("d_emission", dtype, (R, K))
    d_transition = b.output("d_transition", dtype, (B, K, K))
    d_start, d_end = b.output("d_start", dtype, (B, K)), b.output("d_end", dtype, (B, K))
    sequence = b.output("sequence", "int64", (R,))
    tags = b.shared("tags", "int64", (R,))
    products, p = crf_products.products(b, R, K, dtype), chain.pairs(b, transition, K, dtype)
    alpha = products.forward  # of what is done again nothing else is left
    with b.parallel("n", B) as n:
        rows = chain.sequences(b, offsets, length, n, B, R)
        with b.vector("r", rows.begin, rows.end) as r:
            sequence[r] = n
        stop = b.let("stop", rows.begin + rows.length)
        score = _score(b, given, tags, rows, stop, K)
        crf_products.prepare(b, products, transition)
        found, factor, lost = crf_products.forward(b, products, given, rows, stop)
        log_z, again = b.var("log_z", found), b.let("again", select(lost, ONCE, 0))
        with b.loop("once", 0, again):
            chain.prepare(b, p)
            b.assign(log_z, crf_logarithms.forward(b, p, given, alpha, rows, stop))
        cost[n] = select(rows.length > 0, cast(log_z - score, dtype), 0.0)
        crf_products.backward(b, products, end, d_emission, d_transition, n, rows, stop, factor, lost)
        with b.loop("once", 0, again):
            crf_logarithms.backward(b, p, given, alpha, d_emission, d_transition, n, rows, stop)
        _less_the_path(b, tags, (d_emission, d_transition, d_start, d_end), n, rows, stop, K)
    return b.nest()


def _less_the_path(b: NestBuilder, tags: Handle, out: Sequence[Handle], n: Use, rows: Rows, stop: Use, K: Size) -> None:
    """Gradients, of the probabilities: less what the labels tell."""
    d_emission, d_transition, d_start, d_end = out
    with b.loop("r", rows.begin, stop) as r:
        tag = b.let("tag", tags[r])
        d_emission[r, tag] = d_emission[r, tag] - 1.0
    with b.loop("r", rows.begin + 1, stop) as r:
        place = (n, b.let("from_tag", tags[r - 1]), b.let("to_tag", tags[r]))
        d_transition[place] = d_transition[place] - 1.0
    with b.vector("j", 0, K) as j:
        d_start[n, j] = d_emission.load((rows.begin, j), rows.length > 0)
        d_end[n, j] = d_emission.load((stop - 1, j), rows.length > 0)
    with b.loop("r", stop, rows.end) as r, b.vector("j", 0, K) as j:
        d_emission[r, j] = const(0, d_emission.array.dtype)


def _score(b: NestBuilder, given: Sequence[Handle], tags: Handle, rows: Rows, stop: Use, K: Size) -> Use:
    """The weight of the path that the labels tell; the labels, checked, are left in `tags`."""
    emission, transition, start, end, label = given[:5]
    score, before = b.var("score", const(0, "float64")), b.var("before", const(0, "int64"))
    with b.loop("r", rows.begin, stop) as r:
        found = b.let("found", cast(label[r], "int64"))
        step = b.let("step", r - rows.begin)
        tag = b.check("tag", label, r, (found >= 0) & (found < K), "a tag in [0, {K})", value=found, step=step)
        tags[r] = tag
        on = b.let("on", select(r > rows.begin, transition[before, tag], start[tag]))
        b.assign(score, score + cast(emission[r, tag], "float64") + cast(on, "float64"))
        b.assign(before, tag)
    b.assign(score, score + cast(end[before], "float64"))
    return score


# --- the reference


def _log_sum_exp(x: Array, axis: int) -> Array:
    top = np.max(x, axis, keepdims=True)
    top = np.where(top == -np.inf, 0, top)
    out: Array = np.log(np.sum(np.exp(x - top), axis)) + np.squeeze(top, axis)
    return out


def _reference(arrays: Sequence[Array], attrs: Attrs) -> tuple[Array, ...]:
    emission, transition, start, end = (x.astype(np.float64) for x in arrays[:4])
    label, offsets, length = arrays[4:]
    tags = emission.shape[1]
    batch = len(length)
    cost, d_emission = np.zeros(batch), np.zeros_like(emission)
    d_transition, d_start, d_end = np.zeros((batch, tags, tags)), np.zeros((batch, tags)), np.zeros((batch, tags))
    for n, (begin, count) in enumerate(chain.read_sequences(offsets, length, len(emission))):
        x, y = emission[begin : begin + count], label[begin : begin + count]
        for bad in np.flatnonzero((y < 0) | (y >= tags)):
            raise range_error("label", (), int(y[bad]), f"a tag in [0, {tags})", sample=(n, int(bad)))
        if not count:
            continue
        alpha, beta = np.empty_like(x), np.empty_like(x)
        alpha[0], beta[-1] = start + x[0], end
        for t in range(1, count):
            alpha[t] = x[t] + _log_sum_exp(alpha[t - 1][:, None] + transition, 0)
        for t in range(count - 2, -1, -1):
            beta[t] = _log_sum_exp(transition + x[t + 1] + beta[t + 1], 1)
        log_z = _log_sum_exp(alpha[-1] + end, 0)
        score = x[np.arange(count), y].sum() + transition[y[:-1], y[1:]].sum() + start[y[0]] + end[y[-1]]
        cost[n] = log_z - score
        d = np.exp(alpha + beta - _log_sum_exp(alpha + beta, 1)[:, None])
        d[np.arange(count), y] -= 1
        d_emission[begin : begin + count], d_start[n], d_end[n] = d, d[0], d[-1]
        pairs = (alpha[:-1, :, None] + transition + (x + beta)[1:, None, :]).reshape(count - 1, tags * tags)
        pairs = np.exp(pairs - _log_sum_exp(pairs, 1)[:, None])
        d_transition[n] = pairs.sum(0).reshape(tags, tags)
        np.subtract.at(d_transition[n], (y[:-1], y[1:]), 1)
    out = (cost, d_emission, d_transition, d_start, d_end)
    sequence = np.repeat(np.arange(batch), np.diff(offsets))
    return (*(x.astype(arrays[0].dtype) for x in out), sequence)


def _vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    _, d_emission, d_transition, d_start, d_end, sequence = outputs
    if any(part is not None for part in g[1:]):
        raise UnsupportedError(
            "the marginals of a CRF have no derivative, so a gradient of a CRF is not differentiated again",
            hint="name its emissions and weights in no_grad_set if no gradient should flow through it",
        )
    if g[0] is None:
        return (None,) * len(operands)
    return (
        d_emission * ops.unsqueeze(ops.gather(g[0], sequence), 1),
        ops.reduce_sum(d_transition * ops.unsqueeze(g[0], (1, 2)), axis=0),
        ops.reduce_sum(d_start * ops.unsqueeze(g[0], 1), axis=0),
        ops.reduce_sum(d_end * ops.unsqueeze(g[0], 1), axis=0),
        None, None, None,
    )  # fmt: skip


def _samples(rng: np.random.Generator) -> list[Sample]:
    def case(tags: int, blocks: Sequence[int], lengths: Sequence[int], scale: float = 1.0) -> tuple[Array, ...]:
        rows = sum(blocks)
        weights = (rng.normal(size=s) * scale for s in ((rows, tags), (tags, tags), (tags,), (tags,)))
        offsets = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int64)
        return (*weights, rng.integers(0, tags, rows), offsets, np.array(lengths, np.int64))

    forbidden = case(3, [4, 2], [4, 2])
    forbidden[1][1, 2] = -np.inf
    forbidden[4][:] = 0
    return [
        Sample(case(3, [4, 2, 3], [4, 2, 3])),
        Sample(case(2, [3, 3, 3], [3, 1, 0])),
        Sample(case(1, [2, 1], [2, 1])),
        Sample(case(20, [5], [5])),
        Sample(case(2, [], [])),
        Sample(case(3, [5, 4], [5, 3], 50.0), edge=True, differentiable=False),
        Sample(case(4, [6, 5], [6, 5], 1e4), edge=True, differentiable=False),
        Sample(forbidden, edge=True, differentiable=False),
    ]


register(
    OpDef(
        "linear_chain_crf", INPUTS, _infer, quiet(_reference),
        outputs=("cost", "d_emission", "d_transition", "d_start", "d_end", "sequence"), lower=_lower, vjp=_vjp,
        samples=_samples, ulp=64,
        summary="For each sequence of rows the negative logarithm of the probability of its tags, and its derivatives:"
        " by the emissions, and of each sequence by its pairs of tags, its first and its last one; and which"
        " sequence each row belongs to. Sequence n has the"
        " rows offsets[n] to offsets[n+1], of which the first length[n] count; it costs 0 if none does. The derivatives"
        " have none.",
        formula="cost = ln Σ_y' e ** score(y') - score(y),"
        " score(y) = start[y_1] + Σ_t emission[t, y_t] + Σ_t transition[y_t, y_t+1] + end[y_T]",
        source="Lafferty, McCallum and Pereira, Conditional random fields, 2001",
    )
)  # fmt: skip


def linear_chain_crf(
    emission: Tensor, transition: Tensor, start: Tensor, end: Tensor, label: Tensor, offsets: Tensor, length: Tensor
) -> Tensor:
    """The cost [B] of tags `label` [R] of emissions [R, K] in sequences of rows; the weight of tag j after tag i is
    transition[i, j]."""
    return apply("linear_chain_crf", (emission, transition, start, end, label, offsets, length), {})[0]
