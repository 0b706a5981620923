"""Losses of preferences between two answers: direct preference optimisation."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses import arguments, checks
from graphloss.losses.labels import held
from graphloss.losses.reduction import reduced

__all__ = ["dpo_loss"]


@checks.located
def dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """−(1−ε)·log σ(h) − ε·log σ(−h), h = β·[(chosen − reference_chosen) − (rejected − reference_rejected)].

    Args:
        chosen, rejected: log-probabilities that the model gives the better and the worse answer, (N,) or any shape.
        reference_chosen, reference_rejected: those of the reference model; they get no gradient.
        beta: β > 0.
        label_smoothing: ε in [0, ½]: how often a preference is the wrong way round.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" an array of the inputs' shape. The mean of no pair is NaN.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: Rafailov et al., "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", 2023;
    smoothing: Mitchell, "A note on DPO with noisy preferences", 2023.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, b, c, d = (gl.dygraph.to_variable(np.array([v])) for v in (-10.0, -30.0, -20.0, -20.0))
        ...     round(float(gl.losses.dpo_loss(a, b, c, d).numpy()), 6)  # softplus(−2)
        0.126928
    """
    where = "dpo_loss"
    better, worse = arguments.pair(chosen, rejected, where, ("chosen", "rejected"))
    names = ("chosen", "reference_chosen"), ("chosen", "reference_rejected")
    _, first = arguments.pair(better, reference_chosen, where, names[0])
    _, second = arguments.pair(better, reference_rejected, where, names[1])
    scale = arguments.number(beta, "beta", where, 0.0, low_open=True)
    noise = arguments.number(label_smoothing, "label_smoothing", where, 0.0, 0.5)
    h = scale * ((better - held(first)) - (worse - held(second)))
    loss = ops.softplus(-h)
    if noise != 0:
        loss = (1.0 - noise) * loss + noise * ops.softplus(h)
    return reduced(loss, reduction)
