"""What Gluon's loss classes have in common: sample weights, one weight, the mean per sample."""

from __future__ import annotations

from typing import Any

from graphloss import ops
from graphloss.errors import ArgumentTypeError, ShapeError, UnsupportedError
from graphloss.gluon.ndarray import NDArray, at_once_of
from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import checks
from graphloss.losses.reduction import mean_except

__all__ = ["Loss"]


class Loss:
    """Base: the loss of each element × sample_weight × weight, then the mean over all axes but one: (N,).

    Args:
        weight: a Python number, or None for 1.
        batch_axis: the axis of the samples.
        block: `prefix` and `params`, which MXNet's blocks take; without effect.
    """

    def __init__(self, weight: float | None, batch_axis: int, **block: object) -> None:
        unknown = block.keys() - {"prefix", "params"}
        if unknown:
            got = ", ".join(sorted(unknown))
            raise ArgumentTypeError(f"{type(self).__name__}: unknown arguments", "also prefix and params", got)
        if weight is not None and (isinstance(weight, bool) or not isinstance(weight, (int, float))):
            raise ArgumentTypeError(
                f"{type(self).__name__}: weight is one number for the whole loss",
                "int or float",
                type(weight).__name__,
                hint="weights of samples are the argument sample_weight of the call",
            )
        self._weight = weight
        self._batch_axis = batch_axis

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """What a call computes; each class defines it."""
        raise UnsupportedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        run = checks.located(self.forward, type(self).__name__)
        if any(isinstance(a, NDArray) for a in (*args, *kwargs.values())):
            run = at_once_of(run)
        return run(*args, **kwargs)

    def hybridize(self, active: bool = True, **kwargs: object) -> None:
        """Nothing to do: a program is compiled as it runs, and eager mode is what `dygraph.guard()` is for."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(batch_axis={self._batch_axis}, w={self._weight})"

    def _per_sample(self, loss: Tensor, sample_weight: object) -> Tensor:
        loss = self._weighted(loss, sample_weight)
        return mean_except(loss, checks.axis_in_range(self._batch_axis, loss.type.rank, type(self).__name__))

    def _weighted(self, loss: Tensor, sample_weight: object) -> Tensor:
        where = type(self).__name__
        given = checks.optional_tensor(sample_weight, "sample_weight", where)
        if given is not None:
            given = cast(given, loss.type.dtype)
            fits = given.type.rank == loss.type.rank and all(
                a == 1 or checks.may_be_equal(a, b) for a, b in zip(given.type.shape, loss.type.shape, strict=True)
            )
            if not fits:
                raise ShapeError(
                    f"{where}: sample_weight does not broadcast to the loss",
                    expected=checks.shape_text(loss),
                    got=checks.shape_text(given),
                    hint="it has the same rank, each dimension equal or 1",
                )
            loss = loss * given
        if self._weight is not None:
            loss = loss * float(self._weight)
        return loss

    def _like(self, pred: Tensor, label: object, name: str = "label") -> Tensor:
        """The label in pred's shape and dtype; only the numbers of elements must agree."""
        y = cast(checks.tensor(label, name, type(self).__name__), pred.type.dtype)
        if _aligned(y.type.shape, pred.type.shape):
            return y
        if isinstance(dims.sub(y.type.size, pred.type.size), int) and y.type.size != pred.type.size:
            raise ShapeError(
                f"{type(self).__name__}: {name} has another number of elements than pred",
                expected=checks.shape_text(pred),
                got=checks.shape_text(y),
            )
        return ops.reshape(y, pred.type.shape)

    def _pred(self, pred: object, name: str = "pred") -> Tensor:
        x = checks.tensor(pred, name, type(self).__name__)
        checks.require_float(x, type(self).__name__, name)
        return x

    def _other_axes(self, rank: int) -> tuple[int, ...]:
        """All axes but that of the samples."""
        batch = checks.axis_in_range(self._batch_axis, rank, type(self).__name__)
        return tuple(a for a in range(rank) if a != batch)


def _aligned(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> bool:
    """Whether shapes of as many elements are the same: at most one dimension is unknown to be."""
    if len(a) != len(b):
        return False
    unsure = [(m, n) for m, n in zip(a, b, strict=True) if m != n]
    return len(unsure) <= 1 and all(checks.may_be_equal(m, n) for m, n in unsure)
