"""Switching eager mode on and off, and what goes into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Final, ParamSpec, TypeVar, overload

import numpy as np

from graphloss import dtypes
from graphloss.dygraph.apply import EagerMode, checking_values, recording
from graphloss.dygraph.tape import Cell, frozen
from graphloss.dygraph.varbase import VarBase
from graphloss.errors import ArgumentTypeError, UnsupportedError
from graphloss.ir import unique_name
from graphloss.ir.tensor import current, using
from graphloss.runtime.lod import LoDTensor

__all__ = ["disable_dygraph", "enable_dygraph", "enabled", "guard", "no_grad", "to_variable"]

P = ParamSpec("P")
R = TypeVar("R")

EAGER: Final = EagerMode(VarBase)


def enabled() -> bool:
    """Whether eager mode is on here."""
    return current() is EAGER


def to_variable(value: object, name: str | None = None, zero_copy: bool | None = None) -> VarBase:
    """An eager array with the value of `value`, a NumPy array or a LoDTensor; a VarBase comes back as it is.

    A result that has a row for each row of a LoDTensor has its sequences.
    `stop_gradient` is True: set it to False to get a gradient. The array is copied, whatever `zero_copy` says.

    Raises:
        ArgumentTypeError: `value` is neither. UnsupportedError: eager mode is off. TypeError: its dtype is none of
            ours.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.dygraph.to_variable(np.zeros((2, 3), "float32")).shape
        [2, 3]
    """
    if not enabled():
        raise UnsupportedError("to_variable makes eager arrays", hint="use it inside `with dygraph.guard():`")
    if isinstance(value, VarBase):
        return value
    if isinstance(value, LoDTensor):
        made = VarBase(Cell(frozen(np.array(value))), True, name=name)
        made.cell.lod = value.checked_lod()
        return made
    if not isinstance(value, (np.ndarray, np.generic)):
        raise ArgumentTypeError(
            "to_variable takes a NumPy array",
            expected="ndarray, LoDTensor or VarBase",
            got=type(value).__name__,
            hint="np.array(value, dtype) makes one",
        )
    array = np.asarray(value)
    dtypes.canonical(array.dtype)
    return VarBase(Cell(frozen(array)), True, name=name)


@contextmanager
def guard(place: object = None, check_values: bool = False) -> Iterator[None]:
    """Inside, ops run at once on eager arrays; names are counted anew.

    Args:
        place: CPUPlace() or None.
        check_values: also check data values that have a documented range, as `CompileOptions.check_values` does.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     (gl.dygraph.to_variable(np.array([1.0, 2.0])) * 3).numpy().tolist()
        [3.0, 6.0]
    """
    with unique_name.guard(), using(EAGER), checking_values(check_values):
        yield


_switched: ContextVar[tuple[AbstractContextManager[None], ...]] = ContextVar("graphloss_eager_switch", default=())


def enable_dygraph(place: object = None) -> None:
    """Turns eager mode on for this thread of control, until `disable_dygraph`; no effect where it is on."""
    if not enabled():
        mode = using(EAGER)
        mode.__enter__()
        _switched.set((*_switched.get(), mode))


def disable_dygraph() -> None:
    """Undoes `enable_dygraph`; without one no effect (a `guard` ends by itself)."""
    if _switched.get():
        *before, mode = _switched.get()
        _switched.set(tuple(before))
        mode.__exit__(None, None, None)


@overload
def no_grad() -> AbstractContextManager[None]: ...
@overload
def no_grad(func: Callable[P, R]) -> Callable[P, R]: ...
def no_grad(func: Callable[P, R] | None = None) -> AbstractContextManager[None] | Callable[P, R]:
    """Inside, nothing is remembered for a gradient; a context manager, and a decorator with or without ().

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.ones(2))
        ...     x.stop_gradient = False
        ...     with gl.dygraph.no_grad():
        ...         (2 * x).stop_gradient
        True
    """
    off = recording(False)
    return off if func is None else off(func)  # what contextmanager makes is a decorator too
