"""nn.Linear and linear cross entropy: shapes, arguments, parameters, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import nn
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, GraphlossError, ShapeError, UnsupportedError
from graphloss.nn import functional as F
from tests.losses.runners import RUNNERS, Array, Runner


def reference(x: Array, w: Array, y: Array, b: Array, weight: Array, smoothing: float, ignored: int) -> float:
    """In float64, from the definition; logits (N, C, d)."""
    z = np.einsum("nf,cdf->ncd", x, w) + b
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    total = norm = 0.0
    for n, d in np.ndindex(y.shape):
        if y[n, d] != ignored:
            each = -log_p[n, :, d] * weight
            total += (1 - smoothing) * each[y[n, d]] + smoothing * each.mean()
            norm += weight[y[n, d]]
    return total / norm


@pytest.mark.parametrize("runner", RUNNERS.values(), ids=RUNNERS)
def test_more_dimensions(runner: Runner, rng: np.random.Generator) -> None:
    arrays = {
        "x": rng.normal(size=(5, 4)), "w": rng.normal(size=(3, 2, 4)), "b": rng.normal(size=(3, 2)),
        "c": rng.uniform(0.5, 2, 3), "y": rng.integers(0, 3, (5, 2)),
    }  # fmt: skip

    def build(x: Any, w: Any, b: Any, c: Any, y: Any) -> Any:
        return F.linear_cross_entropy(x, w, y, linear_bias=b, weight=c, ignore_index=1, label_smoothing=0.2)

    def loss(**changed: Array) -> float:
        a = {**arrays, **changed}
        return reference(a["x"], a["w"], a["y"], a["b"], a["c"], 0.2, 1)

    value, grads = runner(build, arrays, ("x", "w", "b"))
    np.testing.assert_allclose(value, loss(), rtol=1e-12)
    for name, grad in zip(("x", "w", "b"), grads, strict=True):
        for i in list(np.ndindex(grad.shape))[::3]:
            step = np.zeros_like(arrays[name])
            step[i] = 1e-5
            slope = (loss(**{name: arrays[name] + step}) - loss(**{name: arrays[name] - step})) / 2e-5
            np.testing.assert_allclose(grad[i], slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("runner", RUNNERS.values(), ids=RUNNERS)
def test_one_row_without_a_batch(runner: Runner, rng: np.random.Generator) -> None:
    arrays = {"x": rng.normal(size=4), "w": rng.normal(size=(3, 4)), "y": np.array(2)}
    value, (dx,) = runner(lambda x, w, y: F.linear_cross_entropy(x, w, y), arrays, ("x",))
    z = arrays["w"] @ arrays["x"]
    p = np.exp(z) / np.exp(z).sum()
    np.testing.assert_allclose(value, -np.log(p[2]), rtol=1e-12)
    np.testing.assert_allclose(dx, (p - np.eye(3)[2]) @ arrays["w"], rtol=1e-10)


@pytest.mark.parametrize("runner", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_short_labels(dtype: str, runner: Runner, rng: np.random.Generator) -> None:
    arrays = {"x": rng.normal(size=(5, 4)), "w": rng.normal(size=(3, 4)), "y": np.array([2, 0, 1, 1, 2])}

    def build(x: Any, w: Any, y: Any) -> Any:
        return F.linear_cross_entropy(x, w, y, ignore_index=1)

    value, grads = runner(build, {**arrays, "y": arrays["y"].astype(dtype)}, ("x", "w"))
    want, slopes = runner(build, arrays, ("x", "w"))
    for got, same in zip((value, *grads), (want, *slopes), strict=True):
        np.testing.assert_array_equal(got, same)


def test_linear_over_leading_axes(rng: np.random.Generator) -> None:
    x, w, b = rng.normal(size=(2, 3, 4)), rng.normal(size=(5, 4)), rng.normal(size=5)
    with gl.dygraph.guard():
        a, c, d = map(gl.dygraph.to_variable, (x, w, b))
        np.testing.assert_allclose(F.linear(a, c, d).numpy(), x @ w.T + b, rtol=1e-12)
        vector, number = gl.dygraph.to_variable(w[0]), gl.dygraph.to_variable(b[:1].reshape(()))
        np.testing.assert_allclose(F.linear(a, vector, number).numpy(), x @ w[0] + b[0], rtol=1e-12)


def test_the_class_trains_in_a_program(rng: np.random.Generator) -> None:
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    startup.random_seed = 3
    with gl.unique_name.guard(), gl.program_guard(main, startup):
        x, y = gl.data("x", [None, 4]), gl.data("y", [None, 2], "int64")
        head = nn.LinearCrossEntropyLoss(4, 5, out_features=(2,), bias=True, ignore_index=-1, label_smoothing=0.1)
        loss = head(x, y)
        gl.optimizer.SGD(0.5).minimize(loss)
    assert [p.shape for p in head.parameters()] == [(10, 4), (10,)]
    exe = gl.Executor(gl.CPUPlace())
    exe.run(startup, scope=scope)
    weight = np.array(scope.find_var("linear_0.w_0").get_tensor())
    assert abs(weight).max() <= 0.5 and weight.std() > 0.2, "uniform in ±1/√4"
    feed = {"x": rng.normal(size=(8, 4)).astype("float32"), "y": rng.integers(-1, 5, (8, 2))}
    losses = [float(exe.run(main, feed, [loss], scope=scope)[0]) for _ in range(5)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.9 * losses[0]


def test_the_class_keeps_eager_parameters() -> None:
    with gl.dygraph.guard():
        head = nn.LinearCrossEntropyLoss(3, 4, dtype="float64")
        loss = head(gl.dygraph.to_variable(np.ones((2, 3))), gl.dygraph.to_variable(np.array([0, 3])))
        loss.backward()
        (weight,) = head.parameters()
        assert weight.shape == [4, 3] and abs(weight.gradient().sum(0)).max() < 1e-15
        assert repr(head) == "LinearCrossEntropyLoss(in_features=3, num_classes=4, out_features=(), bias=False)"
        assert repr(nn.Linear(3, 2)) == "Linear(in_features=3, out_features=2, bias=True)"


def ce(x: Any, w: Any, y: Any, **options: Any) -> Any:
    return F.linear_cross_entropy(x, w, y, **options)


X, W, Y = [None, 4], [3, 4], ([None], "int64")


@pytest.mark.parametrize(
    ("error", "text", "build"),
    [
        (ShapeError, "rank", lambda d: ce(d([None, 2, 4]), d(W), d(*Y))),
        (ShapeError, "rank", lambda d: ce(d(X), d([4]), d(*Y))),
        (ShapeError, "rank", lambda d: ce(d([4]), d([3, 2, 4]), d([2], "int64"))),
        (ShapeError, "features", lambda d: ce(d([None, 5]), d(W), d(*Y))),
        (ShapeError, "linear_bias", lambda d: ce(d(X), d(W), d(*Y), linear_bias=d([4]))),
        (ShapeError, "labels", lambda d: ce(d(X), d(W), d([None, 1], "int64"))),
        (ShapeError, "weight", lambda d: ce(d(X), d(W), d(*Y), weight=d([4]))),
        (ShapeError, "features", lambda d: F.linear(d([]), d(W))),
        (ShapeError, "bias", lambda d: F.linear(d(X), d(W), d([4]))),
        (DtypeError, "linear_weight", lambda d: ce(d(X), d(W, "float64"), d(*Y))),
        (DtypeError, "linear_bias", lambda d: ce(d(X), d(W), d(*Y), linear_bias=d([3], "float64"))),
        (DtypeError, "dtype", lambda d: ce(d(X), d(W), d([None], "int16"))),
        (AttrError, "ignore_index", lambda d: ce(d(X), d(W), d([None, 3]), ignore_index=-100)),
        (AttrError, "label_smoothing", lambda d: ce(d(X), d(W), d(*Y), label_smoothing=1.5)),
        (AttrError, "reduction", lambda d: ce(d(X), d(W), d(*Y), reduction="average")),
        (ArgumentTypeError, "linear_weight", lambda d: ce(d(X), np.ones((3, 4)), d(*Y))),
        (UnsupportedError, "row chunks", lambda d: ce(d(X), d(W), d(*Y), options=object())),
        (UnsupportedError, "device", lambda d: nn.Linear(3, 2, device="cuda")),
        (AttrError, "num_classes", lambda d: nn.LinearCrossEntropyLoss(3, 0)),
        (ArgumentTypeError, "in_features", lambda d: nn.LinearCrossEntropyLoss(3.0, 2)),
        (ShapeError, "weight", lambda d: nn.LinearCrossEntropyLoss(3, 2, weight=d([3]))),
    ],
)
def test_errors(error: type[GraphlossError], text: str, build: Any) -> None:
    count = iter(range(9))
    with gl.program_guard(gl.Program(), gl.Program()), pytest.raises(error, match=text):
        build(lambda shape, dtype="float32": gl.data(f"v{next(count)}", shape, dtype))
