"""Gradient clipping: what an optimiser does to all gradients together before it uses them."""

from __future__ import annotations

from collections.abc import Sequence

from graphloss import ops
from graphloss.errors import AttrError
from graphloss.ir.tensor import Tensor, cast


class GradientClip:
    """Base: `__call__` gives the clipped gradients, in their order."""

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        raise NotImplementedError


class GradientClipByValue(GradientClip):
    """Each element is moved into [min, max].

    Raises:
        AttrError: min (by default −max) is above max.
    """

    def __init__(self, max: float, min: float | None = None) -> None:
        low = -max if min is None else min
        if low > max:
            raise AttrError(
                "GradientClipByValue: the bounds are in the wrong order", expected=f"at most {max}", got=low
            )
        self.max, self.min = float(max), float(low)

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        return [ops.clip(g, self.min, self.max) for g in grads]


class GradientClipByNorm(GradientClip):
    """Each gradient is shortened to the norm c where it is longer: g·c / max(c, ‖g‖)."""

    def __init__(self, clip_norm: float) -> None:
        self.clip_norm = _positive(clip_norm)

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        return [g * (self.clip_norm / ops.clamp_min(ops.sqrt(_squares(g)), self.clip_norm)) for g in grads]


class GradientClipByGlobalNorm(GradientClip):
    """All gradients are shortened by one factor, so that their norm as one vector is at most c."""

    def __init__(self, clip_norm: float) -> None:
        self.clip_norm = _positive(clip_norm)

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        if not grads:
            return []
        dtype = "float64" if any(g.type.dtype == "float64" for g in grads) else "float32"
        norm = ops.sqrt(ops.sums([cast(_squares(g), dtype) for g in grads]))
        factor = self.clip_norm / ops.clamp_min(norm, self.clip_norm)
        return [g * cast(factor, g.type.dtype) for g in grads]


def _squares(g: Tensor) -> Tensor:
    return ops.reduce_sum(ops.square(g))


def _positive(norm: float) -> float:
    if not norm > 0:
        raise AttrError("the norm that gradients are clipped to must be positive", got=norm)
    return float(norm)
