"""Exact evaluation: a primitive graph in mpmath, element by element, with exponents that never overflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt

from graphloss.ir import dims, forms
from graphloss.ir.graph import Graph
from graphloss.ir.opdef import get
from graphloss.ir.scalar import Expr, arg

Array = npt.NDArray[Any]
mp = mpmath.mp.clone()
mp.dps = 320

NAN = mp.nan


def _real(f: Callable[..., Any]) -> Callable[..., Any]:
    """NaN where the result is no real number, or an argument is NaN."""

    def call(*args: Any) -> Any:
        if any(isinstance(a, mp.mpf) and mp.isnan(a) for a in args):
            return NAN
        try:
            value = f(*args)
        except (ZeroDivisionError, ValueError):
            return NAN
        return value if isinstance(value, (mp.mpf, bool)) else NAN if isinstance(value, mp.mpc) else mp.mpf(value)

    return call


SCALAR: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "abs": abs, "max": max, "min": min, "sign": mp.sign, "sqrt": mp.sqrt, "rsqrt": lambda a: 1 / mp.sqrt(a),
    "reciprocal": lambda a: 1 / a,
    "exp": mp.exp, "log": lambda a: mp.log(a), "log1p": lambda a: mp.log(1 + a), "expm1": lambda a: mp.exp(a) - 1,
    "tanh": mp.tanh,
    "sigmoid": lambda a: 1 / (1 + mp.exp(-a)), "softplus": lambda a: mp.log(1 + mp.exp(a)), "sinh": mp.sinh,
    "cosh": mp.cosh,
    "pow": lambda a, b: a**b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "and": lambda a, b: a and b, "or": lambda a, b: a or b,
    "xor": lambda a, b: a != b,
    "not": lambda a: not a, "select": lambda c, a, b: a if c else b, "isnan": lambda a: bool(mp.isnan(a)),
    "isinf": lambda a: bool(mp.isinf(a)), "isfinite": lambda a: bool(mp.isfinite(a)), "cast": lambda a: a,
    "erf": mp.erf,
}  # fmt: skip

UNGUARDED = {"select", "isnan", "isinf", "isfinite", "and", "or", "xor", "not", "cast"}


def evaluate(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """All values of a primitive graph as object arrays of mpf (bool and int stay Python's)."""
    values: dict[str, Array] = {}
    for name, a in feeds.items():
        values[name] = np.frompyfunc(mp.mpf, 1, 1)(a) if a.dtype.kind == "f" else a.astype(object)
        values[name] = np.asarray(values[name], dtype=object).reshape(a.shape)
    env: dict[str, int] = {}
    for op in graph.ops:
        definition = get(op.type)
        types = [graph.types[n] for n in op.inputs]
        out = graph.types[op.outputs[0]]
        shape = tuple(dims.evaluate(n, env) for n in out.shape)
        operands = [values[n] for n in op.inputs]
        if definition.scalar is not None:
            form: forms.Form = forms.Map(definition.scalar([arg(i, t.dtype) for i, t in enumerate(types)], op.attr))
        else:
            assert definition.lower is not None, op.type
            form = definition.lower(types, [out], op.attr)
        values[op.outputs[0]] = np.asarray(_form(form, operands, shape, out.dtype), dtype=object).reshape(shape)
    return values


def _form(form: forms.Form, x: list[Array], shape: tuple[int, ...], dtype: str) -> Array:
    if isinstance(form, forms.Map):
        full = [np.broadcast_to(a, shape) for a in x]
        out = np.empty(shape, dtype=object)
        for i in np.ndindex(*shape):
            out[i] = scalar(form.expr, [a[i] for a in full])
        return out
    if isinstance(form, forms.Fill):
        return np.full(shape, mp.mpf(form.value) if dtype.startswith("float") else form.value,
        dtype=object)  # type: ignore[arg-type]
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
        index = tuple(
            [int(s) + int(step) * k for k in range(n)]
            for s, step, n in zip(form.starts, form.steps, shape, strict=True)  # type: ignore[call-overload]
        )
        return x[0][np.ix_(*index)] if index else x[0]
    if isinstance(form, forms.Concat):
        return np.concatenate(x, axis=form.axis)
    if isinstance(form, forms.Pick):
        index_ = np.expand_dims(x[1].astype(np.int64), form.axis)
        return np.take_along_axis(x[0], index_, form.axis).squeeze(form.axis)
    if isinstance(form, (forms.InRange, forms.Within)):
        return x[0]
    raise TypeError(f"no exact evaluation of {type(form).__name__}")


def _reduce(form: forms.Reduce, x: Array) -> Array:
    moved = np.moveaxis(x, form.axes, range(-len(form.axes), 0))
    rows = moved.reshape(*moved.shape[: x.ndim - len(form.axes)], -1)
    out = np.empty(rows.shape[:-1], dtype=object)
    for i in np.ndindex(*out.shape):
        items = list(rows[i])
        if any(isinstance(v, mp.mpf) and mp.isnan(v) for v in items):
            out[i] = NAN
        elif form.kind == "sum":
            out[i] = sum(items, mp.mpf(0))
        elif form.kind == "prod":
            out[i] = mp.fprod(items)
        else:
            out[i] = {"max": max, "min": min, "any": any, "all": all}[form.kind](items)
    if form.keepdims:
        out = out.reshape([1 if a in form.axes else n for a, n in enumerate(x.shape)])
    return out


def scalar(expr: Expr, args: list[Any]) -> Any:
    if expr.fn == "arg":
        return args[expr.index]
    if expr.fn == "const":
        return mp.mpf(expr.value) if expr.dtype.startswith("float") else expr.value
    values = [scalar(a, args) for a in expr.args]
    if expr.fn == "cast":
        return (
            mp.mpf(int(values[0]) if isinstance(values[0], bool) else values[0])
            if expr.dtype.startswith("float")
            else int(values[0])
        )
    return (SCALAR[expr.fn] if expr.fn in UNGUARDED else _real(SCALAR[expr.fn]))(*values)
