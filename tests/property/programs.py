"""Random programs: small, of the ops that losses are made of, with inputs from small to saturating."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss import ops
from graphloss.errors import ShapeError
from graphloss.ir.data import data
from graphloss.ir.defaults import program_guard
from graphloss.ir.graph import Graph
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor
from graphloss.ops.gradient import gradients

Array = npt.NDArray[Any]
SHAPES = ((3,), (2, 3), (1, 3), (2, 1), (2, 3, 2), (3, 3), ())


def _positive(x: Tensor) -> Tensor:
    return ops.softplus(x) + 0.5


UNARY: tuple[Callable[[Tensor], Tensor], ...] = (
    ops.exp, ops.sigmoid, ops.tanh, ops.softplus, ops.neg, ops.abs, ops.square, ops.expm1,
    lambda x: ops.log(_positive(x)), lambda x: ops.sqrt(_positive(x)), lambda x: ops.log1p(ops.square(x)),
    lambda x: 1.0 - ops.sigmoid(x), lambda x: ops.log(ops.sigmoid(x)), lambda x: ops.log(1.0 + ops.exp(x)),
    lambda x: 1.0 / (1.0 + ops.exp(-x)), lambda x: ops.log(1.0 - ops.sigmoid(x)),
    lambda x: 1.0 - ops.square(ops.tanh(x)),
    lambda x: x * 0.5, lambda x: x - 1.0, lambda x: 2.0 - x, lambda x: x / 4.0, lambda x: ops.maximum(x, 0.25),
    ops.relu,
)  # fmt: skip
BINARY: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    ops.add, ops.sub, ops.mul, ops.maximum, ops.minimum, lambda x, y: x / _positive(y),
    lambda x, y: ops.where(ops.greater(x, y), x, y), lambda x, y: ops.log(ops.exp(x) + ops.exp(y)),
)  # fmt: skip
ROW: tuple[Callable[[Tensor, int], Tensor], ...] = (
    ops.softmax, ops.log_softmax, lambda x, a: ops.log(ops.softmax(x, a)), lambda x, a: ops.logsumexp(x, a),
    lambda x, a: ops.log(ops.reduce_sum(ops.exp(x), a)), lambda x, a: ops.log(ops.reduce_mean(ops.exp(x), a)),
    lambda x, a: ops.exp(x) / ops.reduce_sum(ops.exp(x), a, True), lambda x, a: ops.reduce_sum(x, a), lambda x,
    a: ops.reduce_mean(x, a, True),
    lambda x, a: ops.reduce_max(x, a), lambda x, a: x - ops.reduce_max(x, a, True),
    lambda x, a: -ops.reduce_sum(ops.softmax(x, a) * ops.log(ops.softmax(x, a)), a),
)  # fmt: skip


def random_program(seed: int) -> tuple[Graph, dict[str, Array]]:
    """A float64 graph with some fetches (a gradient among them, every second time), and feeds for it."""
    rng = np.random.default_rng(seed)
    main = Program()
    feeds: dict[str, Array] = {}
    scale = float(rng.choice([1.0, 3.0, 30.0, 200.0], p=[0.5, 0.2, 0.2, 0.1]))
    with program_guard(main):
        pool: list[Tensor] = []
        for i in range(int(rng.integers(1, 3))):
            shape = SHAPES[rng.integers(len(SHAPES))]
            feeds[f"x{i}"] = np.asarray(rng.normal(size=shape) * scale)
            pool.append(data(f"x{i}", list(shape), "float64"))
        inputs = list(pool)
        for _ in range(int(rng.integers(2, 7))):
            made = _step(rng, pool)
            if made is not None:
                pool.append(made)
        fetches = [pool[-1], pool[int(rng.integers(len(pool)))]]
        if seed % 2:
            fetches += [g for g in gradients([ops.reduce_sum(pool[-1])], inputs) if g is not None]
    graph = main.snapshot(list(dict.fromkeys(f.name for f in fetches)))  # type: ignore[attr-defined]
    return graph, {n: feeds[n] for n in graph.feeds}


def _step(rng: np.random.Generator, pool: list[Tensor]) -> Tensor | None:
    x = pool[int(rng.integers(len(pool)))]
    kind = rng.integers(8)
    if kind < 3:
        return UNARY[int(rng.integers(len(UNARY)))](x)
    if kind < 5:
        try:
            return BINARY[int(rng.integers(len(BINARY)))](x, pool[int(rng.integers(len(pool)))])
        except ShapeError:
            return None
    if not x.type.rank:
        return None
    if kind < 7:
        return ROW[int(rng.integers(len(ROW)))](x, int(rng.integers(x.type.rank)))
    perm = [int(p) for p in rng.permutation(x.type.rank)]
    return ops.transpose(x, perm) if rng.integers(2) else ops.unsqueeze(x, int(rng.integers(x.type.rank + 1)))
