"""Softmax and its relatives: composites that rules and derivatives speak of, each stable by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from graphloss import ops
from graphloss.ir.dims import Equations
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import Binary, Samples, binary, define, pairs
from graphloss.ops.shape import moved

__all__ = ["log_softmax", "logaddexp", "logsumexp", "softmax"]

AXIS = (AttrSpec("axis", "axis", -1),)


def _samples(*attrs: Attrs) -> Samples:
    def make(rng: np.random.Generator) -> list[Sample]:
        found = []
        for a in attrs:
            found += [Sample((rng.normal(size=(3, 4, 5)) * 3,), {**a, "axis": axis}) for axis in (-1, 1, 0)]
            big = np.array([[1e4, -1e4, 0.0], [1e4, 1e4, 1e4], [-1e4, -1e4 - 1, -1e4 + 1], [-np.inf, 1.0, 2.0]])
            found.append(Sample((big,), dict(a), edge=True, differentiable=False))
            odd = np.array([[-np.inf, -np.inf, -np.inf], [np.nan, 1.0, 2.0], [np.inf, 1.0, np.inf]])
            found.append(Sample((odd,), dict(a), edge=True, differentiable=False))
            found += [Sample((rng.normal(size=(3, 1)),), dict(a)), Sample((np.zeros((0, 3)),), dict(a))]
        return found

    return make


def _shifted(x: Tensor, axis: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The maximum m along the axis, x - m, its exponential and the sum of that. All relatives share these ops."""
    m = ops.reduce_max(x, axis, True)
    shift = x - m
    e = ops.exp(shift)
    return m, shift, e, ops.reduce_sum(e, axis, True)


def _total(e: Array, axis: int) -> Array:
    return np.sum(e, axis=axis, keepdims=True, dtype=np.float64).astype(e.dtype)


def _softmax(x: Array, axis: int) -> Array:
    if x.size == 0:
        return x.copy()
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    out: Array = e / _total(e, axis)
    return out


def _softmax_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    _, _, e, total = _shifted(operands[0], attrs["axis"])
    # one reciprocal per row instead of a division per element; within an ulp of it
    return (e * ops.reciprocal(total),)


def _softmax_vjp(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[Tensor | None, ...]:
    s, dy = outputs[0], g[0]
    assert dy is not None
    return (s * (dy - ops.reduce_sum(dy * s, attrs["axis"], True)),)


define(
    "softmax", ("x",), rules.along_axis(), _softmax, attrs=AXIS, expand=_softmax_expand, vjp=_softmax_vjp,
    row_axis=lambda a: int(a["axis"]),
    samples=_samples({}), ulp=4,
    summary="Exponentials along an axis, divided by their sum; a row with NaN or +inf, or all -inf, gives NaN.",
    formula="e ** (x - max x) / Σ e ** (x - max x)",
)  # fmt: skip


def _log_softmax(x: Array, axis: int) -> Array:
    if x.size == 0:
        return x.copy()
    shift = x - np.max(x, axis=axis, keepdims=True)
    out: Array = shift - np.log(_total(np.exp(shift), axis))
    return out


def _log_softmax_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    _, shift, _, total = _shifted(operands[0], attrs["axis"])
    return (shift - ops.log(total),)


define(
    "log_softmax", ("x",), rules.along_axis(), _log_softmax, attrs=AXIS, expand=_log_softmax_expand,
    row_axis=lambda a: int(a["axis"]),
    vjp=moved(lambda x, g, a: g - softmax(x, a["axis"]) * ops.reduce_sum(g, a["axis"], True)), samples=_samples({}),
    ulp=4,
    summary="Logarithm of softmax without its underflow; a row with NaN or +inf, or all -inf, gives NaN.",
    formula="(x - max x) - ln Σ e ** (x - max x)",
)  # fmt: skip


def _lse_infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    rules.expect(types[0], "float")
    axis = rules.axis_of(attrs["axis"], types[0].rank)
    return (types[0].with_shape(rules.reduced_shape(types[0].shape, (axis,), attrs["keepdims"])),)


def _lse(x: Array, axis: int, keepdims: bool) -> Array:
    m = np.max(x, axis=axis, keepdims=True, initial=-np.inf)
    out = np.where(np.isfinite(m), np.log(_total(np.exp(x - m), axis)) + m, m).astype(x.dtype)
    result: Array = out if keepdims else out.squeeze(axis)
    return result


def _lse_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    m, _, _, total = _shifted(operands[0], attrs["axis"])
    # An infinite maximum is the answer; x - m would make it NaN.
    out = ops.where(ops.isfinite(m), ops.log(total) + m, m)
    return (out if attrs["keepdims"] else ops.squeeze(out, attrs["axis"]),)


def _lse_vjp(x: Tensor, g: Tensor, attrs: Attrs) -> Tensor:
    whole = g if attrs["keepdims"] else ops.unsqueeze(g, rules.axis_of(attrs["axis"], x.type.rank))
    return whole * softmax(x, attrs["axis"])


define(
    "logsumexp", ("x",), _lse_infer, _lse, attrs=(*AXIS, AttrSpec("keepdims", "bool", False)), expand=_lse_expand,
    vjp=moved(_lse_vjp),
    row_axis=lambda a: int(a["axis"]), samples=_samples({}, {"keepdims": True}), ulp=4,
    summary="Logarithm of the sum of exponentials along an axis; all -inf gives -inf, +inf gives inf.",
    formula="max x + ln Σ e ** (x - max x)",
)  # fmt: skip


def _logaddexp_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    x, y = operands
    # x = y apart, since x - y is NaN for two infinities of one sign
    return (ops.where(ops.equal(x, y), x + math.log(2), ops.maximum(x, y) + ops.softplus(-ops.abs(x - y))),)


logaddexp: Binary = binary(
    "logaddexp", np.logaddexp, lambda x, y, out, g, a: (g * ops.sigmoid(x - y), g * ops.sigmoid(y - x)), kind="float",
    expand=_logaddexp_expand, samples=pairs(), summary="Logarithm of the sum of two exponentials.",
    formula="ln(e ** x + e ** y)",
    source="numpy.logaddexp",
)  # fmt: skip


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """e^x / Σ e^x along `axis`."""
    return apply("softmax", (x,), {"axis": rules.axis_of(axis, x.type.rank)})[0]


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """x - ln Σ e^x along `axis`."""
    return apply("log_softmax", (x,), {"axis": rules.axis_of(axis, x.type.rank)})[0]


def logsumexp(x: Tensor, axis: int | Sequence[int] = -1, keepdims: bool = False) -> Tensor:
    """ln Σ e^x along `axis`; of several axes one after the other."""
    axes = rules.axes_of([axis] if isinstance(axis, int) else axis, x.type.rank)
    for a in axes:
        x = apply("logsumexp", (x,), {"axis": a, "keepdims": True})[0]
    return x if keepdims else ops.squeeze(x, axes)
