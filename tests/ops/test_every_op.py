"""What must hold for every op of the registry, on its own samples."""

from __future__ import annotations

import dataclasses
import math
import zlib

import numpy as np
import pytest

from graphloss import ops
from graphloss.ir import scalar
from graphloss.ir.dims import Equations
from graphloss.ir.opdef import OpDef, Sample
from graphloss.ir.operator import DERIVATIVES
from graphloss.ir.scalar import arg
from graphloss.ir.tensor import Tensor, apply, using
from graphloss.ir.types import TensorType
from graphloss.ops.registry import all_ops
from tests.numerics import assert_ulp
from tests.ops.at_once import NumpyMode, NumpyTensor
from tests.ops.scalars import FUNCTIONS, evaluate

# `grad` stands for a whole graph until it is differentiated: it has no value of its own to compare.
OPS = {op.name: op for op in all_ops() if op.name not in DERIVATIVES}


def samples_of(op: OpDef) -> list[Sample]:
    assert op.samples is not None, f"{op.name} has no samples"
    rng = np.random.default_rng(zlib.crc32(op.name.encode()))
    return [dataclasses.replace(s, attrs=op.complete(s.attrs)) for s in op.samples(rng)]


def types(s: Sample) -> list[TensorType]:
    return [TensorType(x.dtype.name, x.shape) for x in s.inputs]


def narrowed(s: Sample) -> Sample:
    """The sample with its float64 operands in float32."""
    with np.errstate(over="ignore", under="ignore"):
        return dataclasses.replace(
            s, inputs=tuple(x.astype(np.float32) if x.dtype == np.float64 else x for x in s.inputs)
        )


def close(got: np.ndarray, want: np.ndarray, ulp: float) -> None:
    assert got.dtype == want.dtype
    if got.dtype.kind == "f":
        assert_ulp(got, want, ulp, floor=1.0)
    else:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", OPS)
def test_inferred_type_is_that_of_the_reference(name: str) -> None:
    for s in samples_of(OPS[name]):
        for t in (s, narrowed(s)):
            inferred = OPS[name].infer(types(t), t.attrs, Equations())
            out = OPS[name].reference(t.inputs, t.attrs)
            assert [str(i) for i in inferred] == [str(TensorType(o.dtype.name, o.shape)) for o in out], t


@pytest.mark.parametrize("name", OPS)
def test_reference_neither_changes_nor_keeps_its_operands(name: str) -> None:
    for s in samples_of(OPS[name]):
        before = [x.copy() for x in s.inputs]
        for x in s.inputs:
            x.flags.writeable = False
        out = OPS[name].reference(s.inputs, s.attrs)
        for x, b in zip(s.inputs, before, strict=True):
            np.testing.assert_array_equal(x, b)
        assert all(isinstance(o, np.ndarray) for o in out)


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.scalar])
def test_scalar_expression_is_the_reference(name: str) -> None:
    op = OPS[name]
    for s in samples_of(op):
        for t in (s, narrowed(s)):
            e = op.scalar([arg(i, x.dtype.name) for i, x in enumerate(t.inputs)], t.attrs)
            (want,) = op.reference(t.inputs, t.attrs)
            got = np.broadcast_to(evaluate(e, t.inputs), want.shape)
            close(got, want, max(op.ulp, 2.0))


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.expand])
def test_expansion_is_the_reference(name: str) -> None:
    op = OPS[name]
    for s in samples_of(op):
        for t in (s, narrowed(s)):
            with using(NumpyMode()):
                out = op.expand([NumpyTensor(x) for x in t.inputs], t.attrs)
            for o, want in zip(out, op.reference(t.inputs, t.attrs), strict=True):
                close(o.array, want, max(op.ulp, 2.0))


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.lower])
def test_form_exists(name: str) -> None:
    op = OPS[name]
    for s in samples_of(op):
        out = op.infer(types(s), s.attrs, Equations())
        form = op.lower(types(s), out, s.attrs)
        assert form is not None
        if hasattr(form, "fn"):
            for got, want in zip(
                form.fn(s.inputs, tuple(t.shape for t in out)), op.reference(s.inputs, s.attrs), strict=True
            ):
                close(got, want, op.ulp)


def pull(op: OpDef, s: Sample, cotangents: list[np.ndarray | None]) -> list[np.ndarray | None]:
    with using(NumpyMode()):
        operands = [NumpyTensor(x) for x in s.inputs]
        outputs = [NumpyTensor(o) for o in op.reference(s.inputs, s.attrs)]
        given = [None if g is None else NumpyTensor(g) for g in cotangents]
        found = op.vjp(operands, outputs, given, s.attrs)
        return [None if g is None else g.array for g in found]


def derivative(op: OpDef, s: Sample, g: np.ndarray, which: int) -> np.ndarray:
    """d Σ g·out / d operand, by a symmetric difference of fourth order in float64."""
    x, step = s.inputs[which], 1e-3
    out = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        total = 0.0
        for k, weight in ((-2, 1 / 12), (-1, -8 / 12), (1, 8 / 12), (2, -1 / 12)):
            moved = x.copy()
            moved[i] += k * step
            inputs = tuple(moved if j == which else y for j, y in enumerate(s.inputs))
            total += weight * float(np.sum(g * op.reference(inputs, s.attrs)[0]))
        out[i] = total / step
    return out


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.vjp])
def test_vjp_is_the_derivative(name: str) -> None:
    op = OPS[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for s in samples_of(op):
        out, *rest = op.reference(s.inputs, s.attrs)
        if out.dtype != np.float64:
            with using(NumpyMode()):
                if out.dtype.kind != "f":
                    continue
        g = rng.normal(size=out.shape).astype(out.dtype)
        found = pull(op, s, [g, *(None for _ in rest)])
        assert len(found) == len(s.inputs)
        for i, (x, d) in enumerate(zip(s.inputs, found, strict=True)):
            if x.dtype.kind != "f":
                assert d is None, f"{name}: operand {i} has no derivative"
                continue
            if d is not None:
                assert (d.dtype, d.shape) == (x.dtype, x.shape), f"{name}: operand {i} {d.dtype}{d.shape}"
            if s.differentiable and out.dtype == np.float64:
                want = derivative(op, s, g, i)
                np.testing.assert_allclose(
                    np.zeros_like(x) if d is None else d, want, rtol=2e-7, atol=2e-8, err_msg=f"{name} {s.attrs}"
                )


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.linear])
def test_linear_ops_have_finite_derivatives_anywhere(name: str) -> None:
    op = OPS[name]
    for s in samples_of(op):
        (out,) = op.reference(s.inputs, s.attrs)
        if out.dtype.kind == "f" and out.size:
            for d in pull(op, s, [np.ones(out.shape, out.dtype)]):
                assert d is None or np.isfinite(d).all(), f"{name} {s}"


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.vjp and not op.random])
def test_second_derivative_exists(name: str) -> None:
    """The vjp is written in ops that have a vjp themselves (or say why not)."""
    op = OPS[name]
    s = next((s for s in samples_of(op) if s.differentiable and s.inputs and s.inputs[0].dtype == np.float64), None)
    if s is None:
        return
    seen: list[OpDef] = []

    class Recorder(NumpyMode):
        def apply(self, op: OpDef, inputs: list[Tensor], attrs: dict[str, object]) -> tuple[Tensor, ...]:
            seen.append(op)
            return super().apply(op, inputs, attrs)

    out, *rest = (NumpyTensor(x) for x in op.reference(s.inputs, s.attrs))
    with using(Recorder()):
        g = NumpyTensor(np.ones_like(out.array))
        op.vjp([NumpyTensor(x) for x in s.inputs], [out, *rest], [g, *(None for _ in rest)], s.attrs)
    assert all(o.vjp or o.no_vjp for o in seen)


def test_every_scalar_function_is_known_to_the_evaluator() -> None:
    assert set(FUNCTIONS) | {"cast"} == set(scalar.FUNCTIONS)


def test_every_op_is_documented() -> None:
    assert [n for n, op in OPS.items() if not (op.summary or op.formula)] == []


def test_unbroadcast_sums_over_what_grew() -> None:
    with using(NumpyMode()):
        g = NumpyTensor(np.ones((2, 3, 4)))
        assert ops.unbroadcast(g, NumpyTensor(np.ones((3, 1)))).array.tolist() == [[8.0], [8.0], [8.0]]
        assert ops.unbroadcast(g, NumpyTensor(np.ones(()))).array.item() == 24.0


def test_numbers_take_the_dtype_of_the_tensor() -> None:
    with using(NumpyMode()):
        x = NumpyTensor(np.ones(2, np.float32))
        assert ((2 * x + 1) / 3).type.dtype == "float32"
        assert apply("exp", (x,), {})[0].array == pytest.approx([math.e] * 2)
