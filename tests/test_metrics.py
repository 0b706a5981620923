"""Metrics over batches against counting one by one; the layers accuracy and auc against the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import metrics
from graphloss.errors import (
    ArgumentTypeError,
    AttrError,
    DtypeError,
    GraphlossError,
    LabelError,
    ShapeError,
    UnsupportedError,
    ValueRangeError,
)
from tests.losses.runners import RUNNERS, Runner

RNG = np.random.default_rng(8)
BATCHES = [
    (RNG.uniform(size=(n, 1)), RNG.integers(0, 2, (n, 1))) for n in (7, 1, 12, 30)
]  # probabilities of the positive class, labels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_precision_and_recall(dtype: str) -> None:
    precision, recall, both = metrics.Precision(), metrics.Recall("r"), metrics.CompositeMetric("both")
    both.add_metric(metrics.Precision())
    both.add_metric(metrics.Recall())
    tp = fp = fn = 0
    for p, y in BATCHES:
        for metric in (precision, recall, both):
            metric.update(p.astype(dtype), y)
        for a, b in zip(p.ravel() > 0.5, y.ravel() == 1, strict=True):
            tp, fp, fn = tp + (a and b), fp + (a and not b), fn + (b and not a)
    assert (precision.eval(), recall.eval()) == (tp / (tp + fp), tp / (tp + fn))
    assert both.eval() == [precision.eval(), recall.eval()]
    assert (str(precision), str(recall), str(both)) == ("Precision", "r", "both")
    assert precision.get_config() == {"name": "Precision", "states": {"tp": tp, "fp": fp}}
    for metric in (precision, recall, both):
        metric.reset()
    assert precision.eval() == recall.eval() == 0.0
    assert both.eval() == [0.0, 0.0]


def test_accuracy_and_edit_distance() -> None:
    accuracy = metrics.Accuracy()
    accuracy.update(np.array([0.5], "float32"), np.array([4]))
    accuracy.update(1.0, 12)
    accuracy.update(value=0.0, weight=np.int64(0))
    assert accuracy.eval() == 0.875
    distance = metrics.EditDistance()
    distance.update(np.array([[0.0], [2.0], [1.0]]), np.array([3]))
    distance.update(np.array([[0.0]]), 1)
    assert distance.eval() == (0.75, 0.5)
    for metric in (accuracy, distance):
        metric.reset()
        with pytest.raises(ValueRangeError, match="no mean"):
            metric.eval()


def area(p: Any, y: Any) -> float:
    """How often a positive is above a negative; ties count half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in p[y != 0] for b in p[y == 0]]
    return float(np.mean(pairs)) if pairs else 0.0


@pytest.mark.parametrize("thresholds", [1, 10, 4095])
def test_auc(thresholds: int) -> None:
    auc = metrics.Auc("auc", num_thresholds=thresholds)
    assert auc.eval() == 0.0
    for p, y in BATCHES:
        auc.update(np.hstack([1 - p, p]), y)
    p, y = (np.concatenate(a).ravel() for a in zip(*BATCHES, strict=True))
    np.testing.assert_allclose(auc.eval(), area(np.floor(p * thresholds), y), rtol=1e-14)
    auc.reset()
    auc.update(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1, 1]))
    assert auc.eval() == 0.0


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: metrics.CompositeMetric().add_metric("auc"), ArgumentTypeError),  # type: ignore[arg-type]
        (lambda: metrics.Precision().update([1.0], np.array([1])), ArgumentTypeError),
        (lambda: metrics.Recall().update(np.zeros(3), np.zeros((2, 1))), ShapeError),
        (lambda: metrics.Accuracy().update("1", 1), ArgumentTypeError),
        (lambda: metrics.Accuracy().update(np.zeros(2), 1), ArgumentTypeError),
        (lambda: metrics.Accuracy().update(1.0, -1), ValueRangeError),
        (lambda: metrics.Auc(curve="PR"), AttrError),
        (lambda: metrics.Auc(num_thresholds=0), AttrError),
        (lambda: metrics.Auc().update(np.zeros((3, 1)), np.zeros(3)), ShapeError),
        (lambda: metrics.Auc().update(np.array([[0.5, 1.5]]), np.zeros(1)), ValueRangeError),
        (lambda: metrics.Auc().update(np.array([[0.5, np.nan]]), np.zeros(1)), ValueRangeError),
        (lambda: metrics.MetricBase().update(), UnsupportedError),
        (lambda: metrics.MetricBase().eval(), UnsupportedError),
    ],
)
def test_refusals(call: Callable[[], object], error: type[GraphlossError]) -> None:
    with pytest.raises(error):
        call()


class Own(metrics.MetricBase):
    def __init__(self) -> None:
        super().__init__()
        self.count, self.total, self.bins, self.seen = 3, 2.5, np.ones(2), "text"


def test_reset_of_an_own_metric() -> None:
    own = Own()
    own.reset()
    assert (own.count, own.total, own.bins.tolist(), own.seen) == (0, 0.0, [0.0, 0.0], None)


TIES = np.array([[1.0, 2.0, 2.0, 0.0], [3.0, 3.0, 3.0, 3.0], [np.nan, 1.0, 0.0, 0.0], [0.0, np.inf, -np.inf, np.nan]])


def hits(x: Any, y: Any, k: int) -> float:
    """By sorting; of equal predictions the first is the larger, a NaN is larger than all, and is never right."""
    found = []
    for row, label in zip(x, y.ravel(), strict=True):
        order = sorted(range(len(row)), key=lambda c: (not np.isnan(row[c]), -np.nan_to_num(row[c]), c))
        found.append(label in order[:k] and not np.isnan(row[label]))
    return float(np.mean(found))


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_layer_accuracy(run: Runner, k: int) -> None:
    for x in (RNG.normal(size=(20, 4)), np.repeat(TIES, 4, 0), RNG.normal(size=(6, 4)).astype("float32")):
        y = np.resize(np.arange(4), len(x))[:, None]
        value, _ = run(lambda x, y: gl.layers.accuracy(x, y, k), {"x": x, "y": y}, ())
        assert (value.shape, value.dtype) == ((1,), np.float32)
        np.testing.assert_allclose(value, [hits(x, y, k)], rtol=1e-7)
    with pytest.raises(LabelError, match="row 1"):
        run(lambda x, y: gl.layers.accuracy(x, y), {"x": TIES[:2], "y": np.array([[0], [4]])}, ())


def test_layer_accuracy_writes_its_counts() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, y = gl.data("x", [None, 3]), gl.data("y", [None, 1], "int32")
        correct, total = (gl.layers.fill_constant([1], "int32", -1) for _ in range(2))
        share = gl.layers.accuracy(x, y, 1, correct, total)  # type: ignore[arg-type]
    feed = {"x": np.eye(3, dtype="float32"), "y": np.array([[0], [1], [1]], "int32")}
    got = gl.Executor().run(main, feed=feed, fetch_list=[share, correct, total])
    assert [g.tolist() for g in got] == [[np.float32(2 / 3)], [2], [3]]
    assert got[1].dtype == np.int32


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_layer_auc(steps: int) -> None:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup):
        p, y = gl.data("p", [None, 2], "float64"), gl.data("y", [None, 1], "int64")
        whole, last, states = gl.layers.auc(p, y, num_thresholds=50, slide_steps=steps)
    exe, done = gl.Executor(), []
    with gl.scope_guard(gl.Scope()):
        exe.run(startup)
        for batch in BATCHES:
            done.append(batch)
            feed = {"p": np.hstack([1 - batch[0], batch[0]]), "y": batch[1]}
            got = exe.run(main, feed=feed, fetch_list=[whole, last])
            for value, batches in zip(got, (done, done[-steps:]), strict=True):
                q, label = (np.concatenate(a).ravel() for a in zip(*batches, strict=True))
                np.testing.assert_allclose(value, [area(np.floor(q * 50), label)], rtol=1e-14)
        shapes = [np.array(gl.global_scope().find_var(s.name).get_tensor()).shape for s in states]
        assert shapes == [(max(steps, 1), 51)] * 2 + [(1, 51)] * 2
        for bad in (1.5, -0.1, np.nan):
            feed = {"p": np.array([[0, 0.5], [0, bad]]), "y": np.ones((2, 1), np.int64)}
            with pytest.raises(LabelError, match="row 1"):
                exe.run(main, feed=feed, fetch_list=[whole])


def test_layers_refuse() -> None:
    with gl.program_guard(gl.Program(), gl.Program()):
        p, y, one = gl.data("p", [None, 2]), gl.data("y", [None, 1], "int64"), gl.data("one", [None, 1])
        L = gl.layers
        calls: list[tuple[Callable[[], object], type[GraphlossError]]] = [
            (lambda: L.accuracy(p, y, 3), AttrError), (lambda: L.accuracy(p, y, 0), AttrError),
            (lambda: L.accuracy(p, p), DtypeError), (lambda: L.accuracy(y, y), DtypeError),
            (lambda: L.accuracy(y[:, 0], y), GraphlossError), (lambda: L.accuracy("p", y), ArgumentTypeError),
            (lambda: L.auc(p, y, "PR"), AttrError), (lambda: L.auc(p, y, topk=2), AttrError),
            (lambda: L.auc(p, y, num_thresholds=0), AttrError), (lambda: L.auc(p, y, slide_steps=-1), AttrError),
            (lambda: L.auc(one, y), ShapeError), (lambda: L.auc(p, y[:, 0]), ShapeError),
        ]  # type: ignore[arg-type]  # fmt: skip
        for call, error in calls:
            with pytest.raises(error):
                call()
    with gl.dygraph.guard():
        x, label = gl.dygraph.to_variable(np.zeros((1, 2))), gl.dygraph.to_variable(np.zeros((1, 1), np.int64))
        with pytest.raises(UnsupportedError, match=r"metrics\.Auc"):
            gl.layers.auc(x, label)
