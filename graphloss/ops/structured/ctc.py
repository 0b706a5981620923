"""Connectionist temporal classification: the likelihood of a label over all its alignments, and their posterior."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from graphloss import ops
from graphloss.errors import AttrError, ShapeError, UnsupportedError
from graphloss.ir import dims
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Loops
from graphloss.ir.loop_builder import Handle, NestBuilder
from graphloss.ir.loops import Expr, Nest, Size, Use, cast, const, exp, log, maximum, minimum, select, unequal
from graphloss.ir.opdef import Attrs, AttrSpec, OpDef, Types, register
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import quiet
from graphloss.ops.structured import wide
from graphloss.ops.structured.ctc_reference import FRAMES, LENGTH, PACKED, SYMBOL, reference, reference_logits, samples
from graphloss.ops.structured.wide import NOTHING, Wide, WideArray

# Frames after which numbers of a frame give their largest exponent to one that they share.
_BLOCK: Final = 16
_INPUTS: Final = ("scores", "labels", "input_lengths", "label_lengths")


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    scores, labels, *lengths = types
    rules.expect(scores, "float", _INPUTS[0])
    packed = labels.rank == 1
    for name, t, rank in zip(_INPUTS, types, (3, 1 if packed else 2, 1, 1), strict=True):
        if t.rank != rank:
            raise ShapeError(f"{name} has the wrong rank", rank, rules.show(t.shape))
        if t is not scores:
            rules.expect(t, "int", name)
    _, batch, classes = scores.shape
    for name, t in zip(_INPUTS[2:], lengths, strict=True):
        rules.equal_shapes((batch,), t.shape, equations, f"ctc, {name} and samples")
    if not packed:
        rules.equal_shapes((batch,), labels.shape[:1], equations, "ctc, labels and samples")
    blank = attrs["blank"]
    least = blank + 1 if blank >= 0 else -blank
    if isinstance(classes, int) and classes < least:
        raise AttrError("the blank is none of the classes", f"an index in [{-classes}, {classes})", blank)
    equations.equal(classes, dims.maximum(classes, least), "ctc, the blank is one of the classes")
    return TensorType(scores.dtype, (batch,)), scores


def _infer_logits(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    cost, scores = _infer(types, attrs, equations)
    return cost, scores, scores


# -- the recursions --------------------------------------------------------------------------------------------------


def _lower(types: Types, outputs: Types, attrs: Attrs) -> Loops:
    frames, batch, classes = types[0].shape
    width = types[1].shape[-1]
    shorter = dims.sub(width, dims.maximum(dims.sub(width, frames), 0))  # a label longer than that has no alignment
    nest = _nest(tuple(t.dtype for t in types), attrs["blank"], types[1].rank == 1, len(outputs) == 3)
    return Loops(nest, (frames, batch, classes, width, shorter))


@lru_cache(maxsize=64)
def _nest(dtypes: tuple[str, ...], blank: int, packed: bool, logits: bool) -> Nest:
    writer = _Writer(dtypes, blank, packed, logits)
    with writer.b.parallel("n", writer.N) as n:
        sample = writer.sample(n)
        norm = writer.log_softmax(sample)
        writer.emissions(sample)
        exponent = writer.forward(sample, norm)
        writer.backward(sample, exponent)
        writer.rows(sample)
    return writer.b.nest()


@dataclass(frozen=True)
class _Sample:
    """What is known of sample n: its frames, and of these `steps` that the recursions visit (none where the label is
    longer than the frames are many, so that `fits` is false), L symbols likewise, and L + 2 elements a frame."""

    n: Use
    frames: Use
    fits: Use
    steps: Use
    L: Use
    row: Use


class _Writer:
    """Writes the nest, a step of the algorithm in each method.

    The states of a label are B_0, Y_0, B_1, ..., Y_{L-1}, B_L: a blank before each symbol and one at the end.
    alpha_t(s) is the probability of all ways to state s that end with frame t - 1, beta_t(s) that of all ways on from
    there: numbers with exponents of their own, less one exponent that all states of a frame share.
    """

    def __init__(self, dtypes: tuple[str, ...], blank: int, packed: bool, logits: bool) -> None:
        self.b = b = NestBuilder("ctc")
        self.packed = packed
        self.dtype = dtype = dtypes[0]
        T, N, C, S, W = b.sizes("T", "N", "C", "S", "W")
        self.T, self.N, self.C, self.S = T, N, C, S
        self.blank = const(blank, "int64") if blank >= 0 else C + blank
        shapes = ((T, N, C), (S,) if packed else (N, S), (N,), (N,))
        inputs = (b.input(name, d, shape) for name, d, shape in zip(_INPUTS, dtypes, shapes, strict=True))
        self.scores, self.labels, self.input_lengths, self.label_lengths = inputs
        self.cost = b.output("cost", dtype, (N,))
        self.posterior = b.output("posterior", dtype, (T, N, C))
        self.gradient = b.output("gradient", dtype, (T, N, C)) if logits else None

        frame = W + 2
        self.symbols = b.scratch("symbols", "int64", (W + 1,))  # the blank, then the label
        self.skips = b.scratch("skips", dtype, (frame,))  # 1 where Y_k may follow Y_{k-1}
        self.inverse = b.scratch("inverse", dtype, (T,))  # 1 / Σ e^(x - max x) of each frame
        self.emitted = wide.scratch(b, "emitted", dtype, (T * frame,))  # of each frame: the blank, each symbol, 0
        self.alpha_b = wide.scratch(b, "alpha_b", dtype, ((T + 1) * frame,))  # of B_k, by frame
        self.alpha_y = wide.scratch(b, "alpha_y", dtype, ((T + 1) * frame,))  # of Y_{k-1}, by frame
        self.shared = b.scratch("shared", "float64", (T // _BLOCK + 1,))  # the exponent that alpha is less, by block
        self.beta_b = wide.scratch(b, "beta_b", dtype, (2 * frame,))  # of B_k, times what it emits; two frames in turn
        self.beta_y = wide.scratch(b, "beta_y", dtype, (2 * frame,))  # the same of Y_k
        self.share_b = b.scratch("share_b", dtype, (T * frame,))  # alpha * beta, by frame
        self.share_y = b.scratch("share_y", dtype, (T * frame,))

    def sample(self, n: Use) -> _Sample:
        """Lengths and symbols, checked: from here on all indices are safe."""
        b, symbols, skips = self.b, self.symbols, self.skips
        sizes = (self.T, self.S, self.N)
        frames, length, start = _checked_lengths(b, self.input_lengths, self.label_lengths, n, self.packed, sizes)
        fits = b.let("fits", length <= frames)
        steps, L = b.let("steps", select(fits, frames, 0)), b.let("L", select(fits, length, 0))
        symbols[0] = self.blank
        with b.vector("j", 0, length) as j:
            place = (start + j,) if start is not None else (n, j)
            found = b.let("found", cast(self.labels[place], "int64"))
            ok = (found >= 0) & (found < self.C) & unequal(found, self.blank)
            symbol = b.check("symbol", self.labels, place, ok, SYMBOL, value=found, step=j)
            symbols.store(j + 1, symbol, when=j < L)
        with b.vector("k", 1, L) as k:
            skips[k] = select(unequal(symbols[k + 1], symbols[k]), const(1.0, self.dtype), 0.0)
        for edge in (const(0, "int64"), L, L + 1):
            skips[edge] = 0.0
        return _Sample(n, frames, fits, steps, L, b.let("row", L + 2))

    def log_softmax(self, s: _Sample) -> Use:
        """Σ ln Σ e^x over the frames, 0 where scores are log-probabilities; exponentials are left in the gradient.

        One thing for all frames at a time: then the processor has several frames at work.
        """
        b, dtype = self.b, self.dtype
        norm = b.var("norm", const(0.0, "float64"))
        if self.gradient is None:
            return norm
        peaks, masses = b.scratch("peaks", dtype, (self.T,)), b.scratch("masses", "float64", (self.T,))
        with b.loop("t", 0, s.steps) as t:
            peak = b.var("peak", const(-math.inf, dtype))
            with b.vector("c", 0, self.C) as c:
                b.accumulate(peak, "max", self.scores[t, s.n, c])
            peaks[t] = peak
        with b.loop("t", 0, s.steps) as t:
            peak, mass = b.let("peak", peaks[t]), b.var("mass", const(0.0, "float64"))
            with b.vector("c", 0, self.C) as c:
                e = b.let("e", exp(self.scores[t, s.n, c] - peak))
                self.gradient[t, s.n, c] = e
                b.accumulate(mass, "sum", cast(e, "float64"))
            masses[t] = mass
        with b.vector("t", 0, s.steps) as t:
            b.accumulate(norm, "sum", cast(peaks[t], "float64") + log(masses[t]))
            self.inverse[t] = cast(const(1.0, "float64") / masses[t], dtype)
        return norm

    def emissions(self, s: _Sample) -> None:
        """e^x of the blank and of each symbol, for each frame."""
        b = self.b
        with b.loop("t", 0, s.steps) as t:
            now = b.let("now", t * s.row)
            with b.vector("j", 0, s.L + 1) as j:
                self.emitted[now + j] = wide.exponential(b, self.scores[t, s.n, self.symbols[j]])
            self.emitted[now + s.L + 1] = wide.number(0.0, self.dtype)

    def forward(self, s: _Sample, norm: Use) -> Use:
        """alpha of all frames, and the cost; gives the exponent of the probability of the label."""
        b, alpha_b, alpha_y = self.b, self.alpha_b, self.alpha_y
        zero = wide.number(0.0, self.dtype)
        with b.vector("k", 0, s.row) as k:
            alpha_b[k], alpha_y[k] = zero, zero
        alpha_b[0] = wide.number(1.0, self.dtype)
        total = b.var("total", const(0.0, "float64"))
        with b.loop("u", 0, s.steps // _BLOCK + 1) as u:
            begin = b.let("begin", u * _BLOCK)
            b.assign(total, total + _share_exponent(b, alpha_b, alpha_y, begin * s.row, s.L + 1))
            self.shared[u] = total
            with b.loop("t", begin, minimum(begin + _BLOCK, s.steps)) as t:
                now, then = b.let("now", t * s.row), b.let("then", (t + 1) * s.row)
                silence = wide.named(b, "silence", self.emitted[now])
                with b.vector("k", 0, s.L + 1) as k:
                    before = wide.named(b, "before", alpha_b[now + k])
                    both = wide.named(b, "both", before + alpha_y[now + k])
                    ways = both.where(self.skips[k] > 0.0, before) + alpha_y[now + k + 1]
                    alpha_b[then + k] = wide.named(b, "to_b", both.times(silence))
                    to_y = wide.named(b, "ways", ways).times(self.emitted[now + k + 1])
                    alpha_y[then + k + 1] = wide.named(b, "to_y", to_y)
                alpha_y[then] = zero
        end = b.let("end", s.steps * s.row + s.L)
        whole = wide.named(b, "whole", alpha_b[end] + alpha_y[end])
        exponent = b.let("exponent", cast(whole.e, "float64") + total)
        self.cost[s.n] = select(s.fits, cast(norm - whole.log(exponent), self.dtype), math.inf)
        return exponent

    def backward(self, s: _Sample, exponent: Use) -> None:
        """beta, frame by frame from the last one on, and alpha * beta of all frames, over about their sum."""
        b, beta_b, beta_y = self.b, self.beta_b, self.beta_y
        zero = wide.number(0.0, self.dtype)
        with b.vector("k", 0, s.row * 2) as k:
            beta_b[k], beta_y[k] = zero, zero
        beta_b[(s.steps % 2) * s.row + s.L] = wide.number(1.0, self.dtype)
        behind = b.var("behind", const(0.0, "float64"))
        with b.loop("u", 0, s.steps // _BLOCK + 1, reverse=True) as u:
            begin = b.let("begin", u * _BLOCK)
            finish = b.let("finish", minimum(begin + _BLOCK, s.steps))
            b.assign(behind, behind + _share_exponent(b, beta_b, beta_y, (finish % 2) * s.row, s.L + 1))
            with b.loop("t", begin, finish, reverse=True) as t:
                now, then = b.let("now", t * s.row), b.let("then", (t + 1) * s.row)
                here, there = b.let("here", (t % 2) * s.row), b.let("there", ((t + 1) % 2) * s.row)
                silence = wide.named(b, "silence", self.emitted[now])
                shift = b.let("shift", cast(self.shared[(t + 1) // _BLOCK] + behind - exponent, self.dtype))
                with b.vector("k", 0, s.L + 1) as k:
                    next_y = wide.named(b, "next_y", beta_y[there + k + 1])
                    next_b = wide.named(b, "next_b", beta_b[there + k + 1])
                    stay_y = wide.named(b, "stay_y", beta_y[there + k])
                    from_b = wide.named(b, "from_b", beta_b[there + k] + stay_y)
                    ways = (next_b + next_y).where(self.skips[k + 1] > 0.0, next_b) + stay_y
                    from_y = wide.named(b, "from_y", ways)
                    self.share_b[now + k] = _share(self.alpha_b[then + k], from_b, shift)
                    self.share_y[now + k] = _share(self.alpha_y[then + k + 1], from_y, shift)
                    beta_b[here + k] = wide.named(b, "to_b", from_b.times(silence))
                    beta_y[here + k] = wide.named(b, "to_y", from_y.times(self.emitted[now + k + 1]))

    def rows(self, s: _Sample) -> None:
        """The posterior of each frame, over its own sum, and softmax - posterior."""
        b, dtype, posterior, gradient = self.b, self.dtype, self.posterior, self.gradient
        with b.loop("t", 0, s.steps) as t:
            now = b.let("now", t * s.row)
            silent, spoken = (b.var(name, const(0.0, dtype)) for name in ("silent", "spoken"))
            with b.vector("k", 0, s.L + 1) as k:
                b.accumulate(silent, "sum", self.share_b[now + k])
                b.accumulate(spoken, "sum", self.share_y[now + k])
            every = b.let("every", silent + spoken)  # 1 but for rounding
            possible = b.let("possible", every > 0.0)
            scale = b.let("scale", select(possible, const(1.0, dtype) / every, math.nan))
            with b.vector("c", 0, self.C) as c:
                posterior[t, s.n, c] = select(possible, const(0.0, dtype), math.nan)
            posterior[t, s.n, self.blank] = silent * scale
            if gradient is not None:
                factor = b.let("factor", select(possible, self.inverse[t], math.nan))
                with b.vector("c", 0, self.C) as c:
                    gradient[t, s.n, c] = gradient[t, s.n, c] * factor
                gradient[t, s.n, self.blank] = gradient[t, s.n, self.blank] - silent * scale
            with b.loop("k", 0, s.L) as k:
                symbol, share = b.let("symbol", self.symbols[k + 1]), b.let("share", self.share_y[now + k] * scale)
                posterior[t, s.n, symbol] = posterior[t, s.n, symbol] + share
                if gradient is not None:
                    gradient[t, s.n, symbol] = gradient[t, s.n, symbol] - share
        with b.loop("t", s.steps, self.T) as t, b.vector("c", 0, self.C) as c:
            rest = b.let("rest", select(t < s.frames, const(math.nan, dtype), 0.0))
            posterior[t, s.n, c] = rest
            if gradient is not None:
                gradient[t, s.n, c] = rest


def _checked_lengths(
    b: NestBuilder, input_lengths: Handle, label_lengths: Handle, n: Use, packed: bool, sizes: tuple[Size, Size, Size]
) -> tuple[Use, Use, Use | None]:
    """Frames and label length of sample n; where its label begins, if labels stand one after the other."""
    T, S, N = sizes
    given = b.let("given", cast(input_lengths[n], "int64"))
    frames = b.check("frames", input_lengths, n, (given >= 0) & (given <= T), FRAMES, value=given)
    start: Use | None = None
    if packed:
        start = b.var("start", const(0, "int64"))
        with b.vector("m", 0, n) as m:
            b.accumulate(start, "sum", minimum(maximum(cast(label_lengths[m], "int64"), 0), S))
    claimed = b.let("claimed", cast(label_lengths[n], "int64"))
    if start is None:
        length = b.check("length", label_lengths, n, (claimed >= 0) & (claimed <= S), LENGTH, value=claimed)
    else:
        rest = b.let("rest", S - start)
        ok = (claimed >= 0) & (claimed <= rest) & ((n < N - 1) | (claimed >= rest))
        length = b.check("length", label_lengths, n, ok, PACKED, value=claimed)
    return frames, length, start


def _share_exponent(b: NestBuilder, first: WideArray, second: WideArray, at: Expr, count: Expr) -> Expr:
    """Takes the largest exponent of a frame, whose states begin at `at`, from all of them; gives it, in float64.

    What is left is whole and small enough to be exact.
    """
    top = b.var("top", const(NOTHING, first.e.array.dtype))
    with b.vector("k", 0, count) as k:
        b.accumulate(top, "max", wide.larger(first.e[at + k], second.e[at + k]))
    less = b.let("less", select(top > NOTHING / 2, top, 0.0))  # 0 if no state has a probability
    with b.vector("k", 0, count) as k:
        first.e[at + k] = first.e[at + k] - less
        second.e[at + k] = second.e[at + k] - less
    return cast(less, "float64")


def _share(alpha: Wide, beta: Wide, shift: Expr) -> Expr:
    """alpha * beta * 2^shift as a plain number."""
    return wide.plain(alpha.m * beta.m, alpha.e + beta.e + shift)


# -- the op ----------------------------------------------------------------------------------------------------------


def _vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    if any(part is not None for part in g[1:]):
        raise UnsupportedError(
            "the posterior of CTC has no derivative, so a gradient of CTC is not differentiated again",
            hint="name its logits in no_grad_set if no gradient should flow through it",
        )
    if g[0] is None:
        return None, None, None, None
    gradient = outputs[2] if len(outputs) == 3 else -outputs[1]
    return gradient * ops.unsqueeze(g[0], (1,)), None, None, None


_SOURCE: Final = "Graves, Fernández, Gomez and Schmidhuber, Connectionist temporal classification, 2006"

register(
    OpDef(
        "ctc", _INPUTS, _infer, quiet(reference), attrs=(AttrSpec("blank", "int", 0),), outputs=("cost", "posterior"),
        lower=_lower, vjp=_vjp, samples=samples, ulp=32, source=_SOURCE,
        summary="For each sample the negative logarithm of the probability of its label, inf where it has no alignment,"
        " and the posterior: how probable each class is at each frame, given the label; 0 behind the last frame, NaN"
        " where there is no alignment. Labels are a matrix or, of rank 1, stand one after the other. The derivative of"
        " the cost by the log-probabilities is minus the posterior; the posterior has none.",
        formula="cost_n = -ln Σ_{paths that collapse to label_n} Π_t e ** scores[t, n, path_t]",
    )
)  # fmt: skip

register(
    OpDef(
        "ctc_with_logits", _INPUTS, _infer_logits, quiet(reference_logits), attrs=(AttrSpec("blank", "int", 0),),
        outputs=("cost", "posterior", "gradient"), lower=_lower, vjp=_vjp, samples=samples, ulp=32, source=_SOURCE,
        summary="As ctc, of the log_softmax of the scores along the classes, whose rounding it is without; and the"
        " derivative of the cost by the scores, softmax - posterior.",
        formula="ctc(log_softmax(scores, 2), labels, input_lengths, label_lengths)",
    )
)  # fmt: skip


def ctc(
    log_probs: Tensor, labels: Tensor, input_lengths: Tensor, label_lengths: Tensor, blank: int = 0
) -> tuple[Tensor, Tensor]:
    """(cost [N], posterior [T, N, C]) of log-probabilities [T, N, C] and integer labels [N, S] or [all].

    A negative blank counts from the last class.
    """
    cost, posterior = apply("ctc", (log_probs, labels, input_lengths, label_lengths), {"blank": blank})
    return cost, posterior


def ctc_with_logits(
    logits: Tensor, labels: Tensor, input_lengths: Tensor, label_lengths: Tensor, blank: int = 0
) -> tuple[Tensor, Tensor]:
    """(cost, posterior) as `ctc`, of the log_softmax of logits [T, N, C]."""
    cost, posterior, _ = apply("ctc_with_logits", (logits, labels, input_lengths, label_lengths), {"blank": blank})
    return cost, posterior
