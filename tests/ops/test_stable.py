"""The stable composites, value and gradient, against mpmath where textbook formulas fail."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest

from graphloss import ops
from graphloss.ir.tensor import Tensor, using
from tests.numerics import assert_ulp
from tests.ops.at_once import NumpyMode, NumpyTensor
from tests.ops.test_every_op import OPS

mp = mpmath.mp
GRID = [0.0, 1e-30, 1e-8, 1e-4, 0.01, 0.3, 0.69, 0.7, 0.999, 1.0, 1.001, 3.0, 20.0, 88.0, 104.0, 1e3, 1e4]
BOTH = [*GRID, *(-v for v in GRID[1:])]


def log1mexp(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.log1p(-mpmath.exp(x)) if x < -40 else mpmath.log(-mpmath.expm1(x))


CASES: dict[str, tuple[list[float], Callable[..., mpmath.mpf], Callable[..., mpmath.mpf]]] = {
    # points, function, derivative
    "softplus": (BOTH, lambda x: mpmath.log1p(mpmath.exp(x)), lambda x: 1 / (1 + mpmath.exp(-x))),
    "sigmoid": (BOTH, lambda x: 1 / (1 + mpmath.exp(-x)), lambda x: 1 / (2 + mpmath.exp(-x) + mpmath.exp(x))),
    "tanh": (BOTH, mpmath.tanh, lambda x: mpmath.sech(x) ** 2),
    "logsigmoid": (BOTH, lambda x: -mpmath.log1p(mpmath.exp(-x)), lambda x: 1 / (1 + mpmath.exp(x))),
    "log_cosh": (BOTH, lambda x: mpmath.log(mpmath.cosh(x)), mpmath.tanh),
    "expm1": ([v for v in BOTH if v < 80], mpmath.expm1, mpmath.exp),
    "log1mexp": ([-v for v in GRID[1:]], log1mexp, lambda x: -1 / mpmath.expm1(-x)),
    "sqrt1pm1": (GRID, lambda u: u / (1 + mpmath.sqrt(1 + u)), lambda u: 1 / (2 * mpmath.sqrt(1 + u))),
}


def run(name: str, x: np.ndarray, *, expanded: bool) -> tuple[np.ndarray, np.ndarray]:
    op = OPS[name]
    with using(NumpyMode()):
        t = NumpyTensor(x)
        out = op.expand([t], {})[0] if expanded and op.expand else NumpyTensor(op.reference([x], {})[0])
        (g,) = op.vjp([t], [out], [NumpyTensor(np.ones_like(x))], {})
        assert isinstance(g, NumpyTensor)
        return out.array, g.array


@pytest.mark.parametrize("expanded", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_relative_error(name: str, dtype: str, expanded: bool) -> None:
    points, value, derivative = CASES[name]
    x = np.array(points, dtype)
    got, slope = run(name, x, expanded=expanded)
    tiny = float(np.finfo(dtype).smallest_normal)
    with mpmath.workdps(120):
        exact = [value(mpmath.mpf(float(v))) for v in x]
        slopes = [derivative(mpmath.mpf(float(v))) for v in x]
    want = np.array([float(v) for v in exact])
    assert_ulp(got, want, 8, floor=tiny)
    big = np.abs([float(s) for s in slopes]) > 1e4 * tiny  # below, an intermediate product is denormal
    assert_ulp(slope[big], np.array([float(s) for s in slopes])[big], 12, floor=tiny)


@pytest.mark.parametrize("expanded", [False, True])
def test_bce_with_logits_keeps_small_results(expanded: bool) -> None:
    op = OPS["bce_with_logits"]
    x = np.array([20.0, -20.0, 50.0, 1e4, -1e4, 0.3], np.float32)
    t = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.7], np.float32)
    with using(NumpyMode()):
        a, b = NumpyTensor(x), NumpyTensor(t)
        out = op.expand([a, b], {})[0] if expanded else ops.bce_with_logits(a, b)
        gx, gt = op.vjp([a, b], [out], [NumpyTensor(np.ones_like(x))], {})
        if expanded:
            (gx,) = OPS["sigmoid_residual"].expand([a, b], {})
    with mpmath.workdps(120):
        want = [
            mpmath.log1p(mpmath.exp(v)) - v * w
            for v, w in zip(map(mpmath.mpf, x.tolist()), map(mpmath.mpf, t.tolist()), strict=True)
        ]
        slope = [
            (1 - w) / (1 + mpmath.exp(-v)) - w / (1 + mpmath.exp(v))
            for v, w in zip(map(mpmath.mpf, x.tolist()), map(mpmath.mpf, t.tolist()), strict=True)
        ]
    assert_ulp(out.array, [float(v) for v in want], 4, floor=1e-37)
    assert_ulp(gx.array, [float(v) for v in slope], 4, floor=1e-37)
    np.testing.assert_array_equal(gt.array, -x)


@pytest.mark.parametrize("fn", [ops.softmax, ops.log_softmax, ops.logsumexp])
def test_softmax_family_in_float32(fn: Callable[[Tensor], Tensor]) -> None:
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(6, 7)) * np.array([[1e-3, 1, 30, 1e3, 1e4, 1e-30]]).T).astype(np.float32)
    with using(NumpyMode()):
        got = fn(NumpyTensor(x)).array
    with mpmath.workdps(120):
        rows = []
        for row in x.tolist():
            e = [mpmath.exp(mpmath.mpf(v)) for v in row]
            total = mpmath.fsum(e)
            if fn is ops.softmax:
                rows.append([float(v / total) for v in e])
            elif fn is ops.log_softmax:
                rows.append([float(mpmath.mpf(v) - mpmath.log(total)) for v in row])
            else:
                rows.append(float(mpmath.log(total)))
    assert_ulp(got, np.array(rows), 4, floor=1.0)


def test_one_infinite_logit() -> None:
    x = NumpyTensor(np.array([[np.inf, 1.0], [-np.inf, -np.inf], [-np.inf, 1.0]]))
    with using(NumpyMode()):
        assert ops.logsumexp(x).array.tolist() == [np.inf, -np.inf, 1.0]
        assert np.isnan(ops.softmax(x).array[:2]).all()
        assert ops.softmax(x).array[2].tolist() == [0.0, 1.0]
        assert ops.log_softmax(x).array[2].tolist() == [-np.inf, 0.0]


def test_logsumexp_of_several_axes() -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 4))
    with using(NumpyMode()):
        got = ops.logsumexp(NumpyTensor(x), (0, 2)).array
    np.testing.assert_allclose(got, np.log(np.exp(x).sum((0, 2))), rtol=1e-14)
