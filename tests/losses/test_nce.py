"""Noise-contrastive estimation: its terms to the last digits, its expectation, its draws, training, errors."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath
import numpy as np
import pytest

import graphloss as gl
from graphloss import dygraph, layers, ops
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, LabelError, ShapeError, UnsupportedError
from graphloss.losses.nce import Noise, forced, nce
from tests.losses.runners import RUNNERS
from tests.losses.vocabulary_runs import eager, first, program

SCORES = np.array([-1e4, -88.0, -20.0, -1.0, 0.0, 1e-3, 1.0, 20.0, 88.0, 1e4])


def sigmoid(s: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-s))


def log_p(sampler: str, k: int, custom: list[float] | None) -> np.ndarray:
    c = np.arange(k)
    p = {"uniform": np.full(k, 1 / k), "log_uniform": np.log1p(1 / (c + 1)) / np.log(k)}.get(sampler)
    return np.log(np.array(custom) if p is None else p)


def terms(s: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    o = sigmoid(s)
    return -np.log(o / (o + q)), -np.log(q / (o + q))


# --- digits


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("q", [1e-8, 0.5, 10.0])
def test_terms_keep_their_digits(q: float, runner: str, dtype: str) -> None:
    """A row per score; class 0 is true, class 1 drawn, both of the row's score."""
    n = len(SCORES)
    noise = Noise(lambda shape: ops.fill(shape, 1, "int64"), lambda ids, t: ops.fill((), float(np.log(q)), t))
    x = SCORES.astype(dtype)[:, None]

    def accepted(x: Any, y: Any, w: Any) -> Any:
        return nce(x, y, w, None, 1, noise)

    def both(x: Any) -> Any:  # the other class scores far off, where its term is known
        zero = ops.fill((n, 1), 0, "int64")
        return ops.stack([accepted(x, zero, ops.literal(np.array(w, dtype))) for w in ([[1.0], [0.0]], [[0.0], [1.0]])])

    value, (grad,) = RUNNERS[runner](both, {"x": x}, ["x"])
    with mpmath.workdps(40):
        q_ = mpmath.exp(mpmath.mpf(float(np.dtype(dtype).type(np.log(q)))))
        rest = [float(mpmath.log1p(2 * q_)), float(mpmath.log1p(1 / (2 * q_)))]  # both terms at score 0
        tolerance = 3e-6 if dtype == "float32" else 1e-13
        for i, s in enumerate(x[:, 0]):
            e = mpmath.exp(-mpmath.mpf(float(s)))
            accept, reject = mpmath.log1p(q_ * (1 + e)), mpmath.log1p(1 / (q_ * (1 + e)))
            np.testing.assert_allclose(value[0, i], float(accept) + rest[1], rtol=tolerance)
            np.testing.assert_allclose(value[1, i], float(reject) + rest[0], rtol=tolerance)
            slope = -q_ * e / (1 + q_ * (1 + e)) + e / (1 + e) / (1 + q_ * (1 + e))
            np.testing.assert_allclose(grad[i, 0], float(slope), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_scores_are_finite(size: float, dtype: str) -> None:
    w = np.array([[size], [-size], [size]], dtype)
    arrays = {"input": np.array([[1.0], [-1.0]], dtype), "label": np.array([[0, 1], [2, 0]])}
    for sampler in ("uniform", "log_uniform"):
        options: dict[str, Any] = {"num_neg_samples": 4, "sampler": sampler, "seed": 3}
        for run in (
            eager(lambda o=options: dygraph.NCE(3, 1, None, first(w), False, dtype=dtype, **o), arrays),
            program(lambda input, label, o=options: layers.nce(input, label, 3, None, first(w), False, **o), arrays),
        ):
            assert np.isfinite(run.loss).all() and (run.loss >= 0).all()
            assert all(np.isfinite(g).all() for g in (run.inputs["input"], *run.parameters))


# --- against the formula in NumPy, several true classes, weights


@pytest.mark.parametrize("mode", ["eager", "free batch"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sampler", ["uniform", "log_uniform", "custom_dist"])
def test_the_formula(sampler: str, bias: bool, mode: str) -> None:
    rng = np.random.default_rng(1)
    n, d, k, true, negatives = 5, 3, 7, 2, 4
    x, w, b = rng.normal(size=(n, d)), rng.normal(size=(k, d)), rng.normal(size=(k, 1))
    label, weight = rng.integers(0, k, (n, true)), rng.uniform(0.5, 2, (n, 1))
    custom = list(rng.dirichlet(np.ones(k))) if sampler == "custom_dist" else None
    drawn = [6, 0, 3, 3]
    options: dict[str, Any] = {"sampler": sampler, "custom_dist": custom, "custom_neg_classes": drawn}
    arrays = {"input": x, "label": label, "sample_weight": weight}
    attrs = first(w), first(b if bias else None)
    if mode == "eager":
        run = eager(
            lambda: dygraph.NCE(k, d, None, *attrs, negatives, dtype="float64", **options), arrays, ["sample_weight"]
        )
    else:
        run = program(
            lambda input, label, sample_weight: layers.nce(
                input, label, k, sample_weight, *attrs, negatives, **options
            ),
            arrays, free=mode == "free batch", keep=["sample_weight"],
        )  # fmt: skip
    q = negatives * np.exp(log_p(sampler, k, custom))
    ids = np.concatenate([label, np.tile(drawn, (n, 1))], 1)
    s = np.einsum("nd,nmd->nm", x, w[ids]) + (b[ids, 0] if bias else 0)
    accept, reject = terms(s, q[ids])
    cost = weight[:, 0] * (accept[:, :true].sum(1) + reject[:, true:].sum(1)) / (negatives + 1)
    np.testing.assert_allclose(run.loss, cost[:, None], rtol=1e-12)
    o = sigmoid(s)
    slope = o * (1 - o) / (o + q[ids])
    slope[:, :true] = (q[ids] / (o + q[ids]) * (o - 1))[:, :true]
    slope *= weight / (negatives + 1)
    gw, gb = np.zeros_like(w), np.zeros_like(b)
    np.add.at(gw, ids, slope[:, :, None] * x[:, None])
    np.add.at(gb, ids, slope[:, :, None])
    np.testing.assert_allclose(run.inputs["input"], np.einsum("nm,nmd->nd", slope, w[ids]), rtol=1e-11, atol=1e-14)
    for got, want in zip(run.parameters, [gw, gb][: 1 + bias], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-14)


# --- the expectation over the draws


def expected(s: np.ndarray, p: np.ndarray, label: int, negatives: int) -> tuple[float, np.ndarray]:
    """Mean over all draws of the cost, and of its gradient by the scores: each negative counts for P(c)."""
    q, o = negatives * p, sigmoid(s)
    accept, reject = terms(s, q)
    slope = negatives * p * o * (1 - o) / (o + q)
    slope[label] += q[label] / (o[label] + q[label]) * (o[label] - 1)
    return float(accept[label] + negatives * (p * reject).sum()), slope


def test_the_expectation_by_enumeration() -> None:
    """All draws of two negatives from three classes, each as likely as it is."""
    s, p, label = np.array([0.3, -1.2, 0.8]), np.array([0.2, 0.5, 0.3]), 1
    total, slope = 0.0, np.zeros(3)
    for pair in itertools.product(range(3), repeat=2):
        run = program(
            lambda input, label, pair=pair: layers.nce(
                input, label, 3, None, first(s[:, None]), False, 2, sampler="custom_dist", custom_dist=list(p),
                custom_neg_classes=list(pair),
            ),
            {"input": np.ones((1, 1)), "label": np.array([[label]])},
        )  # fmt: skip
        total += 3 * p[pair[0]] * p[pair[1]] * run.loss[0, 0]
        slope += 3 * p[pair[0]] * p[pair[1]] * run.parameters[0][:, 0]
    want = expected(s, p, label, 2)
    np.testing.assert_allclose(total, want[0], rtol=1e-12)
    np.testing.assert_allclose(slope, want[1], rtol=1e-12)


@pytest.mark.parametrize("sampler", ["uniform", "log_uniform", "custom_dist"])
def test_the_mean_over_many_draws(sampler: str) -> None:
    """The rows draw independently: the mean over 40,000 equal rows is the expectation, within 5 standard errors."""
    rng = np.random.default_rng(2)
    k, n, negatives, label = 6, 40_000, 3, 2
    s, custom = rng.normal(size=k), list(rng.dirichlet(np.ones(k)))
    run = program(
        lambda input, label: layers.nce(
            input, label, k, None, first(s[:, None]), False, negatives, sampler=sampler, custom_dist=custom, seed=11
        ),
        {"input": np.ones((n, 1)), "label": np.full((n, 1), label)},
    )
    p = np.exp(log_p(sampler, k, custom))
    want, slope = expected(s, p, label, negatives)
    if sampler == "log_uniform":  # the last class is never drawn, and the others that much more often
        drawn = np.append(np.log1p(1 / np.arange(1, k)) / np.log(k), 0.0)
        q, o = negatives * p, sigmoid(s)
        accept, reject = terms(s, q)
        want = float(accept[label] + negatives * (drawn * reject).sum())
        slope = negatives * drawn * o * (1 - o) / (o + q)
        slope[label] += q[label] / (o[label] + q[label]) * (o[label] - 1)
    cost = run.loss * (negatives + 1)
    assert abs(cost.mean() - want) < 5 * cost.std() / np.sqrt(n)
    np.testing.assert_allclose(run.parameters[0][:, 0] * (negatives + 1) / n, slope, atol=5 * 1.5 / np.sqrt(n))


def test_the_optimum_is_the_softmax() -> None:
    """Where σ(score) is the softmax's probability, labels drawn from it leave no gradient: NCE fits that."""
    rng = np.random.default_rng(3)
    k, negatives = 8, 5
    full = np.exp(rng.normal(size=k))
    full /= full.sum()
    s = np.log(full) - np.log1p(-full)
    for p in (np.full(k, 1 / k), rng.dirichlet(np.ones(k))):
        exact = sum(full[c] * expected(s, p, c, negatives)[1] for c in range(k))
        np.testing.assert_allclose(exact, 0, atol=1e-15)
        n = 60_000
        label = rng.choice(k, size=(n, 1), p=full)
        run = program(
            lambda input, label, p=p: layers.nce(
                input, label, k, None, first(s[:, None]), False, negatives, sampler="custom_dist", custom_dist=list(p),
                seed=5,
            ),
            {"input": np.ones((n, 1)), "label": label},
        )  # fmt: skip
        mean = run.parameters[0][:, 0] * (negatives + 1) / n
        assert np.abs(mean).max() < 5 * 1.0 / np.sqrt(n)
        off = expected(s + 0.5, p, 0, negatives)[1]
        assert np.abs(off).max() > 0.05  # elsewhere there is one


# --- draws


def drawn_by(seed: int, threads: int, sampler: str, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        x, y = gl.data("x", [None, 2]), gl.data("y", [None, 1], "int64")
        custom = [0.1, 0.2, 0.3, 0.4]
        attr = first(np.arange(8, dtype="float32").reshape(4, 2))
        loss = layers.nce(x, y, 4, None, attr, None, 6, sampler=sampler, custom_dist=custom, seed=seed)
        (op,) = [op for op in main.global_block().ops if op.type.startswith("sample_")]
    exe, scope = gl.Executor(options=gl.CompileOptions(threads=threads)), gl.Scope()
    exe.run(startup, scope=scope)
    feed = {"x": np.ones((n, 2), "float32"), "y": np.ones((n, 1), np.int64)}
    a, b = exe.run(main, feed=feed, fetch_list=[op.output_arg_names[0], loss], scope=scope)
    return a, b


@pytest.mark.parametrize("sampler", ["uniform", "log_uniform", "custom_dist"])
def test_a_seed_means_the_same_negatives_for_any_thread_count_and_in_both_modes(sampler: str) -> None:
    one, loss = drawn_by(9, 1, sampler)
    for threads in (2, 4):
        ids, again = drawn_by(9, threads, sampler)
        np.testing.assert_array_equal(ids, one)
        np.testing.assert_array_equal(again, loss)
    assert not np.array_equal(drawn_by(10, 1, sampler)[0], one)
    with gl.dygraph.guard():
        layer = dygraph.NCE(
            4, 2, None, first(np.arange(8, dtype="float32").reshape(4, 2)), None, 6, sampler, [0.1, 0.2, 0.3, 0.4], 9
        )
        v = gl.dygraph.to_variable
        same = layer(v(np.ones((500, 2), "float32")), v(np.ones((500, 1), np.int64))).numpy()
    np.testing.assert_allclose(same, loss, rtol=1e-6)  # other negatives would give other numbers altogether


def test_seed_0_draws_anew_and_the_seed_of_the_program_counts() -> None:
    assert not np.array_equal(drawn_by(0, 1, "uniform")[0], drawn_by(0, 1, "uniform")[0])

    def losses(random_seed: int, **options: Any) -> list[np.ndarray]:
        main, startup = gl.Program(), gl.Program()
        main.random_seed = random_seed
        with gl.program_guard(main, startup):
            x, y = gl.data("x", [None, 2]), gl.data("y", [None, 1], "int64")
            step = gl.data("step", [1], "int64") if options else None
            attr = first(np.arange(8, dtype="float32").reshape(4, 2))
            loss = layers.nce(x, y, 4, None, attr, None, 6, step=step, **options)
        exe, scope = gl.Executor(), gl.Scope()
        exe.run(startup, scope=scope)
        feed = {"x": np.ones((50, 2), "float32"), "y": np.ones((50, 1), np.int64)}
        steps = [{"step": np.array([i])} if options else {} for i in (0, 0, 1)]
        return [exe.run(main, feed=feed | s, fetch_list=[loss], scope=scope)[0] for s in steps]

    fresh, seeded, other = losses(0), losses(5), losses(6)
    assert not np.array_equal(fresh[0], fresh[1])
    assert np.array_equal(seeded[0], seeded[1]) and np.array_equal(seeded[0], losses(5)[0])
    assert not np.array_equal(seeded[0], other[0])
    stepped = losses(0, seed=3)
    assert np.array_equal(stepped[0], stepped[1]) and not np.array_equal(stepped[0], stepped[2])


# --- parameters, training, errors


def test_parameters_are_made_shared_and_trained() -> None:
    main, startup = gl.Program(), gl.Program()
    main.random_seed = startup.random_seed = 3
    with gl.program_guard(main, startup), gl.unique_name.guard():
        x, y = gl.data("x", [None, 4]), gl.data("y", [None, 1], "int64")
        a = layers.nce(x, y, 20, None, "shared.w", bias_attr=gl.ParamAttr("shared.b"), num_neg_samples=8)
        layers.nce(
            x, y, 20, param_attr="shared.w", bias_attr="shared.b", sampler="custom_dist", custom_dist=[0.05] * 20
        )
        assert [p.name for p in main.all_parameters() if p.trainable] == ["shared.w", "shared.b"]
        layers.nce(x, y, 20, name="third", bias_attr=False)
        assert {p.name for p in main.all_parameters() if p.trainable} == {"shared.w", "shared.b", "third.w_0"}
        gl.optimizer.SGD(5.0).minimize(layers.mean(a))
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(20, 4)).astype("float32") * 2
    label = rng.integers(0, 20, (200, 1))
    feed = {"x": centres[label[:, 0]], "y": label}
    exe, scope = gl.Executor(), gl.Scope()
    exe.run(startup, scope=scope)
    before = np.array(scope.find_var("shared.w").get_tensor())
    losses = [exe.run(main, feed=feed, fetch_list=[layers_mean(main)], scope=scope)[0].item() for _ in range(60)]
    after = np.array(scope.find_var("shared.w").get_tensor())
    assert before.shape == (20, 4) and not np.array_equal(before, after)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def layers_mean(main: gl.Program) -> str:
    return next(op.output_arg_names[0] for op in main.global_block().ops if op.type == "reduce_mean")


def test_only_the_rows_that_occur_change() -> None:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        x, y = gl.data("x", [None, 2]), gl.data("y", [None, 1], "int64")
        attr = gl.ParamAttr("w", gl.initializer.Constant(0.5))
        loss = layers.nce(x, y, 1000, None, attr, None, 3, custom_neg_classes=[7, 8, 7])
        gl.optimizer.SGD(1.0).minimize(layers.mean(loss))
    exe, scope = gl.Executor(), gl.Scope()
    exe.run(startup, scope=scope)
    exe.run(main, feed={"x": np.ones((2, 2), "float32"), "y": np.array([[3], [999]])}, scope=scope)
    changed = np.flatnonzero((np.array(scope.find_var("w").get_tensor()) != 0.5).any(1))
    assert changed.tolist() == [3, 7, 8, 999]


@pytest.mark.parametrize("mode", ["eager", "compiled"])
@pytest.mark.parametrize("bad", [4, -1, 2**40])
def test_a_label_out_of_range_is_named(bad: int, mode: str) -> None:
    arrays = {"input": np.ones((3, 2)), "label": np.array([[0, 1], [2, bad], [9, 9]])}
    run = {
        "eager": lambda: eager(lambda: dygraph.NCE(4, 2, dtype="float64"), arrays),
        "compiled": lambda: program(lambda input, label: layers.nce(input, label, 4), arrays),
    }
    with pytest.raises(LabelError, match=rf"row 1: .*\[1, 1\] = {bad} is out of range") as caught:
        run[mode]()
    assert "[0, 4)" in str(caught.value)


def test_wrong_arguments() -> None:
    def call(**changes: Any) -> None:
        x, y = gl.data("x", [None, 2]), gl.data("y", [None, 1], "int64")
        layers.nce(**{"input": x, "label": y, "num_total_classes": 4, **changes})

    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (AttrError, "unknown sampler", {"sampler": "gaussian"}),
        (AttrError, "needs custom_dist", {"sampler": "custom_dist"}),
        (ShapeError, "a probability per class", {"sampler": "custom_dist", "custom_dist": [0.5, 0.5]}),
        (AttrError, "no distribution", {"sampler": "custom_dist", "custom_dist": [0.5, 0.6, -0.1, 0.0]}),
        (AttrError, "no distribution", {"sampler": "custom_dist", "custom_dist": [0.5, 0.1, 0.1, 0.1]}),
        (ArgumentTypeError, "no numbers", {"sampler": "custom_dist", "custom_dist": ["a"] * 4}),
        (AttrError, "two classes or more", {"sampler": "log_uniform", "num_total_classes": 1}),
        (AttrError, "num_total_classes", {"num_total_classes": 0}),
        (ArgumentTypeError, "num_total_classes", {"num_total_classes": 4.0}),
        (AttrError, "num_neg_samples", {"num_neg_samples": 0}),
        (AttrError, "seed", {"seed": -1}),
        (AttrError, "custom_neg_classes", {"custom_neg_classes": [0]}),
        (AttrError, "custom_neg_classes", {"custom_neg_classes": [4], "num_neg_samples": 1}),
        (ArgumentTypeError, "custom_neg_classes", {"custom_neg_classes": 3, "num_neg_samples": 1}),
        (AttrError, "cannot be left out", {"param_attr": False}),
        (ArgumentTypeError, "not a Variable", {"input": np.ones((3, 2))}),
    ]
    for error, message, changes in cases:
        with gl.program_guard(gl.Program(), gl.Program()), pytest.raises(error, match=message):
            call(**changes)
    with gl.program_guard(gl.Program(), gl.Program()):
        data = gl.data
        for error, message, changes in [
            (ShapeError, "matrix of known width", {"input": data("a", [None, None])}),
            (ShapeError, "matrix of known width", {"input": data("b", [None])}),
            (DtypeError, "float dtype", {"input": data("c", [None, 2], "int64")}),
            (DtypeError, "class labels", {"label": data("d", [None, 1])}),
            (ShapeError, "labels do not fit", {"label": data("e", [None, None], "int64")}),
            (ShapeError, "labels do not fit", {"label": data("f", [None, 1, 1], "int64")}),
            (ShapeError, "number per row", {"sample_weight": data("g", [None, 2])}),
            (DtypeError, "different dtypes", {"sample_weight": data("h", [None, 1], "float64")}),
            (DtypeError, "class labels", {"step": data("i", [1])}),
            (ShapeError, "step is one number", {"step": data("j", [2], "int64")}),
        ]:
            x, y = data("x", [None, 2]), data("y", [None, 1], "int64")
            with pytest.raises(error, match=message):
                layers.nce(**{"input": x, "label": y, "num_total_classes": 4, **changes})
    with gl.dygraph.guard():
        x, y = gl.dygraph.to_variable(np.ones((3, 2), "float32")), gl.dygraph.to_variable(np.ones((3, 1), np.int64))
        with pytest.raises(UnsupportedError, match=r"dygraph\.NCE"):
            layers.nce(x, y, 4)
        with pytest.raises(ShapeError, match="another width"):
            dygraph.NCE(4, 3)(x, y)
        with pytest.raises(DtypeError, match="different dtypes"):
            dygraph.NCE(4, 2, dtype="float64")(x, y)
    with pytest.raises(UnsupportedError, match="eager"):
        dygraph.NCE(4, 2)


def test_forced_negatives_keep_the_probabilities() -> None:
    noise = Noise(lambda shape: ops.fill(shape, 0, "int64"), lambda ids, t: ops.fill((), -1.0, t))
    assert forced([1, 2], noise).log_p is noise.log_p
