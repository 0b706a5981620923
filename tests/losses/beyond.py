"""What the tests of `graphloss.losses` share: cases against NumPy references, numeric gradients, kernels counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphloss as gl
from tests.losses.runners import RUNNERS, Array, Build
from tests.schedule.test_plan import big

Arrays = Mapping[str, Array]
Reference = Callable[..., Any]
Inputs = Callable[[np.random.Generator], dict[str, Array]]

VALUE = {"float32": 1e-5, "float64": 1e-12}
GRADIENT = {"float32": 1e-5, "float64": 1e-8}


@dataclass(frozen=True)
class Case:
    """`build(**inputs, reduction="none")` is to be `reference(**inputs)`, a textbook formula in float64."""

    name: str
    build: Build
    reference: Reference
    inputs: Inputs
    by: tuple[str, ...] = ("x",)

    @property
    def id(self) -> str:
        return self.name


def as_dtype(arrays: Arrays, dtype: str) -> dict[str, Array]:
    return {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in arrays.items()}


def numeric_gradient(total: Callable[[Array], float], x: Array, step: float = 1e-3) -> Array:
    """The derivative of `total` by each element of `x`, by central differences of fourth order."""
    x = x.astype(np.float64)
    grad = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        at = []
        for k in (-2, -1, 1, 2):
            moved = x.copy()
            moved[i] += k * step
            at.append(total(moved))
        grad[i] = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)
    return grad


def check_case(case: Case, runner: str, dtype: str, rng: np.random.Generator) -> None:
    """Value of each element and the gradient of their sum; then the mean and the sum."""
    arrays = as_dtype(case.inputs(rng), dtype)
    exact = as_dtype(arrays, "float64")
    want = np.asarray(case.reference(**exact))
    run = RUNNERS[runner]
    value, grads = run(lambda **i: case.build(**i, reduction="none"), arrays, case.by)
    assert value.dtype == dtype
    assert value.shape == want.shape
    np.testing.assert_allclose(value, want, rtol=VALUE[dtype], atol=VALUE[dtype])
    for name, got in zip(case.by, grads, strict=True):

        def total(a: Array, name: str = name) -> float:
            return float(np.sum(case.reference(**{**exact, name: a})))

        expected = numeric_gradient(total, exact[name])
        assert got.dtype == dtype
        scale = max(1.0, float(np.abs(expected).max()))
        tolerance = GRADIENT[dtype]
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * scale, err_msg=f"by {name}")
    for reduction, number in (("sum", want.sum()), ("mean", want.mean())):
        value, _ = run(lambda reduction=reduction, **i: case.build(**i, reduction=reduction), arrays, ())
        assert value.shape == ()
        np.testing.assert_allclose(value, number, rtol=VALUE[dtype], atol=VALUE[dtype] * max(1, want.size))


def tensor_kernels(build: Build, inputs: Mapping[str, tuple[str, Sequence[int | None]]], by: Sequence[str]) -> int:
    """How many kernels walk over a tensor, for the value of a loss and its gradients together.

    A scalar that is left when partial results are combined is no tensor; nor is an input of labels, over which the
    rows that count are counted.
    """
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        variables = {}
        for name, (dtype, shape) in inputs.items():
            variables[name] = gl.data(name, shape, dtype)
            variables[name].stop_gradient = name not in by
        loss = build(**variables)
        grads = gl.gradients([loss], [variables[n] for n in by])
    plan = gl.explain(main, fetch_list=[loss, *grads]).code.plan
    return sum(any(b.dtype.startswith("float") and b.role != "partial" for b in k.buffers) for k in big(plan))


def finite(value: Array, grads: Sequence[Array]) -> bool:
    return bool(np.all(np.isfinite(value))) and all(bool(np.all(np.isfinite(g))) for g in grads)
