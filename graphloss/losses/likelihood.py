"""Negative log-likelihoods of counts and of numbers with a variance: Poisson, Gaussian."""

from __future__ import annotations

import math

from graphloss import ops
from graphloss.ir.tensor import Tensor


def poisson_nll(x: Tensor, y: Tensor, log_input: bool, epsilon: float, full: bool) -> Tensor:
    """e^x − y·x of log-rates x, or x − y·log(x + ε) of rates; `full` adds Stirling's term of log y! where y > 1."""
    y = ops.check_range(y, 0, math.inf)
    if log_input:
        loss = ops.exp(x) - y * x
    else:
        x = ops.check_range(x, 0, math.inf)
        loss = x - y * ops.log(x + epsilon)
    return loss + stirling(y) if full else loss


def stirling(y: Tensor) -> Tensor:
    """y·log y − y + ½·log(2πy), near log y!; 0, with gradient 0, where y ≤ 1."""
    log_y = ops.log(y)
    return ops.where(y <= 1.0, 0.0, y * log_y - y + 0.5 * (math.log(2 * math.pi) + log_y))


def gaussian_nll(x: Tensor, y: Tensor, variance: Tensor, epsilon: float, full: bool) -> Tensor:
    """½(log v + (x−y)²/v), v = max(variance, ε); `full` adds ½·log 2π. NaN for a variance below 0.

    The gradient by the variance is that by v even where ε is the larger, so that a variance can grow again.
    """
    variance = ops.check_range(variance, 0, math.inf)
    raised = ops.where(ops.logical_and(variance < epsilon, variance >= 0.0), epsilon - variance, 0.0)
    v = variance + ops.detach(raised)
    loss = 0.5 * (ops.log(v) + ops.square(x - y) / v)
    return loss + 0.5 * math.log(2 * math.pi) if full else loss
