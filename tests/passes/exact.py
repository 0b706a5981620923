"""The exact value and gradient of a graph: its ops as they are written, in mpmath with so many digits that nothing
saturates or cancels.

Derivatives are forward: each number carries its partial derivatives. So nothing is shared with the rules under test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Union

import mpmath
import numpy as np
from mpmath import mpf

from graphloss.ir.graph import Graph
from graphloss.ops.evaluate import bind, resolve

# e^-20000 beside 1 needs 8,700 digits.
DIGITS = 9000

Number = Union["Dual", mpf, float, int]


class Dual:
    """A number with its partial derivatives by the input elements it depends on."""

    __slots__ = ("slope", "value")

    def __init__(self, value: mpf, slope: dict[int, mpf] | None = None) -> None:
        self.value = value
        self.slope = slope or {}

    def chain(self, value: mpf, factor: mpf) -> Dual:
        return Dual(value, {k: factor * d for k, d in self.slope.items()})

    def __add__(self, other: Number) -> Dual:
        y = dual(other)
        slope = dict(self.slope)
        for k, d in y.slope.items():
            slope[k] = slope[k] + d if k in slope else d
        return Dual(self.value + y.value, slope)

    def __neg__(self) -> Dual:
        return self.chain(-self.value, mpf(-1))

    def __sub__(self, other: Number) -> Dual:
        return self + (-dual(other))

    def __rsub__(self, other: Number) -> Dual:
        return dual(other) + (-self)

    def __mul__(self, other: Number) -> Dual:
        y = dual(other)
        return self.chain(self.value * y.value, y.value) + Dual(mpf(0), {k: self.value * d for k, d in y.slope.items()})

    def __truediv__(self, other: Number) -> Dual:
        y = dual(other)
        q = self.value / y.value
        return self.chain(q, 1 / y.value) + Dual(mpf(0), {k: -q / y.value * d for k, d in y.slope.items()})

    def __rtruediv__(self, other: Number) -> Dual:
        return dual(other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __abs__(self) -> Dual:
        return self.chain(abs(self.value), mpf(mpmath.sign(self.value)))

    def __lt__(self, other: Number) -> bool:
        return bool(self.value < dual(other).value)

    def __gt__(self, other: Number) -> bool:
        return bool(self.value > dual(other).value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (Dual, mpf, float, int)) and bool(self.value == dual(other).value)

    def __hash__(self) -> int:
        return id(self)


def dual(x: Number) -> Dual:
    return x if isinstance(x, Dual) else Dual(mpf(x))


_known: dict[tuple[str, mpf], mpf] = {}


def _value(name: str, x: mpf) -> mpf:
    """exp and log are slow with so many digits, and wanted again and again."""
    key = (name, x)
    if key not in _known:
        _known[key] = getattr(mpmath, name)(x)
    return _known[key]


def exp(x: Number) -> Dual:
    x = dual(x)
    e = _value("exp", x.value)
    return x.chain(e, e)


def log(x: Number) -> Dual:
    x = dual(x)
    return x.chain(_value("log", x.value), 1 / x.value)


def sqrt(x: Number) -> Dual:
    x = dual(x)
    root = mpmath.sqrt(x.value)
    return x.chain(root, 1 / (2 * root))


def power(x: Number, y: Number) -> Dual:
    x, k = dual(x), dual(y).value
    return x.chain(x.value**k, k * x.value ** (k - 1) if k else mpf(0))


def tanh(x: Number) -> Dual:
    e = exp(2 * dual(x))
    return (e - 1) / (e + 1)


def _each(fn: Callable[..., object]) -> Callable[..., np.ndarray]:
    def run(*arrays: np.ndarray) -> np.ndarray:
        return np.frompyfunc(fn, len(arrays), 1)(*arrays)  # type: ignore[return-value]

    return run


def _whole(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, dtype=object)


FUNCTIONS: dict[str, Callable[..., object]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "div": lambda x, y: x / y,
    "neg": lambda x: -x, "abs": abs, "exp": exp, "log": log, "sqrt": sqrt, "square": lambda x: x * x,
    "expm1": lambda x: exp(x) - 1, "log1p": lambda x: log(1 + x), "pow": power, "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / sqrt(x), "tanh": tanh, "cosh": lambda x: (exp(x) + exp(-x)) / 2,
    "sinh": lambda x: (exp(x) - exp(-x)) / 2,
    "sigmoid": lambda x: 1 / (1 + exp(-x)), "softplus": lambda x: log(1 + exp(x)),
    "maximum": max, "minimum": min, "relu": lambda x: max(x, dual(0)), "assign": lambda x: x,
    "detach": lambda x: Dual(dual(x).value),
    "logaddexp": lambda x, y: log(exp(x) + exp(y)), "where": lambda c, x, y: x if c else y, "clamped_log": log,
    "log_cosh": lambda x: log((exp(x) + exp(-x)) / 2), "logsigmoid": lambda x: -log(1 + exp(-x)),
    "binary_cross_entropy": lambda p, y: -(y * log(p) + (1 - y) * log(1 - p)),
    "bce_with_logits": lambda x, y: log(1 + exp(x)) - x * y,
    "equal": lambda x, y: x == y, "less": lambda x, y: x < y, "greater": lambda x, y: x > y,
}  # fmt: skip


def _reduce(fn: Callable[[Sequence[object]], object]) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, axes: object, keepdims: bool, **_: object) -> np.ndarray:
        along = tuple(range(x.ndim)) if axes is None else tuple(a % x.ndim for a in axes)  # type: ignore[attr-defined]
        rest = [a for a in range(x.ndim) if a not in along]
        flat = x.transpose([*rest, *along]).reshape(*[x.shape[a] for a in rest], -1)
        out = np.empty(flat.shape[:-1], dtype=object)
        for i in np.ndindex(*out.shape):
            out[i] = fn(list(flat[i]))
        return out.reshape([1 if a in along else d for a, d in enumerate(x.shape)]) if keepdims else out

    return run


def _softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = _each(exp)(x)
    return e / e.sum(axis=axis, keepdims=True)


def _one_hot(i: np.ndarray, depth: Sequence[int], axis: int, **_: object) -> np.ndarray:
    hot = np.moveaxis(np.eye(depth[0])[np.asarray(i, dtype=np.int64)], -1, axis)
    return _each(lambda v: Dual(mpf(v)))(hot)


ARRAYS: dict[str, Callable[..., object]] = {
    "fill": lambda shape, dtype, value: np.full(
        shape, Dual(mpf(value)) if dtype.startswith("float") else value, dtype=object
    ),
    "size": lambda shape, dtype: Dual(mpf(int(np.prod(shape)))) if dtype.startswith("float") else int(np.prod(shape)),
    "iota": lambda shape, axis, dtype: np.broadcast_to(
        np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape
    ),
    "reduce_sum": _reduce(sum), "reduce_max": _reduce(max), "reduce_min": _reduce(min),
    "reduce_prod": _reduce(math.prod),
    "reduce_mean": _reduce(lambda v: sum(v) / len(v)), "softmax": _softmax,
    "log_softmax": lambda x, axis: _each(log)(_softmax(x, axis)),
    "logsumexp": lambda x, axis, keepdims: _each(log)(_each(exp)(x).sum(axis=axis, keepdims=keepdims)),
    "pick": lambda x, i, axis: np.take_along_axis(x, np.expand_dims(np.asarray(i, np.int64), axis), axis).squeeze(axis),
    "gather": lambda x, i: x[np.asarray(i, np.int64)], "one_hot": _one_hot,
    "reshape": lambda x, shape: x.reshape(shape), "squeeze": lambda x, axes: x.squeeze(tuple(axes)),
    "unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)), "transpose": lambda x, perm: x.transpose(perm),
    "broadcast_to": lambda x, shape: np.broadcast_to(x, shape), "cast": lambda x, dtype: x,
    "concat": lambda *x, axis: np.concatenate(x, axis), "check_index": lambda i, limit: i,
    "slice": lambda x, starts, sizes,
    steps: x[np.ix_(*(s + t * np.arange(n) for s, n, t in zip(starts, sizes, steps, strict=True)))],
    "clip": lambda x, min, max, **_: _each(lambda v: sorted((dual(min), v, dual(max)))[1])(x),
    "clamp_min": lambda x, min, **_: _each(lambda v: v if v > min else dual(min))(x),
    "clamp_max": lambda x, max, **_: _each(lambda v: v if v < max else dual(max))(x),
}  # fmt: skip


def evaluate(graph: Graph, feeds: Mapping[str, np.ndarray], wrt: str | None = None) -> list[np.ndarray]:
    """The fetches of `graph`: object arrays of Dual numbers, whose derivatives are by the elements of `wrt`,
    counted in row-major order."""
    known: dict[str, np.ndarray] = {}
    for name, x in feeds.items():
        if x.dtype.kind != "f":
            known[name] = x
            continue
        numbers = np.empty(x.shape, dtype=object)
        for k, i in enumerate(np.ndindex(*x.shape)):
            numbers[i] = Dual(mpf(float(x[i])), {k: mpf(1)} if name == wrt else None)
        known[name] = numbers
    env = bind(graph, {n: np.empty(np.shape(x)) for n, x in feeds.items()})
    for op in graph.ops:
        inputs = [known[n] for n in op.inputs]
        attrs = resolve(op.attr, env)
        out = _each(FUNCTIONS[op.type])(*inputs) if op.type in FUNCTIONS else ARRAYS[op.type](*inputs, **attrs)
        known[op.outputs[0]] = _whole(out)  # type: ignore[arg-type]
    return [known[n] for n in graph.fetches]


def value_and_gradient(graph: Graph, feeds: Mapping[str, np.ndarray], wrt: str) -> tuple[np.ndarray, np.ndarray]:
    """The first fetch of `graph`, and the derivative of its sum by `wrt`, as mpmath numbers."""
    out = evaluate(graph, feeds, wrt)[0]
    total = dual(np.sum(out))
    shape = feeds[wrt].shape
    slope = np.empty(shape, dtype=object)
    for k, i in enumerate(np.ndindex(*shape)):
        slope[i] = total.slope.get(k, mpf(0))
    return _whole(_each(lambda v: dual(v).value)(out)), slope
