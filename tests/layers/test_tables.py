"""Fluid's running sums, sorting, counting constants and tables against NumPy, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import layers, ops
from tests.losses.runners import RUNNERS, Array, Runner

RNG = np.random.default_rng(11)
X = RNG.normal(size=(3, 5))
TIES = np.array([[1.0, 2.0, 2.0, np.nan], [np.inf, 3.0, -np.inf, 3.0]])

# what, the call, arrays, NumPy's answer
SAME: list[tuple[str, Callable[..., Any], dict[str, Array], Any]] = [
    ("cumsum", lambda x: layers.cumsum(x), {"x": X}, np.cumsum(X, -1)),
    ("cumsum axis 0", lambda x: layers.cumsum(x, 0), {"x": X}, np.cumsum(X, 0)),
    ("cumsum exclusive", lambda x: layers.cumsum(x, exclusive=True), {"x": X}, np.cumsum(X, -1) - X),
    ("cumsum reverse", lambda x: layers.cumsum(x, reverse=True), {"x": X}, np.cumsum(X[:, ::-1], -1)[:, ::-1]),
    ("argsort", lambda x: layers.argsort(x)[1], {"x": X}, np.argsort(X, -1)),
    ("argsort values", lambda x: layers.argsort(x, 0)[0], {"x": X}, np.sort(X, 0)),
    ("argsort ties", lambda x: layers.argsort(x, descending=True)[1], {"x": TIES}, [[3, 1, 2, 0], [0, 1, 3, 2]]),
    ("topk values", lambda x: layers.topk(x, 2)[0], {"x": X}, -np.sort(-X, -1)[:, :2]),
    ("topk places", lambda x: layers.topk(x, 2)[1], {"x": X}, np.argsort(-X, -1)[:, :2]),
    ("has_nan", lambda x: layers.has_nan(x), {"x": TIES}, [True]),
    ("has_inf", lambda x: layers.has_inf(x), {"x": X}, [False]),
    ("isfinite", lambda x: layers.isfinite(x), {"x": X}, [True]),
    ("isfinite of infinity", lambda x: layers.isfinite(x), {"x": TIES}, [False]),
    ("range", lambda: layers.range(1, 10, 3, "int64"), {}, np.arange(1, 10, 3)),
    ("range down", lambda: layers.range(1.0, -1, -0.5, "float64"), {}, np.arange(1, -1, -0.5)),
    ("empty range", lambda: layers.range(3, 3, 1, "int32"), {}, np.arange(0, dtype=np.int32)),
    ("linspace", lambda: layers.linspace(-1, 3, 7, "float64"), {}, np.linspace(-1, 3, 7)),
    ("linspace of one", lambda: layers.linspace(2, 3, 1, "float64"), {}, [2.0]),
    ("eye", lambda: layers.eye(3, 4), {}, np.eye(3, 4, dtype=np.float32)),
    ("eyes", lambda: layers.eye(2, batch_shape=[3], dtype="int64"), {}, np.tile(np.eye(2, dtype=int), (3, 1, 1))),
    ("diag", lambda x: layers.diag(x), {"x": X[0]}, np.diag(X[0])),
    ("size", lambda x: layers.size(x), {"x": X}, [15]),
    ("clip_by_norm", lambda x: layers.clip_by_norm(x, 0.5), {"x": X}, X * 0.5 / np.linalg.norm(X)),
    ("clip_by_norm of a short one", lambda x: layers.clip_by_norm(x, 1e3), {"x": X}, X),
    ("clip_by_norm of zeros", lambda x: layers.clip_by_norm(x, 1.0), {"x": X * 0}, X * 0),
]  # fmt: skip


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize(("what", "build", "arrays", "want"), SAME, ids=[s[0] for s in SAME])
def test_like_numpy(what: str, build: Callable[..., Any], arrays: dict[str, Array], want: Any, run: Runner) -> None:
    value, _ = run(build, arrays, ())
    want = np.asarray(want)
    assert (value.shape, value.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(value, want, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
def test_gradients(run: Runner) -> None:
    w = np.arange(15.0).reshape(3, 5)
    _, (grad,) = run(lambda x, w: layers.cumsum(x) * w, {"x": X, "w": w}, ("x",))
    np.testing.assert_allclose(grad, np.cumsum(w[:, ::-1], -1)[:, ::-1])
    _, (grad,) = run(lambda x, w: layers.argsort(x, 0)[0] * w, {"x": X, "w": w}, ("x",))
    want = np.zeros_like(X)
    np.put_along_axis(want, np.argsort(X, 0), w, 0)
    np.testing.assert_allclose(grad, want)
    _, (grad,) = run(lambda x: layers.topk(x, 2)[0], {"x": X}, ("x",))
    np.testing.assert_array_equal(grad, 0)
    _, (grad,) = run(lambda x: layers.clip_by_norm(x, 1.0), {"x": X * 0}, ("x",))
    np.testing.assert_array_equal(grad, 1)


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
def test_take_along_checks_its_index(run: Runner) -> None:
    index = np.array([[0, 4], [5, 0], [1, 1]])
    with pytest.raises(gl.errors.LabelError, match="row 1"):
        run(lambda x, i: ops.take_along(x, i), {"x": X, "i": index}, ())
    value, _ = run(lambda x, i: ops.take_along(x, i), {"x": X, "i": index % 5}, ())
    np.testing.assert_array_equal(value, np.take_along_axis(X, index % 5, 1))


@pytest.mark.parametrize("k", [0, 6, 1.5, True])
def test_topk_refuses(k: object) -> None:
    with gl.dygraph.guard(), pytest.raises(gl.errors.AttrError, match="1 to 5"):
        layers.topk(gl.dygraph.to_variable(X), k)  # type: ignore[arg-type]


def test_embedding() -> None:
    main, startup = gl.Program(), gl.Program()
    table = np.arange(8.0, dtype=np.float32).reshape(4, 2)
    first = gl.ParamAttr(name="table", initializer=gl.initializer.NumpyArrayInitializer(table))
    with gl.program_guard(main, startup):
        rows = layers.embedding(gl.data("i", [None, 1], "int64"), (4, 2), padding_idx=-1, param_attr=first)
        (grad,) = gl.gradients([layers.reduce_sum(rows)], [main.global_block().var("table")])
    exe = gl.Executor(gl.CPUPlace())
    with gl.scope_guard(gl.Scope()):
        exe.run(startup)
        value, by_table = exe.run(main, feed={"i": np.array([[1], [3], [1]])}, fetch_list=[rows, grad])
        np.testing.assert_array_equal(value, [[2, 3], [0, 0], [2, 3]])
        np.testing.assert_array_equal(by_table, [[0, 0], [2, 2], [0, 0], [0, 0]])
        with pytest.raises(gl.errors.LabelError):
            exe.run(main, feed={"i": np.array([[4]])}, fetch_list=[rows])
