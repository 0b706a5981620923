"""The deviance of Tweedie's distributions, with all digits of value and gradient where mean and target are near."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphloss import ops
from graphloss.errors import AttrError
from graphloss.ir.dims import Equations
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Operand, Tensor, apply, unify
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import binary

__all__ = ["tweedie_deviance"]

# Up to this distance log(1 + r) is the better logarithm of y/μ = 1 + r; beyond, r itself may have lost y's digits.
NEAR = 0.5


def _reference(mean: Array, y: Array, power: float) -> Array:
    a, b = 1 - power, 2 - power
    r = (y - mean) / mean
    ratio = np.log(np.where(np.abs(r) < NEAR, 1 + r, np.maximum(y, 0) / mean))
    ratio = np.where(np.abs(r) < NEAR, np.log1p(r), ratio)
    if power == 1:
        half = np.where(y == 0, 0, y * ratio) - (y - mean)
    elif power == 2:
        half = r - ratio
    else:
        half = mean * mean**a * ((np.expm1(b * ratio) - b * r) / (a * b))
    result: Array = (2 * half).astype(mean.dtype)
    return result


def _parts(mean: Tensor, y: Tensor, power: float) -> tuple[Tensor, Tensor, Tensor]:
    """r = y/μ − 1, log(y/μ) (of 0 for a negative y, which only powers below 0 allow) and μ^(1−p)."""
    r = (y - mean) / mean
    base = ops.clamp_min(y, 0.0) if power < 0 else y
    ratio = ops.where(ops.abs(r) < NEAR, ops.log1p(r), ops.log(base / mean))
    if power == 1:
        rate = ops.ones_like(mean)
    elif power == 2:
        rate = ops.reciprocal(mean)
    else:
        rate = ops.pow(mean, ops.fill((), 1.0 - power, mean.type.dtype))
    return r, ratio, rate


def _expand(operands: Sequence[Tensor], attrs: Attrs) -> tuple[Tensor, ...]:
    mean, y = operands
    power = float(attrs["power"])
    a, b = 1.0 - power, 2.0 - power
    r, ratio, rate = _parts(mean, y, power)
    if power == 1:
        half = ops.where(y == 0.0, 0.0, y * ratio) - (y - mean)
    elif power == 2:
        half = r - ratio
    else:
        half = mean * rate * ((ops.expm1(b * ratio) - b * r) * (1.0 / (a * b)))
    return (2.0 * half,)


def _vjp(mean: Tensor, y: Tensor, out: Tensor, g: Tensor, attrs: Attrs) -> tuple[Tensor, Tensor]:
    power = float(attrs["power"])
    a = 1.0 - power
    r, ratio, rate = _parts(mean, y, power)
    by_y = ratio if power == 1 else rate * (ops.expm1(a * ratio) * (1.0 / a))
    return -2.0 * (g * rate * r), 2.0 * (g * by_y)


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    power = attrs["power"]
    if power == 0 or 0 < power < 1:
        raise AttrError("there is no deviance of this kind for this power", expected="< 0 or >= 1", got=power)
    return rules.pointwise("float")(types, attrs, equations)


def _samples(rng: np.random.Generator) -> list[Sample]:
    found = []
    for power in (1.5, 1.0, 2.0, 1.9, 3.0, -0.5):
        attrs = {"power": power}
        mean, y = rng.uniform(0.3, 4, (3, 4)), rng.uniform(0.3, 4, (3, 4))
        found.append(Sample((mean, y), attrs))
        near = mean * (1 + rng.uniform(-1e-3, 1e-3, (3, 4)))
        found.append(Sample((mean, near), attrs, differentiable=False))
        edges = np.array([1.0, 1e4, 1e-4, 1.0, np.nan, 1.0]), np.array([0.0, 1e-4, 1e4, 1.0, 1.0, np.nan])
        found.append(Sample(edges, attrs, edge=True, differentiable=False))
    found.append(Sample((np.zeros((0, 2)), np.zeros((0, 2))), {"power": 1.5}))
    return found


binary(
    "tweedie_deviance", _reference, _vjp, kind="float", expand=_expand, attrs=(AttrSpec("power", "number"),),
    infer=_infer, samples=_samples, ulp=64,
    summary="Deviance of a Tweedie distribution: of power 1 Poisson, 2 Gamma. 0, with slope 0, where x = y.",
    formula="2 (max(y, 0) ** (2-p) / ((1-p)(2-p)) - y x ** (1-p) / (1-p) + x ** (2-p) / (2-p))",
    source="Jørgensen, Exponential Dispersion Models, 1987",
)  # fmt: skip


def tweedie_deviance(mean: Operand, y: Operand, power: float) -> Tensor:
    """The deviance of targets y from means, of a power below 0 or from 1 on."""
    return apply("tweedie_deviance", unify("tweedie_deviance", mean, y), {"power": power})[0]
