"""Kullback-Leibler divergence, term by term, of log-probabilities x from a target y."""

from __future__ import annotations

import math

from graphloss import ops
from graphloss.ir.tensor import Tensor


def kl_div(x: Tensor, y: Tensor) -> Tensor:
    """y·(log y − x); 0, with gradient 0, where y = 0, whatever x is; NaN where y < 0."""
    y = ops.check_range(y, 0, math.inf)
    return ops.where(y == 0.0, 0.0, y * (ops.log(y) - x))


def kl_div_positive(x: Tensor, y: Tensor) -> Tensor:
    """As `kl_div`, but 0 where y < 0 too."""
    y = ops.check_range(y, 0, math.inf)
    return ops.where(y <= 0.0, 0.0, y * (ops.log(y) - x))


def kl_div_log_target(x: Tensor, y: Tensor) -> Tensor:
    """e^y·(y − x) of a logarithm y; 0, with gradient 0, where y = −∞."""
    return ops.where(y == -math.inf, 0.0, ops.exp(y) * (y - x))


def kl_div_shifted(x: Tensor, y: Tensor, epsilon: float) -> Tensor:
    """y·(log(y + ε) − x), finite at y = 0 without a case; 0, with gradient 0, where y = 0 meets x = −∞."""
    y = ops.check_range(y, 0, math.inf)
    impossible = ops.logical_and(y == 0.0, x == -math.inf)
    return ops.where(impossible, 0.0, y * (ops.log(y + epsilon) - x))
