"""Regression losses and deviances: textbook formulas, extreme and degenerate input, one kernel."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from graphloss import losses
from graphloss.errors import AttrError
from graphloss.nn import functional as F
from tests.losses.beyond import Case, Inputs, Reference, check_case, finite, tensor_kernels
from tests.losses.runners import RUNNERS, Array, Build, Runner


def real(rng: np.random.Generator) -> dict[str, Array]:
    # apart from each other, so that no difference quotient crosses a kink
    y = rng.normal(size=(3, 4)) * 3
    return {"x": y + rng.choice([-1, 1], (3, 4)) * rng.uniform(0.1, 3, (3, 4)), "y": y}


def positive(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.uniform(0.2, 5, (3, 4)), "y": rng.uniform(0.2, 5, (3, 4))}


def counts(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.uniform(0.2, 5, (3, 4)), "y": rng.poisson(1.0, (3, 4)).astype(float)}


def tweedie(x: Array, y: Array, p: float) -> Array:
    return 2 * (y ** (2 - p) / ((1 - p) * (2 - p)) - y * x ** (1 - p) / (1 - p) + x ** (2 - p) / (2 - p))


def poisson(x: Array, y: Array) -> Array:
    return 2 * (np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / x), 0) - y + x)


def tweedie_case(p: float, reference: Reference, inputs: Inputs) -> Case:
    return Case(
        f"Tweedie {p}", lambda x, y, reduction: losses.tweedie_deviance_loss(x, y, p, reduction), reference, inputs
    )


CASES = [
    Case(
        "quantile", lambda x, y, reduction: losses.quantile_loss(x, y, 0.9, reduction),
        lambda x, y: np.where(y >= x, 0.9 * (y - x), 0.1 * (x - y)), real, ("x", "y"),
    ),
    Case(
        "expectile", lambda x, y, reduction: losses.expectile_loss(x, y, 0.9, reduction),
        lambda x, y: np.where(y >= x, 0.9, 0.1) * (y - x) ** 2, real, ("x", "y"),
    ),
    Case(
        "log-cosh", lambda x, y, reduction: losses.log_cosh_loss(x, y, reduction),
        lambda x, y: np.log(np.cosh(x - y)), real, ("x", "y"),
    ),
    Case(
        "MAPE", lambda x, y, reduction: losses.mape_loss(x, y, reduction=reduction),
        lambda x, y: np.abs(x - y) / np.abs(y), lambda rng: {**positive(rng), "x": -rng.uniform(0.2, 5, (3, 4))},
        ("x", "y"),
    ),
    Case(
        "MSLE", lambda x, y, reduction: losses.msle_loss(x, y, reduction),
        lambda x, y: (np.log(1 + x) - np.log(1 + y)) ** 2, positive, ("x", "y"),
    ),
    Case(
        "Gamma", lambda x, y, reduction: losses.gamma_deviance_loss(x, y, reduction),
        lambda x, y: 2 * (np.log(x / y) + y / x - 1), positive, ("x", "y"),
    ),
    tweedie_case(0.0, lambda x, y: (x - y) ** 2, real),
    tweedie_case(1.0, poisson, counts),
    tweedie_case(1.5, lambda x, y: tweedie(x, y, 1.5), counts),
    tweedie_case(1.9, lambda x, y: tweedie(x, y, 1.9), counts),
    tweedie_case(2.0, lambda x, y: 2 * (np.log(x / y) + y / x - 1), positive),
    tweedie_case(3.0, lambda x, y: tweedie(x, y, 3.0), positive),
    tweedie_case(
        -0.5, lambda x, y: tweedie(x, np.maximum(y, 0), -0.5) + 2 * (np.maximum(y, 0) - y) * x**1.5 / 1.5,
        lambda rng: {**positive(rng), "y": real(rng)["y"]},
    ),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_textbook_formula(case: Case, runner: str, dtype: str, rng: np.random.Generator) -> None:
    check_case(case, runner, dtype, rng)


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
class TestEdges:
    def test_equal_arguments(self, run: Runner) -> None:
        arrays = {"x": np.array([2.0, 1e4]), "y": np.array([2.0, 1e4])}
        for case in CASES:
            value, (grad,) = run(lambda case=case, **i: case.build(**i, reduction="none"), arrays, ("x",))
            np.testing.assert_allclose(value, 0, atol=1e-11, err_msg=case.name)
            slope = {"quantile": -0.4}.get(case.name, 0.0)
            np.testing.assert_allclose(grad, slope, atol=1e-11, err_msg=case.name)

    def test_far_apart(self, run: Runner) -> None:
        arrays = {"x": np.array([1e4, -1e4], np.float32), "y": np.array([-1e4, 1e4], np.float32)}
        value, (grad,) = run(lambda x, y: losses.log_cosh_loss(x, y, "none"), arrays, ("x",))
        np.testing.assert_allclose(value, 2e4 - math.log(2), rtol=1e-6)
        np.testing.assert_array_equal(grad, [1, -1])
        value, (grad,) = run(lambda x, y: losses.quantile_loss(x, y, 0.25, "none"), arrays, ("x",))
        np.testing.assert_array_equal(value, [1.5e4, 5e3])
        np.testing.assert_array_equal(grad, [0.75, -0.25])

    def test_targets_of_0(self, run: Runner) -> None:
        arrays = {"x": np.array([1e-4, 1.0, 1e4]), "y": np.zeros(3)}
        for p in (1.0, 1.2, 1.8):
            value, (grad,) = run(lambda x, y, p=p: losses.tweedie_deviance_loss(x, y, p, "none"), arrays, ("x",))
            np.testing.assert_allclose(value, 2 * arrays["x"] ** (2 - p) / (2 - p), rtol=1e-12)
            np.testing.assert_allclose(grad, 2 * arrays["x"] ** (1 - p), rtol=1e-12)
        value, (grad,) = run(lambda x, y: losses.mape_loss(x, y, 1e-2, "none"), arrays, ("x",))
        np.testing.assert_allclose(value, [1e-2, 1e2, 1e6])
        np.testing.assert_allclose(grad, 100)
        value, (grad,) = run(lambda x, y: losses.msle_loss(x, y, "none"), arrays, ("x",))
        assert finite(value, [grad])

    def test_mean_and_target_both_0(self, run: Runner) -> None:
        arrays = {"x": np.zeros(2), "y": np.zeros(2)}
        value, (grad,) = run(lambda x, y: losses.msle_loss(x, y, "none"), arrays, ("x",))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(grad, 0)
        value, (grad,) = run(lambda x, y: losses.mape_loss(x, y, reduction="none"), arrays, ("x",))
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(grad, 0)

    @pytest.mark.parametrize("power", [-1.0, 1.0, 1.5, 2.0, 3.0])
    def test_deviance_of_what_is_nearly_right(self, run: Runner, power: float) -> None:
        x, y = np.array([1.0, 3.0, 1e-3], np.float32), np.array([1.01, 2.95, 1.001e-3], np.float32)
        value, (by_x, by_y) = run(
            lambda x, y: losses.tweedie_deviance_loss(x, y, power, "none"), {"x": x, "y": y}, ("x", "y")
        )
        with mpmath.workdps(40):
            p = mpmath.mpf(power)
            pairs = [(mpmath.mpf(float(m)), mpmath.mpf(float(t))) for m, t in zip(x, y, strict=True)]

            # the deviance is twice the integral of (y - u)/u^p from the mean to the target
            def slope(m: mpmath.mpf, t: mpmath.mpf) -> mpmath.mpf:
                return 2 * (m - t) / m**p

            want = [-mpmath.quad(lambda u, t=t: slope(u, t), [m, t]) for m, t in pairs]
            by_mean = [slope(m, t) for m, t in pairs]
            by_target = [2 * mpmath.quad(lambda u: u**-p, [m, t]) for m, t in pairs]
        # a difference of terms of the size of r, not of 1
        np.testing.assert_array_less(np.abs(value / np.array(want, float) - 1), 1e-6 / np.abs(y / x - 1))
        np.testing.assert_allclose(by_x, np.array(by_mean, float), rtol=1e-6)
        np.testing.assert_allclose(by_y, np.array(by_target, float), rtol=1e-6)

    def test_batch_of_none(self, run: Runner) -> None:
        arrays = {"x": np.zeros((0, 3)), "y": np.zeros((0, 3))}
        for case in CASES:
            value, (grad,) = run(lambda case=case, **i: case.build(**i, reduction="sum"), arrays, ("x",))
            assert value == 0
            assert grad.shape == (0, 3)
            assert np.isnan(run(lambda case=case, **i: case.build(**i, reduction="mean"), arrays, ())[0])

    def test_identities(self, run: Runner, rng: np.random.Generator) -> None:
        arrays = real(rng)
        for one, other in (
            (lambda x, y: 2.0 * losses.quantile_loss(x, y), lambda x, y: F.l1_loss(x, y)),
            (lambda x, y: 2.0 * losses.expectile_loss(x, y), lambda x, y: F.mse_loss(x, y)),
            (lambda x, y: losses.tweedie_deviance_loss(x, y, 0.0), lambda x, y: F.mse_loss(x, y)),
        ):
            (a, (ga,)), (b, (gb,)) = run(one, arrays, ("x",)), run(other, arrays, ("x",))
            np.testing.assert_allclose(a, b, rtol=1e-13)
            np.testing.assert_allclose(ga, gb, rtol=1e-13)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_one_kernel(case: Case) -> None:
    inputs = {"x": ("float32", [None, 30]), "y": ("float32", [None, 30])}
    assert tensor_kernels(lambda **i: case.build(**i, reduction="mean"), inputs, ["x"]) == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: losses.quantile_loss(x, x, 1.0), r"quantile is out of range"),
        (lambda x: losses.tweedie_deviance_loss(x, x, 0.5), r"no Tweedie distribution"),
        (lambda x: losses.mape_loss(x, x, 0.0), r"epsilon is out of range"),
        (lambda x: losses.log_cosh_loss(x, x, "average"), r"unknown reduction"),
    ],
)
def test_refused(call: Build, words: str) -> None:
    with pytest.raises(AttrError, match=words):
        RUNNERS["eager"](call, {"x": np.ones(3)}, ())
