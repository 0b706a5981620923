"""The exact value of a graph: its ops as they are written, in mpmath with so many digits that nothing saturates or cancels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import mpmath
import numpy as np

from graphloss.ir.graph import Graph
from graphloss.ops.evaluate import bind, resolve

# e^-20000 beside 1 needs 8,700 digits.
DIGITS = 9500
STEP_DIGITS = 4600


def _each(fn: Callable[..., object]) -> Callable[..., np.ndarray]:
    def run(*arrays: np.ndarray) -> np.ndarray:
        return np.frompyfunc(fn, len(arrays), 1)(*arrays)  # type: ignore[return-value]

    return run


def _whole(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, dtype=object)


one = mpmath.mpf(1)
FUNCTIONS: dict[str, Callable[..., object]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "div": lambda x, y: x / y,
    "neg": lambda x: -x, "abs": abs, "exp": mpmath.exp, "log": mpmath.log, "sqrt": mpmath.sqrt, "square": lambda x: x * x,
    "expm1": lambda x: mpmath.exp(x) - 1, "log1p": lambda x: mpmath.log(1 + x), "pow": lambda x, y: mpmath.power(x, y),
    "reciprocal": lambda x: 1 / x, "rsqrt": lambda x: 1 / mpmath.sqrt(x), "tanh": mpmath.tanh, "cosh": mpmath.cosh,
    "sinh": mpmath.sinh, "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)), "softplus": lambda x: mpmath.log(1 + mpmath.exp(x)),
    "maximum": max, "minimum": min, "relu": lambda x: max(x, mpmath.mpf(0)), "assign": lambda x: x, "detach": lambda x: x,
    "logaddexp": lambda x, y: mpmath.log(mpmath.exp(x) + mpmath.exp(y)), "where": lambda c, x, y: x if c else y,
    "clamped_log": mpmath.log, "log_cosh": lambda x: mpmath.log(mpmath.cosh(x)),
    "binary_cross_entropy": lambda p, y: -(y * mpmath.log(p) + (1 - y) * mpmath.log(1 - p)),
    "bce_with_logits": lambda x, y: mpmath.log(1 + mpmath.exp(x)) - x * y,
    "logsigmoid": lambda x: -mpmath.log(1 + mpmath.exp(-x)),
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
    e = _each(mpmath.exp)(x)
    return e / e.sum(axis=axis, keepdims=True)


def _one_hot(i: np.ndarray, depth: Sequence[int], axis: int, **_: object) -> np.ndarray:
    hot = np.moveaxis(np.eye(depth[0])[np.asarray(i, dtype=np.int64)], -1, axis)
    return _each(mpmath.mpf)(hot)


ARRAYS: dict[str, Callable[..., object]] = {
    "fill": lambda shape, dtype, value: np.full(shape, value if dtype == "bool" else mpmath.mpf(value), dtype=object),
    "size": lambda shape, dtype: mpmath.mpf(int(np.prod(shape))),
    "iota": lambda shape, axis, dtype: np.broadcast_to(
        np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape
    ),
    "reduce_sum": _reduce(sum), "reduce_max": _reduce(max), "reduce_min": _reduce(min), "reduce_prod": _reduce(mpmath.fprod),
    "reduce_mean": _reduce(lambda v: sum(v) / len(v)), "softmax": _softmax,
    "log_softmax": lambda x, axis: _each(mpmath.log)(_softmax(x, axis)),
    "logsumexp": lambda x, axis, keepdims: _each(mpmath.log)(_each(mpmath.exp)(x).sum(axis=axis, keepdims=keepdims)),
    "pick": lambda x, i, axis: np.take_along_axis(x, np.expand_dims(np.asarray(i, np.int64), axis), axis).squeeze(axis),
    "gather": lambda x, i: x[np.asarray(i, np.int64)], "one_hot": _one_hot,
    "reshape": lambda x, shape: x.reshape(shape), "squeeze": lambda x, axes: x.squeeze(tuple(axes)),
    "unsqueeze": lambda x, axes: np.expand_dims(x, tuple(axes)), "transpose": lambda x, perm: x.transpose(perm),
    "broadcast_to": lambda x, shape: np.broadcast_to(x, shape), "cast": lambda x, dtype: x,
    "concat": lambda *x, axis: np.concatenate(x, axis), "check_index": lambda i, limit: i,
    "slice": lambda x, starts, sizes, steps: x[np.ix_(*(s + t * np.arange(n) for s, n, t in zip(starts, sizes, steps, strict=True)))],
    "clip": lambda x, min, max, **_: _each(lambda v: sorted((mpmath.mpf(min), v, mpmath.mpf(max)))[1])(x),
    "clamp_min": lambda x, min, **_: _each(lambda v: v if v > min else mpmath.mpf(min))(x),
    "clamp_max": lambda x, max, **_: _each(lambda v: v if v < max else mpmath.mpf(max))(x),
}  # fmt: skip


def values(graph: Graph, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The fetches of `graph`; object arrays of mpmath numbers."""
    known: dict[str, np.ndarray] = {}
    for name, x in feeds.items():
        known[name] = _each(lambda v: mpmath.mpf(v) if isinstance(v, float) else v)(x) if x.dtype == object or x.dtype.kind == "f" else x
    env = bind(graph, {n: np.empty(np.shape(x)) for n, x in feeds.items()})
    for op in graph.ops:
        inputs = [known[n] for n in op.inputs]
        attrs = resolve(op.attr, env)
        if op.type in FUNCTIONS:
            out = _each(FUNCTIONS[op.type])(*inputs)
        else:
            out = ARRAYS[op.type](*inputs, **attrs)
        known[op.outputs[0]] = _whole(out)
    return [known[n] for n in graph.fetches]


def gradient(graph: Graph, feeds: Mapping[str, np.ndarray], wrt: str) -> np.ndarray:
    """The derivative of the sum of the first fetch, by central differences with a step of 1e-4600."""
    step = mpmath.mpf(10) ** -STEP_DIGITS
    x = feeds[wrt]
    out = np.empty(x.shape, dtype=object)
    one_fetch = graph.replace(fetches=graph.fetches[:1])
    for i in np.ndindex(*x.shape):
        sides = []
        for sign in (1, -1):
            moved = _each(lambda v: mpmath.mpf(float(v)))(x)
            moved = np.asarray(moved, dtype=object).reshape(x.shape)
            moved[i] = moved[i] + sign * step
            sides.append(np.sum(values(one_fetch, {**feeds, wrt: moved})[0]))
        out[i] = (sides[0] - sides[1]) / (2 * step)
    return out


def digits() -> object:
    return mpmath.workdps(DIGITS)
