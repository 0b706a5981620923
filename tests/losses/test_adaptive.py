"""Adaptive softmax: the worked example, the full softmax it factorises, clusters without rows, errors, training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, LabelError, ShapeError
from graphloss.nn.adaptive import AdaptiveLogSoftmaxWithLoss
from tests.losses.golden import EXAMPLES

Array = np.ndarray
TOLERANCE = {"float64": 1e-7, "float32": 1e-5}
E = EXAMPLES["adaptive"]
GRADIENTS = ("dhead_W", "dtail0_proj", "dtail0_out", "dtail1_proj", "dtail1_out")


def weights(dtype: str) -> list[Array]:
    return [np.array(E["inputs"][name[1:]], dtype) for name in GRADIENTS]


def eager(x: Array, y: Array, values: list[Array], *settings: Any, **options: Any) -> dict[str, Any]:
    with gl.dygraph.guard():
        model = AdaptiveLogSoftmaxWithLoss(*settings, dtype=values[0].dtype.name, **options)
        for p, value in zip(model.parameters(), values, strict=True):
            p.set_value(value)
        a, b = gl.dygraph.to_variable(x), gl.dygraph.to_variable(y)
        a.stop_gradient = False
        output, loss = model(a, b)
        loss.backward()
        found = {"output": output.numpy(), "loss": loss.numpy(), "dx": a.gradient()}
        if x.ndim == 2:
            found |= {"log_prob": model.log_prob(a).numpy(), "predict": model.predict(a).numpy()}
        zeros = [np.zeros_like(v) for v in values]
        found["dW"] = [
            z if p.gradient() is None else p.gradient() for z, p in zip(zeros, model.parameters(), strict=True)
        ]
        return found


def compiled(
    x: Array, y: Array, values: list[Array], *settings: Any, free: bool = True, **options: Any
) -> dict[str, Any]:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup), gl.unique_name.guard():
        model = AdaptiveLogSoftmaxWithLoss(*settings, dtype=values[0].dtype.name, **options)
        batch = [None] * (x.ndim - 1) if free else list(x.shape[:-1])
        a, b = gl.data("x", [*batch, x.shape[-1]], x.dtype), gl.data("y", batch, y.dtype)
        a.stop_gradient = False
        output, loss = model(a, b)
        fetches: dict[str, Any] = {"output": output, "loss": loss}
        if x.ndim == 2:
            fetches |= {"log_prob": model.log_prob(a), "predict": model.predict(a)}
        grads = gl.gradients([loss], [a, *model.parameters()])
    scope, exe = gl.Scope(), gl.Executor(gl.CPUPlace())
    exe.run(startup, scope=scope)
    for p, value in zip(model.parameters(), values, strict=True):
        scope.find_var(p.name).get_tensor().set(value, gl.CPUPlace())
    found = exe.run(main, feed={"x": x, "y": y}, fetch_list=[*fetches.values(), *grads], scope=scope)
    n = len(fetches)
    return dict(zip(fetches, found[:n], strict=True)) | {"dx": found[n], "dW": found[n + 1 :]}


RUNNERS = {"eager": eager, "compiled": compiled}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("runner", RUNNERS)
def test_worked_example(runner: str, dtype: str) -> None:
    x, y = np.array(E["inputs"]["x"], dtype), np.array(E["inputs"]["y"])
    found = RUNNERS[runner](x, y, weights(dtype), 4, 6, E["inputs"]["cutoffs"], E["inputs"]["div_value"])
    found |= {f"d loss/{name}": g for name, g in zip(GRADIENTS, found.pop("dW"), strict=True)}
    found["d loss/dx"] = found.pop("dx")
    assert set(found) == set(E["results"])
    for name, got in found.items():
        assert got.dtype == ("int64" if name == "predict" else dtype)
        np.testing.assert_allclose(got, E["results"][name], rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype], err_msg=name)


# --- against the softmax over all classes that it factorises, in NumPy


def log_softmax(z: Array) -> Array:
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def reference(x: Array, values: list[Array], cutoffs: list[int], bias: bool) -> Array:
    """ln p of all classes."""
    head = log_softmax(x @ values[0].T + (values[1] if bias else 0))
    tails = values[1 + bias :]
    short = cutoffs[0]
    parts = [head[:, :short]]
    for i in range(len(tails) // 2):
        parts.append(head[:, [short + i]] + log_softmax(x @ tails[2 * i].T @ tails[2 * i + 1].T))
    return np.concatenate(parts, 1)


def random_model(rng: np.random.Generator, f: int, k: int, cutoffs: list[int], div: float, bias: bool) -> list[Array]:
    ends = [*cutoffs, k]
    shapes: list[tuple[int, ...]] = [(cutoffs[0] + len(cutoffs), f)]
    shapes += [(cutoffs[0] + len(cutoffs),)] * bias
    for i in range(len(cutoffs)):
        h = int(f // div ** (i + 1))
        shapes += [(h, f), (ends[i + 1] - ends[i], h)]
    return [rng.normal(size=s) for s in shapes]


def steps(x: Array, y: Array, values: list[Array], cutoffs: list[int], bias: bool) -> dict[int, Array]:
    """Gradients of the loss by x (−1) and by each weight, by central differences."""
    everything = [x, *values]

    def loss() -> float:
        return float(-reference(x, values, cutoffs, bias)[np.arange(len(y)), y].mean())

    found = {}
    for k, a in enumerate(everything):
        g = np.zeros_like(a)
        for i in np.ndindex(a.shape):
            old = a[i]
            a[i] = old + 1e-5
            up = loss()
            a[i] = old - 1e-5
            g[i] = (up - loss()) / 2e-5
            a[i] = old
        found[k - 1] = g
    return found


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    ("labels", "bias", "div"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], False, 2.0),
        ([0, 1, 1, 0], True, 2.0),  # no cluster at all
        ([9, 8, 9], True, 1.5),  # the last cluster only
        ([4, 0, 3], False, 4.0),
    ],
)
def test_value_and_gradients(labels: list[int], bias: bool, div: float, runner: str) -> None:
    cutoffs = [2, 5, 7]
    rng = np.random.default_rng(len(labels))
    values = random_model(rng, 6, 10, cutoffs, div, bias)
    x, y = rng.normal(size=(len(labels), 6)), np.array(labels)
    want = reference(x, values, cutoffs, bias)
    np.testing.assert_allclose(np.exp(want).sum(1), 1)
    found = RUNNERS[runner](x, y, values, 6, 10, cutoffs, div, bias)
    np.testing.assert_allclose(found["log_prob"], want, rtol=1e-10)
    np.testing.assert_allclose(found["output"], want[np.arange(len(y)), y], rtol=1e-10)
    np.testing.assert_allclose(found["loss"], -found["output"].mean(), rtol=1e-12)
    head = log_softmax(x @ values[0].T + (values[1] if bias else 0)).argmax(1)
    np.testing.assert_array_equal(found["predict"], np.where(head < 2, head, want.argmax(1)))
    grads = steps(x, y, values, cutoffs, bias)
    np.testing.assert_allclose(found["dx"], grads[-1], atol=1e-8)
    for i, g in enumerate(found["dW"]):
        np.testing.assert_allclose(g, grads[i], atol=1e-8)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_projection_of_no_width_is_an_even_cluster(runner: str) -> None:
    rng = np.random.default_rng(0)
    values = random_model(rng, 4, 9, [2, 5], 3.0, False)
    assert values[3].shape == (0, 4)
    x, y = rng.normal(size=(3, 4)), np.array([8, 5, 3])
    found = RUNNERS[runner](x, y, values, 4, 9, [2, 5], 3.0)
    want = log_softmax(x @ values[0].T)[[0, 1], [3, 3]] - np.log(4)
    np.testing.assert_allclose(found["output"][:2], want, rtol=1e-12)
    assert found["dW"][3].shape == (0, 4)


@pytest.mark.parametrize("runner", RUNNERS)
def test_one_row(runner: str) -> None:
    values = weights("float64")
    x, y = np.array(E["inputs"]["x"][1]), np.array(3)
    found = RUNNERS[runner](x, y, values, 4, 6, [2, 4], 2.0)
    assert found["output"].shape == found["loss"].shape == ()
    np.testing.assert_allclose(found["output"], E["results"]["output"][1], rtol=1e-9)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_scores_are_finite(size: float, runner: str) -> None:
    values = [size * v for v in weights("float32")]
    x, y = np.array(E["inputs"]["x"], "float32"), np.array(E["inputs"]["y"])
    found = RUNNERS[runner](x, y, values, 4, 6, [2, 4], 2.0)
    assert np.isfinite(found["output"]).all() and np.isfinite(found["loss"]) and np.isfinite(found["log_prob"]).all()
    for g in (found["dx"], *found["dW"]):
        assert np.isfinite(g).all()


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_target_out_of_range_is_named(runner: str) -> None:
    x = np.zeros((3, 4))
    for bad in (6, -1):
        with pytest.raises(LabelError, match=rf"row 1: .* = {bad} is out of range"):
            RUNNERS[runner](x, np.array([0, bad, 7]), weights("float64"), 4, 6, [2, 4], 2.0)


def test_wrong_arguments() -> None:
    make: Any = AdaptiveLogSoftmaxWithLoss
    with gl.dygraph.guard():
        for cutoffs in ([], [0], [2, 2], [3, 2], [6], [1.5], [True], [2, 7]):
            with pytest.raises(AttrError, match="cutoffs"):
                make(4, 6, cutoffs)
        for div in (0, -1.0, "2"):
            with pytest.raises(AttrError, match="div_value"):
                make(4, 6, [2], div)
        with pytest.raises(ArgumentTypeError, match="n_classes"):
            make(4, 6.0, [2])
        model = make(4, 6, [2, 4])
        v = gl.dygraph.to_variable
        x, y = v(np.zeros((3, 4), "float32")), v(np.zeros(3, np.int64))
        with pytest.raises(ShapeError, match="does not fit"):
            model(v(np.zeros((3, 5), "float32")), y)
        with pytest.raises(ShapeError, match="does not fit"):
            model(v(np.zeros((1, 3, 4), "float32")), y)
        for target in (np.zeros(2, np.int64), np.zeros((3, 1), np.int64), np.zeros((), np.int64)):
            with pytest.raises(ShapeError, match="labels do not fit"):
                model(x, v(target))
        with pytest.raises(DtypeError, match="wrong dtype"):
            model(x, v(np.zeros(3)))
        with pytest.raises(DtypeError, match="weights' dtype"):
            model(v(np.zeros((3, 4))), y)
        for method in (model.log_prob, model.predict):
            with pytest.raises(ShapeError, match="does not fit"):
                method(v(np.zeros(4, "float32")))
        assert repr(model) == (
            "AdaptiveLogSoftmaxWithLoss(in_features=4, n_classes=6, cutoffs=[2, 4], div_value=4.0, head_bias=False)"
        )


@pytest.mark.parametrize("mode", ["eager", "program"])
def test_training(mode: str) -> None:
    """Classes that follow from the input are learnt, by batches of any size."""
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(12, 8)).astype("float32")
    y = rng.integers(0, 12, 256)
    x = centres[y] + 0.1 * rng.normal(size=(256, 8)).astype("float32")
    values = [0.3 * v.astype("float32") for v in random_model(rng, 8, 12, [3, 6], 1.5, False)]
    losses = []
    if mode == "eager":
        with gl.dygraph.guard():
            model = AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6], 1.5)
            for p, value in zip(model.parameters(), values, strict=True):
                p.set_value(value)
            sgd = gl.optimizer.SGD(0.5, parameter_list=model.parameters())
            a, b = gl.dygraph.to_variable(x), gl.dygraph.to_variable(y)
            for _ in range(60):
                loss = model(a, b).loss
                loss.backward()
                sgd.minimize(loss)
                for p in model.parameters():
                    p.clear_gradient()
                losses.append(loss.numpy().item())
            hits = (model.predict(a).numpy() == y).mean()
    else:
        main, startup = gl.Program(), gl.Program()
        with gl.program_guard(main, startup):
            model = AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6], 1.5)
            a, b = gl.data("x", [None, 8]), gl.data("y", [None], "int64")
            total, best = model(a, b).loss, model.predict(a)
            gl.optimizer.SGD(0.5).minimize(total)
        exe, scope = gl.Executor(gl.CPUPlace()), gl.Scope()
        exe.run(startup, scope=scope)
        for p, value in zip(model.parameters(), values, strict=True):
            scope.find_var(p.name).get_tensor().set(value, gl.CPUPlace())
        for i in range(60):
            part = slice(0, 256 - i % 3)
            number, predicted = exe.run(main, feed={"x": x[part], "y": y[part]}, fetch_list=[total, best], scope=scope)
            losses.append(number.item())
        hits = (predicted == y[part]).mean()
    assert losses[-1] < 0.2 * losses[0]
    assert hits > 0.8
