"""Fluid's similarity, and its losses of embeddings."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError, UnsupportedError
from graphloss.ir.context import layer as layer_context
from graphloss.ir.defaults import default_main_program
from graphloss.ir.tensor import Tensor, cast
from graphloss.ir.variable import Variable
from graphloss.layers.helper import as_vector, layer_function, make_parameter
from graphloss.layers.loss import class_labels
from graphloss.losses import checks, embedding, similarity
from graphloss.losses.center import center, moved_centers
from graphloss.losses.labels import held

__all__ = ["center_loss", "cos_sim", "npair_loss"]


@layer_function
def cos_sim(X: Tensor, Y: Tensor) -> Tensor:
    """x·y / (‖x‖‖y‖) of the rows; 0, with gradient 0, where one of the two is the zero vector.

    Args:
        X: [N, D].
        Y: [N, D], or [1, D] for all rows.

    Returns:
        [N, 1].

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.cos_sim.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y = (gl.dygraph.to_variable(np.array(a)) for a in ([[3.0, 4.0], [0.0, 0.0]], [[4.0, 3.0]]))
        ...     gl.layers.cos_sim(x, y).numpy().round(7).tolist()
        [[0.96], [0.0]]
    """
    where = "cos_sim"
    x, y = checks.tensor(X, "X", where), checks.tensor(Y, "Y", where)
    checks.require_float(x, where, "X")
    checks.require_same_dtype(x, y, where, "Y")
    if x.type.rank != 2 or y.type.rank != 2:
        raise ShapeError(f"{where}: matrices are compared by rows", "[N, D] and [N, D] or [1, D]", checks.shape_text(x))
    return ops.unsqueeze(similarity.cosine(x, y, 1), (1,))


@layer_function
def npair_loss(anchor: Tensor, positive: Tensor, labels: Tensor, l2_reg: float = 0.002) -> Tensor:
    """The mean cross entropy of the rows of anchor·positiveᵀ, plus ¼·l2_reg·(mean ‖a‖² + mean ‖p‖²).

    The target of a row is spread equally over the columns with the row's label.

    Args:
        anchor, positive: [B, E].
        labels: [B], float or integer; get no gradient.
        l2_reg: see above.

    Returns:
        [1].

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Sohn, Improved deep metric learning with multi-class N-pair loss objective, 2016;
        paddle.fluid.layers.npair_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, p, y = (gl.dygraph.to_variable(np.array(v)) for v in ([[1.0], [0.0]], [[1.0], [0.0]], [0, 1]))
        ...     gl.layers.npair_loss(a, p, y, l2_reg=0.0).numpy().round(4).tolist()
        [0.5032]
    """
    where = "npair_loss"
    a, p, y = (checks.tensor(v, n, where) for v, n in ((anchor, "anchor"), (positive, "positive"), (labels, "labels")))
    checks.require_float(a, where, "anchor")
    checks.require_same_dtype(a, p, where, "positive")
    checks.require_same_shape(a, p, where, "positive")
    if a.type.rank != 2:
        raise ShapeError(f"{where}: the embeddings are matrices", expected="[B, E]", got=checks.shape_text(a))
    checks.require_labels_of(a, y, 1, where)
    return as_vector(embedding.npair(a, p, held(y), float(l2_reg)))


@layer_function
def center_loss(
    input: Tensor,
    label: Tensor,
    num_classes: int,
    alpha: float | Tensor,
    param_attr: object,
    update_center: bool = True,
) -> Tensor:
    """½‖x − c_y‖², c the centers of the classes: a persistable parameter that this layer makes and moves itself.

    With update_center each run sets c_j += α·Σ_{i: y_i = j}(x_i − c_j) / (1 + n_j), n_j how many rows are of class j.
    The loss uses the centers from before.

    Args:
        input: x, [N, D], D known.
        label: y, int64 or int32, [N, 1] or [N].
        num_classes: how many centers.
        alpha: α, a number or a Variable of one element.
        param_attr: of the centers: None, ParamAttr, a name, an initialiser.
        update_center: see above.

    Returns:
        [N, 1]; the gradient by x is x − c_y, the centers get none.

    Raises:
        LabelError (in the run): a label outside [0, num_classes). UnsupportedError: in eager mode. AttrError,
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Wen, Zhang, Li and Qiao, A discriminative feature learning approach for deep face recognition, 2016;
        paddle.fluid.layers.center_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> main, startup = gl.Program(), gl.Program()
        >>> with gl.program_guard(main, startup):
        ...     x, y = gl.data("x", [None, 2]), gl.data("y", [None, 1], "int64")
        ...     loss = gl.layers.center_loss(x, y, 3, 0.5, gl.initializer.Constant(0.0))
        >>> exe = gl.Executor(gl.CPUPlace())
        >>> _ = exe.run(startup)
        >>> feed = {"x": np.array([[3, 4]], "float32"), "y": np.array([[1]])}
        >>> [exe.run(main, feed=feed, fetch_list=[loss])[0].tolist() for _ in range(2)]
        [[[12.5]], [[7.03125]]]
    """
    where = "center_loss"
    x, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    if not isinstance(x, Variable):
        raise UnsupportedError(f"{where}: the centers are a parameter of a program", got="an eager array")
    checks.require_float(x, where)
    if x.type.rank != 2 or not isinstance(x.type.shape[1], int):
        raise ShapeError(f"{where}: the input is a matrix of known width", "[N, D]", checks.shape_text(x))
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise AttrError(f"{where}: num_classes must be a positive integer", got=repr(num_classes))
    y = class_labels(x, y, 1, where)
    rate: Tensor | float
    if isinstance(alpha, Tensor):
        rate = cast(held(alpha), x.type.dtype)
    elif isinstance(alpha, (int, float)) and not isinstance(alpha, bool):
        rate = float(alpha)
    else:
        raise ArgumentTypeError(f"{where}: alpha is neither a number nor a Variable", got=type(alpha).__name__)
    with layer_context(where, None) as made:
        centers = make_parameter(param_attr, [num_classes, x.type.shape[1]], x.type.dtype, made)
        if centers is None:
            raise AttrError(f"{where}: the centers cannot be left out", got="param_attr=False")
        centers.stop_gradient = True
        loss = center(x, y, centers)
        if update_center:
            moved = moved_centers(held(x), y, centers, rate)
            default_main_program().current_block().write(centers, moved)
    return ops.unsqueeze(loss, (1,))
