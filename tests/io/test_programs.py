"""Values of programs, whole programs and layers through files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import io
from graphloss.errors import (
    ArgumentTypeError,
    AttrError,
    DtypeError,
    FeedError,
    ParseError,
    ShapeError,
    StoredError,
    UnknownVariable,
    UnsupportedError,
)
from graphloss.io.variables import is_parameter

EXE = gl.Executor(gl.CPUPlace())
RNG = np.random.default_rng(3)
BATCH = {"x": RNG.normal(size=(8, 3)).astype("float32"), "y": RNG.integers(0, 4, (8, 1))}


class Net:
    """Softmax regression under Adam, with its scope."""

    def __init__(self, width: int = 4) -> None:
        self.main, self.startup, self.scope = gl.Program(), gl.Program(), gl.Scope()
        self.startup.random_seed = 7
        with gl.program_guard(self.main, self.startup), gl.unique_name.guard():
            self.x, self.y = gl.data("x", [None, 3]), gl.data("y", [None, 1], "int64")
            self.logits = gl.layers.fc(self.x, size=width, param_attr="layer/w", bias_attr="..b")
            self.loss = gl.layers.mean(gl.layers.softmax_with_cross_entropy(self.logits, self.y))
            gl.optimizer.Adam(0.1).minimize(self.loss)

    def start(self) -> None:
        EXE.run(self.startup, scope=self.scope)

    def train(self, steps: int) -> list[float]:
        return [
            float(EXE.run(self.main, feed=BATCH, fetch_list=[self.loss], scope=self.scope)[0][0]) for _ in range(steps)
        ]

    def values(self) -> dict[str, np.ndarray[Any, Any]]:
        return {n: np.array(h.get_tensor()) for n, h in self.scope.holders.items()}


@pytest.mark.parametrize("filename", [None, "all"])
def test_training_goes_on_where_it_stopped(tmp_path: Path, filename: str | None) -> None:
    one, other = Net(), Net()
    one.start()
    one.train(3)
    with gl.scope_guard(one.scope):
        io.save_persistables(EXE, str(tmp_path / "at 3"), one.main, filename)
    with gl.scope_guard(other.scope):
        io.load_persistables(EXE, str(tmp_path / "at 3"), other.main, filename)
    assert one.train(4) == other.train(4)
    files = sorted(p.name for p in (tmp_path / "at 3").iterdir())
    assert files == ["all"] if filename else {"..b.npy", "layer%2Fw.npy"} < set(files)
    assert [p.name for p in tmp_path.iterdir()] == ["at 3"]


def test_parameters_only(tmp_path: Path) -> None:
    net = Net()
    net.start()
    net.train(2)
    before = net.values()
    with gl.scope_guard(net.scope):
        io.save_params(EXE, str(tmp_path), net.main)
        net.train(2)
        after = net.values()
        io.load_params(EXE, str(tmp_path), net.main)
    for name, value in net.values().items():
        is_a_parameter = name in ("layer/w", "..b")
        np.testing.assert_array_equal(value, (before if is_a_parameter else after)[name], err_msg=name)
    assert len(list(tmp_path.iterdir())) == 2
    assert [v.name for v in io.get_program_parameter(net.main)] == ["layer/w", "..b"]
    assert len(io.get_program_persistable_vars(net.main)) == len(before)


def test_some_variables(tmp_path: Path) -> None:
    net = Net()
    net.start()
    with gl.scope_guard(net.scope):
        io.save_vars(EXE, str(tmp_path), net.main, vars=["..b"])
        io.save_vars(EXE, str(tmp_path / "w"), net.main, predicate=lambda v: v.name.endswith("w"), filename="w.npz")
        assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["..b.npy"]
        assert list(np.load(tmp_path / "w" / "w.npz")) == ["layer/w"]
        with pytest.raises(StoredError, match=r"layer%2Fw.npy' cannot be read"):
            io.load_vars(EXE, str(tmp_path), net.main, predicate=is_parameter)
        with pytest.raises(StoredError, match=r"does not hold '..b'"):
            io.load_vars(EXE, str(tmp_path / "w"), net.main, vars=["layer/w", "..b"], filename="w.npz")
        with pytest.raises(StoredError, match="no folder"):
            io.load_vars(EXE, str(tmp_path / "absent"), net.main)
        with pytest.raises(UnknownVariable, match=r"hint: did you mean '..b'"):
            io.save_vars(EXE, str(tmp_path), net.main, vars=[".b"])
        with pytest.raises(UnknownVariable, match="is not persistable"):
            io.save_vars(EXE, str(tmp_path), net.main, vars=[net.loss])
        with pytest.raises(ArgumentTypeError):
            io.save_vars(EXE, str(tmp_path), net.main, vars=net.loss)
        with pytest.raises(ArgumentTypeError, match="takes an Executor"):
            io.save_vars(None, str(tmp_path), net.main)  # type: ignore[arg-type]
    with gl.scope_guard(gl.Scope()), pytest.raises(FeedError, match="has no value in the scope"):
        io.save_persistables(EXE, str(tmp_path), net.main)


def test_all_fit_or_none_is_set(tmp_path: Path) -> None:
    wide, net = Net(5), Net()
    wide.start()
    net.start()
    with gl.scope_guard(wide.scope):
        io.save_persistables(EXE, str(tmp_path), wide.main, "all")
    before = net.values()
    with gl.scope_guard(net.scope), pytest.raises(ShapeError, match=r"expected \[3, 4\], got \[3, 5\]"):
        io.load_persistables(EXE, str(tmp_path), net.main, "all")
    state = {name: value.astype("float64") for name, value in before.items()}
    with gl.scope_guard(net.scope), pytest.raises(DtypeError, match="expected float32, got float64"):
        io.set_program_state(net.main, state)
    for name, value in net.values().items():
        np.testing.assert_array_equal(value, before[name])


def test_save_and_load(tmp_path: Path) -> None:
    net, other = Net(), Net()
    net.start()
    net.train(2)
    path = str(tmp_path / "model")
    with gl.scope_guard(net.scope):
        gl.save(net.main, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pdmodel", "model.pdopt", "model.pdparams"]
    with gl.scope_guard(other.scope):
        gl.load(other.main, path + ".pdparams", EXE)
    assert {n: v.tobytes() for n, v in other.values().items()} == {n: v.tobytes() for n, v in net.values().items()}
    assert other.train(2) == net.train(2)
    text = (tmp_path / "model.pdmodel").read_text()
    assert gl.Program.parse_from_string(text).to_string() == net.main.to_string() == text
    with gl.scope_guard(gl.Scope()) as _:
        gl.load(net.main, path, var_list=["..b"])
        assert list(gl.global_scope().holders) == ["..b"]
        state = io.load_program_state(path)
        io.set_program_state(net.main, {**state, "unknown": np.zeros(1)})
        assert set(gl.global_scope().holders) == set(state)
    assert list(io.load_program_state(path, ["layer/w"])) == ["layer/w"]
    for call in (lambda: gl.load(net.main, str(tmp_path / "absent")), lambda: io.load_program_state(path, ["absent"])):
        with pytest.raises(StoredError):
            call()
    with pytest.raises(AttrError, match="ends in a folder"):
        gl.save(net.main, str(tmp_path) + "/")


def test_inference_model(tmp_path: Path) -> None:
    net = Net()
    net.start()
    net.train(2)
    with gl.scope_guard(net.scope):
        want = EXE.run(net.main.clone(for_test=True), feed=BATCH, fetch_list=[net.logits])[0]
        names = io.save_inference_model(str(tmp_path), ["x"], [net.logits], EXE, net.main)
    assert names == [net.logits.name]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["..b.npy", "__model__", "layer%2Fw.npy"]
    with gl.scope_guard(gl.Scope()):
        program, feeds, targets = io.load_inference_model(str(tmp_path), EXE)
        assert feeds == ["x"]
        assert [t.name for t in targets] == names
        assert EXE.run(program, feed={"x": BATCH["x"]}, fetch_list=targets)[0].tobytes() == want.tobytes()
        assert EXE.run(program, feed={"x": BATCH["x"][:3]}, fetch_list=targets)[0].shape == (3, 4)


def test_inference_model_in_two_files_with_an_input_too_many(tmp_path: Path) -> None:
    net = Net()
    net.start()
    with gl.scope_guard(net.scope), gl.program_guard(net.main):
        probabilities = gl.layers.softmax(net.logits)
        given = io.save_inference_model(str(tmp_path), ["y", "x"], [probabilities, net.loss], EXE, None, "m", "p")
        io.save_inference_model(str(tmp_path / "bare"), ["y", "x"], probabilities, EXE, program_only=True)
        values = EXE.run(net.main.clone(for_test=True), feed=BATCH, fetch_list=[probabilities, net.loss])
    assert len(given) == 2
    assert [p.name for p in (tmp_path / "bare").iterdir()] == ["__model__"]
    with gl.scope_guard(gl.Scope()):
        program, feeds, targets = io.load_inference_model(str(tmp_path), EXE, "m", "p")
        assert feeds == ["y", "x"]
        for got, want in zip(EXE.run(program, feed=BATCH, fetch_list=targets), values, strict=True):
            np.testing.assert_array_equal(got, want)
    for name in ("layer/w", "..b"):
        (tmp_path / "p").replace(tmp_path / "bare" / "p")
        with gl.scope_guard(net.scope):
            program, _, targets = io.load_inference_model(str(tmp_path / "bare"), EXE, None, "p")
            np.testing.assert_array_equal(EXE.run(program, feed=BATCH, fetch_list=targets)[0], values[0], err_msg=name)
        (tmp_path / "bare" / "p").replace(tmp_path / "p")


def test_a_layer_that_writes_is_stored_without_the_write(tmp_path: Path) -> None:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup), gl.scope_guard(gl.Scope()):
        x, y = gl.data("x", [None, 2]), gl.data("y", [None, 1], "int64")
        loss = gl.layers.center_loss(x, y, 3, 0.5, gl.ParamAttr(name="centers"))
        EXE.run(startup)
        io.save_inference_model(str(tmp_path), ["x", "y"], [loss], EXE)
        program, _, targets = io.load_inference_model(str(tmp_path), EXE)
        feed = {"x": np.ones((1, 2), "float32"), "y": np.array([[1]])}
        first, second = (EXE.run(program, feed=feed, fetch_list=targets)[0].tolist() for _ in range(2))
        assert first == second


def test_inference_model_refuses(tmp_path: Path) -> None:
    net, folder = Net(), str(tmp_path / "new")
    net.start()
    with gl.scope_guard(net.scope):
        with pytest.raises(FeedError, match="need the input 'y'"):
            io.save_inference_model(folder, ["x"], [net.loss], EXE, net.main)
        with pytest.raises(FeedError, match="is no input"):
            io.save_inference_model(folder, ["x", net.logits.name], [net.logits], EXE, net.main)
        with pytest.raises(UnknownVariable):
            io.save_inference_model(folder, ["z"], [net.logits], EXE, net.main)
        with pytest.raises(ArgumentTypeError, match="feeded_var_names"):
            io.save_inference_model(folder, [net.x], [net.logits], EXE, net.main)  # type: ignore[list-item]
        with pytest.raises(ArgumentTypeError, match="target_vars"):
            io.save_inference_model(folder, ["x"], ["loss"], EXE, net.main)  # type: ignore[list-item]
        with gl.dygraph.guard(), pytest.raises(UnsupportedError):
            io.save_inference_model(folder, ["x"], [net.logits], EXE, net.main)
        assert not Path(folder).exists()
        with pytest.raises(StoredError, match="no folder"):
            io.load_inference_model(folder, EXE)
        Path(folder).mkdir()
        with pytest.raises(StoredError, match="__model__' cannot be read"):
            io.load_inference_model(folder, EXE)
        for bad, error in ((b"\xff\xfe", StoredError), (b"import os", ParseError)):
            (tmp_path / "new" / "__model__").write_bytes(bad)
            with pytest.raises(error):
                io.load_inference_model(folder, EXE)


def test_layers_and_optimisers(tmp_path: Path) -> None:
    path = str(tmp_path / "model")

    def run(load: bool) -> list[float]:
        with gl.dygraph.guard():
            first = gl.ParamAttr(initializer=gl.initializer.Uniform(seed=3))
            layer = gl.dygraph.Linear(3, 4, param_attr=first)
            adam = gl.optimizer.Adam(0.1, parameter_list=layer.parameters())
            x, y = map(gl.dygraph.to_variable, BATCH.values())
            losses = []
            for step in range(4):
                if step == 2 and load:
                    parameters, kept = gl.load_dygraph(path)
                    assert parameters is not None and kept is not None
                    layer.set_dict(parameters)
                    adam.set_dict(kept)
                loss = gl.layers.mean(gl.layers.softmax_with_cross_entropy(layer(x), y))
                loss.backward()
                adam.minimize(loss)
                adam.clear_gradients()
                losses.append(float(loss.numpy()[0]))
                if step == 1 and not load:
                    gl.save_dygraph(layer.state_dict(), path)
                    gl.save_dygraph(adam.state_dict(), path)
            return losses

    want = run(False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pdopt", "model.pdparams"]
    assert run(True) == want
    with gl.dygraph.guard():
        gl.save_dygraph({"v": gl.dygraph.to_variable(np.ones(2))}, str(tmp_path / "v"))
    parameters, kept = gl.load_dygraph(str(tmp_path / "v.pdparams"))
    assert parameters is not None and parameters["v"].tolist() == [1, 1] and kept is None
    with pytest.raises(StoredError, match="neither"):
        gl.load_dygraph(str(tmp_path / "absent"))
    for bad, error in (({}, AttrError), ({"a": [1]}, ArgumentTypeError), ([1], ArgumentTypeError)):
        with pytest.raises(error):
            gl.save_dygraph(bad, path)  # type: ignore[arg-type]
