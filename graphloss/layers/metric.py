"""Fluid's metrics as layers: accuracy of a batch, area under the ROC curve of all batches so far."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import AttrError, ShapeError, UnsupportedError
from graphloss.ir.context import layer as layer_context
from graphloss.ir.defaults import default_main_program
from graphloss.ir.dims import Dim
from graphloss.ir.tensor import Tensor, cast
from graphloss.ir.variable import Variable
from graphloss.layers.creation import create_global_var
from graphloss.layers.helper import as_vector, layer_function
from graphloss.losses import checks
from graphloss.losses.labels import held, stopped

__all__ = ["accuracy", "auc"]


@layer_function
def accuracy(
    input: Tensor, label: Tensor, k: int = 1, correct: Variable | None = None, total: Variable | None = None
) -> Tensor:
    """The share of rows whose label is among the k largest predictions; the first of equal ones is the larger.

    Args:
        input: [N, C], predictions.
        label: [N, 1], int64 or int32.
        k: 1 to C.
        correct, total: int32 or int64 variables [1] that are set to the number of such rows, and to N.

    Returns:
        [1], float32; no gradient flows through it.

    Raises:
        LabelError (in the run): a label outside [0, C). ShapeError, DtypeError, AttrError, ArgumentTypeError: at the
        call.

    Source:
        paddle.fluid.layers.accuracy.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]))
        ...     y = gl.dygraph.to_variable(np.array([[2], [0]]))
        ...     gl.layers.accuracy(x, y).numpy().tolist(), gl.layers.accuracy(x, y, k=2).numpy().tolist()
        ([0.5], [1.0])
    """
    x, y = held(checks.tensor(input, "input", "accuracy")), _labels(input, label, "accuracy")
    n = x.type.shape[1]
    if isinstance(k, bool) or not isinstance(k, int) or k < 1 or (isinstance(n, int) and k > n):
        raise AttrError("accuracy: k is out of range", f"1 to {n}", repr(k))
    own = ops.unsqueeze(ops.pick(x, y), 1)
    earlier = ops.less(ops.iota((1, n), 1, y.type.dtype), ops.unsqueeze(y, 1))
    # what stands before the label: larger ones (a NaN too), and equal ones further to the left
    before = ops.logical_or(ops.logical_not(x <= own), ops.logical_and(ops.equal(x, own), earlier))
    right = ops.reduce_sum(cast(before, "int64"), 1) < k
    hits, rows = as_vector(ops.reduce_sum(cast(right, "int64"))), as_vector(ops.size((x.type.shape[0],)))
    for target, value in ((correct, hits), (total, rows)):
        if target is not None:
            if not isinstance(target, Variable):
                raise UnsupportedError("accuracy: counts are written to variables of a program", got="an eager array")
            default_main_program().current_block().write(target, cast(value, target.type.dtype))
    return stopped(cast(cast(hits, "float64") / cast(rows, "float64"), "float32"))


@layer_function
def auc(
    input: Tensor,
    label: Tensor,
    curve: str = "ROC",
    num_thresholds: int = 2**12 - 1,
    topk: int = 1,
    slide_steps: int = 1,
) -> tuple[Tensor, Tensor, list[Variable]]:
    """The area under the ROC curve of all runs so far, and of the last `slide_steps` of them; as `metrics.Auc` counts.

    Args:
        input: [N, 2], probabilities, that of the positive class second.
        label: [N, 1], int64 or int32; 0 is the negative class.
        curve: "ROC".
        num_thresholds: how fine the probabilities are told apart.
        topk: 1.
        slide_steps: of how many runs the second area is; 0: of all.

    Returns:
        Both areas, [1], float64; and the counts that the scope keeps: of the last runs, positive and negative,
        [slide_steps, num_thresholds + 1], and of all, [1, num_thresholds + 1].

    Raises:
        LabelError (in the run): a probability outside [0, 1], as a place of -1. UnsupportedError: in eager mode.
        ShapeError, DtypeError, AttrError, ArgumentTypeError: at the call.

    Source:
        paddle.fluid.layers.auc.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> main, startup, exe = gl.Program(), gl.Program(), gl.Executor(gl.CPUPlace())
        >>> with gl.program_guard(main, startup):
        ...     area, last, states = gl.layers.auc(gl.data("p", [None, 2]), gl.data("y", [None, 1], "int64"))
        >>> _ = exe.run(startup)
        >>> p = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]], "float32")
        >>> exe.run(main, feed={"p": p, "y": np.array([[0], [0], [1], [1]])}, fetch_list=[area, last])
        [array([0.75]), array([0.75])]
    """
    where = "auc"
    x, y = checks.tensor(input, "input", where), _labels(input, label, where)
    if not isinstance(x, Variable):
        raise UnsupportedError(f"{where} keeps counts in a program", hint="metrics.Auc takes arrays")
    if x.type.shape[1] != 2:
        raise ShapeError(f"{where}: the input has a column for each of two classes", "[N, 2]", checks.shape_text(x))
    for value, name, low in ((num_thresholds, "num_thresholds", 1), (slide_steps, "slide_steps", 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise AttrError(f"{where}: {name} is out of range", f"an integer ≥ {low}", repr(value))
    if curve != "ROC" or topk != 1:
        raise AttrError(f"{where}: only the ROC curve of the first class is drawn", "'ROC' and 1", f"{curve!r}, {topk}")
    bins = num_thresholds + 1
    p = ops.getitem(held(x), (slice(None), 1))
    inside = ops.logical_and(p >= 0.0, p <= 1.0)
    place = ops.where(inside, cast(ops.where(inside, p, 0.0) * float(num_thresholds), "int64"), -1)
    positive = cast(ops.not_equal(y, 0), "int64")
    counts = [ops.unsqueeze(ops.scatter_add(place, n, (bins,)), 0) for n in (positive, 1 - positive)]
    states: list[Variable] = []
    areas: list[Tensor] = []
    with layer_context(where, None):
        for steps in (slide_steps, 0):
            kept = [create_global_var((max(steps, 1), bins), 0, "int64", persistable=True) for _ in counts]
            new = [_after(old, count, steps) for old, count in zip(kept, counts, strict=True)]
            for target, counted in zip(kept, new, strict=True):
                default_main_program().current_block().write(target, counted)
            areas.append(_area(*(ops.reduce_sum(n, 0) for n in new)))
            states += kept
    return areas[1], areas[0], states


def _after(old: Tensor, count: Tensor, steps: int) -> Tensor:
    """The counts of the last `steps` runs (0: the sum over all), this one among them."""
    if steps == 0:
        return old + count
    return count if steps == 1 else ops.concat([ops.slice_axes(old, [0], [1], [steps]), count])


def _area(positive: Tensor, negative: Tensor) -> Tensor:
    """Under the curve through the points that each threshold gives, by trapezoids; 0 where a class is missing."""
    above = ops.cumsum(positive, 0, reverse=True)
    twice = cast(ops.reduce_sum(negative * (2 * above - positive)), "float64")
    pairs = cast(ops.reduce_sum(positive), "float64") * cast(ops.reduce_sum(negative), "float64")
    some = pairs > 0.0
    return as_vector(ops.where(some, twice / (2.0 * ops.where(some, pairs, 1.0)), 0.0))


def _labels(input: Tensor, label: Tensor, where: str) -> Tensor:
    """Labels [N], of predictions [N, C] and labels [N, 1]."""
    x, y = checks.tensor(input, "input", where), checks.tensor(label, "label", where)
    checks.require_float(x, where)
    checks.require_class_dtype(y, where)
    shape: tuple[Dim, ...] = y.type.shape
    if x.type.rank != 2 or len(shape) != 2 or shape[1] != 1:
        got = f"{checks.shape_text(x)} and {checks.shape_text(y)}"
        raise ShapeError(f"{where}: predictions are a matrix, labels a column", "[N, C] and [N, 1]", got)
    return ops.squeeze(y, 1)
