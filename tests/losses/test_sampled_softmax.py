"""Sampled softmax: its correction, how it tends to the full softmax, accidental hits, draws, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import layers
from graphloss.errors import AttrError, DtypeError, LabelError, ShapeError
from graphloss.ops import philox
from tests.losses.runners import RUNNERS

sampled = layers.sampled_softmax_with_cross_entropy


def draws(count: int, k: int, seed: int) -> tuple[np.ndarray, int]:
    """Different classes of the stream of `seed`, and how many draws that took."""
    stream = philox.log_uniform(5_000, seed, 0, k).tolist()
    found = list(dict.fromkeys(stream))[:count]
    return np.array(found), stream.index(found[-1]) + 1


def reference(
    logits: np.ndarray, label: np.ndarray, count: int, seed: int, hits: bool
) -> tuple[np.ndarray, np.ndarray]:
    n, k = logits.shape
    classes, tries = draws(count, k, seed)
    p = np.log1p(1 / np.arange(1, k + 1)) / np.log(k + 1)
    q = p * count if tries == count else -np.expm1(tries * np.log1p(-p))
    loss, grad = np.zeros((n, 1)), np.zeros_like(logits)
    true = label.shape[1]
    for i in range(n):
        ids = np.concatenate([label[i], classes])
        s = logits[i, ids] - np.log(q[ids])
        if hits:
            s[true:][np.isin(classes, label[i])] = -np.inf
        e = np.exp(s - s.max())
        loss[i] = -(s[:true] - s.max() - np.log(e.sum())).mean()
        target = np.repeat([1 / true, 0], [true, count])
        np.add.at(grad[i], ids, e / e.sum() - target)
    return loss, grad


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(
    ("count", "true", "seed", "hits"),
    [(3, 1, 1, True), (3, 1, 5, False), (10, 1, 2, True), (10, 3, 3, False), (10, 3, 3, True), (20, 1, 4, True)],
)
def test_the_formula(count: int, true: int, seed: int, hits: bool, runner: str) -> None:
    rng = np.random.default_rng(seed)
    logits, label = rng.normal(size=(6, 20)), rng.integers(0, 6, (6, true))

    def build(logits: Any, label: Any) -> Any:
        return sampled(logits, label, count, true, hits, seed=seed)

    value, (grad,) = RUNNERS[runner](build, {"logits": logits, "label": label}, ["logits"])
    want = reference(logits, label, count, seed, hits)
    np.testing.assert_allclose(value, want[0], rtol=1e-12)
    np.testing.assert_allclose(grad, want[1], rtol=1e-10, atol=1e-14)


def test_both_forms_of_q_were_met() -> None:
    tries = {seed: draws(3, 20, seed)[1] for seed in (1, 5)}
    assert tries[1] == 3 or tries[5] == 3
    assert any(draws(count, 20, seed)[1] > count for count, seed in ((10, 2), (10, 3), (20, 4)))


def over_seeds(logits: np.ndarray, count: int, seeds: int, corrected: bool = True) -> np.ndarray:
    """Gradients [seeds, K, K] by the logits of a row of each label, for the draws of many steps."""
    k = len(logits)
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        x, y = gl.data("x", [k, k], "float64"), gl.data("y", [k, 1], "int64")
        step = gl.data("step", [], "int64")
        x.stop_gradient = False
        loss = sampled(x, y, count, seed=7, step=step)
        (grad,) = gl.gradients([loss], [x])
        block = main.global_block()
        (name,) = [op.output_arg_names[0] for op in block.ops if op.type == "concat"][:1]
        ids = block.var(name)
        plain = sampled(
            x, y, count, use_customized_samples=True, customized_samples=ids,
            customized_probabilities=layers.ones([k, count + 1], "float64"),
        )  # fmt: skip
        (grad_plain,) = gl.gradients([plain], [x])
    exe = gl.Executor()
    feed = {"x": np.tile(logits, (k, 1)), "y": np.arange(k)[:, None]}
    wanted = grad if corrected else grad_plain
    return np.array([exe.run(main, feed=feed | {"step": np.array(i)}, fetch_list=[wanted])[0] for i in range(seeds)])


def test_the_expected_gradient_is_that_of_the_full_softmax() -> None:
    """Labels drawn from the softmax of the logits leave no gradient on average, as for the full softmax.

    Without the correction by Q the mean is off by far more than the scatter over the draws.
    """
    logits = np.random.default_rng(0).normal(size=30)
    p = np.exp(logits) / np.exp(logits).sum()
    means = {c: np.einsum("k,ski->si", p, over_seeds(logits, 10, 300, c)).mean(0) for c in (True, False)}
    assert np.abs(means[True]).max() < 0.02  # of that 0.012 are two standard errors
    assert np.abs(means[False]).max() > 0.04


def test_more_samples_come_nearer_to_the_full_softmax() -> None:
    logits = np.random.default_rng(1).normal(size=30)
    full = np.exp(logits) / np.exp(logits).sum() - np.eye(30)
    error = [np.abs(over_seeds(logits, s, 40).mean(0) - full).max() for s in (3, 20, 30)]
    assert error == sorted(error, reverse=True)
    assert error[0] > 0.4
    assert error[-1] < 0.005


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_logits_are_finite(dtype: str, runner: str) -> None:
    logits = np.array([[1e4, -1e4, 0, 1e4, 3], [-1e4] * 5, [1e4, -1e4, 1e4, -1e4, 1e4]], dtype)
    label = np.array([[1], [0], [0]])
    value, (grad,) = RUNNERS[runner](
        lambda logits, label: sampled(logits, label, 4, seed=1), {"logits": logits, "label": label}, ["logits"]
    )
    assert np.isfinite(value).all() and np.isfinite(grad).all()
    assert value[0] > 1.9e4


def test_a_drawn_label_has_no_part_in_value_or_gradient() -> None:
    """With removed hits a row whose label is drawn is as if it had drawn something else."""
    logits = np.array([[0.5, 1.0, -1.0, 2.0]])
    q = np.array([[0.5, 0.2, 0.5]])

    def build(logits: Any, label: Any, ids: Any, q: Any) -> Any:
        return sampled(
            logits, label, 2, use_customized_samples=True, customized_samples=ids, customized_probabilities=q
        )

    arrays = {"logits": logits, "label": np.array([[2]]), "ids": np.array([[2, 3, 2]]), "q": q}
    for runner in RUNNERS.values():
        value, (grad,) = runner(build, arrays, ["logits"])
        a, b = np.exp(-1.0) / 0.5, np.exp(2.0) / 0.2
        np.testing.assert_allclose(value, [[-np.log(a / (a + b))]], rtol=1e-12)
        np.testing.assert_allclose(grad, [[0, 0, -b / (a + b), b / (a + b)]], rtol=1e-12)


def test_a_seed_means_the_same_samples() -> None:
    rng = np.random.default_rng(0)
    logits, label = rng.normal(size=(50, 200)), rng.integers(0, 200, (50, 1))

    def run(seed: int, threads: int = 1, random_seed: int = 0) -> np.ndarray:
        main = gl.Program()
        main.random_seed = random_seed
        with gl.program_guard(main, gl.Program()):
            x, y = gl.data("x", [None, 200], "float64"), gl.data("y", [None, 1], "int64")
            loss = sampled(x, y, 30, seed=seed)
        exe = gl.Executor(options=gl.CompileOptions(threads=threads))
        return exe.run(main, feed={"x": logits, "y": label}, fetch_list=[loss])[0]

    one = run(3)
    for threads in (2, 4):
        np.testing.assert_array_equal(run(3, threads), one)
    with gl.dygraph.guard():
        x, y = gl.dygraph.to_variable(logits), gl.dygraph.to_variable(label)
        np.testing.assert_allclose(sampled(x, y, 30, seed=3).numpy(), one, rtol=1e-12)
    assert not np.array_equal(run(4), one)
    assert not np.array_equal(run(0), run(0))
    np.testing.assert_array_equal(run(0, random_seed=9), run(0, random_seed=9))


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("bad", [5, -1])
def test_a_label_out_of_range_is_named(bad: int, runner: str) -> None:
    arrays = {"logits": np.zeros((3, 5)), "label": np.array([[0], [bad], [7]])}
    with pytest.raises(LabelError, match=rf"row 1: .* = {bad} is out of range"):
        RUNNERS[runner](lambda logits, label: sampled(logits, label, 2), arrays, [])


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_sample_out_of_range_is_an_error(runner: str) -> None:
    arrays = {"logits": np.zeros((2, 5)), "ids": np.array([[0, 1], [2, 5]])}

    def build(logits: Any, ids: Any) -> Any:
        label = layers.slice(ids, [1], [0], [1])
        return sampled(logits, label, 1, 1, True, True, ids, layers.ones([2, 2], "float64"))

    with pytest.raises(LabelError, match=r"row 1: .* = 5 is out of range"):
        RUNNERS[runner](build, arrays, [])


def test_wrong_arguments() -> None:
    with gl.program_guard(gl.Program(), gl.Program()):
        x, y = gl.data("x", [None, 5]), gl.data("y", [None, 1], "int64")
        ids, q = gl.data("ids", [None, 3], "int64"), gl.data("q", [None, 3])
        custom: dict[str, Any] = {"use_customized_samples": True}
        cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
            (AttrError, "num_samples", {"num_samples": 0}),
            (AttrError, "more samples", {"num_samples": 6}),
            (ShapeError, "num_true", {"num_true": 2}),
            (ShapeError, "known width", {"logits": gl.data("x1", [None, None])}),
            (DtypeError, "class labels", {"label": gl.data("y1", [None, 1])}),
            (AttrError, "both samples and prob", custom),
            (AttrError, "both samples and prob", custom | {"customized_samples": ids}),
            (
                ShapeError, "labels and samples",
                custom | {"customized_samples": gl.data("i2", [None, 2], "int64"), "customized_probabilities": q},
            ),
            (
                ShapeError, "different shapes",
                custom | {"customized_samples": ids, "customized_probabilities": gl.data("q2", [None, 2])},
            ),
            (
                DtypeError, "different dtypes",
                custom | {"customized_samples": ids, "customized_probabilities": gl.data("q3", [None, 3], "float64")},
            ),
            (AttrError, "seed", {"seed": -1}),
        ]  # fmt: skip
        for error, message, changes in cases:
            with pytest.raises(error, match=message):
                sampled(**{"logits": x, "label": y, "num_samples": 2, **changes})
