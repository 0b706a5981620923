"""The reference evaluation: each op by its NumPy reference, nothing rewritten, nothing compiled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphloss.errors import GraphlossError, ShapeError, UnknownVariable
from graphloss.ir import dims
from graphloss.ir.dims import Dim, SymDim
from graphloss.ir.graph import Graph
from graphloss.ir.opdef import Array, get


def bind(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, int]:
    """The value of each symbol that the shapes of `feeds` determine."""
    env: dict[str, int] = {}
    for name in (*graph.feeds, *graph.states):
        if name not in feeds:
            continue
        declared, shape = graph.types[name].shape, feeds[name].shape
        if len(declared) != len(shape):
            raise ShapeError(f"{name} has the wrong rank", f"{graph.types[name]}", f"shape {shape}")
        _learn(declared, shape, env)
    for e in graph.equations:
        known = dims.symbols(e.left) | dims.symbols(e.right)
        if known <= env.keys() and dims.evaluate(e.left, env) != dims.evaluate(e.right, env):
            raise ShapeError(f"{e.why}: {e} does not hold", dims.evaluate(e.left, env), dims.evaluate(e.right, env))
    return env


def _learn(declared: tuple[Dim, ...], shape: tuple[int, ...], env: dict[str, int]) -> None:
    """Adds to `env` the symbols that an array of this shape determines."""
    for d, n in zip(declared, shape, strict=True):
        found = dims.shifted(d)
        if found is not None:
            env.setdefault(found[0], n - found[1])


def resolve(attrs: Mapping[str, object], env: Mapping[str, int]) -> dict[str, object]:
    """Attributes with each symbolic dimension replaced by its number."""

    def number(value: object) -> object:
        if isinstance(value, SymDim):
            return dims.evaluate(value, env)
        return tuple(number(v) for v in value) if isinstance(value, tuple) else value

    return {k: number(v) for k, v in attrs.items()}


def evaluate(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Every value of `graph` by name, for arrays of its feeds and states; without what needs a feed not given."""
    values: dict[str, Array] = {n: np.asarray(feeds[n]) for n in (*graph.feeds, *graph.states) if n in feeds}
    for name in feeds:
        if name not in values:
            raise UnknownVariable(name, (*graph.feeds, *graph.states))
    env = bind(graph, values)
    for op in graph.ops:
        if all(n in values for n in op.inputs):
            what = get(op.type)
            try:
                attrs = op.attr if what.measures else resolve(op.attr, env)
                out = what.reference([values[n] for n in op.inputs], attrs)
            except GraphlossError as error:
                raise error.with_op(op.type, op.loc) from None
            values.update(zip(op.outputs, out, strict=True))
            if what.measures:
                for name in op.outputs:
                    _learn(graph.types[name].shape, values[name].shape, env)
    return values
