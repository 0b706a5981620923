"""Linear-chain CRF and Viterbi: the worked examples, all paths of small chains, extremes, sequences in every form."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import (
    AttrError,
    DtypeError,
    LabelError,
    ShapeError,
    UnknownVariable,
    UnsupportedError,
    ValueRangeError,
)
from graphloss.nn import functional as F
from tests.losses.golden import EXAMPLES
from tests.losses.runners import RUNNERS

Array = npt.NDArray[Any]
GIVEN, RESULTS = EXAMPLES["crf"]["inputs"], EXAMPLES["crf"]["results"]
PADDED = EXAMPLES["crf_pad"]["results"]


def crf(x: Any, y: Any, w: Any, n: Any = None) -> Any:
    """As `layers.linear_chain_crf`, with its parameter as an operand."""
    return F.linear_chain_crf(x, y, ops.getitem(w, slice(2, None)), ops.getitem(w, 0), ops.getitem(w, 1), n)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_worked_example(dtype: str, runner: str) -> None:
    near = 1e-7 if dtype == "float64" else 1e-6
    data = {
        "x": np.array(GIVEN["emission"], dtype), "y": np.array(GIVEN["label"]),
        "w": np.array(GIVEN["transition"], dtype),
    }  # fmt: skip
    value, (dx, dw) = RUNNERS[runner](crf, data, ["x", "w"])
    assert value.dtype == dtype and value.shape == ()
    np.testing.assert_allclose(value, RESULTS["cost (= -log p)"][0][0], rtol=near)
    np.testing.assert_allclose(dx, RESULTS["d/demission"], atol=near)
    np.testing.assert_allclose(dw, RESULTS["d/dtransition"], atol=near)
    for by in ("x", "w"):  # one of them alone
        _, (alone,) = RUNNERS[runner](crf, data, [by])
        np.testing.assert_array_equal(alone, {"x": dx, "w": dw}[by])


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_worked_batch(dtype: str, runner: str) -> None:
    near = 1e-7 if dtype == "float64" else 1e-5
    data = {
        "x": np.tile(np.array(GIVEN["emission"], dtype), (3, 1, 1)), "y": np.tile(np.array(GIVEN["label"]), (3, 1)),
        "w": np.array(GIVEN["transition"], dtype), "n": np.array([3, 2, 0]),
    }  # fmt: skip
    value, (dx, dw) = RUNNERS[runner](crf, data, ["x", "w"])
    np.testing.assert_allclose(value[:, None], PADDED["cost [3,1]"], atol=near)
    np.testing.assert_allclose(dx[1], PADDED["d sum/demission[1]"], atol=near)
    np.testing.assert_array_equal(dx[2], PADDED["d sum/demission[2]"])
    np.testing.assert_allclose(dw, PADDED["d sum/dtransition"], atol=near)


def program(*, lod: bool, decode_label: bool = True) -> tuple[gl.Program, gl.Program, list[gl.Variable]]:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        if lod:
            x = gl.data("x", [None, 2], "float64", lod_level=1)
            y, n = gl.data("y", [None, 1], "int64", lod_level=1), None
        else:
            x, y = gl.data("x", [None, 3, 2], "float64"), gl.data("y", [None, 3, 1], "int64")
            n = gl.data("n", [None, 1], "int64")
        x.stop_gradient = False
        first = gl.initializer.NumpyArrayInitializer(np.array(GIVEN["transition"]))
        cost = gl.layers.linear_chain_crf(x, y, gl.ParamAttr(name="crfw", initializer=first), n)
        path = gl.layers.crf_decoding(x, gl.ParamAttr(name="crfw"), y if decode_label else None, n)
        grads = gl.gradients([cost], [x, main.global_block().var("crfw")])
    return main, startup, [cost, path, *grads]


def test_layers_padded_and_packed_agree_with_the_examples() -> None:
    exe, scope = gl.Executor(), gl.Scope()
    emission, label = np.array(GIVEN["emission"]), np.array(GIVEN["label"])
    main, startup, fetches = program(lod=False)
    exe.run(startup, scope=scope)
    feed = {
        "x": np.tile(emission, (3, 1, 1)), "y": np.tile(label, (3, 1))[..., None], "n": np.array([[3], [2], [0]])
    }  # fmt: skip
    cost, path, dx, dw = exe.run(main, feed, fetches, scope=scope)
    np.testing.assert_allclose(cost, PADDED["cost [3,1]"], atol=1e-7)
    np.testing.assert_array_equal(path[0], np.ravel(RESULTS["crf_decoding with label"]))
    assert path.dtype == np.int64 and path.shape == (3, 3) and (path[2] == 0).all() and path[1, 2] == 0
    np.testing.assert_allclose(dw, PADDED["d sum/dtransition"], atol=1e-7)

    main, startup, fetches = program(lod=True)
    exe.run(startup, scope=scope)
    lengths = [[3, 2, 0]]
    rows = gl.create_lod_tensor(np.concatenate([emission, emission[:2]]), lengths)
    tags = gl.create_lod_tensor(np.concatenate([label, label[:2]])[:, None], lengths)
    out = exe.run(main, {"x": rows, "y": tags}, fetches, scope=scope, return_numpy=False)
    np.testing.assert_allclose(np.array(out[0]), cost, atol=1e-12)
    assert out[1].recursive_sequence_lengths() == lengths and np.array(out[1]).shape == (5, 1)
    np.testing.assert_allclose(np.array(out[2]), np.concatenate([dx[0], dx[1, :2]]), atol=1e-12)
    np.testing.assert_allclose(np.array(out[3]), dw, atol=1e-12)
    other = gl.create_lod_tensor(np.zeros((5, 1), np.int64), [[2, 2, 1]])
    with pytest.raises(ValueRangeError, match="'x' and 'y' are divided into different sequences"):
        exe.run(main, {"x": rows, "y": other}, fetches, scope=scope, return_numpy=False)


def test_decoding_without_label_and_the_parameter_by_name() -> None:
    main, startup, fetches = program(lod=False, decode_label=False)
    exe, scope = gl.Executor(), gl.Scope()
    exe.run(startup, scope=scope)
    feed = {"x": np.array([GIVEN["emission"]]), "y": np.array(GIVEN["label"]).reshape(1, 3, 1), "n": np.array([[3]])}
    path = exe.run(main, feed, fetches[1:2], scope=scope)[0]
    np.testing.assert_array_equal(path, [np.ravel(RESULTS["Viterbi path"])])
    with gl.program_guard(gl.Program()):
        x = gl.data("x", [None, 3, 2])
        with pytest.raises(UnknownVariable, match="crfw"):
            gl.layers.crf_decoding(x, gl.ParamAttr(name="crfw"), length=gl.data("n", [None], "int64"))


def all_paths(x: Array, w: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Every sequence of tags, and its score."""
    steps, tags = x.shape
    paths = np.array(list(itertools.product(range(tags), repeat=steps)), np.int64).reshape(-1, steps)
    score = x[np.arange(steps), paths].sum(1) + w[paths[:, :-1], paths[:, 1:]].sum(1)
    return paths, score + a[paths[:, 0]] + b[paths[:, -1]]


@pytest.mark.parametrize("tags", [1, 2, 3, 4])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("runner", RUNNERS)
def test_all_paths(steps: int, tags: int, runner: str) -> None:
    """Value, gradients and best path of each chain of a batch against the sum and the maximum over all paths."""
    rng = np.random.default_rng(10 * steps + tags)
    batch = 3
    x, y = rng.normal(size=(batch, steps, tags)), rng.integers(0, tags, (batch, steps))
    w, a, b = rng.normal(size=(tags, tags)) * 2, rng.normal(size=tags), rng.normal(size=tags)

    def loss(x: Any, y: Any, w: Any, a: Any, b: Any) -> Any:
        return F.linear_chain_crf(x, y, w, a, b)

    value, grads = RUNNERS[runner](loss, {"x": x, "y": y, "w": w, "a": a, "b": b}, ["x", "w", "a", "b"])
    want = [np.zeros_like(v) for v in (x, w, a, b)]
    for n in range(batch):
        paths, score = all_paths(x[n], w, a, b)
        p = np.exp(score - score.max())
        log_z = np.log(p.sum()) + score.max()
        p /= p.sum()
        mine = (paths == y[n]).all(1)
        np.testing.assert_allclose(value[n], log_z - score[mine][0], rtol=1e-12, atol=1e-13)
        p[mine] -= 1
        for path, weight in zip(paths, p, strict=True):
            np.add.at(want[0], (n, np.arange(steps), path), weight)
            np.add.at(want[1], (path[:-1], path[1:]), weight)
            want[2][path[0]] += weight
            want[3][path[-1]] += weight
    for got, wanted in zip(grads, want, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-13)

    main = gl.Program()
    with gl.program_guard(main):
        inputs = [gl.data(n, v.shape, "float64") for n, v in zip("xwab", (x, w, a, b), strict=True)]
        found = F.crf_viterbi(*inputs)
    path, score = gl.Executor().run(main, dict(zip("xwab", (x, w, a, b), strict=True)), list(found))
    for n in range(batch):
        paths, scores = all_paths(x[n], w, a, b)
        np.testing.assert_array_equal(path[n], paths[scores.argmax()])
        np.testing.assert_allclose(score[n], scores.max())


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3, 1e4])
def test_float32_is_exact_for_weights_of_any_size(scale: float) -> None:
    """Emissions and transitions so far apart that products of exponentials underflow; float64 is the reference."""
    rng = np.random.default_rng(int(scale))
    x, y = (rng.normal(size=(4, 12, 7)) * scale).astype(np.float32), rng.integers(0, 7, (4, 12))
    w = (rng.normal(size=(7, 7)) * scale).astype(np.float32)
    loss = lambda x, y, w: F.linear_chain_crf(x, y, w)  # noqa: E731
    value, grads = RUNNERS["compiled"](loss, {"x": x, "y": y, "w": w}, ["x", "w"])
    exact, wanted = RUNNERS["eager"](loss, {"x": x.astype("f8"), "y": y, "w": w.astype("f8")}, ["x", "w"])
    np.testing.assert_allclose(value, exact, rtol=2e-6)
    for got, want in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


def test_forbidden_transitions_and_impossible_chains() -> None:
    w = np.zeros((3, 3))
    w[0, 1] = w[1, 1] = -np.inf
    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    y = np.array([[0, 2, 1, 0], [0, 1, 2, 2]])
    loss = lambda x, y, w: F.linear_chain_crf(x, y, w)  # noqa: E731
    for run in RUNNERS.values():
        value, (dx,) = run(loss, {"x": x, "y": y, "w": w}, ["x"])
        assert np.isfinite(value[0]) and value[1] == np.inf
        assert np.isfinite(dx[0]).all() and abs(dx[0].sum(-1)).max() < 1e-12


def test_same_bits_for_any_number_of_threads() -> None:
    rng = np.random.default_rng(2)
    feed = {
        "x": rng.normal(size=(70, 30, 9)).astype("f4"), "y": rng.integers(0, 9, (70, 30)), "n": rng.integers(0, 31, 70)
    }  # fmt: skip
    main = gl.Program()
    with gl.program_guard(main):
        x, y = gl.data("x", [None, None, 9]), gl.data("y", [None, None], "int64")
        w = gl.layers.create_parameter([9, 9], "float32")
        cost = F.linear_chain_crf(x, y, w, length=gl.data("n", [None], "int64"))
        fetches = [cost, *gl.gradients([cost], [x, w])]
    scope = gl.Scope()
    scope.var(w.name).get_tensor().set(rng.normal(size=(9, 9)).astype("f4"))
    one, three = (
        gl.Executor(options=gl.CompileOptions(threads=n)).run(main, feed, fetches, scope=scope) for n in (1, 3)
    )
    for a, b in zip(one, three, strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_by_minimize_lowers_the_cost() -> None:
    main, startup = gl.Program(), gl.Program()
    startup.random_seed = 4
    with gl.program_guard(main, startup):
        words, y = gl.data("words", [None], "int64", lod_level=1), gl.data("y", [None, 1], "int64", lod_level=1)
        x = gl.embedding(words, [20, 5])
        cost = gl.layers.mean(gl.layers.linear_chain_crf(x, y, gl.ParamAttr(name="chain")))
        path = gl.layers.crf_decoding(x, gl.ParamAttr(name="chain"))
        gl.optimizer.SGD(0.2).minimize(cost)
    rng = np.random.default_rng(5)
    data = rng.integers(0, 20, 120)
    tags = (data + np.concatenate([[0], data[:-1]])) % 2 * 2 + data % 2  # of a word and the one before it
    feed = {
        "words": gl.create_lod_tensor(data, [[50, 30, 40]]), "y": gl.create_lod_tensor(tags[:, None], [[50, 30, 40]])
    }  # fmt: skip
    exe, scope = gl.Executor(), gl.Scope()
    exe.run(startup, scope=scope)
    costs = [exe.run(main, feed, [cost], scope=scope)[0][0] for _ in range(60)]
    assert costs[-1] < 0.3 * costs[0]
    found = np.array(exe.run(main, feed, [path], scope=scope, return_numpy=False)[0])
    assert (found[:, 0] == tags).mean() > 0.8


@pytest.mark.parametrize("runner", RUNNERS)
def test_bad_values_are_named_with_their_place(runner: str) -> None:
    good = {"x": np.zeros((2, 3, 2)), "y": np.zeros((2, 3), np.int64), "n": np.array([3, 2]), "w": np.zeros((4, 2))}
    for name, place, value, text in (
        ("y", (1, 1), 2, r"(?s)sample 1, position 1: (y\[1, 1\]|label) = 2 .*a tag in \[0, 2\)"),
        ("y", (0, 2), -1, r"sample 0, position 2: (y\[0, 2\]|label) = -1"),
        ("n", (1,), 4, r"row 1: (n|length)\[1\] = 4"), ("n", (0,), -1, r"row 0: (n|length)\[0\] = -1"),
    ):  # fmt: skip
        bad = {k: v.copy() for k, v in good.items()}
        bad[name][place] = value
        with pytest.raises(LabelError, match=text):
            RUNNERS[runner](crf, bad, ["x"])
    ignored = {k: v.copy() for k, v in good.items()}
    ignored["y"][1, 2] = 77  # behind the end
    RUNNERS[runner](crf, ignored, ["x"])


def test_bad_shapes_at_the_call() -> None:
    with gl.program_guard(gl.Program()):
        x, y, w = gl.data("x", [None, 3, 2]), gl.data("y", [None, 3], "int64"), gl.data("w", [2, 2])
        large, flat, wide = gl.data("large", [3, 3]), gl.data("flat", [2]), gl.data("wide", [2, 2], "float64")
        long = gl.data("long", [None, 4], "int64")
        for args, error in (
            ((x, y, large), ShapeError), ((x, x, w), DtypeError), ((flat, y, w), ShapeError),
            ((x, y, wide), DtypeError), ((x, long, w), ShapeError),
        ):  # fmt: skip
            with pytest.raises(error):
                F.linear_chain_crf(*args)
        with pytest.raises(AttrError):
            gl.layers.linear_chain_crf(x, y, False, gl.data("n", [None], "int64"))


@pytest.mark.parametrize("by", ["x", "w"])
def test_no_second_derivative(by: str) -> None:
    """But of what is made of the cost alone there is a first one."""
    data = {"x": np.zeros((2, 3, 2)), "y": np.zeros((2, 3), np.int64), "w": np.zeros((4, 2))}

    def slope(**given: Any) -> Any:
        return gl.gradients([crf(**given)], [given[by]])[0]

    for again in ("x", "w"):
        with pytest.raises(UnsupportedError, match=r"(?s)marginals of a CRF have no.*op: linear_chain_crf.*at: "):
            RUNNERS["compiled"](slope, data, [again])
    _, (once,) = RUNNERS["compiled"](crf, data, [by])
    _, (squared,) = RUNNERS["compiled"](lambda **given: gl.layers.square(crf(**given)), data, [by])
    np.testing.assert_allclose(squared, 2 * 3 * np.log(2) * once, rtol=1e-12)


def test_the_layers_are_for_programs() -> None:
    with gl.program_guard(gl.Program(), gl.Program()), gl.dygraph.guard():
        x, y, n = (gl.dygraph.to_variable(v) for v in (np.zeros((1, 3, 2)), np.zeros((1, 3), np.int64), np.array([3])))
        with pytest.raises(UnsupportedError, match=r"(?s)linear_chain_crf has parameters.*nn\.functional"):
            gl.layers.linear_chain_crf(x, y, None, n)
        with pytest.raises(UnsupportedError, match=r"(?s)crf_decoding has parameters.*nn\.functional"):
            gl.layers.crf_decoding(x, gl.ParamAttr(name="crfw"), None, n)
        assert not gl.default_main_program().all_parameters()


def test_malformed_inputs() -> None:
    """Lengths and labels out of range anywhere: an error that names a wrong place, or the right cost."""
    main = gl.Program()
    with gl.program_guard(main):
        x, y = gl.data("x", [None, 4, 3]), gl.data("y", [None, 4], "int64")
        n, w = gl.data("n", [None], "int64"), gl.data("w", [3, 3])
        cost = F.linear_chain_crf(x, y, w, length=n)
        fetches = [cost, *gl.gradients([cost], [x, w])]
    exe, rng = gl.Executor(), np.random.default_rng(8)
    feed = {"x": np.zeros((5, 4, 3), "f4"), "w": np.zeros((3, 3), "f4")}
    wild = np.array([-(2**63), -(2**31), -1, 0, 1, 2, 3, 4, 5, 2**31, 2**62, 2**63 - 1])
    failed = 0
    for _ in range(2_500):
        length, label = rng.integers(0, 5, 5), rng.integers(0, 3, (5, 4))
        for values in (length, label):
            if rng.random() < 0.5:
                values.flat[rng.integers(values.size)] = rng.choice(wild)
        counts = np.arange(4) < length[:, None]
        bad_length, bad_label = (length < 0) | (length > 4), counts & ((label < 0) | (label > 2))
        wrong = [f"n[{i}] = {length[i]} " for i in np.flatnonzero(bad_length)]
        wrong += [f"y[{i}, {j}] = {label[i, j]} " for i, j in np.argwhere(bad_label)]
        if wrong:
            failed += 1
            with pytest.raises(LabelError) as caught:
                exe.run(main, {**feed, "n": length, "y": label}, fetches)
            assert any(text in str(caught.value) for text in wrong), str(caught.value)
        else:
            value = exe.run(main, {**feed, "n": length, "y": label}, fetches)[0]
            np.testing.assert_allclose(value, length * np.log(3), rtol=1e-6)
    assert 500 < failed < 2_400
