"""Ten small programs from end to end: what to run before each commit."""

from __future__ import annotations

import numpy as np
import pytest

import graphloss as gl
from graphloss.ir.parser import parse_graph
from graphloss.ir.printer import print_graph

pytestmark = pytest.mark.tiny


@pytest.fixture
def main() -> gl.Program:
    return gl.Program()


def run(main: gl.Program, feed: dict[str, np.ndarray], *fetches: object) -> list[np.ndarray]:
    return gl.Executor(gl.CPUPlace()).run(main, feed=feed, fetch_list=list(fetches))  # type: ignore[arg-type]


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def test_textbook_cross_entropy_and_its_gradient(main: gl.Program, rng: np.random.Generator) -> None:
    with gl.program_guard(main):
        x, y = gl.data("x", [None, 20]), gl.data("y", [None, 1], "int64")
        loss = gl.layers.mean(gl.layers.cross_entropy(gl.layers.softmax(x), y))
        (gradient,) = gl.gradients([loss], [x])
    xs, ys = rng.normal(size=(6, 20)).astype("float32"), rng.integers(0, 20, (6, 1))
    value, slope = run(main, {"x": xs, "y": ys}, loss, gradient)
    p = softmax(xs.astype("float64"))
    np.testing.assert_allclose(value, [-np.log(p[np.arange(6), ys[:, 0]]).mean()], rtol=1e-6)
    np.testing.assert_allclose(slope, (p - np.eye(20)[ys[:, 0]]) / 6, atol=1e-7)


def test_another_batch_size_needs_no_new_code(main: gl.Program, rng: np.random.Generator) -> None:
    with gl.program_guard(main):
        x = gl.data("x", [None, 4])
        y = gl.layers.reduce_sum(gl.layers.square(x), dim=1)
    for n in (1, 5, 0, 17):
        xs = rng.normal(size=(n, 4)).astype("float32")
        np.testing.assert_allclose(run(main, {"x": xs}, y)[0], (xs**2).sum(1), rtol=1e-6)
    assert len(main.compiled) == 1


def test_huge_logits_stay_exact(main: gl.Program) -> None:
    with gl.program_guard(main):
        x = gl.data("x", [None, 3])
        y = gl.layers.log(gl.layers.softmax(x))
    (got,) = run(main, {"x": np.array([[0, 1e4, -1e4]], "float32")}, y)
    assert got.tolist() == [[-1e4, 0.0, -2e4]]
    assert "log-of-softmax" in gl.explain(main, [y]).rules


def test_labels_are_checked(main: gl.Program) -> None:
    with gl.program_guard(main):
        x, y = gl.data("x", [None, 3]), gl.data("labels", [None], "int64")
        loss = gl.nn.functional.cross_entropy(x, y)
    with pytest.raises(gl.errors.LabelError, match=r"labels\[1\] = 3 is out of range"):
        run(main, {"x": np.zeros((2, 3), "float32"), "labels": np.array([0, 3])}, loss)


def test_class_axis_in_the_middle(main: gl.Program, rng: np.random.Generator) -> None:
    with gl.program_guard(main):
        x, y = gl.data("x", [None, 5, None]), gl.data("y", [None, None], "int64")
        loss = gl.nn.functional.cross_entropy(x, y, reduction="sum")
    xs, ys = rng.normal(size=(2, 5, 7)).astype("float32"), rng.integers(0, 5, (2, 7))
    p = softmax(np.moveaxis(xs, 1, -1).astype("float64"))
    want = -np.log(np.take_along_axis(p, ys[..., None], -1)).sum()
    np.testing.assert_allclose(run(main, {"x": xs, "y": ys}, loss)[0], want, rtol=1e-6)


def test_training_moves_the_parameters_only_when_it_succeeds(rng: np.random.Generator) -> None:
    main, startup = gl.Program(), gl.Program()
    main.random_seed = startup.random_seed = 1
    with gl.unique_name.guard(), gl.program_guard(main, startup):
        x, y = gl.data("x", [None, 4]), gl.data("y", [None, 1], "int64")
        loss = gl.layers.mean(gl.layers.cross_entropy(gl.layers.softmax(gl.layers.fc(x, size=3)), y))
        gl.optimizer.SGD(learning_rate=0.5).minimize(loss)
    feed = {"x": rng.normal(size=(12, 4)).astype("float32"), "y": rng.integers(0, 3, (12, 1))}
    with gl.scope_guard(gl.Scope()):
        exe = gl.Executor()
        exe.run(startup)
        losses = [float(exe.run(main, feed, [loss])[0][0]) for _ in range(20)]
        weights = np.array(gl.global_scope().find_var("fc_0.w_0").get_tensor())  # type: ignore[union-attr]
        with pytest.raises(gl.errors.LabelError):
            exe.run(main, {**feed, "y": feed["y"] + 3}, [loss])
        assert np.array_equal(weights, np.array(gl.global_scope().find_var("fc_0.w_0").get_tensor()))  # type: ignore[union-attr]
    assert losses[-1] < 0.9 * losses[0]


def test_eager_mode_says_the_same(rng: np.random.Generator) -> None:
    xs, ys = rng.normal(size=(5, 8)), rng.integers(0, 8, 5)
    with gl.dygraph.guard():
        x = gl.dygraph.to_variable(xs)
        x.stop_gradient = False
        loss = gl.nn.functional.cross_entropy(x, gl.dygraph.to_variable(ys))
        loss.backward()
        slope = x.gradient()
    p = softmax(xs)
    np.testing.assert_allclose(slope, (p - np.eye(8)[ys]) / 5, atol=1e-12)


def test_text_reads_back(main: gl.Program) -> None:
    with gl.program_guard(main):
        x = gl.data("x", [None, 3])
        y = gl.layers.reduce_mean(gl.layers.sigmoid(x) * 2.0)
    graph = main.snapshot([y])
    assert parse_graph(print_graph(graph)) == graph


def test_second_order(main: gl.Program) -> None:
    with gl.program_guard(main):
        x = gl.data("x", [None], "float64")
        (first,) = gl.gradients([gl.layers.exp(2.0 * x)], [x])
        assert first is not None
        (second,) = gl.gradients([first], [x])
    xs = np.array([0.0, 0.5])
    np.testing.assert_allclose(run(main, {"x": xs}, second)[0], 4 * np.exp(2 * xs), rtol=1e-14)


def test_threads_do_not_change_bits(main: gl.Program, rng: np.random.Generator) -> None:
    with gl.program_guard(main):
        x = gl.data("x", [None])
        y = gl.layers.reduce_sum(gl.layers.exp(x))
    feed = {"x": rng.normal(size=300_000).astype("float32")}
    before = gl.get_num_threads()
    try:
        results = []
        for n in (1, 2, 3):
            gl.set_num_threads(n)
            results.append(run(main, feed, y)[0].tobytes())
    finally:
        gl.set_num_threads(before)
    assert len(set(results)) == 1
