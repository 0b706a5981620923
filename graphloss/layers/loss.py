"""Fluid's loss functions: labels of shape [N, 1], losses per sample or element, scalars of shape [1]."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import AttrError, ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.layers.helper import as_vector, layer_function
from graphloss.losses import binary, checks, distance
from graphloss.losses import cross_entropy as ce
from graphloss.losses.labels import held, stopped
from graphloss.losses.reduction import check_empty_mean, divided

__all__ = [
    "cross_entropy",
    "huber_loss",
    "label_smooth",
    "mse_loss",
    "sigmoid_cross_entropy_with_logits",
    "smooth_l1",
    "softmax_with_cross_entropy",
    "square_error_cost",
]


@layer_function
def cross_entropy(input: Tensor, label: Tensor, soft_label: bool = False, ignore_index: int = -100) -> Tensor:
    """−t(log p[label]) of probabilities p along the last axis, or −Σ_c label_c·t(log p_c); t maps ±∞ to ±1e20.

    Where p is the softmax of something in the same program, the compiled form is that of the logits, exact and
    without the bound. In eager mode the bound holds, and the gradient by the logits is the exact one.

    Args:
        input: p, [N1, …, Nk, C].
        label: class labels int64 or int32, [N1, …, Nk, 1] or [N1, …, Nk]; with soft_label a distribution of p's shape
            and dtype.
        soft_label: which of the two.
        ignore_index: label of rows whose loss and gradient are exactly 0; not used with soft_label.

    Returns:
        [N1, …, Nk, 1]; [N1, …, Nk] for labels of that shape.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.cross_entropy.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p = gl.dygraph.to_variable(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
        ...     y = gl.dygraph.to_variable(np.array([[0], [1]]))
        ...     gl.layers.cross_entropy(p, y).numpy().round(4).tolist()
        [[0.3567], [0.2231]]
    """
    where = "cross_entropy"
    p, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    checks.require_float(p, where)
    axis = checks.axis_in_range(-1, p.type.rank, where)
    if soft_label:
        checks.require_same_shape(p, y, where, "label")
        checks.require_same_dtype(p, y, where, "label")
        return ce.soft_cross_entropy_of_probabilities(p, held(y), axis, keepdims=True)
    column = y.type.rank == p.type.rank
    loss = ce.cross_entropy_of_probabilities(p, class_labels(p, y, axis, where), axis, ignore_index).loss
    return ops.unsqueeze(loss, (axis,)) if column else loss


@layer_function
def softmax_with_cross_entropy(
    logits: Tensor,
    label: Tensor,
    soft_label: bool = False,
    ignore_index: int = -100,
    numeric_stable_mode: bool = True,
    return_softmax: bool = False,
    axis: int = -1,
) -> Tensor | tuple[Tensor, Tensor]:
    """−log softmax(logits)[label] along `axis`, or −Σ_c label_c·log softmax(logits)_c.

    Args:
        logits: any rank from 1 on.
        label: class labels int64 or int32 of logits' shape with dimension `axis` 1 (or without it); with soft_label a
            distribution of logits' shape and dtype, which gets no gradient.
        soft_label: which of the two.
        ignore_index: label of rows whose loss and gradient are exactly 0; not used with soft_label.
        numeric_stable_mode: kept for old programs; the form is always the stable one.
        return_softmax: also return softmax(logits), through which no gradient flows.
        axis: the class axis.

    Returns:
        The loss, of logits' shape with dimension `axis` 1; or (loss, softmax).

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.softmax_with_cross_entropy.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[2.0, 0.5, 0.3]]))
        ...     y = gl.dygraph.to_variable(np.array([[0]]))
        ...     gl.layers.softmax_with_cross_entropy(x, y).numpy().round(4).tolist()
        [[0.3406]]
    """
    where = "softmax_with_cross_entropy"
    x, y = checks.tensor(logits, "logits", where), checks.tensor(label, "label", where)
    checks.require_float(x, where, "logits")
    axis = checks.axis_in_range(axis, x.type.rank, where)
    if soft_label:
        checks.require_same_shape(x, y, where, "label")
        checks.require_same_dtype(x, y, where, "label")
        loss = ce.soft_cross_entropy(x, held(y), axis, keepdims=True)
    else:
        rows = ce.cross_entropy(x, class_labels(x, y, axis, where), axis, None, ignore_index)
        loss = ops.unsqueeze(rows.loss, (axis,))
    if not return_softmax:
        return loss
    return loss, stopped(ops.softmax(x, axis=axis))


@layer_function
def sigmoid_cross_entropy_with_logits(
    x: Tensor,
    label: Tensor,
    ignore_index: int = -100,
    name: str | None = None,
    normalize: bool = False,
    *,
    empty_mean: str = "zero",
) -> Tensor:
    """label·softplus(−x) + (1−label)·softplus(x) by element; 0 where the label, cut to an integer, is ignore_index.

    Args:
        x: logits, any shape.
        label: of x's shape and dtype; gets no gradient.
        ignore_index: see above; the gradient is 0 there too.
        normalize: divide by the number of labels that differ from ignore_index by more than 1e-6.
        empty_mean: what is returned with normalize where there is none: "zero", "nan" or "error".

    Returns:
        An array of x's shape.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError, AttrError: at the call.

    Source:
        paddle.fluid.layers.sigmoid_cross_entropy_with_logits.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[2.0, 0.5]], [[1.0, -1.0]]))
        ...     gl.layers.sigmoid_cross_entropy_with_logits(x, y, ignore_index=-1).numpy().round(4).tolist()
        [[0.1269, 0.0]]
    """
    where = "sigmoid_cross_entropy_with_logits"
    z, y = checks.tensor(x, "x", where), checks.tensor(label, "label", where)
    checks.require_float(z, where, "x")
    checks.require_same_dtype(z, y, where, "label")
    checks.require_same_shape(z, y, where, "label")
    check_empty_mean(empty_mean)
    rows = binary.sigmoid_cross_entropy(z, held(y), ignore_index)
    return divided(rows.loss, rows, empty_mean) if normalize else rows.loss


@layer_function
def square_error_cost(input: Tensor, label: Tensor) -> Tensor:
    """(input − label)², element by element.

    Args:
        input, label: of one shape, or broadcasting; the result has the shape of both.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.square_error_cost.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([1.5], [1.0]))
        ...     gl.layers.square_error_cost(x, y).numpy().tolist()
        [0.25]
    """
    where = "square_error_cost"
    return distance.squared_error(checks.tensor(input, "input", where), checks.tensor(label, "label", where))


@layer_function
def mse_loss(input: Tensor, label: Tensor) -> Tensor:
    """The mean of (input − label)² over all elements, of shape [1]; NaN of none.

    Args:
        input, label: of one shape, or broadcasting.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.mse_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([1.5, 2.0], [1.0, 2.0]))
        ...     gl.layers.mse_loss(x, y).numpy().tolist()
        [0.125]
    """
    where = "mse_loss"
    x, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    return as_vector(ops.reduce_mean(distance.squared_error(x, y)))


@layer_function
def huber_loss(input: Tensor, label: Tensor, delta: float) -> Tensor:
    """d²/2 where |d| ≤ δ, else δ(|d| − δ/2), with d = label − input, element by element.

    Args:
        input, label: of one shape, which is that of the result, too.
        delta: δ.

    Raises:
        ShapeError: input and label have different shapes. DtypeError, ArgumentTypeError: at the call.

    Source:
        Huber, Robust estimation of a location parameter, 1964; paddle.fluid.layers.huber_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.5], [3.0]], [[0.0], [0.0]]))
        ...     gl.layers.huber_loss(x, y, 1.0).numpy().tolist()
        [[0.125], [2.5]]
    """
    where = "huber_loss"
    x, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    checks.require_float(x, where)
    checks.require_same_shape(x, y, where, "label")
    return distance.huber(x - y, float(delta))


@layer_function
def smooth_l1(
    x: Tensor,
    y: Tensor,
    inside_weight: Tensor | None = None,
    outside_weight: Tensor | None = None,
    sigma: float | None = None,
) -> Tensor:
    """Σ over the non-batch elements of w_out·g(w_in·(x − y)): g(d) = σ²d²/2 where |d| < 1/σ², else |d| − 1/(2σ²).

    Args:
        x, y: of one shape, rank at least 2.
        inside_weight, outside_weight: of that shape, both or neither; get no gradient.
        sigma: None is 1.

    Returns:
        [N, 1].

    Raises:
        ShapeError, DtypeError, ArgumentTypeError, AttrError: at the call.

    Source:
        Girshick, Fast R-CNN, 2015; paddle.fluid.layers.smooth_l1.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.5, 3.0]], [[0.0, 0.0]]))
        ...     gl.layers.smooth_l1(x, y).numpy().tolist()
        [[2.625]]
    """
    where = "smooth_l1"
    p, t = checks.tensor(x, "x", where), checks.tensor(y, "y", where)
    checks.require_float(p, where, "x")
    checks.require_same_shape(p, t, where, "y")
    if p.type.rank < 2:
        raise ShapeError(
            f"{where}: x has no axis beside the batch", expected="rank 2 or more", got=checks.shape_text(p)
        )
    inside = checks.optional_tensor(inside_weight, "inside_weight", where)
    outside = checks.optional_tensor(outside_weight, "outside_weight", where)
    if (inside is None) != (outside is None):
        raise AttrError(
            f"{where}: one of the two weights is missing", expected="inside_weight and outside_weight, or neither"
        )
    scale = 1.0 if sigma is None else float(sigma)
    if not scale > 0:
        raise AttrError(f"{where}: sigma must be positive", got=sigma)
    d = p - t
    if inside is not None:
        checks.require_same_shape(p, inside, where, "inside_weight")
        d = held(inside) * d
    loss = distance.smooth_l1(d, 1 / scale**2)
    if outside is not None:
        checks.require_same_shape(p, outside, where, "outside_weight")
        loss = held(outside) * loss
    return ops.unsqueeze(ops.reduce_sum(loss, axis=tuple(range(1, p.type.rank))), (1,))


@layer_function
def label_smooth(
    label: Tensor,
    prior_dist: Tensor | None = None,
    epsilon: float = 0.1,
    dtype: str = "float32",
    name: str | None = None,
) -> Tensor:
    """(1−ε)·label + ε·prior_dist, where the prior is 1/C without one; `label` is one-hot along its last axis.

    Args:
        label: [..., C], the shape of the result.
        prior_dist: [1, C], or None.
        epsilon: ε.
        dtype: accepted for old programs; the result has the dtype of the label.

    Raises:
        AttrError: ε outside [0, 1].

    Source:
        Szegedy et al., Rethinking the Inception architecture for computer vision, 2016;
        paddle.fluid.layers.label_smooth.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     y = gl.dygraph.to_variable(np.array([[0.0, 1.0]]))
        ...     gl.layers.label_smooth(y, epsilon=0.5).numpy().tolist()
        [[0.25, 0.75]]
    """
    where = "label_smooth"
    y = held(checks.tensor(label, "label", where))
    checks.require_unit_interval(epsilon, "epsilon", where)
    prior = checks.optional_tensor(prior_dist, "prior_dist", where)
    if prior is not None:
        return y * (1 - epsilon) + held(prior) * epsilon
    return y * (1 - epsilon) + epsilon / ops.size((y.type.shape[-1],), y.type.dtype)


def class_labels(x: Tensor, y: Tensor, axis: int, where: str) -> Tensor:
    """Class labels without their dimension `axis` of 1, which they may have or not."""
    checks.require_class_dtype(y, where)
    if y.type.rank == x.type.rank:
        if not checks.may_be_equal(y.type.shape[axis], 1) and y.type.shape[axis] != 1:
            raise ShapeError(
                f"{where}: labels of input's rank have dimension 1 at axis {axis}",
                expected="1",
                got=checks.shape_text(y),
            )
        y = ops.squeeze(y, (axis,))
    checks.require_labels_of(x, y, axis, where)
    return y
