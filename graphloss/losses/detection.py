"""The focal loss of detectors: cross entropy per class, weighed down where the answer is right already."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor


def sigmoid_focal(z: Tensor, positive: Tensor, gamma: float, alpha: float) -> Tensor:
    """−α(1−p)^γ·log p where `positive`, else −(1−α)p^γ·log(1−p), with p = σ(z).

    With s = z, or −z for a negative, both are a·e^(−γ·softplus(s))·softplus(−s): no power and no logarithm of a
    probability, so neither value nor gradient overflows.
    """
    s = ops.where(positive, z, -z)
    scale = ops.where(positive, alpha, ops.fill((), 1.0 - alpha, z.type.dtype))
    return scale * ops.exp(-gamma * ops.softplus(s)) * ops.softplus(-s)
