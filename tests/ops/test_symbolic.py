"""Each op with unknown dimensions: in a graph, with its derivative, against the reference on numbers."""

from __future__ import annotations

import numpy as np
import pytest

from graphloss.errors import ShapeError
from graphloss.ir import dims
from graphloss.ir.builder import GraphBuilder, Value
from graphloss.ir.dims import symbol
from graphloss.ir.graph import Graph
from graphloss.ir.opdef import OpDef, Sample
from graphloss.ir.tensor import using
from graphloss.ir.types import TensorType
from graphloss.ops.evaluate import bind, evaluate
from tests.ops.test_every_op import OPS, pull, samples_of


def symbolic(s: Sample) -> GraphBuilder:
    """A graph with the operands as feeds; a dimension other than 1 is a symbol of its own."""
    types = {}
    for i, x in enumerate(s.inputs):
        dims = tuple(1 if n == 1 else symbol(f"x{i}.{a}") for a, n in enumerate(x.shape))
        types[f"x{i}"] = TensorType(x.dtype.name, dims)
    return GraphBuilder(Graph("test", tuple(types), (), (), types))


def build(op: OpDef, s: Sample) -> tuple[GraphBuilder, list[Value], list[Value]]:
    builder = symbolic(s)
    inputs = [builder.value(f"x{i}") for i in range(len(s.inputs))]
    with using(builder):
        outputs = builder.apply(op, inputs, s.attrs)
    return builder, inputs, [out for out in outputs if isinstance(out, Value)]


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.inputs and not op.random])
def test_unknown_dimensions(name: str) -> None:
    op = OPS[name]
    for s in samples_of(op):
        if s.edge:
            continue
        builder, inputs, outputs = build(op, s)
        out, *rest = outputs
        found: list[Value | None] = []
        is_float = out.type.dtype in ("float32", "float64")
        if op.vjp and is_float:
            with using(builder):
                seed = builder.apply(OPS["fill"], (), {"shape": out.type.shape, "dtype": out.type.dtype, "value": 2.0})
                found = list(op.vjp(inputs, outputs, [*seed, *(None for _ in rest)], s.attrs))
                for g, x in zip(found, inputs, strict=True):
                    if g is not None:
                        assert len(g.type.shape) == len(x.type.shape)
        graph = builder.finish(fetches=tuple(o.name for o in outputs))
        feeds = {f"x{i}": x for i, x in enumerate(s.inputs)}
        values = evaluate(graph, feeds)
        wanted = op.reference(s.inputs, s.attrs)
        for output, want in zip(outputs, wanted, strict=True):
            np.testing.assert_array_equal(values[output.name], want)
        env = bind(graph, feeds)
        for value, type in graph.types.items():
            assert values[value].shape == tuple(dims.evaluate(d, env) for d in type.shape), f"{value}: {type}"
            assert values[value].dtype.name == type.dtype
        if found:
            numbers = pull(op, s, [np.full_like(wanted[0], 2.0), *(None for _ in rest)])
            for g, n in zip(found, numbers, strict=True):
                if g is not None and n is not None:
                    np.testing.assert_allclose(values[g.name], n, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.expand])
def test_expansion_with_unknown_dimensions(name: str) -> None:
    op = OPS[name]
    assert op.expand
    for s in samples_of(op):
        if s.edge:
            continue
        builder = symbolic(s)
        with using(builder):
            (out,) = op.expand([builder.value(f"x{i}") for i in range(len(s.inputs))], s.attrs)
        assert isinstance(out, Value)
        values = evaluate(builder.finish(), {f"x{i}": x for i, x in enumerate(s.inputs)})
        (want,) = op.reference(s.inputs, s.attrs)
        np.testing.assert_allclose(values[out.name], want, rtol=1e-12, atol=1e-12)


def test_two_unknown_dimensions_that_must_agree_are_checked_in_the_run() -> None:
    s = Sample((np.ones((3, 2)), np.ones((3, 2))))
    builder, _, (out,) = build(OPS["add"], s)
    graph = builder.finish()
    assert evaluate(graph, {"x0": np.ones((3, 2)), "x1": np.ones((3, 2))})[out.name].shape == (3, 2)
    with pytest.raises(ShapeError, match=r"broadcast: .* does not hold"):
        evaluate(graph, {"x0": np.ones((3, 2)), "x1": np.ones((3, 1))})
