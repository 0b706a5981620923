"""Binary cross entropy under PyTorch's names, of probabilities and of logits."""

from __future__ import annotations

from graphloss.errors import ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.losses import binary, checks
from graphloss.losses.labels import held
from graphloss.losses.reduction import check_reduction, reduced
from graphloss.nn.arguments import reduction_of

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits"]


@checks.located
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """−w·[y·log p + (1−y)·log(1−p)], each log at least −100; the gradient is w(p−y)/max(p(1−p), 1e-12).

    Where p is the sigmoid of something in the same program, the compiled form is that of the logits, exact and
    without the bound.

    Args:
        input: probabilities p, any shape.
        target: y in [0, 1], of p's shape and dtype.
        weight: broadcasts to that shape; does not enter the divisor of a mean; gets no gradient.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of p's shape.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError, AttrError: at the call. ValueRangeError (in the run, with
        `CompileOptions.check_values`): a probability or target outside [0, 1].

    Source:
        torch.nn.functional.binary_cross_entropy.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     p, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.5, 0.0], [1.0, 1.0]))
        ...     gl.nn.functional.binary_cross_entropy(p, y, reduction="none").numpy().round(4).tolist()
        [0.6931, 100.0]
    """
    where = "binary_cross_entropy"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    p, y = checks.tensor(input, "input", where), checks.tensor(target, "target", where)
    _same(p, y, where)
    w = _broadcast_weight(weight, y, "weight", where)
    return reduced(binary.binary_cross_entropy(p, y, w), reduction)


@checks.located
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """w·[p·y·softplus(−z) + (1−y)·softplus(z)], the cross entropy of σ(z) with the positive class weighted by p.

    Args:
        input: logits z, any shape.
        target: y of z's shape and dtype; any real number, with `CompileOptions.check_values` one in [0, 1].
        weight, pos_weight: broadcast to that shape; do not enter the divisor of a mean; get no gradient.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of z's shape.

    Raises:
        ShapeError, DtypeError, ArgumentTypeError, AttrError: at the call. ValueRangeError (in the run, with
        `CompileOptions.check_values`): a target outside [0, 1].

    Source:
        torch.nn.functional.binary_cross_entropy_with_logits.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     z, y = (gl.dygraph.to_variable(np.array(a)) for a in ([0.0, 1000.0], [1.0, 0.0]))
        ...     gl.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none").numpy().round(4).tolist()
        [0.6931, 1000.0]
    """
    where = "binary_cross_entropy_with_logits"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    z, y = checks.tensor(input, "input", where), checks.tensor(target, "target", where)
    _same(z, y, where)
    w = _broadcast_weight(weight, y, "weight", where)
    positive = _broadcast_weight(pos_weight, y, "pos_weight", where)
    return reduced(binary.binary_cross_entropy_with_logits(z, y, w, positive), reduction)


def _same(x: Tensor, y: Tensor, where: str) -> None:
    checks.require_float(x, where)
    checks.require_same_dtype(x, y, where)
    checks.require_same_shape(x, y, where)


def _broadcast_weight(weight: object, y: Tensor, name: str, where: str) -> Tensor | None:
    """A weight that broadcasts to the target, not beyond it; PyTorch gives it no gradient."""
    w = checks.optional_tensor(weight, name, where)
    if w is None:
        return None
    checks.require_same_dtype(y, w, where, name)
    shape, target = w.type.shape, y.type.shape
    fits = len(shape) <= len(target) and all(
        a == 1 or checks.may_be_equal(a, b) for a, b in zip(shape[::-1], target[::-1], strict=False)
    )
    if not fits:
        raise ShapeError(
            f"{where}: {name} does not broadcast to the target", expected=checks.shape_text(y), got=checks.shape_text(w)
        )
    return held(w)
