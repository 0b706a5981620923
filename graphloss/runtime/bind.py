"""Checking the arrays of a run against the program, and binding its symbolic dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphloss.errors import ShapeError
from graphloss.ir import dims
from graphloss.ir.dims import Dim, Equation, SymDim
from graphloss.ir.types import TensorType


def bind(
    types: Mapping[str, TensorType], shapes: Sequence[tuple[str, tuple[int, ...]]], equations: Sequence[Equation]
) -> dict[str, int]:
    """Values of all symbols; ShapeError where a known dimension or an equation does not hold."""
    env: dict[str, int] = {}
    owner: dict[str, tuple[str, int]] = {}
    for name, shape in shapes:
        t = types[name]
        for axis, (want, have) in enumerate(zip(t.shape, shape, strict=True)):
            if isinstance(want, int):
                if want != have:
                    raise ShapeError(
                        f"the value of {name!r} has another size at axis {axis} than its variable",
                        expected=f"{want}, of shape {_shown(t.shape)}",
                        got=f"{have}, of shape {list(shape)}",
                        hint="a size that changes from run to run is declared as None",
                        variable=name,
                    )
            else:
                found = dims.shifted(want)
                if found is not None and have < found[1]:
                    raise ShapeError(
                        f"the value of {name!r} is too short at axis {axis}",
                        expected=f"at least {found[1]}",
                        got=f"{have}, of shape {list(shape)}",
                        variable=name,
                    )
                if found is not None and found[0] not in env:
                    env[found[0]] = have - found[1]
                    owner[found[0]] = (name, axis)
    for name, shape in shapes:
        for axis, (want, have) in enumerate(zip(types[name].shape, shape, strict=True)):
            if isinstance(want, SymDim):
                value = _value(want, env)
                if value is not None and value != have:
                    raise ShapeError(
                        f"the value of {name!r} does not fit another one at axis {axis}",
                        expected=f"{value}{_because(want, owner)}",
                        got=f"{have}, of shape {list(shape)}",
                        hint="sizes may change from run to run, but only together",
                    )
    for e in equations:
        left, right = _value(e.left, env), _value(e.right, env)
        if left is not None and right is not None and left != right:
            raise ShapeError(
                f"{e.why or 'an op'} needs equal dimensions",
                expected=f"{e.left} == {e.right}",
                got=f"{left}{_because(e.left, owner)} and {right}{_because(e.right, owner)}",
                hint="sizes may change from run to run, but only together",
            )
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
