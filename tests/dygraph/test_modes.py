"""Switching eager mode on and off, in nested guards and in threads; layers."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import graphloss as gl
from graphloss import dygraph
from graphloss.dygraph import Layer, Linear, VarBase, to_variable
from graphloss.errors import ArgumentTypeError, AttrError, GraphlossError, UnknownVariable, UnsupportedError
from graphloss.ir.variable import Variable


def test_guard_yields_none_and_ends() -> None:
    assert not dygraph.enabled()
    with dygraph.guard(gl.CPUPlace()) as nothing:
        assert nothing is None
        assert dygraph.enabled()
        with dygraph.guard():
            assert dygraph.enabled()
        assert dygraph.enabled()
    assert not dygraph.enabled()


def test_guard_ends_with_an_error() -> None:
    with pytest.raises(ZeroDivisionError), dygraph.guard():
        raise ZeroDivisionError
    assert not dygraph.enabled()


def test_outside_a_guard() -> None:
    with pytest.raises(UnsupportedError, match="guard"):
        to_variable(np.ones(1))


def test_enable_and_disable() -> None:
    dygraph.enable_dygraph()
    dygraph.enable_dygraph()
    try:
        assert to_variable(np.ones(1)).shape == [1]
    finally:
        dygraph.disable_dygraph()
    assert not dygraph.enabled()
    dygraph.disable_dygraph()
    assert not dygraph.enabled()


def test_threads_do_not_see_each_other() -> None:
    seen: list[bool] = []
    with dygraph.guard():
        thread = threading.Thread(target=lambda: seen.append(dygraph.enabled()))
        thread.start()
        thread.join()
    assert seen == [False]


def test_one_loss_object_serves_both_modes() -> None:
    nll = dygraph.NLLLoss()
    x, y = np.log(np.array([[0.2, 0.8], [0.5, 0.5]])), np.array([1, 0])
    with dygraph.guard():
        eager = nll(to_variable(x), to_variable(y))
        assert isinstance(eager, VarBase)
        assert eager.shape == [1]
    with gl.program_guard(gl.Program()):
        loss = nll(gl.data("x", [None, 2], "float64"), gl.data("y", [None], "int64"))
        assert isinstance(loss, Variable)
        (value,) = gl.Executor().run(loss.block.program, feed={"x": x, "y": y}, fetch_list=[loss])
    np.testing.assert_allclose(value, eager.numpy(), rtol=1e-14)
    with dygraph.guard():
        np.testing.assert_array_equal(nll(to_variable(x), to_variable(y)).numpy(), eager.numpy())


class Net(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.first = Linear(4, 3, act="relu")
        self.second = Linear(3, 2, bias_attr=False)

    def forward(self, x: VarBase) -> VarBase:
        return self.second(self.first(x))


def test_parameters_of_layers() -> None:
    with dygraph.guard():
        net = Net()
        assert [n for n, _ in net.named_parameters()] == ["first.weight", "first.bias", "second.weight"]
        assert [p.shape for p in net.parameters()] == [[4, 3], [3], [3, 2]]
        assert [p.name for p in net.parameters()] == ["linear_0.w_0", "linear_0.b_0", "linear_1.w_0"]
        assert net.parameters(include_sublayers=False) == []
        assert net.sublayers() == [net.first, net.second]
        assert net.full_name() == "net_0"
        np.testing.assert_array_equal(net.first.bias.numpy(), 0)
        assert np.all(np.abs(net.first.weight.numpy()) <= np.sqrt(6 / 7))
        assert not net.first.weight.stop_gradient
        net(to_variable(np.ones((5, 4), np.float32))).backward()
        assert all(p.gradient() is not None for p in net.parameters())
        net.clear_gradients()
        assert all(p.gradient() is None for p in net.parameters())


def test_shared_layers_count_once() -> None:
    with dygraph.guard():
        net = Net()
        net.again = net.first
        assert len(net.parameters()) == 3
        net.again = None
        assert [type(layer).__name__ for layer in net.sublayers()] == ["Linear", "Linear"]


def test_state_of_layers() -> None:
    with dygraph.guard():
        a, b = Net(), Net()
        b.set_dict(a.state_dict())
        x = to_variable(np.ones((2, 4), np.float32))
        np.testing.assert_array_equal(a(x).numpy(), b(x).numpy())
        with pytest.raises(UnknownVariable, match=r"first\.bias"):
            b.set_dict({"first.bia": np.zeros(3, np.float32)})
        with pytest.raises(GraphlossError, match="lacks"):
            b.set_dict({"first.bias": np.zeros(3, np.float32)})


def test_hooks_and_modes() -> None:
    with dygraph.guard():
        net = Net()
        net.eval()
        assert not net.first.training
        net.train()
        assert net.second.training
        x = to_variable(np.ones((1, 4), np.float32))
        plain = net(x).numpy()
        before = net.register_forward_pre_hook(lambda layer, inputs: (inputs[0] * 0.0,))
        after = net.register_forward_post_hook(lambda layer, inputs, out: out + 5.0)
        np.testing.assert_array_equal(net(x).numpy(), [[5, 5]])
        before.remove()
        after.remove()
        np.testing.assert_array_equal(net(x).numpy(), plain)


def test_misuse_of_layers() -> None:
    with pytest.raises(UnsupportedError, match="guard"):
        Linear(2, 2)
    with dygraph.guard():
        with pytest.raises(UnsupportedError, match="forward"):
            Layer()(1)
        with pytest.raises(UnsupportedError, match="backward"):
            Layer().backward()
        with pytest.raises(AttrError, match="activation"):
            Linear(2, 2, act="magic")
        with pytest.raises(ArgumentTypeError, match="weights"):
            Linear(2, 2, param_attr=False)
        with pytest.raises(ArgumentTypeError, match="parameter"):
            Layer().add_parameter("w", np.ones(2))
        with pytest.raises(ArgumentTypeError, match="layer"):
            Layer().add_sublayer("l", 3)
        net = Layer()
        net.add_parameter("w", net.create_parameter([2], attr=gl.initializer.Constant(1.0)))
        net.add_sublayer("inner", Linear(1, 1))
        assert [n for n, _ in net.named_parameters()] == ["w", "inner.weight", "inner.bias"]

        class Early(Layer):
            def __init__(self) -> None:
                self.inner = Linear(1, 1)

        with pytest.raises(UnsupportedError, match="super"):
            Early()
