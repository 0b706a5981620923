"""A linear layer, alone and as the last one before cross entropy, under PyTorch's names."""

from __future__ import annotations

from graphloss import dtypes, ops
from graphloss.errors import AttrError, ShapeError, UnsupportedError
from graphloss.ir import dims
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks
from graphloss.nn.functional.classification import cross_entropy

__all__ = ["linear", "linear_cross_entropy"]


@checks.located
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weightᵀ + bias.

    Args:
        input: (…, F).
        weight: (C, F), or (F,) for a result of shape (…).
        bias: (C,), or 0-d beside a weight (F,).

    Returns:
        (…, C).

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.linear.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[1.0, 2.0]]))
        ...     w = gl.dygraph.to_variable(np.array([[3.0, 4.0], [0.5, 0.0]]))
        ...     gl.nn.functional.linear(x, w).numpy().tolist()
        [[11.0, 0.5]]
    """
    where = "linear"
    x, w = checks.tensor(input, "input", where), checks.tensor(weight, "weight", where)
    b = checks.optional_tensor(bias, "bias", where)
    if x.type.rank == 0 or w.type.rank not in (1, 2):
        raise ShapeError(
            f"{where}: the product needs an axis of features", expected="(…, F) and (C, F) or (F,)",
            got=f"{checks.shape_text(x)} and {checks.shape_text(w)}",
        )  # fmt: skip
    _check_features(x, w, where)
    checks.require_same_dtype(x, w, where, "weight")
    product = ops.matmul(x, w, transpose_y=w.type.rank == 2)
    if b is None:
        return product
    _check_bias(b, w.type.shape[:-1], where, "bias")
    checks.require_same_dtype(x, b, where, "bias")
    return product + b


@checks.located
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: None = None,
    empty_mean: str = "nan",
) -> Tensor:
    """cross_entropy(linear(input, linear_weight, linear_bias), target, …) of `cross_entropy`.

    Where a program asks for the loss and its gradients and not for the logits, these exist for some rows at a time: so
    does any loss of a matrix product, this is only its name in PyTorch.

    Args:
        input: (F,) or (N, F).
        linear_weight: (C, F), or (C, d1, …, dK, F) for logits (N, C, d1, …, dK).
        target: class labels, int64, int32 or uint8, of the logits' shape without C, or probabilities of the logits'
            shape and dtype.
        linear_bias: of linear_weight's shape without F.
        weight: (C,), of the input's dtype.
        ignore_index: label of rows that count for nothing; None is −100. Must be None with probabilities.
        label_smoothing: ε in [0, 1].
        reduction, empty_mean: as in `cross_entropy`.
        options: None. How many rows exist at a time follows from the sizes, or is `CompileOptions.row_chunk`.

    Returns:
        0-d, or for "none" an array of the logits' shape without C.

    Raises:
        LabelError (in the run): a label that is neither ignore_index nor in [0, C).
        AttrError, ShapeError, DtypeError, ArgumentTypeError, UnsupportedError: at the call.

    Source:
        torch.nn.functional.linear_cross_entropy.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[1.0, 0.5], [0.2, -1.0]]))
        ...     w = gl.dygraph.to_variable(np.array([[0.1, -0.2], [0.2, 0.1], [-0.3, 0.2]]))
        ...     y = gl.dygraph.to_variable(np.array([2, 0]))
        ...     round(float(gl.nn.functional.linear_cross_entropy(x, w, y).numpy()), 7)
        1.098553
    """
    where = "linear_cross_entropy"
    if options is not None:
        raise UnsupportedError(
            f"{where}: row chunks are not chosen by the call", expected="options=None", got=type(options).__name__,
            hint="they follow from the sizes; CompileOptions(row_chunk=…) sets them",
        )  # fmt: skip
    x, w = checks.tensor(input, "input", where), checks.tensor(linear_weight, "linear_weight", where)
    b = checks.optional_tensor(linear_bias, "linear_bias", where)
    y = checks.tensor(target, "target", where)
    if x.type.rank not in (1, 2):
        raise ShapeError(f"{where}: input has the wrong rank", expected="(F,) or (N, F)", got=checks.shape_text(x))
    if w.type.rank < 2 or (w.type.rank > 2 and x.type.rank == 1):
        raise ShapeError(
            f"{where}: linear_weight has the wrong rank", got=checks.shape_text(w),
            expected="(C, F)" if x.type.rank == 1 else "(C, F) or (C, d1, …, F)",
        )  # fmt: skip
    _check_features(x, w, where)
    checks.require_same_dtype(x, w, where, "linear_weight")
    classes = w.type.shape[:-1]
    logits = ops.matmul(x, _flat(w), transpose_y=True)
    if len(classes) > 1:
        logits = ops.reshape(logits, (*x.type.shape[:-1], *classes))
    if b is not None:
        _check_bias(b, classes, where, "linear_bias")
        checks.require_same_dtype(x, b, where, "linear_bias")
        logits = logits + b
    if ignore_index is not None and y.type.rank == logits.type.rank and dtypes.is_float(y.type.dtype):
        raise AttrError(f"{where}: ignore_index has no meaning with probabilities", expected="None", got=ignore_index)
    return cross_entropy(
        logits, y, weight, ignore_index=-100 if ignore_index is None else ignore_index, reduction=reduction,
        label_smoothing=label_smoothing, empty_mean=empty_mean,
    )  # fmt: skip


def _flat(w: Tensor) -> Tensor:
    """The weight as a matrix, (C·d1·…, F)."""
    if w.type.rank == 2:
        return w
    return ops.reshape(w, (dims.product(w.type.shape[:-1]), w.type.shape[-1]))


def _check_features(x: Tensor, w: Tensor, where: str) -> None:
    if not checks.may_be_equal(x.type.shape[-1], w.type.shape[-1]):
        raise ShapeError(
            f"{where}: input and weight have different numbers of features",
            expected=f"a last axis of {w.type.shape[-1]}", got=checks.shape_text(x),
        )  # fmt: skip


def _check_bias(b: Tensor, want: tuple[dims.Dim, ...], where: str, name: str) -> None:
    got = b.type.shape
    if len(got) != len(want) or not all(checks.may_be_equal(m, n) for m, n in zip(want, got, strict=True)):
        raise ShapeError(
            f"{where}: {name} does not fit the weight", expected=checks.dims_text(want), got=checks.shape_text(b)
        )
