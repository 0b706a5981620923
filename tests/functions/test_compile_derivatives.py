"""`compile`: derivatives by any argument, Hessian products and diagonals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import (
    GraphlossError,
)

F, L = gl.nn.functional, gl.layers
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4))


@gl.compile
def quartic(x: Any, y: Any) -> Any:
    return L.reduce_sum(x**4 * y + L.reduce_sum(x) * y)


def hessian(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of Σ x⁴y + Σx Σy with respect to (x, y)."""
    n = len(x)
    out = np.zeros((2 * n, 2 * n))
    out[:n, :n] = np.diag(12 * x**2 * y)
    out[:n, n:] = np.diag(4 * x**3) + 1.0
    out[n:, :n] = out[:n, n:].T
    return out


def test_wrt_by_position_name_and_tuple() -> None:
    x, y = X[0], Y[0]
    gx, gy = 4 * x**3 * y + y.sum(), x**4 + x.sum()
    for wrt, want in ((0, gx), ("x", gx), (1, gy), (-1, gy), ("y", gy)):
        value, got = quartic.value_and_grad(wrt=wrt)(x, y)
        np.testing.assert_allclose(value, [np.sum(x**4 * y) + x.sum() * y.sum()], rtol=1e-12)
        np.testing.assert_allclose(got, want, rtol=1e-12)
    both = quartic.grad(wrt=("y", 0))(x, y)
    assert isinstance(both, tuple)
    np.testing.assert_allclose(both[0], gy, rtol=1e-12)
    np.testing.assert_allclose(both[1], gx, rtol=1e-12)


def test_hessian_products() -> None:
    x, y, u, v = X[0], Y[0], X[1], Y[1]
    h = hessian(x, y)
    np.testing.assert_allclose(quartic.hessp()(u, x, y), h[:4, :4] @ u, rtol=1e-12)
    np.testing.assert_allclose(quartic.hessp(wrt="x", v=u)(x, y), h[:4, :4] @ u, rtol=1e-12)
    a, b = quartic.hessp(wrt=("x", "y"))((u, v), x, y)
    np.testing.assert_allclose(np.concatenate([a, b]), h @ np.concatenate([u, v]), rtol=1e-12)
    np.testing.assert_array_equal(quartic.hessp(wrt="y")(v, x, y), 0.0)
    with pytest.raises(GraphlossError, match="'v'"):
        quartic.hessp()(u[:2], x, y)


def test_a_parameter_called_v() -> None:
    f = gl.compile(lambda v: L.reduce_sum(v**3))
    np.testing.assert_allclose(f.hessp()(Y[0], X[0]), 6 * X[0] * Y[0], rtol=1e-13)


def test_hessian_diag_and_all_at_once() -> None:
    x, y = X[0], Y[0]
    np.testing.assert_allclose(quartic.hessian_diag()(x, y), 12 * x**2 * y, rtol=1e-12)
    value, (gx, gy), (hx, hy) = quartic.value_grad_hessian_diag(wrt=(0, 1))(x, y)
    np.testing.assert_allclose(value, quartic(x, y))
    np.testing.assert_allclose(gx, quartic.grad()(x, y))
    np.testing.assert_allclose(gy, quartic.grad(1)(x, y))
    np.testing.assert_allclose(hx, 12 * x**2 * y, rtol=1e-12)
    np.testing.assert_array_equal(hy, 0.0)


def test_no_dependence_gives_zeros() -> None:
    f = gl.compile(lambda x, y: L.reduce_sum(L.square(x)))
    for derivative in (f.grad(wrt="y"), f.hessian_diag(wrt="y"), f.hessp(wrt="y", v=Y)):
        np.testing.assert_array_equal(derivative(X, Y), np.zeros_like(Y))
