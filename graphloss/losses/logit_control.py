"""What keeps the logits of a large model small: the z-loss, and soft-capped cross entropy."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses import arguments, checks
from graphloss.losses.labels import labels
from graphloss.losses.reduction import reduced

__all__ = ["capped_cross_entropy", "z_loss"]


def soft_capped(x: Tensor, cap: float) -> Tensor:
    """cap·tanh(x/cap): x near 0, never beyond ±cap."""
    return cap * ops.tanh(x * (1.0 / cap))


@checks.located
def z_loss(logits: Tensor, axis: int = -1, reduction: str = "mean") -> Tensor:
    """(log Σ e^z)² per row of logits along `axis`: pulls the normaliser of a softmax towards 1.

    Args:
        logits: any shape of rank 1 or more.
        axis: where the classes are.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" an array of the logits' shape without `axis`.

    Raises:
        DtypeError, AttrError: at the call.

    Source: Chowdhery et al., "PaLM: Scaling Language Modeling with Pathways", 2022, section 5.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     z = gl.dygraph.to_variable(np.zeros((1, 4)))
        ...     round(float(gl.losses.z_loss(z).numpy()), 6)  # (log 4)²
        1.921812
    """
    x = arguments.floats(logits, "logits", "z_loss")
    axis = checks.axis_in_range(axis, x.type.rank, "z_loss")
    return reduced(ops.square(ops.logsumexp(x, axis)), reduction)


@checks.located
def capped_cross_entropy(
    logits: Tensor,
    target: Tensor,
    z_weight: float = 1e-4,
    cap: float | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """−log softmax(c)_y + z_weight·(log Σ e^c)² per row, c = cap·tanh(logits/cap).

    Args:
        logits: (C,), (N, C) or (N, C, d1, …).
        target: class labels of the shape without C.
        z_weight: weight of the z-loss, 0 or more.
        cap: bound of the logits, above 0; None leaves them as they are.
        ignore_index: label of rows that count for nothing, in either term.
        reduction: "none", "mean" (over the rows that are not ignored; of none NaN) or "sum".

    Returns:
        0-d, or for "none" an array of the target's shape.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        ShapeError, DtypeError, AttrError: at the call.

    Source: Chowdhery et al., "PaLM", 2022 (z-loss); Gemma Team, "Gemma 2: Improving Open Language Models at a
    Practical Size", 2024 (soft-capping).

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     z, y = gl.dygraph.to_variable(np.zeros((1, 4))), gl.dygraph.to_variable(np.array([2]))
        ...     round(float(gl.losses.capped_cross_entropy(z, y, z_weight=0.5, cap=30.0).numpy()), 6)
        2.3472
    """
    where = "capped_cross_entropy"
    x, target, axis = arguments.class_scores(logits, target, where)
    weight = arguments.number(z_weight, "z_weight", where, 0.0)
    if cap is not None:
        x = soft_capped(x, arguments.number(cap, "cap", where, 0.0, low_open=True))
    y = labels(target, ignore_index)
    loss = -ops.pick(ops.log_softmax(x, axis), y.index, axis)
    if weight != 0:
        loss = loss + weight * ops.square(ops.logsumexp(x, axis))
    return arguments.kept_rows(loss, y, reduction)
