"""The losses over a large vocabulary as functions of their weights: as the layers, with sparse gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import dygraph, layers, losses, ops
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, LabelError, ShapeError
from graphloss.inspect import explain
from tests.losses.runners import RUNNERS
from tests.losses.vocabulary_runs import eager as layer_run
from tests.losses.vocabulary_runs import first

K, D = 12, 3


def arrays(true: int = 1, rows: int = K) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(true)
    return {
        "x": rng.normal(size=(6, D)), "y": rng.integers(0, K, (6, true)), "w": rng.normal(size=(rows, D)),
        "b": rng.normal(size=rows),
    }  # fmt: skip


BY = ("x", "w", "b")


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("sampler", ["uniform", "log_uniform"])
@pytest.mark.parametrize("true", [1, 3])
def test_nce(true: int, sampler: str, runner: str) -> None:
    given = arrays(true)
    value, grads = RUNNERS[runner](
        lambda x, y, w, b: losses.nce_loss(x, y, w, b, 5, sampler, seed=3, reduction="none"), given, BY
    )
    layer = layer_run(
        lambda: dygraph.NCE(
            K, D, None, first(given["w"]), first(given["b"][:, None]), 5, sampler, seed=3, dtype="float64"
        ),
        {"input": given["x"], "label": given["y"]},
    )
    np.testing.assert_allclose(value, 6 * layer.loss[:, 0], rtol=1e-12)
    want = (layer.inputs["input"], layer.parameters[0], layer.parameters[1][:, 0])
    for got, g in zip(grads, want, strict=True):
        np.testing.assert_allclose(got, 6 * g, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("runner", RUNNERS)
def test_hierarchical(runner: str) -> None:
    given = arrays(rows=K - 1)
    value, grads = RUNNERS[runner](
        lambda x, y, w, b: losses.hierarchical_softmax_loss(x, y, w, b, reduction="none"), given, BY
    )
    layer = layer_run(
        lambda: dygraph.HSigmoid(D, K, first(given["w"]), first(given["b"][:, None]), dtype="float64"),
        {"input": given["x"], "label": given["y"]},
    )
    np.testing.assert_allclose(value, layer.loss[:, 0], rtol=1e-12)
    want = (layer.inputs["input"], layer.parameters[0], layer.parameters[1][:, 0])
    for got, g in zip(grads, want, strict=True):
        np.testing.assert_allclose(got, g, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("hits", [True, False])
@pytest.mark.parametrize("true", [1, 3])
def test_sampled(true: int, hits: bool, runner: str) -> None:
    """As the layer, of all logits."""
    given = arrays(true)

    def of_weights(x: Any, y: Any, w: Any, b: Any) -> Any:
        return losses.sampled_softmax_loss(x, y, w, b, 5, hits, seed=3, reduction="none")

    def of_logits(x: Any, y: Any, w: Any, b: Any) -> Any:
        logits = ops.matmul(x, w, False, True) + b
        return layers.sampled_softmax_with_cross_entropy(logits, y, 5, true, hits, seed=3)

    value, grads = RUNNERS[runner](of_weights, given, BY)
    want, slopes = RUNNERS["eager"](of_logits, given, BY)
    np.testing.assert_allclose(value, want[:, 0], rtol=1e-12)
    for got, g in zip(grads, slopes, strict=True):
        np.testing.assert_allclose(got, g, rtol=1e-10, atol=1e-13)


Loss = Callable[..., Any]
LOSSES: dict[str, tuple[int, Loss]] = {
    "nce": (K, lambda x, y, w, b=None, **o: losses.nce_loss(x, y, w, b, 4, seed=1, **o)),
    "hierarchical": (K - 1, lambda x, y, w, b=None, **o: losses.hierarchical_softmax_loss(x, y, w, b, **o)),
    "sampled": (K, lambda x, y, w, b=None, **o: losses.sampled_softmax_loss(x, y, w, b, 4, seed=1, **o)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_reductions(name: str) -> None:
    rows, loss = LOSSES[name]
    given = arrays(rows=rows)
    values = {
        r: RUNNERS["compiled"](lambda x, y, w, b, r=r: loss(x, y, w, b, reduction=r), given, ())[0]
        for r in ("none", "mean", "sum")
    }
    assert values["none"].shape == (6,) and values["mean"].shape == values["sum"].shape == ()
    np.testing.assert_allclose(values["mean"], values["none"].mean(), rtol=1e-12)
    np.testing.assert_allclose(values["sum"], values["none"].sum(), rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_table_is_one_scatter_add(name: str) -> None:
    """And gradient descent adds to the rows that occur, where they are."""
    _, loss = LOSSES[name]
    rows = 5000
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        x, y = gl.data("x", [None, D]), gl.data("y", [None], "int64")
        w = layers.create_parameter([rows, D], "float32", "w")
        b = layers.create_parameter([rows], "float32", "b")
        total = loss(x, y, w, b)
        grads = gl.gradients([total], [w, b])
        after = explain(main, [total, *grads]).after()
        assert after.count("scatter_add(") == 2
        gl.optimizer.SGD(1.0).minimize(total)
    plan = explain(main, [total]).code.plan
    assert sorted(plan.in_place.values()) == ["b", "w"]
    temporary = [b for b in plan.buffers.values() if b.role not in ("input", "output") and b.shape[:1] == (rows,)]
    assert not temporary


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", LOSSES)
def test_a_target_out_of_range_is_named(name: str, runner: str) -> None:
    bad, (rows, loss) = K, LOSSES[name]
    given = arrays(rows=rows) | {"y": np.array([0, 1, bad, 0, 99, 0])}
    with pytest.raises(LabelError, match=rf"row 2: .* = {bad} is out of range"):
        RUNNERS[runner](loss, given, ())


@pytest.mark.parametrize("name", LOSSES)
def test_wrong_arguments(name: str) -> None:
    rows, loss = LOSSES[name]
    with gl.program_guard(gl.Program(), gl.Program()):
        data = gl.data
        x, y, w = data("x", [None, D]), data("y", [None], "int64"), data("w", [rows, D])
        for error, message, arguments in [
            (ShapeError, "known number of rows", (x, y, data("w1", [None, D]))),
            (ShapeError, "known number of rows", (x, y, data("w2", [rows, D + 1]))),
            (ShapeError, "known number of rows", (x, y, data("w3", [rows]))),
            (DtypeError, "different dtypes", (x, y, data("w4", [rows, D], "float64"))),
            (ShapeError, "number per row of the weight", (x, y, w, data("b1", [rows, 1]))),
            (ShapeError, "known width", (data("x1", [None, None]), y, w)),
            (ArgumentTypeError, "not a Variable", (x, y, np.zeros((rows, D)))),
            (DtypeError, "class labels", (x, data("y1", [None]), w)),
        ]:
            with pytest.raises(error, match=message):
                loss(*arguments)
        with pytest.raises(AttrError, match="reduction"):
            loss(x, y, w, reduction="average")
        with pytest.raises(AttrError, match="more samples"):
            losses.sampled_softmax_loss(x, y, w, num_samples=rows + 1)
        with pytest.raises(AttrError, match="unknown sampler"):
            losses.nce_loss(x, y, w, sampler="custom_dist")
