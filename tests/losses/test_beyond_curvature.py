"""hessian_diag of the further losses against second derivatives in mpmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

import graphloss as gl
from graphloss import losses
from graphloss.errors import UnsupportedError
from tests.losses.runners import Array, Build

Scalar = Callable[[Any, Any], Any]
Row = Callable[[list[Any], int], Any]


def curvature(build: Build, x: Array, y: Array) -> Array:
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        a, b = gl.data("x", x.shape, x.dtype), gl.data("y", y.shape, y.dtype)
        a.stop_gradient = False
        second = gl.hessian_diag(build(a, b), a)
    (value,) = gl.Executor().run(main, feed={"x": x, "y": y}, fetch_list=[second])
    return np.asarray(value)


def focal(x: Any, y: Any) -> Any:
    p = 1 / (1 + mpmath.exp(-x))
    return -(y * (1 - p) ** 2 * mpmath.log(p) / 4 + (1 - y) * 3 * p**2 * mpmath.log(1 - p) / 4)


def tweedie(x: Any, y: Any) -> Any:
    return 2 * (-4 * mpmath.sqrt(y) + 2 * y / mpmath.sqrt(x) + 2 * mpmath.sqrt(x))


ELEMENTS: dict[str, tuple[Build, Scalar]] = {
    "focal": (lambda x, y: losses.sigmoid_focal_loss(x, y, reduction="sum"), focal),
    "quantile": (lambda x, y: losses.quantile_loss(x, y, 0.9, "sum"), lambda x, y: 0 * x),
    "expectile": (
        lambda x, y: losses.expectile_loss(x, y, 0.75, "sum"), lambda x, y: (x - y) ** 2 * (3 if y > x else 1) / 4,
    ),
    "log-cosh": (lambda x, y: losses.log_cosh_loss(x, y, "sum"), lambda x, y: mpmath.log(mpmath.cosh(x - y))),
    "MAPE": (lambda x, y: losses.mape_loss(x, y, reduction="sum"), lambda x, y: abs(x - y) / abs(y)),
    "MSLE": (
        lambda x, y: losses.msle_loss(x, y, "sum"), lambda x, y: (mpmath.log(1 + x) - mpmath.log(1 + y)) ** 2,
    ),
    "Gamma": (lambda x, y: losses.gamma_deviance_loss(x, y, "sum"), lambda x, y: 2 * (mpmath.log(x / y) + y / x - 1)),
    "Poisson": (
        lambda x, y: losses.tweedie_deviance_loss(x, y, 1.0, "sum"), lambda x, y: 2 * (y * mpmath.log(y / x) - y + x),
    ),
    "Tweedie": (lambda x, y: losses.tweedie_deviance_loss(x, y, 1.5, "sum"), tweedie),
    "DPO": (
        lambda x, y: losses.dpo_loss(x, y, y, y, 0.5, reduction="sum"),
        lambda x, y: mpmath.log(1 + mpmath.exp(-(x - y) / 2)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTS)
def test_of_one_element(name: str, rng: np.random.Generator) -> None:
    build, formula = ELEMENTS[name]
    x = rng.uniform(0.3, 3, 7)
    y = rng.integers(0, 2, 7).astype(float) if name == "focal" else x + rng.choice([-0.2, 0.7], 7)
    with mpmath.workdps(50):
        want = [mpmath.diff(lambda u, t=t: formula(u, mpmath.mpf(float(t))), mpmath.mpf(float(s)), 2)
                for s, t in zip(x, y, strict=True)]  # fmt: skip
    np.testing.assert_allclose(curvature(build, x, y), np.array(want, float), rtol=1e-10, atol=1e-10)


def log_softmax(z: list[Any], y: int) -> Any:
    return z[y] - mpmath.log(sum(mpmath.exp(v) for v in z))


def changed(z: list[Any], y: int, value: Any) -> list[Any]:
    return [value if i == y else v for i, v in enumerate(z)]


ROWS: dict[str, tuple[Build, Row]] = {
    "focal": (
        lambda x, y: losses.softmax_focal_loss(x, y, reduction="sum"),
        lambda z, y: -((1 - mpmath.exp(log_softmax(z, y))) ** 2) * log_softmax(z, y),
    ),
    "generalised": (
        lambda x, y: losses.generalized_cross_entropy(x, y, 0.5, reduction="sum"),
        lambda z, y: 2 * (1 - mpmath.sqrt(mpmath.exp(log_softmax(z, y)))),
    ),
    "Poly-1": (
        lambda x, y: losses.poly1_cross_entropy(x, y, reduction="sum"),
        lambda z, y: 1 - mpmath.exp(log_softmax(z, y)) - log_softmax(z, y),
    ),
    "CE with z-loss": (
        lambda x, y: losses.capped_cross_entropy(x, y, 0.25, reduction="sum"),
        lambda z, y: -log_softmax(z, y) + mpmath.log(sum(mpmath.exp(v) for v in z)) ** 2 / 4,
    ),
    "CosFace": (
        lambda x, y: losses.cosface_loss(x, y, 0.25, 4.0, reduction="sum"),
        lambda z, y: -log_softmax([4 * v for v in changed(z, y, z[y] - mpmath.mpf("0.25"))], y),
    ),
    "ArcFace": (
        lambda x, y: losses.arcface_loss(x, y, 0.5, 4.0, reduction="sum"),
        lambda z, y: -log_softmax([4 * v for v in changed(z, y, mpmath.cos(mpmath.acos(z[y]) + 0.5))], y),
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_of_a_row(name: str, rng: np.random.Generator) -> None:
    build, formula = ROWS[name]
    x, y = rng.uniform(-0.8, 0.8, (3, 4)), rng.integers(0, 4, 3)
    want = np.zeros_like(x)
    with mpmath.workdps(50):
        for i, k in np.ndindex(x.shape):
            row = [mpmath.mpf(float(v)) for v in x[i]]
            want[i, k] = mpmath.diff(
                lambda u, row=row, k=k, i=i: formula(changed(row, k, u), int(y[i])), row[k], 2
            )  # fmt: skip
    np.testing.assert_allclose(curvature(build, x, y), want, rtol=1e-10, atol=1e-10)


def test_of_a_mask() -> None:
    """1 − I/U, I = Σ p·t and U = Σ p + Σ t − I, both linear in each p: −(I/U)'' = 2·U'·(I'·U − I·U')/U³."""
    x, t = np.random.default_rng(5).uniform(0.2, 0.8, 6), np.array([0, 1, 1, 0, 0, 1.0])
    shared, union = x @ t, x.sum() + t.sum() - x @ t
    slope = 1 - t  # of the union; t is that of the intersection
    want = 2 * slope * (t * union - shared * slope) / union**3
    got = curvature(lambda x, y: losses.jaccard_loss(x, y, smooth=0.0), x[None], t[None])
    np.testing.assert_allclose(got[0], want, rtol=1e-10, atol=1e-14)


def test_a_matrix_product_has_no_diagonal_form() -> None:
    with pytest.raises(UnsupportedError, match="matmul mixes elements"):
        curvature(lambda x, y: losses.info_nce_loss(x, y), np.eye(3), np.eye(3))
