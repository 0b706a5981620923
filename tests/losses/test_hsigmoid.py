"""Hierarchical softmax: trees and their paths, the distribution that they make, training, errors."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

import graphloss as gl
from graphloss import dygraph, layers
from graphloss.errors import AttrError, DtypeError, LabelError, ShapeError, UnsupportedError
from graphloss.ir.tensor import using
from graphloss.losses.hierarchical import complete_tree
from tests.losses.vocabulary_runs import Run, eager, first, program
from tests.ops.at_once import NumpyMode, NumpyTensor

MODES = ("eager", "free batch")

# class -> (node, bit) from leaf to root
CODES = {
    2: [[(0, 0)], [(0, 1)]],
    3: [[(0, 1)], [(1, 0), (0, 0)], [(1, 1), (0, 0)]],
    4: [[(1, 0), (0, 0)], [(1, 1), (0, 0)], [(2, 0), (0, 1)], [(2, 1), (0, 1)]],
    5: [[(1, 1), (0, 0)], [(2, 0), (0, 1)], [(2, 1), (0, 1)], [(3, 0), (1, 0), (0, 0)], [(3, 1), (1, 0), (0, 0)]],
    6: [
        [(2, 0), (0, 1)], [(2, 1), (0, 1)], [(3, 0), (1, 0), (0, 0)], [(3, 1), (1, 0), (0, 0)],
        [(4, 0), (1, 1), (0, 0)], [(4, 1), (1, 1), (0, 0)],
    ],
}  # fmt: skip


def path_of(c: int, k: int) -> list[tuple[int, int]]:
    code, found = c + k, []
    while code > 1:
        found.append((code // 2 - 1, code % 2))
        code //= 2
    return found


def test_paths_of_the_complete_tree() -> None:
    for k in [*range(2, 70), 127, 128, 129, 10_000, 100_003]:
        label = np.arange(k) if k < 1000 else np.array([0, 1, k // 2, k - 2, k - 1])
        with using(NumpyMode()):
            path = complete_tree(NumpyTensor(label), k)
            node, bit = path.node.array, path.bit.array
            on = np.ones_like(node, bool) if path.on is None else path.on.array
        found = [
            [(int(n), int(b)) for n, b, o in zip(*row, strict=True) if o] for row in zip(node, bit, on, strict=True)
        ]
        assert found == [path_of(int(c), k) for c in label]
        assert not node[~on].any()
        if k in CODES:
            assert found == CODES[k]


def run(
    mode: str, x: np.ndarray, label: np.ndarray, k: int, w: np.ndarray, b: np.ndarray | None, **paths: np.ndarray
) -> Run:
    arrays = {"input": x, "label": label, **paths}
    attrs = first(w), first(b)
    if mode == "eager":
        return eager(lambda: dygraph.HSigmoid(x.shape[1], k, *attrs, is_custom=bool(paths), dtype=x.dtype.name), arrays)
    return program(
        lambda **i: layers.hsigmoid(
            **i, num_classes=k, param_attr=attrs[0], bias_attr=attrs[1], is_custom=bool(paths)
        ), arrays, free=mode == "free batch",
    )  # fmt: skip


def reference(
    x: np.ndarray, paths: list[list[tuple[int, int]]], w: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    loss, gx, gw, gb = np.zeros((len(x), 1)), np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for n, path in enumerate(paths):
        for node, bit in path:
            z = float(x[n] @ w[node] + b[node, 0])
            loss[n] += np.logaddexp(0, z) - bit * z
            g = 1 / (1 + np.exp(-z)) - bit
            gx[n] += g * w[node]
            gw[node] += g * x[n]
            gb[node] += g
    return loss, gx, gw, gb


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("k", [2, 7, 8, 23])
def test_the_sum_over_the_path(k: int, bias: bool, mode: str) -> None:
    rng = np.random.default_rng(k)
    x, w = rng.normal(size=(6, 3)), rng.normal(size=(k - 1, 3))
    b = rng.normal(size=(k - 1, 1)) if bias else np.zeros((k - 1, 1))
    label = rng.integers(0, k, (6, 1))
    got = run(mode, x, label, k, w, b if bias else None)
    want = reference(x, [path_of(int(c), k) for c in label[:, 0]], w, b)
    for a, e in zip((got.loss, got.inputs["input"], *got.parameters), want, strict=False):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mode", MODES)
def test_a_given_tree(mode: str) -> None:
    """What follows the first negative node does not count, whatever it says; an empty path costs nothing."""
    rng = np.random.default_rng(0)
    x, w, b = rng.normal(size=(4, 3)), rng.normal(size=(5, 3)), rng.normal(size=(5, 1))
    table = np.array([[0, 2, -1, 99], [4, 4, 1, 3], [-1, -7, 5, 0], [3, -1, 2, 2]])
    code = np.array([[0, 1, 5, 5], [1, 0, 1, 1], [9, 9, 9, 9], [0, -1, 1, 1]])
    got = run(mode, x, np.zeros((4, 1), np.int64), 5, w, b, path_table=table, path_code=code)
    want = reference(x, [[(0, 0), (2, 1)], [(4, 1), (4, 0), (1, 1), (3, 1)], [], [(3, 0)]], w, b)
    for a, e in zip((got.loss, got.inputs["input"], *got.parameters), want, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("k", [5, 8])
def test_the_probabilities_of_all_classes_add_up_to_1(k: int) -> None:
    rng = np.random.default_rng(k)
    x = np.tile(rng.normal(size=3), (k, 1))
    got = run("compiled", x, np.arange(k)[:, None], k, rng.normal(size=(k - 1, 3)), rng.normal(size=(k - 1, 1)))
    np.testing.assert_allclose(np.exp(-got.loss).sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_scores_keep_their_digits(dtype: str, mode: str) -> None:
    scores = np.array([1e4, -1e4, 50.0, -50.0, 20.0, -20.0, 0.0], dtype)
    for c in (0, 1):
        got = run(mode, scores[:, None], np.full((7, 1), c), 2, np.ones((1, 1), dtype), None)
        with mpmath.workdps(40):
            s = [(1 - 2 * c) * mpmath.mpf(float(v)) for v in scores]
            want = [float(mpmath.log1p(mpmath.exp(v))) for v in s]
            slope = [float((1 - 2 * c) / (1 + mpmath.exp(-v))) for v in s]
        tolerance = 1e-6 if dtype == "float32" else 1e-14
        tiny = np.finfo(dtype).tiny
        np.testing.assert_allclose(got.loss[:, 0], want, rtol=tolerance, atol=tiny)
        np.testing.assert_allclose(got.inputs["input"][:, 0], slope, rtol=tolerance, atol=tiny)


def test_training_touches_the_nodes_of_the_paths() -> None:
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup), gl.unique_name.guard():
        x, y = gl.data("x", [None, 4]), gl.data("y", [None, 1], "int64")
        loss = layers.mean(layers.hsigmoid(x, y, 16, "tree.w", name="tree"))
        layers.hsigmoid(x, y, 16, "tree.w", False)
        assert [p.name for p in main.all_parameters()] == ["tree.w", "tree.b_0"]
        gl.optimizer.SGD(2.0).minimize(loss)
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(8, 4)).astype("float32")
    label = rng.integers(0, 8, (100, 1))
    exe, scope = gl.Executor(), gl.Scope()
    exe.run(startup, scope=scope)
    before = np.array(scope.find_var("tree.w").get_tensor())
    feed = {"x": centres[label[:, 0]], "y": label}
    losses = [exe.run(main, feed=feed, fetch_list=[loss], scope=scope)[0].item() for _ in range(80)]
    changed = np.flatnonzero((np.array(scope.find_var("tree.w").get_tensor()) != before).any(1))
    assert changed.tolist() == sorted({n for c in range(8) for n, _ in path_of(c, 16)})
    assert losses[-1] < 0.35 * losses[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [5, -1])
def test_a_label_out_of_range_is_named(bad: int, mode: str) -> None:
    with pytest.raises(LabelError, match=rf"row 2: .* = {bad} is out of range"):
        run(mode, np.ones((3, 2)), np.array([[0], [4], [bad]]), 5, np.ones((4, 2)), None)


@pytest.mark.parametrize("mode", MODES)
def test_a_node_out_of_range_is_named(mode: str) -> None:
    table = np.array([[0, 1], [1, 2]])
    with pytest.raises(LabelError, match=r"row 1: .*\[1, 1\] = 2 is out of range"):
        run(
            mode, np.ones((2, 2)), np.zeros((2, 1), np.int64), 2, np.ones((2, 2)), None, path_table=table,
            path_code=np.zeros_like(table),
        )  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("bad", [2, -1])
def test_a_bit_that_is_none_is_named(bad: int, mode: str) -> None:
    """But for what stands behind the end of a path."""
    table, code = np.array([[0, -1], [1, 0]]), np.array([[1, 7], [0, bad]])
    with pytest.raises(LabelError, match=rf"row 1: .*\[1, 1\] = {bad} is out of range"):
        run(
            mode, np.ones((2, 2)), np.zeros((2, 1), np.int64), 2, np.ones((2, 2)), None, path_table=table,
            path_code=code,
        )  # fmt: skip


def test_wrong_arguments() -> None:
    with gl.program_guard(gl.Program(), gl.Program()):
        x, y = gl.data("x", [None, 2]), gl.data("y", [None, 1], "int64")
        table, code = gl.data("t", [None, 3], "int64"), gl.data("c", [None, 3], "int64")
        cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
            (AttrError, "num_classes", {"num_classes": 1}),
            (Exception, "num_classes", {"num_classes": None}),
            (AttrError, "not custom", {"path_table": table}),
            (AttrError, "not custom", {"path_code": code}),
            (AttrError, "both", {"is_custom": True, "path_table": table}),
            (AttrError, "both", {"is_custom": True, "path_code": code}),
            (AttrError, "num_classes", {"is_custom": True, "path_table": table, "path_code": code, "num_classes": 0}),
            (DtypeError, "class labels", {"is_custom": True, "path_table": x, "path_code": code}),
            (
                ShapeError, "different shapes",
                {"is_custom": True, "path_table": table, "path_code": gl.data("c4", [None, 4], "int64")},
            ),
            (
                ShapeError, "a path per row",
                {"is_custom": True, "path_table": gl.data("t1", [None], "int64"), "path_code": code},
            ),
            (ShapeError, "one label", {"label": table}),
            (AttrError, "cannot be left out", {"param_attr": False}),
        ]  # fmt: skip
        for error, message, changes in cases:
            with pytest.raises(error, match=message) as caught:
                layers.hsigmoid(**{"input": x, "label": y, "num_classes": 4, **changes})
            assert isinstance(caught.value, (ValueError, TypeError))
    with gl.dygraph.guard():
        a, b = gl.dygraph.to_variable(np.ones((3, 2), "float32")), gl.dygraph.to_variable(np.ones((3, 1), np.int64))
        with pytest.raises(UnsupportedError, match=r"dygraph\.HSigmoid"):
            layers.hsigmoid(a, b, 4)
        with pytest.raises(ShapeError, match="another width"):
            dygraph.HSigmoid(3, 4)(a, b)
        with pytest.raises(AttrError, match="both"):
            dygraph.HSigmoid(2, 4, is_custom=True)(a, b)


def test_eager_mode_names_the_argument_of_a_bad_path() -> None:
    good = {"label": [[0], [1]], "path_table": [[0, 1], [0, 2]], "path_code": [[0, 1], [1, 1]]}
    with dygraph.guard():
        tree, rows = dygraph.HSigmoid(2, 3, is_custom=True), dygraph.to_variable(np.ones((2, 2), "float32"))
        for name, limit in (("path_table", 3), ("path_code", 2)):
            wrong = {**good, name: [[0, 1], [0, 7]]}
            arguments = {key: dygraph.to_variable(np.array(value, np.int64)) for key, value in wrong.items()}
            with pytest.raises(LabelError, match=rf"^row 1: {name}\[1, 1\] = 7 .*\n.* an index in \[0, {limit}\)"):
                tree(rows, **arguments)
