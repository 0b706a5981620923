"""Optimisers against the textbook loop in NumPy, in programs and in eager mode; clipping and weight decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError, UnknownVariable, UnsupportedError
from graphloss.optimizer import SGD, Adam, Momentum, Optimizer

Array = npt.NDArray[Any]
W0 = np.array([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]])
STEPS = 4


def batches() -> list[tuple[Array, Array]]:
    rng = np.random.default_rng(11)
    return [(rng.normal(size=(5, 3)), rng.normal(size=(5, 2))) for _ in range(STEPS)]


def gradient(w: Array, x: Array, y: Array) -> Array:
    """Of the mean of (x @ w − y)²."""
    return x.T @ (2 * (x @ w - y)) / y.size


def sgd(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    return w - 0.1 * g


def momentum(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    s["v"] = 0.9 * s.get("v", 0) + g
    return w - 0.1 * s["v"]


def nesterov(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    s["v"] = 0.9 * s.get("v", 0) + g
    return w - 0.1 * (g + 0.9 * s["v"])


def adam(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.99 * s.get("v", 0) + 0.01 * g * g
    rate = 0.1 * np.sqrt(1 - 0.99**t) / (1 - 0.9**t)
    return w - rate * s["m"] / (np.sqrt(s["v"]) + 1e-8)


def adagrad(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    s["m"] = s.get("m", 0.5) + g * g
    return w - 0.1 * g / (np.sqrt(s["m"]) + 1e-6)


def decayed_adagrad(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    s["m"] = 0.95 * s.get("m", 0) + 0.05 * g * g
    return w - 0.1 * g / (np.sqrt(s["m"]) + 1e-6)


def rmsprop(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    s["s"] = 0.95 * s.get("s", 0) + 0.05 * g * g
    s["u"] = 0.9 * s.get("u", 0) + 0.1 * g / np.sqrt(s["s"] + 1e-6)
    return w - s["u"]


def rmsprop_centered(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    s["s"] = 0.8 * s.get("s", 0) + 0.2 * g * g
    s["g"] = 0.8 * s.get("g", 0) + 0.2 * g
    return w - 0.1 * g / np.sqrt(s["s"] - s["g"] ** 2 + 1e-3)


def adadelta(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    s["s"] = 0.95 * s.get("s", 0) + 0.05 * g * g
    move = g * np.sqrt((s.get("u", 0) + 1e-6) / (s["s"] + 1e-6))
    s["u"] = 0.95 * s.get("u", 0) + 0.05 * move * move
    return w - move


def adamax(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["u"] = np.maximum(0.999 * s.get("u", 0) + 1e-8, np.abs(g))
    return w - 0.1 / (1 - 0.9**t) * s["m"] / s["u"]


def decayed(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    return w - 0.1 * (g + 0.3 * w)


def decayed_l1(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    return w - 0.1 * (g + 0.3 * np.sign(w))


def clipped(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    return w - 0.1 * np.clip(g, -0.2, 0.2)


def shortened(w: Array, g: Array, t: int, s: dict[str, Array]) -> Array:
    return w - 0.1 * g * min(1.0, 0.5 / float(np.linalg.norm(g)))


Rule = Callable[[Array, Array, int, dict[str, Array]], Array]
Make = Callable[..., Optimizer]
RULES: dict[str, tuple[Rule, Make]] = {
    "sgd": (sgd, lambda **o: SGD(0.1, **o)),
    "momentum": (momentum, lambda **o: Momentum(0.1, 0.9, **o)),
    "nesterov": (nesterov, lambda **o: Momentum(0.1, 0.9, use_nesterov=True, **o)),
    "adam": (adam, lambda **o: Adam(0.1, beta2=0.99, **o)),
    "adagrad": (adagrad, lambda **o: gl.optimizer.Adagrad(0.1, initial_accumulator_value=0.5, **o)),
    "decayed adagrad": (decayed_adagrad, lambda **o: gl.optimizer.DecayedAdagradOptimizer(0.1, **o)),
    "rmsprop": (rmsprop, lambda **o: gl.optimizer.RMSProp(0.1, momentum=0.9, **o)),
    "rmsprop centered": (
        rmsprop_centered,
        lambda **o: gl.optimizer.RMSPropOptimizer(0.1, rho=0.8, epsilon=1e-3, centered=True, **o),
    ),
    "adadelta": (adadelta, lambda **o: gl.optimizer.Adadelta(0.1, **o)),
    "adamax": (adamax, lambda **o: gl.optimizer.Adamax(0.1, **o)),
    "L2": (decayed, lambda **o: SGD(0.1, regularization=gl.regularizer.L2Decay(0.3), **o)),
    "L1": (decayed_l1, lambda **o: SGD(0.1, regularization=gl.regularizer.L1Decay(0.3), **o)),
    "by value": (clipped, lambda **o: SGD(0.1, grad_clip=gl.clip.GradientClipByValue(0.2), **o)),
    "by norm": (shortened, lambda **o: SGD(0.1, grad_clip=gl.clip.GradientClipByNorm(0.5), **o)),
    "by global norm": (shortened, lambda **o: SGD(0.1, grad_clip=gl.clip.GradientClipByGlobalNorm(0.5), **o)),
}


def expected(rule: Rule) -> list[Array]:
    w, state, found = W0, {}, []
    for t, (x, y) in enumerate(batches(), 1):
        w = rule(w, gradient(w, x, y), t, state)
        found.append(w)
    return found


class Line:
    """A program that fits y = x @ w."""

    def __init__(self, optimizer: Optimizer, dtype: str = "float64", attr: gl.ParamAttr | None = None) -> None:
        self.main, self.startup, self.scope = gl.Program(), gl.Program(), gl.Scope()
        first = gl.initializer.NumpyArrayInitializer(W0)
        with gl.program_guard(self.main, self.startup), gl.unique_name.guard():
            x, y = gl.data("x", [None, 3], dtype), gl.data("y", [None, 2], dtype)
            w = gl.layers.create_parameter([3, 2], dtype, "w", attr, default_initializer=first)
            self.loss = gl.layers.mse_loss(gl.layers.matmul(x, w), y)
            self.updates, self.pairs = optimizer.minimize(self.loss)
        self.exe = gl.Executor(gl.CPUPlace())
        self.exe.run(self.startup, scope=self.scope)

    def step(self, x: Array, y: Array) -> Array:
        self.exe.run(self.main, feed={"x": x, "y": y}, fetch_list=[self.loss], scope=self.scope)
        return self.value("w")

    def value(self, name: str) -> Array:
        return np.array(self.scope.find_var(name).get_tensor())


@pytest.mark.parametrize("rule", RULES)
def test_program(rule: str) -> None:
    reference, make = RULES[rule]
    line = Line(make())
    for (x, y), want in zip(batches(), expected(reference), strict=True):
        np.testing.assert_allclose(line.step(x, y), want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("rule", RULES)
def test_eager(rule: str) -> None:
    reference, make = RULES[rule]
    with gl.dygraph.guard():
        layer = gl.dygraph.Linear(3, 2, gl.initializer.NumpyArrayInitializer(W0), bias_attr=False, dtype="float64")
        optimizer = make(parameter_list=layer.parameters())
        for (x, y), want in zip(batches(), expected(reference), strict=True):
            loss = gl.dygraph.MSELoss()(layer(gl.dygraph.to_variable(x)), gl.dygraph.to_variable(y))
            loss.backward()
            assert optimizer.minimize(loss) == ([], [])
            layer.clear_gradients()
            np.testing.assert_allclose(layer.weight.numpy(), want, rtol=1e-12, atol=1e-13)


def test_float32_program() -> None:
    line = Line(Adam(0.1, beta2=0.99), "float32")
    for (x, y), want in zip(batches(), expected(adam), strict=True):
        got = line.step(x.astype(np.float32), y.astype(np.float32))
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=2e-4)


def test_what_minimize_returns() -> None:
    line = Line(Momentum(0.1, 0.9))
    assert [(p.name, g.name) for p, g in line.pairs] == [("w", "w@GRAD")]
    assert {op.role for op in line.updates} == {"optimize"}
    assert [op.output("target") for op in line.updates if op.type == "write"] == [["w"], ["w_velocity_0"]]
    assert sorted(v.name for v in line.main.list_vars() if v.persistable) == ["learning_rate_0", "w", "w_velocity_0"]


def test_clone_for_test_trains_nothing() -> None:
    line = Line(SGD(0.1))
    test = line.main.clone(for_test=True)
    x, y = batches()[0]
    line.exe.run(test, feed={"x": x, "y": y}, fetch_list=[line.loss.name], scope=line.scope)
    np.testing.assert_array_equal(line.value("w"), W0)


def test_learning_rate_of_a_parameter() -> None:
    line = Line(SGD(0.1), attr=gl.ParamAttr(learning_rate=0.5, initializer=gl.initializer.NumpyArrayInitializer(W0)))
    x, y = batches()[0]
    np.testing.assert_allclose(line.step(x, y), W0 - 0.05 * gradient(W0, x, y), rtol=1e-12)


def test_weight_decay_of_a_parameter_replaces_the_optimisers() -> None:
    attr = gl.ParamAttr(
        name="w", initializer=gl.initializer.NumpyArrayInitializer(W0), regularizer=gl.regularizer.L2Decay(1.0)
    )
    line = Line(SGD(0.1, regularization=gl.regularizer.L2Decay(5.0)), attr=attr)
    x, y = batches()[0]
    np.testing.assert_allclose(line.step(x, y), W0 - 0.1 * (gradient(W0, x, y) + W0), rtol=1e-12)


def test_learning_rate_as_a_variable() -> None:
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    with gl.program_guard(main, startup), gl.unique_name.guard():
        x = gl.data("x", [None, 3], "float64")
        w = gl.layers.create_parameter([3, 1], "float64", "w", default_initializer=gl.initializer.Constant(1.0))
        rate = gl.data("rate", [1], "float64")
        SGD(rate).minimize(gl.layers.mean(gl.layers.matmul(x, w)))
    exe = gl.Executor()
    exe.run(startup, scope=scope)
    for value in (0.5, 0.25):
        exe.run(main, feed={"x": np.ones((2, 3)), "rate": np.array([value])}, scope=scope)
    np.testing.assert_allclose(np.array(scope.find_var("w").get_tensor()), np.full((3, 1), 0.25))


def test_untrained_parameters_stay() -> None:
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    with gl.program_guard(main, startup), gl.unique_name.guard():
        x = gl.data("x", [None, 3])
        y = gl.layers.fc(x, 2, param_attr=gl.ParamAttr(name="kept", trainable=False))
        _, pairs = SGD(0.5).minimize(gl.layers.mean(y))
    assert [p.name for p, _ in pairs] == ["fc_0.b_0"]
    exe = gl.Executor()
    exe.run(startup, scope=scope)
    before = np.array(scope.find_var("kept").get_tensor())
    exe.run(main, feed={"x": np.ones((2, 3), np.float32)}, scope=scope)
    np.testing.assert_array_equal(np.array(scope.find_var("kept").get_tensor()), before)
    np.testing.assert_array_equal(np.array(scope.find_var("fc_0.b_0").get_tensor()), [-0.25, -0.25])


def test_a_run_that_fails_changes_nothing() -> None:
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    with gl.program_guard(main, startup), gl.unique_name.guard():
        x, y = gl.data("x", [None, 3]), gl.data("y", [None, 1], "int64")
        logits = gl.layers.fc(x, 4)
        Momentum(0.1, 0.9).minimize(gl.layers.mean(gl.layers.softmax_with_cross_entropy(logits, y)))
    exe = gl.Executor()
    exe.run(startup, scope=scope)
    names = [v.name for v in main.list_vars() if v.persistable]
    before = {n: np.array(scope.find_var(n).get_tensor()) for n in names}
    feed = {"x": np.ones((2, 3), np.float32), "y": np.array([[1], [4]])}
    with pytest.raises(gl.errors.LabelError):
        exe.run(main, feed=feed, scope=scope)
    for n in names:
        np.testing.assert_array_equal(np.array(scope.find_var(n).get_tensor()), before[n])


def test_eager_state_and_rate() -> None:
    with gl.dygraph.guard():
        layer = gl.dygraph.Linear(3, 2, gl.initializer.NumpyArrayInitializer(W0), bias_attr=False, dtype="float64")
        first = Momentum(0.1, 0.9, parameter_list=layer.parameters())
        data = [(gl.dygraph.to_variable(x), gl.dygraph.to_variable(y)) for x, y in batches()]
        wanted = expected(momentum)
        optimizer: Optimizer = first
        for i, (x, y) in enumerate(data):
            if i == 2:  # go on with another optimiser that has taken the state over
                optimizer = Momentum(0.1, 0.9, parameter_list=layer.parameters())
                optimizer.set_dict(first.state_dict())
            gl.dygraph.MSELoss()(layer(x), y).backward()
            optimizer.minimize(None)  # type: ignore[arg-type]  # eager mode looks at the gradients only
            optimizer.clear_gradients()
            np.testing.assert_allclose(layer.weight.numpy(), wanted[i], rtol=1e-12)
        assert optimizer.current_step_lr() == 0.1
        optimizer.set_lr(0.0)
        before = layer.weight.numpy()
        gl.dygraph.MSELoss()(layer(data[0][0]), data[0][1]).backward()
        optimizer.minimize(None)  # type: ignore[arg-type]
        np.testing.assert_array_equal(layer.weight.numpy(), before)
        with pytest.raises(UnknownVariable, match="velocity"):
            optimizer.set_dict({"w/velocit": np.zeros(1)})


def test_refusals() -> None:
    with gl.program_guard(gl.Program(), gl.Program()):
        x = gl.data("x", [None, 3])
        y = gl.layers.fc(x, 2)
        with pytest.raises(ShapeError, match=r"layers\.mean") as caught:
            SGD(0.1).minimize(y)
        assert "test_optimizer.py:" in str(caught.value)
        with pytest.raises(AttrError, match="no trainable parameter"):
            SGD(0.1).minimize(gl.layers.mean(x * 2.0))
        with pytest.raises(ArgumentTypeError, match="a loss"):
            SGD(0.1).minimize("loss")  # type: ignore[arg-type]
    with gl.dygraph.guard(), pytest.raises(UnsupportedError, match="parameter_list"):
        SGD(0.1).minimize(None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="learning rate"):
        SGD("0.1")  # type: ignore[arg-type]
    with pytest.raises(AttrError, match="finite"):
        SGD(float("nan"))
    with pytest.raises(ArgumentTypeError, match="decay"):
        SGD(0.1, regularization=0.5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="clip"):
        SGD(0.1, grad_clip=0.5)  # type: ignore[arg-type]
    with pytest.raises(AttrError, match="beta1"):
        Adam(beta1=1.0)
    with pytest.raises(AttrError, match="positive"):
        gl.clip.GradientClipByNorm(0.0)
    with pytest.raises(AttrError, match="order"):
        gl.clip.GradientClipByValue(-1.0)
    with pytest.raises(AttrError, match="rho"):
        gl.optimizer.RMSProp(0.1, rho=1.5)
    with pytest.raises(ArgumentTypeError, match="need_clip"):
        gl.clip.GradientClipByNorm(1.0, need_clip="w")  # type: ignore[arg-type]


def two_weights(optimizer: Optimizer, clip: Callable[[], object] = lambda: None) -> tuple[Array, Array]:
    """What one step takes off two weights of gradient (3, 4) each; `clip` runs before minimize."""
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    with gl.program_guard(main, startup), gl.unique_name.guard():
        a, b = (
            gl.layers.create_parameter([2], "float64", n, default_initializer=gl.initializer.Constant(0.0))
            for n in "ab"
        )
        by = gl.layers.assign(np.array([3.0, 4.0]))
        clip()
        optimizer.minimize(gl.layers.reduce_sum((a + b) * by))
    exe = gl.Executor()
    exe.run(startup, scope=scope)
    exe.run(main, scope=scope)
    first, second = (-np.array(scope.find_var(n).get_tensor()) for n in "ab")
    return first, second


def test_clips_of_some_parameters() -> None:
    only_a = gl.clip.GradientClipByGlobalNorm(1.0, need_clip=lambda p: p.name == "a")
    a, b = two_weights(SGD(1.0, grad_clip=only_a))
    np.testing.assert_allclose([a, b], [[0.6, 0.8], [3, 4]], rtol=1e-15)
    a, b = two_weights(SGD(1.0), lambda: gl.clip.set_gradient_clip(gl.clip.GradientClipByNorm(0.5), ["b"]))
    np.testing.assert_allclose([a, b], [[3, 4], [0.3, 0.4]], rtol=1e-15)
    a, b = two_weights(SGD(1.0), lambda: gl.clip.set_gradient_clip(gl.clip.GradientClipByGlobalNorm(50**0.5 / 2)))
    np.testing.assert_allclose([a, b], [[1.5, 2], [1.5, 2]], rtol=1e-15)
    own = SGD(1.0, grad_clip=gl.clip.GradientClipByValue(1.0))
    a, b = two_weights(own, lambda: gl.clip.set_gradient_clip(gl.clip.GradientClipByNorm(0.5)))
    np.testing.assert_allclose([a, b], [[1, 1], [1, 1]])


def test_set_gradient_clip_refuses() -> None:
    main, clip = gl.Program(), gl.clip.GradientClipByNorm(1.0)
    with gl.program_guard(main):
        x = gl.data("x", [1])
    for arguments in ((3,), (clip, [x], main), (clip, None, "main")):
        with pytest.raises(ArgumentTypeError):
            gl.clip.set_gradient_clip(*arguments)  # type: ignore[arg-type]
    with pytest.raises(UnknownVariable):
        gl.clip.set_gradient_clip(clip, ["y"], main)
