"""Fluid's losses of one yes or no per element: of a probability, of a click with a teacher, of a detector's class."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import AttrError, ShapeError
from graphloss.ir import dims
from graphloss.ir.tensor import Tensor, cast
from graphloss.layers.helper import layer_function
from graphloss.losses import binary, checks
from graphloss.losses.focal import focal_of_class
from graphloss.losses.labels import held
from graphloss.losses.teacher_student import teacher_student

__all__ = ["log_loss", "sigmoid_focal_loss", "teacher_student_sigmoid_loss"]


@layer_function
def log_loss(input: Tensor, label: Tensor, epsilon: float = 1e-4, name: str | None = None) -> Tensor:
    """−y·log(p + ε) − (1−y)·log(1 − p + ε), element by element; the label gets no gradient.

    Args:
        input: probabilities p, as a rule [N, 1].
        label: y, of p's shape and dtype.
        epsilon: ε; it shifts every value, so this is not a cross entropy, and is never computed as one.

    Returns:
        An array of p's shape.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.log_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.9], [0.0]], [[1.0], [1.0]]))
        ...     gl.layers.log_loss(p, y).numpy().round(4).tolist()
        [[0.1052], [9.2103]]
    """
    where = "log_loss"
    p, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    checks.require_float(p, where)
    checks.require_same_dtype(p, y, where, "label")
    checks.require_same_shape(p, y, where, "label")
    return binary.binary_cross_entropy_shifted(p, held(y), float(epsilon))


@layer_function
def teacher_student_sigmoid_loss(
    input: Tensor, label: Tensor, soft_max_up_bound: float = 15.0, soft_max_lower_bound: float = -15.0
) -> Tensor:
    """bce(x, click) + bce(x, score): cross entropies of σ(x) with a click and, where there is one, a teacher's score.

    One label holds both. Below −1: no click, no score. [−1, 0): click, no score. [0, 1): no click, the score is the
    label. From 1 on: click, the score is label − 1.

    Args:
        input: x, [N, 1].
        label: of x's shape and dtype; gets no gradient.
        soft_max_up_bound, soft_max_lower_bound: where x is at or beyond a bound the gradient is 0; the value is not
            changed.

    Returns:
        [N, 1].

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.teacher_student_sigmoid_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.5], [0.5]], [[-1.0], [0.3]]))
        ...     gl.layers.teacher_student_sigmoid_loss(x, y).numpy().round(4).tolist()
        [[0.4741], [1.7982]]
    """
    where = "teacher_student_sigmoid_loss"
    x, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    checks.require_float(x, where)
    checks.require_same_dtype(x, y, where, "label")
    checks.require_same_shape(x, y, where, "label")
    return teacher_student(x, held(y), float(soft_max_lower_bound), float(soft_max_up_bound))


@layer_function
def sigmoid_focal_loss(x: Tensor, label: Tensor, fg_num: Tensor, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """−α(1−p)^γ·log p at the class of the row, −(1−α)p^γ·log(1−p) at the others, p = σ(x), over max(fg_num, 1).

    Args:
        x: logits, [N, C].
        label: int32 or int64, [N, 1]: 0 is background (no class is right), 1 … C a class, −1 a row to ignore: loss
            and gradient exactly 0.
        fg_num: int32 or int64, [1]: how many rows are foreground.
        gamma: γ ≥ 0.
        alpha: α, 0 to 1.

    Returns:
        [N, C].

    Raises:
        LabelError (in the run): a label outside [−1, C]. AttrError, ShapeError, DtypeError, ArgumentTypeError: at
        the call.

    Source:
        Lin, Goyal, Girshick, He and Dollár, Focal loss for dense object detection, 2017;
        paddle.fluid.layers.sigmoid_focal_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y, n = (gl.dygraph.to_variable(np.array(a)) for a in ([[0.5, -1.0]], [[1]], [1]))
        ...     gl.layers.sigmoid_focal_loss(x, y, n).numpy().round(4).tolist()
        [[0.0169, 0.017]]
    """
    where = "sigmoid_focal_loss"
    z, y = checks.tensor(x, "x", where), checks.tensor(label, "label", where)
    count = checks.tensor(fg_num, "fg_num", where)
    checks.require_float(z, where, "x")
    if z.type.rank != 2:
        raise ShapeError(f"{where}: x is a matrix", expected="[N, C]", got=checks.shape_text(z))
    if gamma < 0:
        raise AttrError(f"{where}: gamma must not be negative", got=gamma)
    checks.require_class_dtype(y, where, ("int32", "int64"))
    checks.require_class_dtype(count, where, ("int32", "int64"))
    if y.type.rank == 2:
        y = ops.squeeze(y, (1,))
    checks.require_labels_of(z, y, 1, where)
    y = cast(y, "int64")
    ignored = y == -1
    classes = z.type.shape[1]
    y = ops.check_index(ops.where(ignored, 0, y), dims.add(classes, 1))
    positive = ops.equal(ops.unsqueeze(y - 1, (1,)), ops.iota((1, classes), 1))
    loss = focal_of_class(z, positive, float(gamma), float(alpha))
    loss = ops.where(ops.unsqueeze(ignored, (1,)), 0.0, loss)
    return loss / ops.maximum(cast(count, z.type.dtype), 1.0)
