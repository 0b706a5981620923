"""`compile`: tracing, arguments, results, errors, threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import (
    ArgumentTypeError,
    DtypeError,
    GraphlossError,
    LabelError,
    ShapeError,
    UnsupportedError,
)

F, L = gl.nn.functional, gl.layers
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4))
LABEL = np.array([1, 0, 3, 2, 2])


def reference_ce(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    lse = np.log(np.exp(x).sum(axis=1, keepdims=True))
    n = np.arange(len(y))
    return float(np.mean(lse[:, 0] - x[n, y])), (np.exp(x - lse) - np.eye(x.shape[1])[y]) / len(y)


@gl.compile
def ce(logits: Any, label: Any, weight: Any = None, smoothing: float = 0.0) -> Any:
    """Cross entropy."""
    return F.cross_entropy(logits, label, weight=weight, label_smoothing=smoothing)


# -- tracing ----------------------------------------------------------------------------------------------------------


def test_one_trace_per_rank_and_dtype() -> None:
    runs: list[str] = []

    @gl.compile
    def loss(x: Any, y: Any) -> Any:
        runs.append(f"{x.dtype}{x.ndim}")
        return F.mse_loss(x, y)

    for n in (1, 5, 3, 1, 0):
        value = loss(X[:n], Y[:n])
        if n:
            np.testing.assert_allclose(value, np.mean((X[:n] - Y[:n]) ** 2), rtol=1e-14)
    assert runs == ["float642"]
    assert np.isnan(loss(X[:0], Y[:0]))
    loss(X.astype("f4"), Y.astype("f4"))
    loss(X[0], Y[0])
    loss.value_and_grad()(X, Y)
    loss.hessian_diag()(X, Y)
    loss.hessp()(X, X, Y)
    assert runs == ["float642", "float322", "float641"], "derivatives share the trace"
    assert loss.traces == 3


def test_value_is_that_of_numpy() -> None:
    value, grad = reference_ce(X, LABEL)
    np.testing.assert_allclose(ce(X, LABEL), value, rtol=1e-13)
    got, g = ce.value_and_grad()(X, LABEL)
    np.testing.assert_allclose(got, value, rtol=1e-13)
    np.testing.assert_allclose(g, grad, rtol=1e-12, atol=1e-16)
    assert (g.dtype, g.shape) == (X.dtype, X.shape)
    np.testing.assert_array_equal(ce.grad()(X, LABEL), g)


@pytest.mark.parametrize(
    ("a", "b"),
    [((5, 4), (1, 4)), ((5, 4), (5, 1)), ((1, 4), (5, 1)), ((5, 4), (4,)), ((1,), (5, 4)), ((5, 4), ()),
     ((2, 1, 3), (1, 4, 1))],
)  # fmt: skip
def test_broadcasts_as_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    f = gl.compile(lambda x, y: L.reduce_sum(L.exp(x * y)))
    x, y = RNG.normal(size=a), np.asarray(RNG.normal(size=b))
    for _ in range(2):
        np.testing.assert_allclose(f(x, y), [np.exp(x * y).sum()], rtol=1e-12)
        gx, gy = f.grad(wrt=(0, 1))(x, y)
        assert (gx.shape, gy.shape) == (a, b)
    traces = f.traces
    f(x, y)
    f.value_and_grad()(x, y)
    assert f.traces == traces


def test_a_first_axis_of_one_is_a_batch_like_any_other() -> None:
    f = gl.compile(lambda x, y: F.cross_entropy(x, y, reduction="none"))
    assert f(X[:1], LABEL[:1]).shape == (1,)
    assert f(X, LABEL).shape == (5,)
    assert f.traces == 1


def test_a_loss_that_must_know_a_size() -> None:
    f = gl.compile(lambda a, b: gl.losses.giou_loss(a, b, reduction="mean"))
    a, b = np.array([[0.0, 0.0, 2.0, 2.0]] * 3), np.array([[1.0, 1.0, 3.0, 3.0]] * 3)
    np.testing.assert_allclose(f(a, b), 1 - 1 / 7 + 2 / 9, rtol=1e-9)
    f(a[:2], b[:2])
    assert f.traces == 1, "the number of boxes is free"
    with pytest.raises(ShapeError, match="four coordinates") as caught:
        f(np.zeros((2, 5)), np.zeros((2, 5)))
    assert "5]" in str(caught.value)


# -- arguments --------------------------------------------------------------------------------------------------------


def test_constants_are_part_of_the_trace() -> None:
    seen: list[object] = []

    @gl.compile
    def f(x: Any, k: Any) -> Any:
        seen.append(k)
        return x * 2.0 if k is None else x

    for k in (None, 1, 1.0, True, "a", float("nan"), float("nan"), 0.0, -0.0, (1, 2), [1, 2], len):
        f(X, k)
        f(X, k)
    assert [repr(k) for k in seen] == [
        "None", "1", "1.0", "True", "'a'", "nan", "0.0", "-0.0", "(1, 2)", "[1, 2]", "<built-in function len>"
    ]  # fmt: skip


def test_defaults_and_keywords() -> None:
    w = np.array([1.0, 2.0, 3.0, 4.0])
    by_position = ce(X, LABEL, w, 0.1)
    np.testing.assert_array_equal(ce(label=LABEL, logits=X, smoothing=0.1, weight=w), by_position)
    before = ce.traces
    ce(X, label=LABEL, weight=w, smoothing=0.1)
    ce(X, LABEL)
    ce(X, LABEL, None, 0.0)
    ce(X, LABEL, smoothing=0.0)
    assert ce.traces - before <= 1


class Pair(NamedTuple):
    a: Any
    b: Any


def test_structures_of_arrays() -> None:
    @gl.compile
    def f(pair: Any, rest: Any, named: Any) -> Any:
        a, b = pair
        return {"sum": L.reduce_sum(a * b), "list": [rest[0] + 1.0, (named.a, 3)], "none": None}

    out = f((X, Y), [X[0]], Pair(Y, "text"))
    np.testing.assert_allclose(out["sum"], [np.sum(X * Y)])
    np.testing.assert_array_equal(out["list"][0], X[0] + 1)
    np.testing.assert_array_equal(out["list"][1][0], Y)
    assert out["list"][1][1] == 3
    assert out["none"] is None
    g = gl.compile(lambda pair: L.reduce_sum(pair.a * pair.b * pair.b)).grad()(Pair(X, Y))
    assert isinstance(g, Pair)
    np.testing.assert_allclose(g.b, 2 * X * Y)


def test_any_number_of_arguments() -> None:
    f = gl.compile(lambda *xs, **named: xs[0] + xs[1] * named["k"])
    np.testing.assert_array_equal(f(X, Y, k=X), X + Y * X)


def test_numbers_of_numpy_are_arrays() -> None:
    f = gl.compile(lambda x, k: L.reduce_sum(x * k))
    assert [float(f(X[0], np.float64(k))[0]) for k in (2, 3)] == pytest.approx([2 * X[0].sum(), 3 * X[0].sum()])
    assert f.traces == 1
    assert f.grad(wrt="k")(X[0], np.float64(3)).shape == ()


def test_results_are_the_callers_own() -> None:
    x = X.copy()
    same, twice = gl.compile(lambda x: (x, x))(x)
    assert same is not x
    assert same is not twice
    same[:] = 0.0
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(twice, X)


def test_not_contiguous_and_big_endian_arrays() -> None:
    value = ce(X, LABEL)
    np.testing.assert_array_equal(ce(np.asfortranarray(X), LABEL), value)
    np.testing.assert_array_equal(ce(np.repeat(X, 2, 1)[:, ::2], LABEL), value)
    np.testing.assert_array_equal(ce(X.astype(">f8"), LABEL.astype(">i8")), value)


def test_losses_of_each_dialect_and_loss_classes() -> None:
    labels = LABEL[:, None]
    fluid = gl.compile(lambda x, y: L.mean(L.softmax_with_cross_entropy(x, y)))
    np.testing.assert_allclose(fluid(X, labels), [ce(X, LABEL)], rtol=1e-13)
    np.testing.assert_allclose(gl.compile(gl.nn.CrossEntropyLoss())(X, LABEL), ce(X, LABEL), rtol=1e-13)
    rows = gl.compile(gl.gluon.loss.SoftmaxCrossEntropyLoss())(X, LABEL)
    np.testing.assert_allclose(rows.mean(), ce(X, LABEL), rtol=1e-13)
    column = gl.compile(lambda x, y: L.mean(L.square_error_cost(x, y)))
    value, grad = column.value_and_grad()(X[:, :1], Y[:, :1])
    np.testing.assert_allclose(value, [np.mean((X - Y)[:, 0] ** 2)])
    np.testing.assert_allclose(grad, 2 / 5 * (X - Y)[:, :1])


def test_called_with_variables_it_is_the_python_function() -> None:
    double = gl.compile(lambda logits, label: 2.0 * ce(logits, label))
    np.testing.assert_allclose(double(X, LABEL), 2 * ce(X, LABEL), rtol=1e-14)
    with gl.dygraph.guard():
        x, y = gl.dygraph.to_variable(X), gl.dygraph.to_variable(LABEL)
        np.testing.assert_allclose(ce(x, y).numpy(), ce(X, LABEL), rtol=1e-13)
        np.testing.assert_allclose(ce(X, LABEL), reference_ce(X, LABEL)[0], rtol=1e-13)


def test_leaves_programs_and_names_alone() -> None:
    with gl.program_guard(gl.Program()), gl.unique_name.guard():
        gl.compile(F.mse_loss).value_and_grad()(X, Y)
        assert gl.default_main_program().global_block().ops == []
        assert gl.unique_name.generate("mean") == "mean_0"


def test_is_dressed_as_the_function() -> None:
    assert ce.__name__ == "ce"
    assert ce.__doc__ == "Cross entropy."
    assert "ce.value_and_grad" in repr(ce.value_and_grad())
    assert ce.value_and_grad(wrt="logits") is ce.value_and_grad(0)
    plain = gl.compile(options=gl.CompileOptions(passes=False, threads=1))(F.mse_loss)
    np.testing.assert_allclose(plain(X, Y), np.mean((X - Y) ** 2))
    assert plain.options.threads == 1


def test_program_and_explanation_are_of_the_latest_trace() -> None:
    f = gl.compile(F.mse_loss)
    with pytest.raises(UnsupportedError, match="no program yet"):
        _ = f.program
    with pytest.raises(UnsupportedError, match="no program yet"):
        f.value_and_grad().explain()
    f.value_and_grad()(X, Y)
    assert "input@GRAD" in str(f.program)
    assert len(f.explain().kernels) >= 1
    buffers = [b for k in f.value_and_grad().explain().kernels for b in k.buffers]
    assert any(b.role == "output" and len(b.shape) == 2 for b in buffers)
    f(X[0], Y[0])
    assert f.program.var("input").ndim == 1


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 4), (1, 4), (5, 1)])
def test_a_derivative_needs_one_number(shape: tuple[int, ...]) -> None:
    f = gl.compile(lambda x: x * x)
    for derivative in (f.value_and_grad(), f.grad(), f.hessian_diag(), f.value_grad_hessian_diag(), f.hessp(v=X)):
        with pytest.raises(ShapeError) as caught:
            derivative(np.ones(shape))
        text = str(caught.value)
        assert "needs a loss of one element" in text
        assert "expected shape [] or [1], got f64[" in text
        assert f"at: {__file__}:" in text
        assert "hint: reduce it, by its mean or sum" in text


def test_label_error_names_row_and_parameter() -> None:
    bad = LABEL.copy()
    bad[3] = 9
    for f in (ce, ce.value_and_grad(), ce.grad(), ce.value_grad_hessian_diag()):
        with pytest.raises(LabelError) as caught:
            f(X, bad)
        lines = str(caught.value).splitlines()
        assert lines[0] == "row 3: label[3] = 9 is out of range"
        assert "expected an index in [0, 4), got 9" in lines[1]
        assert f"at: {__file__}:" in lines[3]
    np.testing.assert_allclose(ce(X, LABEL), reference_ce(X, LABEL)[0])


ERRORS: dict[str, tuple[Callable[[], object], type[GraphlossError], str]] = {
    "sizes": (lambda: ce(X, LABEL[:3]), ShapeError, "'label'"),
    "ranks": (lambda: ce(X, LABEL[:, None, None]), GraphlossError, "cross_entropy"),
    "missing": (lambda: ce(X), ArgumentTypeError, "missing a required argument: 'label'"),
    "too many": (lambda: ce(X, LABEL, None, 0.0, 5), ArgumentTypeError, "too many positional arguments"),
    "unknown": (lambda: ce(X, LABEL, wieght=X), ArgumentTypeError, "wieght"),
    "dtype": (lambda: ce(X.astype("c8"), LABEL), DtypeError, "argument 'logits' has a dtype"),
    "objects": (lambda: ce(X.astype(object), LABEL), DtypeError, "argument 'logits' has a dtype"),
    "wrt an integer": (lambda: ce.grad(wrt="label")(X, LABEL), DtypeError, "with respect to 'label'"),
    "wrt a constant": (lambda: ce.grad(wrt="smoothing")(X, LABEL), ArgumentTypeError, "'smoothing', which is no array"),
    "wrt unknown": (lambda: ce.grad(wrt="lable"), ArgumentTypeError, "no parameter 'lable'"),
    "wrt out of range": (lambda: ce.grad(wrt=4), ArgumentTypeError, "no parameter 4"),
    "wrt an array": (lambda: ce.grad(X), ArgumentTypeError, "wrt names parameters"),
    "no function": (lambda: gl.compile(3), ArgumentTypeError, "takes a Python function"),  # type: ignore[call-overload]
    "an array returned": (lambda: gl.compile(lambda x: X)(X), ArgumentTypeError, "something else than Variables"),
    "a tuple differentiated": (
        lambda: gl.compile(lambda x: (x, x)).grad()(X), ArgumentTypeError, "returns its loss alone"),
    "an integer loss": (
        lambda: gl.compile(lambda x, y: L.reduce_sum(y)).grad()(X, LABEL), DtypeError, "a loss of a float"),
    "state": (lambda: gl.compile(lambda x: L.fc(x, 3))(X[:, :1]), UnsupportedError, "keeps the state"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    call, kind, text = ERRORS[name]
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_an_error_leaves_nothing_behind() -> None:
    tries: list[int] = []

    @gl.compile
    def f(x: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise KeyError("once")
        return x * 2.0

    with pytest.raises(KeyError, match="once"):
        f(X)
    np.testing.assert_array_equal(f(X), 2 * X)


# -- threads ----------------------------------------------------------------------------------------------------------


def test_threads_share_one_function() -> None:
    runs: list[int] = []

    @gl.compile
    def f(x: Any, y: Any) -> Any:
        runs.append(1)
        return F.cross_entropy(x, y)

    arrays = [(RNG.normal(size=(n, 7)), RNG.integers(0, 7, n)) for n in range(1, 9)]
    wanted = [reference_ce(*a) for a in arrays]
    failures: list[object] = []
    barrier = threading.Barrier(8)

    def work(i: int) -> None:
        barrier.wait()
        try:
            for _ in range(50):
                value, grad = f.value_and_grad()(*arrays[i])
                np.testing.assert_allclose(value, wanted[i][0], rtol=1e-12)
                np.testing.assert_allclose(grad, wanted[i][1], rtol=1e-9, atol=1e-15)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == []
    assert runs == [1]
