"""Exact evaluation: a graph in mpmath, element by element, with exponents that never overflow, and its derivative.

Primitive ops mean what their scalar expressions and forms say; composite ones have their textbook formula here, and are
never expanded. Derivatives are forward: each number carries its partial derivatives. So nothing is shared with the
rules under test. How many digits there are is mpmath's context: e^-20000 beside 1 needs 8,700 of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, Union

import mpmath
import numpy as np
import numpy.typing as npt
from mpmath import mpf

from graphloss.ir import dims, forms
from graphloss.ir.graph import Graph
from graphloss.ir.opdef import get
from graphloss.ir.scalar import Expr, arg
from graphloss.ops.evaluate import bind, resolve

Array: TypeAlias = npt.NDArray[Any]
Number = Union["Dual", mpf, float, int]
NAN = mpmath.nan


class Dual:
    """A number with its partial derivatives by the input elements it depends on."""

    __slots__ = ("slope", "value")

    def __init__(self, value: mpf, slope: dict[int, mpf] | None = None) -> None:
        self.value = value
        self.slope = slope or {}

    def chain(self, value: mpf, factor: mpf) -> Dual:
        return Dual(value, {k: factor * d for k, d in self.slope.items()} if self.slope else None)

    def __add__(self, other: Number) -> Dual:
        y = dual(other)
        if not y.slope or not self.slope:
            return Dual(self.value + y.value, dict(self.slope or y.slope))
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
        product = self.chain(self.value * y.value, y.value)
        return product + y.chain(mpf(0), self.value) if y.slope else product

    def __truediv__(self, other: Number) -> Dual:
        y = dual(other)
        q = self.value / y.value
        quotient = self.chain(q, 1 / y.value)
        return quotient + y.chain(mpf(0), -q / y.value) if y.slope else quotient

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


@functools.lru_cache(maxsize=20_000)
def _value(name: str, x: mpf, digits: int) -> mpf:
    """exp and log are slow with many digits, and wanted again and again."""
    return getattr(mpmath, name)(x)


def exp(x: Number) -> Dual:
    x = dual(x)
    e = _value("exp", x.value, mpmath.mp.dps)
    return x.chain(e, e)


def log(x: Number) -> Dual:
    x = dual(x)
    return x.chain(_value("log", x.value, mpmath.mp.dps), 1 / x.value)


def sqrt(x: Number) -> Dual:
    x = dual(x)
    root = mpmath.sqrt(x.value)
    return x.chain(root, 1 / (2 * root) if x.slope else mpf(0))


def power(x: Number, y: Number) -> Dual:
    x, k = dual(x), dual(y).value
    return x.chain(x.value**k, k * x.value ** (k - 1) if x.slope and k else mpf(0))


def tanh(x: Number) -> Dual:
    e = exp(2 * dual(x))
    return (e - 1) / (e + 1)


def erf(x: Number) -> Dual:
    x = dual(x)
    return x.chain(mpmath.erf(x.value), 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-(x.value**2)))


# -- scalar functions -------------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "div": lambda x, y: x / y,
    "neg": lambda x: -x, "abs": abs, "max": max, "min": min, "sign": lambda x: dual(mpmath.sign(x.value)),
    "exp": exp, "log": log, "sqrt": sqrt, "rsqrt": lambda x: 1 / sqrt(x), "reciprocal": lambda x: 1 / x,
    "expm1": lambda x: exp(x) - 1, "log1p": lambda x: log(1 + x), "pow": power, "tanh": tanh, "erf": erf,
    "sinh": lambda x: (exp(x) - exp(-x)) / 2, "cosh": lambda x: (exp(x) + exp(-x)) / 2,
    "sigmoid": lambda x: 1 / (1 + exp(-x)), "softplus": lambda x: log(1 + exp(x)),
    "lt": lambda x, y: x < y, "le": lambda x, y: x < y or x == y, "gt": lambda x, y: x > y,
    "ge": lambda x, y: x > y or x == y, "eq": lambda x, y: x == y, "ne": lambda x, y: x != y,
}  # fmt: skip

# These take a NaN as it is.
LOGIC: dict[str, Callable[..., Any]] = {
    "select": lambda c, x, y: x if c else y, "and": lambda x, y: x and y, "or": lambda x, y: x or y,
    "xor": lambda x, y: x != y, "not": lambda x: not x,
    "isnan": lambda x: bool(mpmath.isnan(x.value)), "isinf": lambda x: bool(mpmath.isinf(x.value)),
    "isfinite": lambda x: bool(mpmath.isfinite(x.value)),
}  # fmt: skip


def is_nan(x: object) -> bool:
    return isinstance(x, Dual) and bool(mpmath.isnan(x.value))


def real(name: str, *args: Any) -> Any:
    """The function called `name`; NaN where the result is no real number, or an argument is NaN."""
    if any(map(is_nan, args)):
        return Dual(NAN)
    try:
        result = FUNCTIONS[name](*args)
    except (ZeroDivisionError, ValueError):
        return Dual(NAN)
    return Dual(NAN) if isinstance(result, Dual) and isinstance(result.value, mpmath.mpc) else result


def scalar(expr: Expr, args: Sequence[Any]) -> Any:
    if expr.fn == "arg":
        return args[expr.index]
    if expr.fn == "const":
        return Dual(mpf(expr.value)) if expr.dtype.startswith("float") else expr.value
    values = [scalar(a, args) for a in expr.args]
    if expr.fn == "cast":
        x = values[0]
        if expr.dtype.startswith("float"):
            return x if isinstance(x, Dual) else Dual(mpf(int(x)))
        return int(x.value) if isinstance(x, Dual) else int(x)
    return LOGIC[expr.fn](*values) if expr.fn in LOGIC else real(expr.fn, *values)


# -- composite ops, by their formulas ---------------------------------------------------------------------------------


def _each(fn: Callable[..., object]) -> Callable[..., Array]:
    def run(*arrays: Array, **_: object) -> Array:
        return np.frompyfunc(fn, len(arrays), 1)(*arrays)  # type: ignore[return-value]

    return run


def _softmax(x: Array, axis: int) -> Array:
    e = _each(exp)(x)
    return e / e.sum(axis=axis, keepdims=True)


def _one_hot(i: Array, depth: Sequence[int], axis: int, dtype: str, **_: object) -> Array:
    hot = np.moveaxis(np.eye(depth[0])[np.asarray(i, dtype=np.int64)], -1, axis)
    return _each(dual if dtype.startswith("float") else int)(hot)


def _mean(x: Array, axes: Sequence[int] | None, keepdims: bool, **_: object) -> Array:
    form = forms.Reduce("sum", tuple(range(x.ndim)) if axes is None else tuple(a % x.ndim for a in axes), keepdims)
    return _reduce(form, x) / (x.size // max(math.prod(_kept(form, x)), 1))


FORMULAS: dict[str, Callable[..., Array]] = {
    "softmax": _softmax, "log_softmax": lambda x, axis: _each(log)(_softmax(x, axis)),
    "logsumexp": lambda x, axis, keepdims: _each(log)(_each(exp)(x).sum(axis=axis, keepdims=keepdims)),
    "reduce_mean": _mean, "one_hot": _one_hot, "clamped_log": _each(log),
    "logaddexp": _each(lambda x, y: log(exp(x) + exp(y))), "logsigmoid": _each(lambda x: -log(1 + exp(-x))),
    "log_cosh": _each(lambda x: log((exp(x) + exp(-x)) / 2)), "detach": _each(lambda x: Dual(x.value)),
    "binary_cross_entropy": _each(lambda p, y: -(y * log(p) + (1 - y) * log(1 - p))),
    "bce_with_logits": _each(lambda x, y: log(1 + exp(x)) - x * y),
}  # fmt: skip


# -- graphs -----------------------------------------------------------------------------------------------------------


def evaluate(graph: Graph, feeds: Mapping[str, Array], wrt: str | None = None) -> dict[str, Array]:
    """All values of `graph` as object arrays: of Duals, whose derivatives are by the elements of `wrt` (counted in
    row-major order), where they are floats; of Python's bools and ints elsewhere."""
    known: dict[str, Array] = {}
    for name, x in feeds.items():
        numbers = np.empty(x.shape, dtype=object)
        for k, i in enumerate(np.ndindex(*x.shape)):
            numbers[i] = Dual(mpf(float(x[i])), {k: mpf(1)} if name == wrt else None) if x.dtype.kind == "f" else x[i]
        known[name] = numbers
    env = bind(graph, feeds)
    for op in graph.ops:
        definition, attrs = get(op.type), resolve(op.attr, env)
        operands, types = [known[n] for n in op.inputs], [graph.types[n] for n in op.inputs]
        out = graph.types[op.outputs[0]]
        shape = tuple(dims.evaluate(n, env) for n in out.shape)
        if op.type in FORMULAS:
            found = FORMULAS[op.type](*operands, **attrs)
        elif definition.scalar is not None:
            expr = definition.scalar([arg(i, t.dtype) for i, t in enumerate(types)], attrs)
            found = _form(forms.Map(expr), operands, shape, out.dtype)
        else:
            assert definition.lower is not None, f"{op.type} has no formula here"
            found = _form(definition.lower(types, [out], attrs), operands, shape, out.dtype)
        known[op.outputs[0]] = np.asarray(found, dtype=object).reshape(shape)
    return known


def _form(form: forms.Form, x: Sequence[Array], shape: tuple[int, ...], dtype: str) -> Array:
    if isinstance(form, forms.Map):
        full = [np.broadcast_to(a, shape) for a in x]
        out = np.empty(shape, dtype=object)
        for i in np.ndindex(*shape):
            out[i] = scalar(form.expr, [a[i] for a in full])
        return out
    if isinstance(form, forms.Fill):
        value: Any = form.value
        return np.full(shape, Dual(mpf(value)) if dtype.startswith("float") else value, dtype=object)
    if isinstance(form, forms.Iota):
        return np.indices(shape)[form.axis].astype(object)
    if isinstance(form, forms.Reduce):
        return _reduce(form, x[0])
    if isinstance(form, forms.Expand):
        return np.broadcast_to(x[0], shape)
    if isinstance(form, forms.Reshape):
        return x[0].reshape(shape)
    if isinstance(form, forms.Transpose):
        return x[0].transpose(form.perm)
    if isinstance(form, forms.Slice):
        places = [start + step * np.arange(n) for start, step, n in zip(form.starts, form.steps, shape, strict=True)]
        return x[0][np.ix_(*places)] if places else x[0]
    if isinstance(form, forms.Concat):
        return np.concatenate(x, axis=form.axis)
    if isinstance(form, forms.Pick):
        index = np.expand_dims(x[1].astype(np.int64), form.axis)
        return np.take_along_axis(x[0], index, form.axis).squeeze(form.axis)
    if isinstance(form, forms.Gather):
        return x[0][x[1].astype(np.int64)]
    if isinstance(form, (forms.InRange, forms.Within)):
        return x[0]
    raise TypeError(f"no exact evaluation of {type(form).__name__}")


def _kept(form: forms.Reduce, x: Array) -> list[int]:
    return [n for a, n in enumerate(x.shape) if a not in form.axes]


def _reduce(form: forms.Reduce, x: Array) -> Array:
    kinds: dict[str, Callable[[list[Any]], Any]] = {
        "sum": sum, "prod": math.prod, "max": max, "min": min, "any": any, "all": all,
    }  # fmt: skip
    rows = np.moveaxis(x, form.axes, range(-len(form.axes), 0)).reshape(*_kept(form, x), -1)
    out = np.empty(rows.shape[:-1], dtype=object)
    for i in np.ndindex(*out.shape):
        items = list(rows[i])
        out[i] = Dual(NAN) if any(map(is_nan, items)) else kinds[form.kind](items)
    return out.reshape([1 if a in form.axes else n for a, n in enumerate(x.shape)]) if form.keepdims else out


def plain(x: Array) -> Array:
    """The numbers without their derivatives."""
    return np.asarray(_each(lambda v: v.value if isinstance(v, Dual) else mpf(v))(x), dtype=object)


def value_and_gradient(graph: Graph, feeds: Mapping[str, Array], wrt: str) -> tuple[Array, Array]:
    """The first fetch of `graph`, and the derivative of its sum by `wrt`, as mpmath numbers."""
    out = evaluate(graph, feeds, wrt)[graph.fetches[0]]
    total = dual(np.sum(out))
    slope = np.empty(feeds[wrt].shape, dtype=object)
    for k, i in enumerate(np.ndindex(*slope.shape)):
        slope[i] = total.slope.get(k, mpf(0))
    return plain(out), slope
