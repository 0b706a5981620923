"""Fluid's functions against NumPy, eager and compiled: values, shapes, and gradients at their kinks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import layers as L
from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, GraphlossError, ShapeError, UnsupportedError
from tests.losses.runners import RUNNERS, Runner

Call = Callable[..., Any]

A = np.random.default_rng(2).normal(size=(2, 3, 4))
B = np.random.default_rng(3).uniform(0.5, 2, size=(2, 3, 4))
M = np.random.default_rng(4).normal(size=(3, 4))
V3, V4 = np.array([1.0, -2.0, 0.5]), np.array([1.0, 2.0, 3.0, 4.0])
I = np.array([2, 0, 2])  # noqa: E741
PAIR = np.array([[7], [11]])
erf = np.vectorize(math.erf)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def lse(x: Any) -> Any:
    return np.log(np.exp(x).sum((1, 2)))[:, None]


# call, arrays, what NumPy says
TABLE: dict[str, tuple[Call, tuple[Any, ...], Any]] = {
    "add": (L.elementwise_add, (A, B), A + B),
    "add on axis 1": (lambda x, y: L.elementwise_add(x, y, axis=1), (A, V3), A + V3[:, None]),
    "add on axis 0": (lambda x, y: L.elementwise_sub(x, y, axis=0), (A, M[:2, :3]), A - M[:2, :3, None]),
    "mul at the end": (L.elementwise_mul, (A, V4), A * V4),
    "div then relu": (lambda x, y: L.elementwise_div(x, y, act="relu"), (A, B), np.maximum(A / B, 0)),
    "max": (L.elementwise_max, (A, B), np.maximum(A, B)),
    "min": (L.elementwise_min, (A, B), np.minimum(A, B)),
    "pow": (L.elementwise_pow, (B, A), B**A),
    "mod": (L.elementwise_mod, (A, B), np.mod(A, B)),
    "floordiv": (L.elementwise_floordiv, (A, B), A // B),
    "less_than": (L.less_than, (A, B), A < B),
    "greater_equal": (L.greater_equal, (A, B), A >= B),
    "equal to a number": (lambda x: L.equal(x, 2.0), (V4,), V4 == 2),
    "logic": (lambda x, y: L.logical_or(L.logical_not(x), L.logical_xor(x, y)), (A > 0, B > 1), ~(A > 0) | (B < 1)),
    "where": (lambda x, y: L.where(x > 0.0, x, y), (A, B), np.where(A > 0, A, B)),
    "places": (lambda x: L.where(x > 0.5), (A,), np.argwhere(A > 0.5)),
    "places of a vector": (lambda x: L.where(x > 0.0), (V3,), np.argwhere(V3 > 0)),
    "places of nothing": (lambda x: L.where(x > 9.0), (A,), np.zeros((0, 3), np.int64)),
    "no elements at all": (lambda x: L.where(x > 0.0), (A[:, :0],), np.zeros((0, 3), np.int64)),
    "sums": (lambda x, y: L.sums([x, y, x]), (A, B), A + B + A),
    "sum of a list": (lambda x, y: L.sum([x, y]), (A, B), A + B),
    "reduce_sum": (L.reduce_sum, (A,), [A.sum()]),
    "reduce_sum of two": (lambda x: L.reduce_sum(x, dim=[0, -1]), (A,), A.sum((0, 2))),
    "reduce_mean kept": (lambda x: L.reduce_mean(x, dim=1, keep_dim=True), (A,), A.mean(1, keepdims=True)),
    "reduce_max": (lambda x: L.reduce_max(x, dim=-1), (A,), A.max(-1)),
    "reduce_min": (L.reduce_min, (A,), [A.min()]),
    "reduce_prod": (lambda x: L.reduce_prod(x, dim=2), (A,), A.prod(2)),
    "reduce_all": (lambda x: L.reduce_all(x > 0.0, dim=2), (A,), (A > 0).all(2)),
    "reduce_any": (lambda x: L.reduce_any(x > 9.0), (A,), [(A > 9).any()]),
    "mean": (L.mean, (A,), [A.mean()]),
    "argmax": (lambda x: L.argmax(x, axis=-1), (A,), A.argmax(-1)),
    "argmin": (L.argmin, (A,), A.argmin(0)),
    "softmax on axis 1": (lambda x: L.softmax(x, axis=1), (A,), np.exp(A) / np.exp(A).sum(1, keepdims=True)),
    "log_softmax": (L.log_softmax, (A,), A - np.log(np.exp(A).sum(-1, keepdims=True))),
    "l2_normalize": (lambda x: L.l2_normalize(x, axis=1), (A,), A / np.sqrt((A * A).sum(1, keepdims=True))),
    "scale": (lambda x: L.scale(x, 2.0, 1.0), (A,), 2 * A + 1),
    "scale after the bias": (lambda x: L.scale(x, 2.0, 1.0, bias_after_scale=False), (A,), 2 * (A + 1)),
    "clip": (lambda x: L.clip(x, -0.5, 0.5), (A,), np.clip(A, -0.5, 0.5)),
    "pow of a number": (lambda x: L.pow(x, 3.0), (B,), B**3),
    "swish": (L.swish, (A,), A * sigmoid(A)),
    "gelu": (L.gelu, (A,), A * 0.5 * (1 + erf(A / math.sqrt(2)))),
    "leaky_relu": (L.leaky_relu, (A,), np.where(A > 0, A, 0.02 * A)),
    "logsigmoid": (L.logsigmoid, (A,), np.log(sigmoid(A))),
    "matmul": (lambda x, y: L.matmul(x, y, transpose_y=True, alpha=0.5), (A, A), 0.5 * A @ A.swapaxes(1, 2)),
    "mul": (lambda x, y: L.mul(x, y, x_num_col_dims=2), (A, M.T), (A.reshape(6, 4) @ M.T).reshape(2, 3, 3)),
    "reshape": (lambda x: L.reshape(x, [0, -1]), (A,), A.reshape(2, 12)),
    "transpose": (lambda x: L.transpose(x, [2, 0, 1]), (A,), A.transpose(2, 0, 1)),
    "squeeze": (lambda x: L.squeeze(x, [0, 2]), (A[:1, :, :1],), A[0, :, 0]),
    "unsqueeze": (lambda x: L.unsqueeze(x, [0, 2]), (M,), M[None, :, None]),
    "flatten": (lambda x: L.flatten(x, 2), (A,), A.reshape(6, 4)),
    "expand": (lambda x: L.expand(x, [2, 1, 3]), (A,), np.tile(A, (2, 1, 3))),
    "expand_as": (L.expand_as, (A[:1], B), np.broadcast_to(A[:1], B.shape)),
    "concat": (lambda x, y: L.concat([x, y], axis=-1), (A, B[..., :2]), np.concatenate([A, B[..., :2]], -1)),
    "split": (lambda x: L.concat(L.split(x, [1, 2, -1])[::-1], axis=2), (A,), A[..., [3, 1, 2, 0]]),
    "stack": (lambda x, y: L.stack([x, y], axis=1), (A, B), np.stack([A, B], 1)),
    "unstack": (lambda x: L.unstack(x, axis=1)[2], (A,), A[:, 2]),
    "slice": (lambda x: L.slice(x, [0, 2], [0, -3], [1, 10]), (A,), A[:1, :, -3:]),
    "gather": (L.gather, (M, I), M[I]),
    "gather of [N, 1]": (L.gather, (M, I[:, None]), M[I]),
    "gather_nd": (L.gather_nd, (A, np.array([[1, 2], [0, 0]])), A[[1, 0], [2, 0]]),
    "gather of flattened rows": (lambda x, i: L.gather(L.flatten(x, 2), i), (A, I), A.reshape(6, 4)[I]),
    "classes on two axes": (
        lambda x, y: L.softmax_with_cross_entropy(L.flatten(x), y), (A, PAIR),
        lse(A) - A.reshape(2, 12)[[[0], [1]], PAIR],
    ),
    "one_hot": (lambda i: L.one_hot(i, 3), (I[:, None],), np.eye(3)[I]),
    "one_hot out of range": (lambda i: L.one_hot(i, 2, allow_out_of_range=True), (I[:, None],), np.eye(3)[I, :2]),
    "cast": (lambda x: L.cast(x, "int32"), (A,), A.astype(np.int32)),
    "assign": (L.assign, (A,), A),
    "assign of an array": (lambda x: L.assign(M) + x, (A,), M + A),
    "fill_constant": (lambda x: x + L.fill_constant([4], "float64", 2.5), (A,), A + 2.5),
    "ones and zeros": (lambda x: x + L.ones([1], "float64") + L.zeros_like(x), (A,), A + 1),
    "comparison by operator": (lambda x, y: L.cast(x > y, "float32"), (A, B), A > B),
}  # fmt: skip


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("name", TABLE)
def test_against_numpy(name: str, run: Runner) -> None:
    call, arrays, want = TABLE[name]
    value, _ = run(lambda **i: call(*i.values()), {f"x{i}": a for i, a in enumerate(arrays)}, ())
    want = np.asarray(want)
    assert value.shape == want.shape
    np.testing.assert_allclose(value, want, rtol=1e-12, atol=1e-13)


KINKS: dict[str, tuple[Call, tuple[Any, ...], tuple[Any, ...]]] = {
    "relu at 0": (L.relu, (np.array([-1.0, 0, 1]),), ([0, 0, 1],)),
    "abs at 0": (L.abs, (np.array([-1.0, 0, 1]),), ([-1, 0, 1],)),
    "clip at its bounds": (lambda x: L.clip(x, -1.0, 1.0), (np.array([-1.0, 0, 1]),), ([0, 1, 0],)),
    "max of equals goes to the second": (L.elementwise_max, (np.array([1.0, 2]), np.array([1.0, 1])), ([0, 1], [1, 0])),
    "min of equals goes to the second": (L.elementwise_min, (np.array([1.0, 2]), np.array([1.0, 1])), ([0, 0], [1, 1])),
    "reduce_max gives to every maximum": (L.reduce_max, (np.array([2.0, 1, 2]),), ([1, 0, 1],)),
}


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("name", KINKS)
def test_gradient_at_kinks(name: str, run: Runner) -> None:
    call, arrays, want = KINKS[name]
    given = {f"x{i}": a for i, a in enumerate(arrays)}
    _, grads = run(lambda **i: call(*i.values()), given, tuple(given))
    for got, grad in zip(grads, want, strict=True):
        np.testing.assert_array_equal(got, grad)


def test_names_follow_the_layer() -> None:
    with gl.program_guard(gl.Program(), gl.Program()), gl.unique_name.guard():
        x = gl.data("x", [None, 3])
        assert L.mean(x).name == "mean_0.tmp_1"
        assert L.relu(x).name == "relu_0.tmp_0"
        assert L.softmax(x, name="probabilities").name == "probabilities.tmp_0"
        assert L.fc(x, 2, name="top").name == "top.tmp_1"
        assert [p.name for p in gl.default_main_program().all_parameters()] == ["top.w_0", "top.b_0"]


def test_fc_of_several_inputs() -> None:
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    with gl.program_guard(main, startup):
        x, y = gl.data("x", [None, 2, 3], "float64"), gl.data("y", [None, 4], "float64")
        one = gl.initializer.Constant(1.0)
        z = L.fc(
            [x, y],
            2,
            param_attr=[one, gl.ParamAttr(initializer=one)],
            bias_attr=gl.initializer.Constant(0.5),
            act="tanh",
        )
    exe = gl.Executor()
    exe.run(startup, scope=scope)
    a, b = A[:, :2, :3] * 0.1, B[:, 0] * 0.1
    (value,) = exe.run(main, feed={"x": a, "y": b}, fetch_list=[z], scope=scope)
    total = a.sum((1, 2)) + b.sum(1) + 0.5
    np.testing.assert_allclose(value, np.tanh(np.stack([total, total], 1)), rtol=1e-14)


def test_fc_keeps_leading_dimensions() -> None:
    with gl.program_guard(gl.Program(), gl.Program()):
        x = gl.data("x", [None, 5, 3, 4])
        y = L.fc(x, 7, num_flatten_dims=2, bias_attr=False)
        assert y.shape == (-1, 5, 7)
        assert gl.default_main_program().all_parameters()[0].shape == (12, 7)


def test_global_variables_are_kept() -> None:
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    with gl.program_guard(main, startup):
        count = L.create_global_var([1], 5.0, "float32", persistable=True, name="count")
        L.assign(count + 1.0, count)
    exe = gl.Executor()
    exe.run(startup, scope=scope)
    for want in (6, 7):
        exe.run(main, scope=scope)
        np.testing.assert_array_equal(np.array(scope.find_var("count").get_tensor()), [want])


@pytest.mark.parametrize("random", [L.uniform_random, L.gaussian_random])
def test_random_numbers_follow_the_seed(random: Call) -> None:
    def drawn(seed: int) -> Any:
        main = gl.Program()
        main.random_seed = seed
        with gl.program_guard(main):
            x, y = random([50]), random([50])
        return gl.Executor().run(main, fetch_list=[x, y])

    first, again, other = drawn(1), drawn(1), drawn(2)
    np.testing.assert_array_equal(first[0], again[0])
    assert np.any(first[0] != first[1])
    assert np.any(first[0] != other[0])


def test_results_are_written_to_variables() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, y = gl.data("x", [None]), gl.data("y", [None])
        flags = [L.fill_constant([3], "bool", False) for _ in range(4)]
        total = L.fill_constant([3], "float32", 0.0)
        got = [
            L.less_than(x, y, cond=flags[0]),
            L.equal(x, y, cond=flags[1]),
            L.logical_or(flags[0], flags[1], out=flags[2]),
            L.logical_not(flags[1], out=flags[3]),
            L.sums([x, y], out=total),
        ]
    assert all(a is b for a, b in zip(got, [*flags, total], strict=True))
    feed = {"x": np.array([1, 2, 3], "float32"), "y": np.array([2, 2, 2], "float32")}
    found = gl.Executor().run(main, feed=feed, fetch_list=[*flags, total])
    assert [f.tolist() for f in found] == [
        [True, False, False], [False, True, False], [True, True, False], [True, False, True], [3, 4, 5],
    ]  # fmt: skip


def test_places_of_a_free_shape() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        places = L.where(gl.data("x", [None, None]) > 0.0)
    for shape in ((3, 4), (1, 7), (0, 2), (2, 0)):
        x = np.random.default_rng(1).normal(size=shape).astype("float32")
        np.testing.assert_array_equal(gl.Executor().run(main, {"x": x}, [places])[0], np.argwhere(x > 0))


REFUSED: list[tuple[str, Call, type[GraphlossError], str]] = [
    ("axis of elementwise", lambda x, y: L.elementwise_add(x, y, axis=3), ShapeError, "axis"),
    ("activation", lambda x, y: L.elementwise_add(x, x, act="magic"), AttrError, "magic"),
    ("shapes", lambda x, y: L.elementwise_add(x, y), ShapeError, "broadcast"),
    ("cond", lambda x, y: L.less_than(x, x, cond=3), ArgumentTypeError, "written to a variable"),
    ("cond of another type", lambda x, y: L.equal(x, x, cond=y), GraphlossError, "expected"),
    ("where of one", lambda x, y: L.where(x > 0.0, x), ArgumentTypeError, "where"),
    ("places of a scalar", lambda x, y: L.where(ops.reduce_any(x > 0.0)), ShapeError, "where"),
    ("no sums", lambda x, y: L.sums([]), ArgumentTypeError, "sums"),
    ("clip bounds", lambda x, y: L.clip(x, 1.0, 0.0), AttrError, "min"),
    ("reshape", lambda x, y: L.reshape(x, [5, 5]), ShapeError, "elements"),
    ("reshape 0", lambda x, y: L.reshape(x, [2, 3, 4, 0]), ShapeError, "0"),
    ("one_hot", lambda x, y: L.one_hot(L.cast(x, "int64"), 3), ShapeError, "last dimension"),
    ("dim twice", lambda x, y: L.reduce_sum(x, dim=[1, 1]), ShapeError, "twice"),
    ("assign", lambda x, y: L.assign([1.0]), ArgumentTypeError, "list"),
    ("dtype", lambda x, y: L.cast(x, "float128x"), TypeError, "float128x"),  # type: ignore[list-item]
    ("global var", lambda x, y: L.create_global_var([1], 0.0, "float32"), UnsupportedError, "persistable"),
    ("no parameter", lambda x, y: L.create_parameter([1], "float32", attr=False), ArgumentTypeError, "attr"),
    ("fc weights", lambda x, y: L.fc(x, 2, param_attr=False), AttrError, "weights"),
    ("fc flatten", lambda x, y: L.fc(x, 2, num_flatten_dims=3), AttrError, "num_flatten_dims"),
    ("fc of nothing", lambda x, y: L.fc([], 2), AttrError, "input"),
    ("fc of a free dimension", lambda x, y: L.fc(gl.data("free", [2, None]), 2), ShapeError, "known"),
]


@pytest.mark.parametrize(("call", "error", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(call: Call, error: type[Exception], words: str) -> None:
    with gl.program_guard(gl.Program(), gl.Program()):
        x, y = gl.data("x", [2, 3, 4]), gl.data("y", [5])
        with pytest.raises(error, match=words):
            call(x, y)


def test_fc_has_no_parameters_in_eager_mode() -> None:
    with gl.dygraph.guard(), pytest.raises(UnsupportedError, match="Linear"):
        L.fc(gl.dygraph.to_variable(M), 2)


@pytest.mark.parametrize(
    ("sections", "lengths", "no"),
    [(3, [2, 2, 2], 7), ([1, 2, -1], [1, 2, 3], 2), ([2, 4], [2, 4], 7), ([-1, 1], [5, 1], 0)],
)
def test_split_of_a_free_dimension(sections: Any, lengths: list[int], no: int) -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 2])
        parts = L.split(x, sections, dim=0)
        (grad,) = gl.gradients([L.reduce_sum(p * (i + 1.0)) for i, p in enumerate(parts)], [x])
        assert grad is not None
    data = np.arange(12, dtype="float32").reshape(6, 2)
    *found, slope = gl.Executor().run(main, {"x": data}, [*parts, grad])
    for got, want in zip(found, np.split(data, np.cumsum(lengths)[:-1]), strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(slope[:, 0], np.repeat(np.arange(1, len(lengths) + 1), lengths))
    with pytest.raises(ShapeError, match="needs equal dimensions"):
        gl.Executor().run(main, {"x": np.zeros((no, 2), "float32")}, parts)
