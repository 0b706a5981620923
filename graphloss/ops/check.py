"""The op that checks data values against the interval that a loss is defined on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from graphloss.errors import AttrError, LabelError, ShapeError, ValueRangeError
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Within
from graphloss.ir.location import Location
from graphloss.ir.opdef import Array, Attrs, AttrSpec, Sample, Types
from graphloss.ir.tensor import Tensor, apply
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.ops.define import define

__all__ = ["check_range"]

CHECK_RANGE: Final = "check_range"


def value_error(
    variable: str,
    position: Sequence[int],
    value: float,
    low: float,
    high: float,
    op: str | None = None,
    where: Location | None = None,
) -> ValueRangeError:
    """The error of a value of `variable` at `position` that is not in [low, high]."""
    place = f"[{', '.join(map(str, position))}]" if position else ""
    row = f"row {position[0]}: " if position else ""
    short = np.float32(value)
    text = str(short if short == value else value)
    return ValueRangeError(
        f"{row}{variable}{place} = {text} is out of range", expected=f"a value in {interval_text(low, high)}", got=text,
        op=op, where=where, hint="the loss is defined for such values only; without check_values nobody looks",
    )  # fmt: skip


def range_error(
    variable: str, position: Sequence[int], value: int, expected: str, op: str | None = None,
    where: Location | None = None, *, sample: Sequence[int] | None = None,
) -> LabelError:  # fmt: skip
    """The error of a label, a length or an offset of `variable` at `position`, where `expected` should stand.

    `sample` is the number of a sample and a step in it; then `position` may be ().
    """
    place = f"[{', '.join(map(str, position))}]" if position else ""
    row = f"row {position[0]}: " if position else ""
    if sample is not None:
        row = f"sample {sample[0]}, position {sample[1]}: "
    return LabelError(
        f"{row}{variable}{place} = {value} is out of range", expected=expected, got=str(value), op=op, where=where,
        variable=variable,
    )  # fmt: skip


def refuse(variable: str, values: Array, wrong: Array, expected: str) -> None:
    """The error of the first of `values` that is wrong, if there is one."""
    if wrong.any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        raise range_error(variable, place, int(values[place]), expected)


def refuse_step(variable: str, values: Array, wrong: Array, expected: str, *, packed: bool) -> None:
    """The error of the first of `values` [samples, steps] that is wrong; the variable holds them so, or packed."""
    if wrong.any():
        n, step = np.argwhere(wrong)[0].tolist()
        place = () if packed else (n, step)
        raise range_error(variable, place, int(values[n, step]), expected, sample=(n, step))


def interval_text(low: float, high: float) -> str:
    left = f"({low:g}" if low == -math.inf else f"[{low:g}"
    return f"{left}, {high:g}{')' if high == math.inf else ']'}"


def _infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
    x, *where = types
    rules.expect(x, "float")
    if len(where) > 1:
        raise ShapeError("check_range takes a tensor and at most one mask", "1 or 2 operands", len(types))
    for mask in where:
        rules.expect(mask, "bool", "the mask")
        rules.equal_shapes(x.shape, mask.shape, equations, CHECK_RANGE)
    if not attrs["low"] <= attrs["high"]:
        raise AttrError("check_range: low is above high", f"at most {attrs['high']:g}", attrs["low"])
    return (x,)


def _checked(x: Array, *where: Array, low: float, high: float) -> Array:
    bad = (x < low) | (x > high)  # false for NaN
    for mask in where:
        bad &= mask
    if bad.any():
        place = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise value_error("x", place, float(x[place]), low, high)
    return x.copy()


define(
    CHECK_RANGE, ("x", "where"), _infer, _checked, attrs=(AttrSpec("low", "float"), AttrSpec("high", "float")),
    variadic=True, linear=True, ulp=0,
    lower=lambda types, out, attrs: Within(attrs["low"], attrs["high"]),
    vjp=lambda operands, out, g, attrs: (g[0], *(None for _ in operands[1:])),
    samples=lambda rng: [
        Sample((rng.uniform(0, 1, (3, 4)),), {"low": 0.0, "high": 1.0}),
        Sample((np.array([0.25, 2.0, 0.75]), np.array([True, False, True])), {"low": 0.0, "high": 1.0}),
        Sample((np.array([0.0, np.inf, np.nan]),), {"low": 0.0, "high": np.inf}, edge=True, differentiable=False),
        Sample((np.zeros((0, 2)),), {"low": 0.0, "high": 1.0}),
    ],
    summary="The operand itself, after a check that it lies in [low, high] where the optional mask holds; NaN passes.",
    formula="x",
)  # fmt: skip


def check_range(x: Tensor, low: float, high: float, where: Tensor | None = None) -> Tensor:
    """x itself; with `CompileOptions.check_values` its values outside [low, high] are an error of the run.

    Only values where the mask `where` is true count. NaN passes: it is seen in the loss of its row.
    """
    return apply(CHECK_RANGE, (x,) if where is None else (x, where), {"low": low, "high": high})[0]
