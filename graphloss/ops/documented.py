"""Ops whose documented gradient is not the derivative of their formula, and checks that are ops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphloss import ops
from graphloss.errors import ValueRangeError
from graphloss.ir.forms import Host
from graphloss.ir.opdef import Array, Attrs, Sample
from graphloss.ir.tensor import Tensor, apply
from graphloss.ops import rules
from graphloss.ops.define import Binary, Unary, binary, define, points, unary

__all__ = ["binary_cross_entropy", "clamped_log", "detach", "require_nonzero"]

# Fluid's cross entropy of a probability 0, in place of infinity.
LARGEST_LOG = 1e20
# The least logarithm, and the least denominator of the gradient, that BCELoss documents.
LEAST_LOG = -100.0
LEAST_VARIANCE = 1e-12


def _clamped_log_vjp(x: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> Tensor:
    # a class that the target gives no weight has no gradient, even where its probability is 0
    return ops.where(g == 0.0, 0.0, g / x)


clamped_log: Unary = unary(
    "clamped_log", lambda x: np.clip(np.log(x), -LARGEST_LOG, LARGEST_LOG), _clamped_log_vjp,
    expand=lambda x, a: (ops.clip(ops.log(x[0]), -LARGEST_LOG, LARGEST_LOG),), samples=points(0.05, 5.0),
    summary="Logarithm that is ±1e20 in place of ±inf; its derivative is 1/x, and 0 where the cotangent is 0.",
    formula="clip(ln x, -1e20, 1e20)", source="fluid.layers.cross_entropy",
)  # fmt: skip


def _bce(p: Array, y: Array) -> Array:
    present = y * np.maximum(np.log(p), LEAST_LOG)
    absent: Array = (1 - y) * np.maximum(np.log1p(-p), LEAST_LOG)
    return -(present + absent)


def _bce_expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    p, y = operands
    present = y * ops.clamp_min(ops.log(p), LEAST_LOG)
    return (-(present + (1.0 - y) * ops.clamp_min(ops.log1p(-p), LEAST_LOG)),)


def _bce_vjp(p: Tensor, y: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> tuple[Tensor, Tensor]:
    gp = g * ((p - y) / ops.clamp_min(p * (1.0 - p), LEAST_VARIANCE))
    return gp, g * (ops.log1p(-p) - ops.log(p))


def _bce_samples(rng: np.random.Generator) -> list[Sample]:
    p, y = rng.uniform(0.05, 0.95, (3, 4)), rng.uniform(0, 1, (3, 4))
    edge = np.array([0.0, 1.0, 0.0, 1.0, 0.5, np.nan])
    return [
        Sample((p, y)),
        Sample((p, y[0])),
        Sample((p[:0], y[:0])),
        Sample((edge, np.array([1.0, 0.0, 0.0, 1.0, 0.3, 0.5])), edge=True, differentiable=False),
    ]


binary_cross_entropy: Binary = binary(
    "binary_cross_entropy", _bce, _bce_vjp, kind="float", expand=_bce_expand, samples=_bce_samples,
    summary="Cross entropy of a probability, logarithms at least -100; the derivative is (p-y)/max(p(1-p), 1e-12).",
    formula="-(y max(ln p, -100) + (1-y) max(ln(1-p), -100))", source="torch.nn.BCELoss",
)  # fmt: skip

detach: Unary = unary(
    "detach", np.array, lambda x, out, g, a: None, kind="any", code=lambda e, a: e[0], halves=True, ulp=0,
    summary="The operand itself; no gradient flows back through it.", formula="x",
    samples=lambda rng: [Sample((rng.normal(size=(2, 3)),), differentiable=False)],
)  # fmt: skip


def _nonzero(x: Array) -> Array:
    if not np.all(x):
        raise ValueRangeError(
            "the weights of a mean add up to 0", expected="at least one row that is not ignored, of a weight above 0",
            hint="empty_mean='zero' or 'nan' gives a value instead",
        )  # fmt: skip
    return np.array(x)


define(
    "require_nonzero", ("x",), rules.same(), _nonzero,
    lower=lambda t, o, a: Host(lambda arrays, shapes: (_nonzero(arrays[0]),)),
    vjp=lambda x, out, g, a: (g[0],), linear=True, ulp=0, samples=lambda rng: [Sample((rng.uniform(1, 2, ()),))],
    summary="The operand itself; an element 0 is an error of the run.", formula="x",
)  # fmt: skip


def require_nonzero(x: Tensor) -> Tensor:
    """x, after a check in the run that no element is 0."""
    return apply("require_nonzero", (x,), {})[0]
