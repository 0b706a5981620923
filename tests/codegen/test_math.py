"""The math library against 80-bit references, on the host and on lesser targets."""

from __future__ import annotations

import numpy as np
import pytest

from graphloss.codegen.math import FUNCTIONS
from graphloss.codegen.math.coefficients import COEFFICIENTS
from graphloss.codegen.math.remez import fit, tasks
from tests.codegen.harness import Array, around, compiled, specials, stratified, ulps, uniform

LEVELS = ("host", "avx2", "sse2")
DTYPES = ("float32", "float64")


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


# function: (reference, worst ULP in float32, in float64)
REFERENCES = {
    "exp": (np.exp, 1.05, 1.05),
    "exp2": (np.exp2, 1.3, 1.4),
    "expm1": (np.expm1, 1.7, 2.3),
    "log": (np.log, 0.84, 0.82),
    "log1p": (np.log1p, 0.88, 0.88),
    "sigmoid": (_sigmoid, 2.4, 2.2),
    "softplus": (_softplus, 3.0, 5.4),
    "tanh": (np.tanh, 1.4, 1.4),
    "sqrt": (np.sqrt, 0.5, 0.5),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1.5, 1.5),
    "reciprocal": (lambda x: 1 / x, 0.5, 0.5),
}


def samples(dtype: str) -> Array:
    top = 110.0 if dtype == "float32" else 750.0
    parts = [stratified(dtype, 8), specials(dtype), uniform(dtype, -2, 2, 20000), uniform(dtype, -top, top, 20000)]
    return np.concatenate([*parts, uniform(dtype, 0.6, 1.6, 10000), *(around(dtype, c, 200) for c in (1.0, -1.0, 2.0))])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", REFERENCES)
def test_accuracy(function: str, dtype: str, level: str) -> None:
    x = samples(dtype)
    reference, *bounds = REFERENCES[function]
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.longdouble))
    got = compiled(function, dtype, level=level)(x)
    error = ulps(got, want)
    worst = int(error.argmax())
    assert error[worst] <= bounds[DTYPES.index(dtype)], (
        f"{function}({x[worst]!r}) = {got[worst]!r}, not {want[worst]!r}"
    )
    zero = (got == 0) & (want == 0)
    assert np.array_equal(np.signbit(got[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("function", "reference"),
    [("floor", np.floor), ("ceil", np.ceil), ("round", np.rint), ("trunc", np.trunc), ("abs", np.abs),
     ("sign", lambda x: np.where(x == 0, x, np.sign(x)))],
)  # fmt: skip
def test_exact_functions(function: str, reference: object, dtype: str, level: str) -> None:
    x = np.concatenate([samples(dtype), np.arange(-20, 20).astype(dtype) / 2, around(dtype, 2.0**23, 30)])
    want = reference(x)  # type: ignore[operator]
    got = compiled(function, dtype, level=level)(x)
    assert np.array_equal(got, want, equal_nan=True)
    number = ~np.isnan(want)
    assert np.array_equal(np.signbit(got)[number], np.signbit(want)[number])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("function", "reference"), [("min", np.minimum), ("max", np.maximum)])
def test_min_max_keep_nan(function: str, reference: np.ufunc, dtype: str, level: str) -> None:
    values = specials(dtype)
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    assert np.array_equal(compiled(function, dtype, 2, level=level)(x, y), reference(x, y), equal_nan=True)


@pytest.mark.parametrize("width", [1, 4, 8, 32])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_width_gives_the_same_bits(dtype: str, width: int) -> None:
    x = np.concatenate([uniform(dtype, -5, 5, 300), specials(dtype)])
    for function in ("exp", "log", "tanh"):
        want = compiled(function, dtype)(x)
        got = compiled(function, dtype, width=width)(x)
        assert np.array_equal(got, want, equal_nan=True), function


def test_every_function_has_a_test() -> None:
    others = {"floor", "ceil", "round", "trunc", "abs", "sign", "min", "max"}
    assert set(REFERENCES) | others == FUNCTIONS


def test_coefficients_are_what_the_generator_makes() -> None:
    chosen = [task for task in tasks() if (task.name, task.dtype) in {("exp", "float32"), ("tanh", "float32")}]
    assert len(chosen) == 2
    for task in chosen:
        assert tuple(fit(task)[0]) == COEFFICIENTS[task.name, task.dtype]
    assert {(task.name, task.dtype) for task in tasks()} == set(COEFFICIENTS)
