"""Checking the arrays of a run against the program, and binding its symbolic dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss.errors import DtypeError, FeedError, ShapeError
from graphloss.ir import dims
from graphloss.ir.dims import Dim, Equation, SymDim
from graphloss.ir.types import TensorType

Array = npt.NDArray[Any]

# What may be converted without losing anything.
_WIDENING = {
    ("int8", "int16"), ("int8", "int32"), ("int8", "int64"), ("uint8", "int16"), ("uint8", "int32"), ("uint8", "int64"),
    ("int16", "int32"), ("int16", "int64"), ("int32", "int64"), ("float32", "float64"),
}  # fmt: skip


def array_of(name: str, value: object, t: TensorType) -> Array:
    """The fed value as a contiguous, aligned, native array of the declared dtype; copied only where it is not one already."""
    if not isinstance(value, np.ndarray):
        if isinstance(value, (bool, int, float, np.generic)):
            value = np.asarray(value, dtype=t.dtype if not isinstance(value, np.generic) else None).reshape(1 if t.rank == 1 else ())
        elif hasattr(value, "__array__"):
            value = np.asarray(value)
        else:
            raise FeedError(
                f"the feed of {name!r} is no array", expected="a NumPy array", got=type(value).__name__, hint="use np.asarray(value)"
            )
    have = value.dtype.newbyteorder("=").name
    if have != t.dtype and (have, t.dtype) not in _WIDENING:
        raise DtypeError(
            f"the feed of {name!r} has the wrong dtype", expected=t.dtype, got=have, hint=f"feed {name}.astype({t.dtype!r}), if that is what you mean"
        )
    return np.require(value, dtype=t.dtype, requirements=("C", "A")) if value.ndim else np.asarray(value, dtype=t.dtype)


def check_rank(name: str, shape: tuple[int, ...], t: TensorType) -> None:
    if len(shape) != t.rank:
        raise ShapeError(
            f"the feed of {name!r} has the wrong rank", expected=f"rank {t.rank}: {_shown(t.shape)}", got=f"rank {len(shape)}: {list(shape)}"
        )


def bind(types: Mapping[str, TensorType], shapes: Sequence[tuple[str, tuple[int, ...]]], equations: Sequence[Equation]) -> dict[str, int]:
    """Values of all symbols; ShapeError where a known dimension or an equation does not hold."""
    env: dict[str, int] = {}
    owner: dict[str, tuple[str, int]] = {}
    for name, shape in shapes:
        t = types[name]
        check_rank(name, shape, t)
        for axis, (want, have) in enumerate(zip(t.shape, shape, strict=True)):
            if isinstance(want, int):
                if want != have:
                    raise ShapeError(
                        f"dimension {axis} of the feed of {name!r} is wrong", expected=f"{want}, of shape {_shown(t.shape)}",
                        got=f"{have}, of shape {list(shape)}",
                    )  # fmt: skip
            else:
                symbol = dims.lone(want)
                if symbol is not None and symbol not in env:
                    env[symbol] = have
                    owner[symbol] = (name, axis)
    for name, shape in shapes:
        for axis, (want, have) in enumerate(zip(types[name].shape, shape, strict=True)):
            if isinstance(want, SymDim):
                value = _value(want, env)
                if value is not None and value != have:
                    raise ShapeError(
                        f"dimension {axis} of the feed of {name!r} does not fit", expected=f"{value}{_because(want, owner)}", got=str(have)
                    )
    for e in equations:
        left, right = _value(e.left, env), _value(e.right, env)
        if left is not None and right is not None and left != right:
            raise ShapeError(
                f"{e.why or 'an op'} needs equal dimensions",
                expected=f"{e.left} == {e.right}", got=f"{left}{_because(e.left, owner)} and {right}{_because(e.right, owner)}",
            )  # fmt: skip
    return env


def _value(dim: Dim, env: Mapping[str, int]) -> int | None:
    try:
        return dims.evaluate(dim, env)
    except KeyError:
        return None


def _because(dim: Dim, owner: Mapping[str, tuple[str, int]]) -> str:
    places = [f"dimension {owner[s][1]} of {owner[s][0]!r}" for s in sorted(dims.symbols(dim)) if s in owner]
    return f" ({', '.join(places)})" if places else ""


def _shown(shape: tuple[Dim, ...]) -> str:
    return "[" + ", ".join("None" if isinstance(n, SymDim) else str(n) for n in shape) + "]"
