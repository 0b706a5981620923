"""Arrays in MXNet's manner: they compute at once, with no guard around them, and remember only what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final

import numpy as np

from graphloss import ops
from graphloss.dygraph.apply import EagerMode, recording
from graphloss.dygraph.tape import Array, Cell, frozen
from graphloss.dygraph.varbase import VarBase
from graphloss.errors import ShapeError, UnsupportedError
from graphloss.ir.tensor import Tensor, using

RECORDING: Final[ContextVar[bool]] = ContextVar("graphloss_gluon_recording", default=False)


class NDArray(VarBase):
    """An array of `nd`, or what an op made of one.

    Example:
        >>> from graphloss.gluon import nd
        >>> x = nd.array([1, 2, 3])
        >>> (0.5 * (x - 1) ** 2).asnumpy().tolist(), x.shape
        ([0.0, 0.5, 2.0], (3,))
    """

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]  # a tuple here, a list in Fluid
        return self.cell.array.shape

    @property
    def grad(self) -> NDArray:
        """The gradient of the last backward, zeros before the first.

        Raises:
            UnsupportedError: no gradient was asked for, by attach_grad.
        """
        if self.stop_gradient:
            raise UnsupportedError("this array has no gradient", hint="call attach_grad() before autograd.record()")
        found = self.gradient()
        return NDArray(Cell(frozen(np.zeros_like(self.cell.array) if found is None else found)), True)

    def attach_grad(self) -> None:
        """From here on, what is recorded of this array brings it a gradient."""
        self.stop_gradient = False

    def asnumpy(self) -> Array:
        """The value, as an array of its own."""
        return self.numpy()

    def asscalar(self) -> Any:
        """The one element, as a Python number."""
        return self.item()

    def detach(self) -> NDArray:
        return NDArray(Cell(self.cell.array), True)

    def backward(self, backward_strategy: object = None, retain_graph: bool = False) -> None:
        """Sets the gradient of the sum of the elements on every array that has one, in place of an earlier one.

        Raises:
            UnsupportedError: nothing of it was recorded.
        """
        if self.stop_gradient or self.cell.record is None:
            raise UnsupportedError("nothing was recorded", hint="compute the loss inside `with autograd.record():`")
        for leaf in _leaves(self.cell):
            leaf.sink.grad = None
        with at_once():
            super().backward(backward_strategy, retain_graph)

    def softmax(self, axis: int = -1) -> Tensor:
        """e^x / Σ e^x along `axis`."""
        return at_once_of(ops.softmax)(self, axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        """log softmax(x) along `axis`."""
        return at_once_of(ops.log_softmax)(self, axis)

    def sum(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Σ x over an axis, or over all."""
        return at_once_of(ops.reduce_sum)(self, axis, keepdims)

    def mean(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """The mean over an axis, or over all."""
        return at_once_of(ops.reduce_mean)(self, axis, keepdims)

    def reshape(self, shape: tuple[int, ...]) -> Tensor:
        """The same elements in another shape; one −1 is what remains.

        Raises:
            ShapeError: another number of elements.
        """
        try:
            whole = np.empty(self.shape, np.bool_).reshape(shape).shape
        except ValueError as error:
            raise ShapeError("reshape: another number of elements", list(self.shape), list(shape)) from error
        return at_once_of(ops.reshape)(self, whole)

    def __repr__(self) -> str:
        return f"\n{self.cell.array}\n<NDArray {'x'.join(map(str, self.shape))} @cpu(0)>"


_MODE: Final = EagerMode(NDArray)


@contextmanager
def at_once() -> Iterator[None]:
    """Inside, ops compute NDArrays, and are remembered if `autograd.record` says so."""
    with using(_MODE), recording(RECORDING.get()):
        yield


def at_once_of(fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`fn`, run so."""

    @wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Tensor:
        with at_once():
            return fn(*args, **kwargs)

    return run


def _leaves(cell: Cell) -> list[Cell]:
    """The given values that a gradient of `cell` arrives at."""
    found: list[Cell] = []
    stack, seen = [cell], {id(cell.record)}
    while stack:
        record = stack.pop().record
        if record is None:
            continue
        for source, live in zip(record.inputs, record.live, strict=False):  # none are left of a freed record
            if live and source.record is None:
                found.append(source)
            elif live and id(source.record) not in seen:
                seen.add(id(source.record))
                stack.append(source)
    return found


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    for _spelling in (f"__{_name}__", f"__r{_name}__"):
        setattr(NDArray, _spelling, at_once_of(getattr(VarBase, _spelling)))
for _name in ("matmul", "neg", "lt", "le", "gt", "ge", "eq", "ne", "getitem"):
    setattr(NDArray, f"__{_name}__", at_once_of(getattr(VarBase, f"__{_name}__")))
NDArray.__hash__ = VarBase.__hash__  # type: ignore[method-assign]
