"""Cross entropies that trust a label less or more: generalised cross entropy, Poly-1."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.losses import arguments, checks
from graphloss.losses.labels import labels

__all__ = ["generalized_cross_entropy", "poly1_cross_entropy"]


@checks.located
def generalized_cross_entropy(
    logits: Tensor, target: Tensor, q: float = 0.7, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """(1 − p_y^q)/q per row, p = softmax(logits): between the cross entropy (q = 0) and the absolute error (q = 1).

    Written as −expm1(q·log p_y)/q, it is exact for every logit and for small q.

    Args:
        logits: (C,), (N, C) or (N, C, d1, …).
        target: class labels of the shape without C.
        q: in [0, 1].
        ignore_index: label of rows that count for nothing.
        reduction: "none", "mean" (over the rows that are not ignored; of none NaN) or "sum".

    Returns:
        0-d, or for "none" an array of the target's shape.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        ShapeError, DtypeError, AttrError: at the call.

    Source: Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", 2018.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     z, y = gl.dygraph.to_variable(np.zeros((1, 4))), gl.dygraph.to_variable(np.array([2]))
        ...     float(gl.losses.generalized_cross_entropy(z, y, q=0.5).numpy())  # (1 − √¼)/½
        1.0
    """
    where = "generalized_cross_entropy"
    x, target, axis = arguments.class_scores(logits, target, where)
    power = arguments.number(q, "q", where, 0.0, 1.0)
    y = labels(target, ignore_index)
    log_p = ops.pick(ops.log_softmax(x, axis), y.index, axis)
    loss = -log_p if power == 0 else ops.expm1(power * log_p) * (-1.0 / power)
    return arguments.kept_rows(loss, y, reduction)


@checks.located
def poly1_cross_entropy(
    logits: Tensor, target: Tensor, epsilon: float = 1.0, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """−log p_y + ε·(1 − p_y) per row, p = softmax(logits): the cross entropy with another first coefficient.

    Arguments, result and errors as in `generalized_cross_entropy`, but epsilon: any number from −1 on; 0 is the cross
    entropy.

    Source: Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions", 2022.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     z, y = gl.dygraph.to_variable(np.zeros((1, 4))), gl.dygraph.to_variable(np.array([2]))
        ...     round(float(gl.losses.poly1_cross_entropy(z, y).numpy()), 6)  # log 4 + 3/4
        2.136294
    """
    where = "poly1_cross_entropy"
    x, target, axis = arguments.class_scores(logits, target, where)
    coefficient = arguments.number(epsilon, "epsilon", where, -1.0)
    y = labels(target, ignore_index)
    log_p = ops.pick(ops.log_softmax(x, axis), y.index, axis)
    return arguments.kept_rows(-log_p - coefficient * ops.expm1(log_p), y, reduction)
