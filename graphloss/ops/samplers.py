"""Random classes: evenly, log-uniformly, by any distribution, and log-uniformly without repetition.

All draw from the counter-based generator with additions, products and quotients only, so that a seed means the same
classes on every machine, in both modes and for any number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from graphloss.errors import AttrError, ShapeError, ValueRangeError
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.forms import Host
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Lower, Sample, Types
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import philox, rules
from graphloss.ops.define import define
from graphloss.ops.random import chance, check_stream

__all__ = ["alias_table", "sample_alias", "sample_log_uniform", "sample_log_uniform_unique", "sample_uniform"]

_SEED = AttrSpec("seed", "int", 0)
_SHAPE, _RANGE = AttrSpec("shape", "shape"), AttrSpec("range", "int")

# draw(how many, seed, step, range) -> classes
Draw = Callable[[int, int, int, int], Array]


def _stream(step: Sequence[Array], attrs: Attrs) -> tuple[int, int]:
    return attrs["seed"] or chance(), int(step[0]) if step else 0


def _check_range(attrs: Attrs) -> None:
    if not 1 <= attrs["range"] < 1 << 53:
        raise AttrError("the number of classes to draw from is out of range", "1 to 2**53 - 1", attrs["range"])


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    check_stream(types, attrs["seed"])
    _check_range(attrs)
    return (TensorType("int64", tuple(attrs["shape"])),)


def _even(n: int, seed: int, step: int, classes: int) -> Array:
    return (philox.unit(n, seed, step) * classes).astype(np.int64)


def _reference(draw: Draw) -> Callable[..., Array]:
    def reference(*step: Array, shape: tuple[int, ...], seed: int, range: int) -> Array:
        return draw(int(np.prod(shape, dtype=np.int64)), *_stream(step, {"seed": seed}), range).reshape(shape)

    return reference


def _lower(draw: Draw) -> Lower:
    def lower(types: Types, out: Types, attrs: Attrs) -> Host:
        run = _reference(draw)
        return Host(lambda arrays, shapes: (run(*arrays, **{**attrs, "shape": shapes[0]}),))

    return lower


def _no_gradient(operands: Sequence[Tensor], *_: object) -> tuple[None, ...]:
    return (None,) * len(operands)


def _samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((), {"shape": (3, 5), "seed": 4, "range": 7}),
        Sample((np.array(2**40),), {"shape": (9,), "seed": 9, "range": 100_000}),
        Sample((), {"shape": (4,), "seed": 2**63 - 1, "range": 1}),
        Sample((), {"shape": (0, 2), "range": 3}),
    ]


_SAME = "They follow from seed and step (an optional int64 operand) alone, on any machine; with seed 0 each run draws "
for _name, _draw, _summary, _formula in (
    ("sample_uniform", _even, "Classes 0 … range-1, each as likely.", "P(c) = 1 / range"),
    ("sample_log_uniform", philox.log_uniform, "Classes 0 … range-1, the first ones more often.",
     "P(c) = ln((c + 2) / (c + 1)) / ln(range + 1)"),
):  # fmt: skip
    define(
        _name, ("step",), _infer, _reference(_draw), attrs=(_SHAPE, _SEED, _RANGE), lower=_lower(_draw),
        vjp=_no_gradient, variadic=True, random=True, ulp=0, samples=_samples, summary=f"{_summary} {_SAME}others.",
        formula=_formula, source="Philox 4x32-10",
    )  # fmt: skip


# --- any distribution, by the alias method


def alias_table(probabilities: Sequence[float]) -> tuple[Array, Array]:
    """For each class the share of its slot that is its own (float64), and who has the rest (int64; -1: nobody).

    All slots are of width 1/K. A class of less than that is filled up from one of more; both are taken in the order in
    which they come up.

    Source: A. Walker, An efficient method for generating discrete random variables, 1977.
    """
    share = [float(p) * len(probabilities) for p in probabilities]
    own, alias = np.ones(len(share)), np.full(len(share), -1, np.int64)
    large = deque((i, p) for i, p in enumerate(share) if p > 1)
    small = deque((i, p) for i, p in enumerate(share) if p < 1)
    while large and small:
        (i, p), (j, rest) = small.popleft(), large.popleft()
        own[i], alias[i] = p, j
        rest = rest + p - 1
        if rest > 1:
            large.append((j, rest))
        elif rest < 1:
            small.append((j, rest))
    return own, alias


def _alias_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    own, other, *step = types
    check_stream(step, attrs["seed"])
    rules.expect(own, "float", "the table")
    if own.rank != 1 or other.dtype != "int64":
        raise ShapeError("an alias table is two vectors", "f64[K] and i64[K]", f"{own} and {other}")
    rules.equal_shapes(own.shape, other.shape, equations, "sample_alias")
    return (TensorType("int64", tuple(attrs["shape"])),)


def _alias(own: Array, other: Array, *step: Array, shape: tuple[int, ...], seed: int) -> Array:
    if ((other < -1) | (other >= len(other))).any():
        raise ValueRangeError("an alias table names a class that it does not have", f"-1 to {len(other) - 1}")
    n = int(np.prod(shape, dtype=np.int64))
    u = philox.unit(2 * n, *_stream(step, {"seed": seed})).reshape(n, 2)
    slot = (u[:, 0] * len(own)).astype(np.int64)
    there = other[slot]
    result: Array = np.where((u[:, 1] > own[slot]) & (there >= 0), there, slot)
    return result.reshape(shape)


def _alias_lower(types: Types, out: Types, attrs: Attrs) -> Host:
    return Host(lambda arrays, shapes: (_alias(*arrays, shape=shapes[0], seed=attrs["seed"]),))


def _alias_samples(rng: np.random.Generator) -> list[Sample]:
    tables = alias_table([0.05, 0.5, 0.1, 0.3, 0.05])
    return [
        Sample(tables, {"shape": (3, 5), "seed": 4}),
        Sample((*tables, np.array(3)), {"shape": (9,), "seed": 9}),
        Sample(tables, {"shape": (0, 2)}),
    ]


define(
    "sample_alias", ("own", "other", "step"), _alias_infer, _alias, attrs=(_SHAPE, _SEED), lower=_alias_lower,
    vjp=_no_gradient, variadic=True, random=True, ulp=0, samples=_alias_samples,
    summary=f"Classes of a distribution that an alias table describes. {_SAME}others.",
    formula="c = ⌊u K⌋, or other[c] where v > own[c]", source="Walker's alias method on Philox 4x32-10",
)  # fmt: skip


# --- without repetition


def _unique_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    check_stream(types, attrs["seed"])
    _check_range(attrs)
    if not 0 <= attrs["count"] <= attrs["range"]:
        raise AttrError("more different classes are asked for than there are", f"0 to {attrs['range']}", attrs["count"])
    return TensorType("int64", (attrs["count"],)), TensorType("int64", ())


def _unique(*step: Array, count: int, seed: int, range: int) -> tuple[Array, Array]:
    stream = _stream(step, {"seed": seed})
    n = 2 * count
    while True:
        drawn = philox.log_uniform(n, *stream, range)
        first = np.sort(np.unique(drawn, return_index=True)[1])
        if len(first) >= count:
            tries = int(first[count - 1]) + 1 if count else 0
            return drawn[first[:count]], np.array(tries, np.int64)
        n *= 2  # the same stream, more of it


define(
    "sample_log_uniform_unique", ("step",), _unique_infer, _unique, attrs=(AttrSpec("count", "int"), _SEED, _RANGE),
    outputs=("out", "tries"), lower=lambda t, o, a: Host(lambda arrays, shapes: _unique(*arrays, **a)),
    vjp=_no_gradient, variadic=True, random=True, ulp=0,
    samples=lambda rng: [
        Sample((), {"count": 5, "seed": 3, "range": 20}),
        Sample((np.array(7),), {"count": 6, "seed": 2, "range": 6}),
        Sample((), {"count": 0, "range": 4}),
    ],
    summary="Different log-uniform classes in the order in which they were drawn, repetitions left out, and how many "
    f"draws that took. {_SAME}others.",
    formula="P(c) = ln((c + 2) / (c + 1)) / ln(range + 1) at each draw", source="Philox 4x32-10",
)  # fmt: skip


def _steps(step: Tensor | None) -> tuple[Tensor, ...]:
    return () if step is None else (step,)


def sample_uniform(shape: Sequence[Dim], range: int, seed: int = 0, step: Tensor | None = None) -> Tensor:
    """Classes 0 … range-1, each as likely."""
    return apply("sample_uniform", _steps(step), {"shape": tuple(shape), "seed": seed, "range": range})[0]


def sample_log_uniform(shape: Sequence[Dim], range: int, seed: int = 0, step: Tensor | None = None) -> Tensor:
    """Classes 0 … range-1, class c with probability ln((c+2)/(c+1)) / ln(range+1)."""
    return apply("sample_log_uniform", _steps(step), {"shape": tuple(shape), "seed": seed, "range": range})[0]


def sample_alias(own: Tensor, other: Tensor, shape: Sequence[Dim], seed: int = 0, step: Tensor | None = None) -> Tensor:
    """Classes of the distribution whose `alias_table` is (own, other)."""
    return apply("sample_alias", (own, other, *_steps(step)), {"shape": tuple(shape), "seed": seed})[0]


def sample_log_uniform_unique(
    count: int, range: int, seed: int = 0, step: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`count` different classes, log-uniform at each draw, and the number of draws."""
    out, tries = apply("sample_log_uniform_unique", _steps(step), {"count": count, "seed": seed, "range": range})
    return out, tries
