"""Random tensors from the counter-based generator."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from graphloss.errors import AttrError, ShapeError
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.forms import Host
from graphloss.ir.graph import Graph, Op
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Lower, Sample, Types, get
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import philox, rules
from graphloss.ops.define import Samples, define

__all__ = ["normal", "truncated_normal", "uniform"]

ATTRS = (AttrSpec("shape", "shape"), AttrSpec("dtype", "dtype", "float32"), AttrSpec("seed", "int", 0))

# draw(number of elements, seed, step, attributes) -> float64 numbers
Draw = Callable[[int, int, int, Attrs], Array]


def check_stream(steps: Types, seed: int) -> None:
    """Raises unless `steps`, the last operands of a random op, are none or one step, and the seed is one."""
    if len(steps) > 1 or (steps and (steps[0].dtype != "int64" or steps[0].shape)):
        raise ShapeError("a random op takes at most one operand, its step", "i64[]", ", ".join(str(t) for t in steps))
    if not 0 <= seed < 1 << 63:
        raise AttrError("the seed is out of range", "0 <= seed < 2**63", seed)


def _infer(low: str, high: str) -> Callable[[Types, Attrs, Equations], tuple[TensorType, ...]]:
    def infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
        check_stream(types, attrs["seed"])
        if high and not attrs[low] <= attrs[high]:
            raise AttrError(f"{low} is above {high}", f"{low} <= {high}", f"{attrs[low]} and {attrs[high]}")
        out = TensorType(attrs["dtype"], tuple(attrs["shape"]))
        rules.expect(out, "float", "the result")
        return (out,)

    return infer


def _uniform(n: int, seed: int, step: int, attrs: Attrs) -> Array:
    low, high = attrs["low"], attrs["high"]
    dtype = np.dtype(attrs["dtype"])
    out = (low + (high - low) * philox.unit(n, seed, step)).astype(dtype)
    below = np.nextafter(dtype.type(high), dtype.type(low))
    result: Array = np.where(out >= high, below, out)  # rounding may reach the end, which does not belong to it
    return result


def _normal(n: int, seed: int, step: int, attrs: Attrs) -> Array:
    result: Array = (attrs["mean"] + attrs["std"] * philox.gauss(n, seed, step)).astype(attrs["dtype"])
    return result


def _truncated_normal(n: int, seed: int, step: int, attrs: Attrs) -> Array:
    z, tries = philox.gauss(n, seed, step), 0
    while (far := np.abs(z) > 2).any():  # drawn again one by one, so that no number depends on how many there are
        tries += 1
        z = np.where(far, philox.gauss(n, philox.fold(seed, tries), step), z)
    result: Array = (attrs["mean"] + attrs["std"] * z).astype(attrs["dtype"])
    return result


def _reference(draw: Draw) -> Callable[..., Array]:
    def reference(*step: Array, **attrs: object) -> Array:
        shape = attrs["shape"]
        assert isinstance(shape, tuple)
        return _drawn(draw, step, shape, attrs)

    return reference


def _drawn(draw: Draw, step: Sequence[Array], shape: tuple[int, ...], attrs: Attrs) -> Array:
    n = int(np.prod(shape, dtype=np.int64))
    return draw(n, attrs["seed"] or chance(), int(step[0]) if step else 0, attrs).reshape(shape)


def chance() -> int:
    """A seed that nobody can tell beforehand, not 0."""
    return secrets.randbits(62) + 1


def fixed(graph: Graph) -> Graph:
    """`graph` with a seed, by chance, for each random op of seed 0: all runs of it draw the same numbers."""
    return graph.replace(ops=tuple(_fixed(op) for op in graph.ops))


def _fixed(op: Op) -> Op:
    if not get(op.type).random or op.attr["seed"] != 0:
        return op
    return replace(op, attrs=tuple((name, chance() if name == "seed" else value) for name, value in op.attrs))


def _lower(draw: Draw) -> Lower:
    def lower(types: Types, out: Types, attrs: Attrs) -> Host:
        return Host(lambda arrays, shapes: (_drawn(draw, arrays, shapes[0], attrs),))

    return lower


def _samples(attrs: Attrs) -> Samples:
    return lambda rng: [
        Sample((), {"shape": (3, 5), "seed": 4, **attrs}),
        Sample((np.array(2**40),), {"shape": (7,), "dtype": "float64", "seed": 9, **attrs}),
        Sample((), {"shape": (0, 2), **attrs}),
        Sample((), {"shape": (), "seed": 2**63 - 1, **attrs}),
    ]


for _name, _draw, _low, _high, _text in (
    ("uniform", _uniform, "low", "high", "Numbers spread evenly over [low, high)."),
    ("normal", _normal, "mean", "", "Numbers of the normal distribution with the given mean and standard deviation."),
    (
        "truncated_normal",
        _truncated_normal,
        "mean",
        "",
        "Numbers of the normal distribution, those more than two standard deviations from the mean drawn again.",
    ),
):
    _second = AttrSpec(_high, "float", 1.0) if _high else AttrSpec("std", "float", 1.0)
    define(
        _name, ("step",), _infer(_low, _high), _reference(_draw),
        attrs=(*ATTRS, AttrSpec(_low, "float", 0.0), _second), lower=_lower(_draw),
        vjp=lambda operands, out, g, a: (None,) * len(operands), variadic=True, random=True, ulp=0,
        samples=_samples({_low: -1.0, _second.name: 2.0}),
        summary=_text + " They follow from seed and step (an optional int64 operand) alone, on any machine; "
        "with seed 0 each run draws others.",
        source="Philox 4x32-10",
    )  # fmt: skip


def uniform(
    shape: Sequence[Dim],
    dtype: str = "float32",
    low: float = 0.0,
    high: float = 1.0,
    seed: int = 0,
    step: Tensor | None = None,
) -> Tensor:
    """Numbers spread evenly over [low, high); another `step` (int64, 0-d) gives others of the same seed, seed 0 gives
    others in each run."""
    attrs = {"shape": tuple(shape), "dtype": dtype, "seed": seed, "low": low, "high": high}
    return apply("uniform", () if step is None else (step,), attrs)[0]


def normal(
    shape: Sequence[Dim],
    dtype: str = "float32",
    mean: float = 0.0,
    std: float = 1.0,
    seed: int = 0,
    step: Tensor | None = None,
) -> Tensor:
    """Numbers of the normal distribution; another `step` (int64, 0-d) gives others of the same seed, seed 0 gives
    others in each run."""
    attrs = {"shape": tuple(shape), "dtype": dtype, "seed": seed, "mean": mean, "std": std}
    return apply("normal", () if step is None else (step,), attrs)[0]


def truncated_normal(
    shape: Sequence[Dim],
    dtype: str = "float32",
    mean: float = 0.0,
    std: float = 1.0,
    seed: int = 0,
    step: Tensor | None = None,
) -> Tensor:
    """As `normal`, without the numbers more than two standard deviations from the mean."""
    attrs = {"shape": tuple(shape), "dtype": dtype, "seed": seed, "mean": mean, "std": std}
    return apply("truncated_normal", () if step is None else (step,), attrs)[0]
