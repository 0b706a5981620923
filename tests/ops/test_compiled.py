"""Each op compiled by itself, with unknown dimensions, against its reference."""

from __future__ import annotations

import numpy as np
import pytest

from graphloss.ir.builder import GraphBuilder, Value
from graphloss.ir.dims import symbol
from graphloss.ir.graph import Graph
from graphloss.ir.opdef import OpDef, Sample
from graphloss.ir.tensor import apply, using
from graphloss.ir.types import TensorType
from graphloss.options import CompileOptions
from graphloss.runtime.compile import compile_graph
from graphloss.runtime.compiled import Compiled
from tests.ops.test_every_op import OPS, close, narrowed, pull, samples_of

OPTIONS = CompileOptions(threads=1, cache=False)


def compiled(op: OpDef, samples: list[Sample], *, gradient: bool = False) -> list[list[np.ndarray | None]]:
    """The op, or its vjp for a cotangent of twos, on each sample, all in one graph."""
    types = {
        f"s{k}.x{i}": TensorType(
            x.dtype.name, tuple(1 if n == 1 else symbol(f"s{k}.x{i}.{a}") for a, n in enumerate(x.shape))
        )
        for k, s in enumerate(samples)
        for i, x in enumerate(s.inputs)
    }
    builder = GraphBuilder(Graph("test", tuple(types), (), (), types))
    rows: list[list[Value | None]] = []
    with using(builder):
        for k, s in enumerate(samples):
            row = list(builder.apply(op, [builder.value(f"s{k}.x{i}") for i in range(len(s.inputs))], s.attrs))
            if gradient:
                outputs = list(row)
                fill = {"shape": outputs[0].type.shape, "dtype": outputs[0].type.dtype, "value": 2.0}
                row = op.vjp(
                    [builder.value(f"s{k}.x{i}") for i in range(len(s.inputs))],
                    outputs,
                    [apply("fill", (), fill)[0], *(None for _ in outputs[1:])],
                    s.attrs,
                )
            rows.append(row)
    fetches = list(dict.fromkeys(v.name for row in rows for v in row if v is not None))
    graph = builder.finish(fetches=tuple(fetches))
    # as a program's snapshot is: dimensions that must agree have one name
    one_name = {n: t.with_shape(tuple(map(builder.equations.canonical, t.shape))) for n, t in graph.types.items()}
    code = compile_graph(graph.replace(types=one_name), OPTIONS)
    results = Compiled(code, OPTIONS).run([x for s in samples for x in s.inputs])
    values = dict(zip(fetches, results, strict=True))
    return [[None if v is None else values[v.name] for v in row] for row in rows]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPS)
def test_compiled_is_the_reference(name: str, dtype: str) -> None:
    op = OPS[name]
    samples = samples_of(op)
    if dtype == "float32":
        wide, samples = samples, [narrowed(s) for s in samples]
        if all(x.dtype.kind != "f" for s in wide for x in s.inputs):
            return  # nothing to narrow
    for s, found in zip(samples, compiled(op, samples), strict=True):
        for got, want in zip(found, op.reference(s.inputs, s.attrs), strict=True):
            close(got, want, max(2 * op.ulp, 4.0))


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.vjp and not op.random])
def test_compiled_vjp_is_the_vjp_of_the_reference(name: str) -> None:
    op = OPS[name]
    samples = [s for s in samples_of(op) if not s.edge and op.reference(s.inputs, s.attrs)[0].dtype.kind == "f"]
    if not any(x.dtype.kind == "f" for s in samples for x in s.inputs):
        return
    for s, found in zip(samples, compiled(op, samples, gradient=True), strict=True):
        out, *rest = op.reference(s.inputs, s.attrs)
        for got, want in zip(found, pull(op, s, [np.full_like(out, 2.0), *(None for _ in rest)]), strict=True):
            assert (got is None) == (want is None)
            if got is not None:
                assert got.dtype == want.dtype
                tolerance = 1e-11 if got.dtype == np.float64 else 1e-5
                np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
