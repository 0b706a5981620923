"""Gluon's tutorial of losses, statement by statement, and what its arrays, records and layer promise."""

from __future__ import annotations

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import ArgumentTypeError
from graphloss.gluon import autograd, nd, nn
from graphloss.gluon import loss as gloss


def test_basic_usage() -> None:
    loss = gloss.L2Loss()
    x = nd.ones((2,))
    y = nd.ones((2,)) * 2
    np.testing.assert_array_equal(loss(x, y).asnumpy(), [0.5, 0.5])
    np.testing.assert_array_equal((0.5 * (x - y) ** 2).asnumpy(), [0.5, 0.5])
    assert loss(x, y).dtype == "float32"


def test_gradient_of_a_layer() -> None:
    X, y = nd.random.uniform(shape=(2, 4)), nd.ones((2,)) * 2
    net = nn.Dense(1)
    net.initialize()
    with autograd.record():
        l = gloss.L2Loss()(net(X), y)  # noqa: E741
    assert (net(X).shape, l.shape) == ((2, 1), (2,))
    l.backward()
    w, b, x = net.weight.data().asnumpy(), net.bias.data().asnumpy(), X.asnumpy()
    residual = x @ w.T + b - y.asnumpy()[:, None]
    np.testing.assert_allclose(net.weight.grad().asnumpy(), residual.T @ x, rtol=1e-5)
    np.testing.assert_allclose(net.bias.grad().asnumpy(), residual.sum(0), rtol=1e-5)
    assert np.abs(w).max() <= 0.07


@pytest.mark.parametrize("loss", [gloss.L1Loss(), gloss.L2Loss(), gloss.HuberLoss()])
def test_regression_curves(loss: gloss.Loss) -> None:
    x = nd.arange(-5, 5, 0.1)
    y = loss(x, nd.zeros_like(x)).asnumpy()
    assert y.shape == (100,)
    np.testing.assert_allclose(y[[0, 50]], [loss(nd.array([v]), nd.zeros(1)).asscalar() for v in (-5, 0)], atol=1e-5)


@pytest.mark.parametrize("loss", [gloss.SigmoidBCELoss(), gloss.HingeLoss(), gloss.LogisticLoss()])
def test_classification_curves(loss: gloss.Loss) -> None:
    x = nd.arange(-5, 5, 0.1)
    y = loss(x, nd.ones_like(x)).asnumpy()
    assert np.all(np.diff(y) <= 0), "the right answer costs less and less"


def test_softmax_cross_entropy() -> None:
    out = gloss.SoftmaxCrossEntropyLoss()(nd.array([[1, 10], [8, 2]]), nd.array([0, 1]))
    np.testing.assert_allclose(out.asnumpy(), [9.0001234, 6.0024757], rtol=1e-6)


def test_kl_divergence() -> None:
    output = nd.array([[0.39056206, 1.3068528, 0.39056206, -0.30258512]])
    np.testing.assert_allclose(output.softmax().asnumpy(), [[0.2, 0.5, 0.2, 0.1]], rtol=1e-6)
    loss = gloss.KLDivLoss(from_logits=False)(output, nd.array([[0.3, 0.4, 0.1, 0.2]]))
    np.testing.assert_allclose(loss.asnumpy(), [0.0254242], rtol=1e-5)


def test_cosine_embedding() -> None:
    x, y = nd.array([1, 0, 1, 0, 1, 0]), nd.array([0, 1, 0, 1, 0, 1])
    loss = gloss.CosineEmbeddingLoss()
    np.testing.assert_allclose(loss(x, x, nd.array(1)).asnumpy(), [[0]], atol=1e-6)
    np.testing.assert_allclose(loss(x, y, nd.array(-1)).asnumpy(), [[0]], atol=1e-6)


def test_weights_of_samples() -> None:
    x, y = nd.ones((2,)), nd.ones((2,)) * 2
    np.testing.assert_array_equal(gloss.L2Loss()(x, y, nd.array([1, 2])).asnumpy(), [0.5, 1])


def test_same_numbers_as_compiled() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
    main = gl.Program()
    with gl.program_guard(main):
        loss = gloss.HuberLoss()(gl.data("x", [3, 4]), gl.data("y", [3, 4]))
    (want,) = gl.Executor(gl.CPUPlace()).run(main, feed={"x": x, "y": y}, fetch_list=[loss])
    np.testing.assert_allclose(gloss.HuberLoss()(nd.array(x), nd.array(y)).asnumpy(), want, rtol=1e-6)


def test_only_what_is_recorded_is_remembered() -> None:
    x = nd.array([1.0, 2.0])
    x.attach_grad()
    with pytest.raises(gl.errors.UnsupportedError, match="recorded"):
        (x * x).backward()
    with autograd.record():
        with autograd.pause():
            assert not autograd.is_recording()
            constant = x * x
        assert autograd.is_recording()
        y = constant * x
    assert not autograd.is_recording()
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [1, 4])
    with pytest.raises(gl.errors.UnsupportedError, match="attach_grad"):
        nd.ones(2).grad  # noqa: B018


def test_a_backward_replaces_the_gradient_before() -> None:
    x = nd.array([3.0])
    x.attach_grad()
    np.testing.assert_array_equal(x.grad.asnumpy(), [0])
    for _ in range(2):
        with autograd.record():
            y = x * x + x
        y.backward()
        np.testing.assert_array_equal(x.grad.asnumpy(), [7])


def test_arrays() -> None:
    assert nd.array(1).shape == (1,)
    assert nd.array([1, 2]).dtype == "float32"
    assert nd.array(np.array([1, 2])).dtype == "int64"
    assert nd.array([1], dtype="float64").dtype == "float64"
    assert nd.arange(3).asnumpy().tolist() == [0, 1, 2]
    assert nd.arange(-5, 5, 0.1).shape == (100,)
    x = nd.arange(6).reshape((2, -1))
    assert (x.shape, x[1].asnumpy().tolist(), x.sum(1).asnumpy().tolist()) == ((2, 3), [3, 4, 5], [3, 12])
    assert (1 - x).asnumpy().tolist() == [[1, 0, -1], [-2, -3, -4]]
    assert (x @ nd.ones((3, 1))).asnumpy().tolist() == [[3], [12]]
    assert x.mean().asscalar() == 2.5
    assert len({x, x}) == 1
    with pytest.raises(gl.errors.ShapeError):
        x.reshape((4, 2))
    with pytest.raises(gl.errors.ArgumentTypeError):
        nd.array("text")


def test_arrays_leave_programs_alone() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [2])
        before = len(main.global_block().ops)
        (nd.ones(2) + nd.ones(2)).asnumpy()
        assert len(main.global_block().ops) == before
        assert isinstance(x + x, gl.Variable)


def test_layer() -> None:
    net = nn.Dense(3, activation="relu", in_units=2)
    with pytest.raises(gl.errors.UnsupportedError, match="initialize"):
        net(nd.ones((1, 2)))
    net.initialize(gl.initializer.Constant(-1.0))
    assert net(nd.ones((1, 2))).asnumpy().tolist() == [[0, 0, 0]]
    assert [p.shape for p in net.collect_params().values()] == [(3, 2), (3,)]
    assert nn.Dense(2, use_bias=False).bias is None
    flat = nn.Dense(1)
    flat.initialize()
    assert flat(nd.ones((2, 3, 4))).shape == (2, 1)
    assert flat.weight.shape == (1, 12)


def test_a_parameter_takes_values_and_forgets_its_gradient() -> None:
    net = nn.Dense(1, use_bias=False, in_units=2)
    net.initialize(gl.initializer.Constant(1.0))
    for value, want in (([[1.0, 1.0]], 3.0), ([[2.0, -1.0]], 0.0)):
        net.weight.set_data(nd.array(value))
        with autograd.record():
            y = net(nd.array([[1.0, 2.0]]))
        y.backward()
        assert y.asnumpy().tolist() == [[want]]
        assert net.weight.grad().asnumpy().tolist() == [[1, 2]]
        net.weight.zero_grad()
        assert net.weight.grad().asnumpy().tolist() == [[0, 0]]
    with pytest.raises(gl.errors.ShapeError):
        net.weight.set_data(nd.ones((2, 2)))


def test_losses_take_what_blocks_take() -> None:
    assert repr(gloss.HuberLoss(prefix="huber_", params=None)) == "HuberLoss(batch_axis=0, w=None)"
    for name in gloss.__all__:
        if name != "Loss":
            with pytest.raises(ArgumentTypeError, match="unknown arguments"):
                getattr(gloss, name)(wieght=1.0)
