"""Constants: an elementwise op on numbers is a number, computed by the op's own reference."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from graphloss import dtypes, ops
from graphloss.ir.dims import Equations
from graphloss.ir.opdef import all_ops, get
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule

_X: Final = {"x": "f32[N, C]"}


def _fold(m: Match) -> Result:
    numbers = [m.graph.number_of(n) for n in m.op.inputs]
    if any(n is None for n in numbers):
        return None
    definition, types = get(m.op.type), [m.graph.type_of(n) for n in m.op.inputs]
    (out,) = definition.infer(types, m.op.attr, Equations())
    if dtypes.is_half(out.dtype):
        return None  # constants are none
    arrays = [np.asarray(n, t.dtype) for n, t in zip(numbers, types, strict=True)]
    value = definition.reference(arrays, m.op.attr)[0].item()
    if not math.isfinite(value):
        return None  # it stays where the user wrote it, for whoever looks for its cause
    return ops.fill(out.shape, value, out.dtype)


RULES: Final = (
    Rule(
        name="number", formula="f(c, d) -> the number that it is", why="nothing to compute in a run", numerics="exact",
        roots=tuple(o.name for o in all_ops() if o.scalar is not None and o.inputs), rewrite=_fold,
        fires=(
            Example(_X, lambda x: x + (op.sqrt(op.fill(shape=(), dtype="float64", value=4.0)) * 3.0),
                lambda x: x + 6.0),
        ),
        stays=(
            Example(_X, lambda x: x * 0.0), Example(_X, lambda x: x - x),
            Example(_X, lambda x: x + op.log(op.fill(shape=(), dtype="float32", value=0.0))),
        ),
    ),
)  # fmt: skip
