"""Fluid's losses of an order: two scores of a pair, the score of the right item against all others."""

from __future__ import annotations

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.layers.helper import layer_function
from graphloss.layers.loss import class_labels
from graphloss.losses import checks, hinge, logistic
from graphloss.losses.labels import held

__all__ = ["bpr_loss", "margin_rank_loss", "rank_loss"]


@layer_function
def rank_loss(label: Tensor, left: Tensor, right: Tensor, name: str | None = None) -> Tensor:
    """log(1 + e^(l−r)) − P·(l − r): the cross entropy of "left before right"; no overflow.

    Args:
        label: P, 1, 0 or ½, [N, 1] or [N]; gets no gradient.
        left, right: scores l and r, of P's shape and dtype.

    Returns:
        An array of P's shape.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Burges et al., Learning to rank using gradient descent, 2005; paddle.fluid.layers.rank_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p, a, b = (gl.dygraph.to_variable(np.array(v)) for v in ([[1.0]], [[1.2]], [[0.4]]))
        ...     gl.layers.rank_loss(p, a, b).numpy().round(4).tolist()
        [[0.3711]]
    """
    p, a, b = _pair(label, left, right, "rank_loss")
    return logistic.rank(a, b, p)


@layer_function
def margin_rank_loss(
    label: Tensor, left: Tensor, right: Tensor, margin: float = 0.1, name: str | None = None
) -> Tensor:
    """max(0, −y·(l − r) + margin): y = 1 wants left the larger, y = −1 right; gradient 0 where the slack is 0.

    Args:
        label: y, [N, 1]; gets no gradient.
        left, right: scores l and r, of y's shape and dtype.
        margin: see above.

    Returns:
        An array of y's shape.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.margin_rank_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     y, a, b = (gl.dygraph.to_variable(np.array(v)) for v in ([[1.0]], [[0.5]], [[1.0]]))
        ...     gl.layers.margin_rank_loss(y, a, b, margin=0.5).numpy().tolist()
        [[1.0]]
    """
    y, a, b = _pair(label, left, right, "margin_rank_loss")
    return hinge.margin_ranking(a, b, y, float(margin), at_zero=False)


@layer_function
def bpr_loss(input: Tensor, label: Tensor, name: str | None = None) -> Tensor:
    """(1/(C−1))·Σ_{j≠y} log(1 + e^(x_j − x_y)) per row; 0 for a single class.

    Args:
        input: scores x, [N, C].
        label: y, int64 or int32, [N, 1] or [N].

    Returns:
        [N, 1].

    Raises:
        LabelError (in the run): a label outside [0, C). ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Hidasi, Karatzoglou, Baltrunas and Tikk, Session-based recommendations with recurrent neural networks, 2016;
        paddle.fluid.layers.bpr_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = gl.dygraph.to_variable(np.array([[0.5, 1.0, -0.3]])), gl.dygraph.to_variable(np.array([[1]]))
        ...     gl.layers.bpr_loss(x, y).numpy().round(4).tolist()
        [[0.3575]]
    """
    where = "bpr_loss"
    x, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    checks.require_float(x, where)
    axis = checks.axis_in_range(-1, x.type.rank, where)
    return ops.unsqueeze(logistic.bayesian_ranking(x, class_labels(x, y, axis, where), axis), (axis,))


def _pair(label: object, left: object, right: object, where: str) -> tuple[Tensor, Tensor, Tensor]:
    y, a, b = (checks.tensor(v, name, where) for v, name in ((label, "label"), (left, "left"), (right, "right")))
    checks.require_float(a, where, "left")
    for x, name in ((b, "right"), (y, "label")):
        checks.require_same_dtype(a, x, where, name)
        checks.require_same_shape(a, x, where, name)
    return held(y), a, b
