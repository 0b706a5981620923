"""Fluid's CTC: the loss of an alignment nobody knows."""

from __future__ import annotations

from graphloss import dtypes, ops
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.layers.helper import layer_function
from graphloss.losses import checks, ctc


@layer_function
def warpctc(
    input: Tensor,
    label: Tensor,
    blank: int = 0,
    norm_by_times: bool = False,
    input_length: Tensor | None = None,
    label_length: Tensor | None = None,
) -> Tensor:
    """−ln Σ Π_t p_t of the paths that collapse to the label, p the softmax of the logits.

    Paths collapse as repeats are merged and then blanks dropped. A label that needs more frames than there are costs 0,
    with gradient 0. The gradient by the logits is softmax − posterior, 0 behind the last frame.

    Args:
        input: logits [T, N, C]; with blanks C is the number of symbols and 1.
        label: classes, int32 or int64, [N, S]; none of them the blank.
        blank: the class that stands for no symbol.
        norm_by_times: divides the gradient of each sample, not its loss, by its number of frames.
        input_length: frames of each sample, [N].
        label_length: the length of each label, [N].

    Returns:
        [N, 1].

    Raises:
        LabelError (in the run): a length or a label out of range, with its sample and place.
        AttrError, ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Graves, Fernández, Gomez and Schmidhuber, Connectionist temporal classification, 2006;
        paddle.fluid.layers.warpctc.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y, t, s = (gl.dygraph.to_variable(v) for v in (
        ...         np.zeros((3, 1, 2)), np.array([[1]]), np.array([3]), np.array([1])))
        ...     np.exp(-gl.layers.warpctc(x, y, input_length=t, label_length=s).numpy()).round(6).tolist()
        [[0.75]]
    """
    where = "warpctc"
    x, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    checks.require_float(x, where)
    if not dtypes.is_int(y.type.dtype):
        raise DtypeError(f"{where}: labels are classes", "int32 or int64", y.type.dtype)
    if not isinstance(norm_by_times, bool):
        raise ArgumentTypeError(f"{where}: norm_by_times is True or False", "bool", type(norm_by_times).__name__)
    if (input_length is None) != (label_length is None):
        raise AttrError(f"{where}: the padded form needs both lengths", "input_length and label_length", "one of them")
    if x.type.rank != 3 or y.type.rank != 2:
        raise ShapeError(
            f"{where}: padded logits have rank 3, labels rank 2", "[T, N, C] and [N, S]",
            f"{checks.shape_text(x)} and {checks.shape_text(y)}",
        )  # fmt: skip
    if not (y.type.shape[0] == x.type.shape[1] or checks.may_be_equal(y.type.shape[0], x.type.shape[1])):
        raise ShapeError(f"{where}: there is one label per sample", f"[{x.type.shape[1]}, S]", checks.shape_text(y))
    frames = ctc.lengths(input_length, x, 1, "input_length", where)
    sizes = ctc.lengths(label_length, x, 1, "label_length", where)
    cost, _ = ops.ctc(ops.log_softmax(x, 2), y, frames, sizes, ctc.blank_class(blank, x, where))
    cost = ctc.zero_where_impossible(cost)
    if norm_by_times:
        cost = ctc.per_frame_gradient(cost, frames)
    return ops.unsqueeze(cost, (1,))
