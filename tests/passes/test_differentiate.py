"""Gradients: against central differences, under predicates, of intermediate values, twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from graphloss import ops
from graphloss.errors import UnsupportedError
from graphloss.ir.builder import GraphBuilder, Value
from graphloss.ir.graph import Graph
from graphloss.ir.location import Location
from graphloss.ir.opdef import get
from graphloss.ir.tensor import Tensor, current, using
from graphloss.ops.evaluate import evaluate
from graphloss.passes.pipelines import lower_only, optimise
from tests.rules.graphs import build, type_of

BOTH = pytest.mark.parametrize("lower", [optimise, lower_only])


def fetched(graph: Graph, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    values = evaluate(graph, feeds)
    return [values[n] for n in graph.fetches]


def grad(targets: Sequence[Tensor], wrt: Sequence[Tensor], seeds: Sequence[Tensor] = (),
    no_grad: Sequence[str] = ()) -> list[Tensor]:
    attrs = {"n_targets": len(targets), "n_wrt": len(wrt), "no_grad": tuple(no_grad)}
    return list(current().apply(get("grad"), [*targets, *wrt, *seeds], attrs))


def made(feeds: dict[str, str], fn: Callable[..., Sequence[Tensor]]) -> Graph:
    builder = GraphBuilder(Graph("test", tuple(feeds), (), (), {n: type_of(t) for n, t in feeds.items()}))
    with using(builder):
        out = fn(**{n: builder.value(n) for n in feeds})
    return builder.finish(fetches=tuple(v.name for v in out if isinstance(v, Value)))


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross entropy": lambda x, w: -ops.reduce_mean(ops.log(ops.softmax(x * w))),
    "ratio": lambda x, w: ops.reduce_sum(x * w, 1) / (1.0 + ops.reduce_sum(ops.square(x), 1)),
    "branches": lambda x, w: ops.where(x > 0.0, ops.square(x) * w, ops.exp(x)),
    "broadcast": lambda x, w: ops.tanh(x + ops.reduce_sum(w, 0)) * ops.reduce_max(x, 1, True),
    "moves": lambda x, w: ops.transpose(x) @ ops.reshape(w, w.type.shape),
}


@BOTH
@pytest.mark.parametrize("name", LOSSES)
def test_central_differences(name: str, lower: Callable[[Graph], Graph], rng: np.random.Generator) -> None:
    feeds = {"x": rng.normal(size=(4, 3)), "w": rng.normal(size=(4, 3))}
    graph = build({"x": "f64[4, 3]", "w": "f64[4, 3]"}, LOSSES[name], wrt=["x", "w"])
    _, *grads = fetched(lower(graph), feeds)
    forward = graph.replace(ops=graph.ops[:-1], fetches=graph.fetches[:1])
    for which, got in zip(("x", "w"), grads, strict=True):
        for i in np.ndindex(4, 3):
            sides = []
            for step in (1e-6, -1e-6):
                moved = {**feeds, which: feeds[which].copy()}
                moved[which][i] += step
                sides.append(fetched(forward, moved)[0].sum())
            assert got[i] == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-5, abs=1e-7), (which, i)


@BOTH
def test_an_untaken_branch_contributes_exactly_zero(lower: Callable[[Graph], Graph]) -> None:
    """log(x) and 1/x are -inf, NaN or inf where they are not taken."""
    graph = build({"x": "f64[N]"}, lambda x: ops.where(x > 0.0, ops.log(x) + 1.0 / x, 3.0 * x), wrt=["x"])
    _, dx = fetched(lower(graph), {"x": np.array([0.0, -1.0, 2.0, -0.0])})
    np.testing.assert_array_equal(dx, [3.0, 3.0, 0.25, 3.0])


@BOTH
def test_an_ignored_row_contributes_exactly_zero(lower: Callable[[Graph], Graph]) -> None:
    """The predicate goes back through pick, log, softmax and the sums over the row; the weight's gradient is a sum
    over rows."""

    def loss(x: Tensor, w: Tensor, y: Tensor, keep: Tensor) -> Tensor:
        rows = -ops.pick(ops.log(ops.softmax(x * w)), y)
        return ops.reduce_sum(ops.where(keep, rows, 0.0))

    graph = build({"x": "f64[N, 3]", "w": "f64[3]", "y": "i64[N]", "keep": "bool[N]"}, loss, wrt=["x", "w"])
    x = np.array([[1.0, 2.0, 0.5], [np.nan, np.inf, 1.0], [0.1, -0.2, 0.3]])
    feeds = {"x": x, "w": np.array([0.5, 1.0, 2.0]), "y": np.array([0, 1, 2]), "keep": np.array([True, False, True])}
    value, dx, dw = fetched(lower(graph), feeds)
    rest = {**feeds, **{k: feeds[k][[0, 2]] for k in ("x", "y", "keep")}}
    want, dx_rest, dw_rest = fetched(lower(graph), rest)
    np.testing.assert_array_equal(dx[1], [0.0, 0.0, 0.0])
    np.testing.assert_allclose(dx[[0, 2]], dx_rest)
    np.testing.assert_allclose(dw, dw_rest)
    np.testing.assert_allclose(value, want)


@BOTH
def test_a_masked_matrix_product(lower: Callable[[Graph], Graph]) -> None:
    """A cotangent under a predicate is selected before it enters a matrix product."""

    def loss(x: Tensor, w: Tensor, keep: Tensor) -> Tensor:
        return ops.where(ops.unsqueeze(keep, 1), ops.log(x @ w), 0.0)

    graph = build({"x": "f64[N, 2]", "w": "f64[2, 2]", "keep": "bool[N]"}, loss, wrt=["x", "w"])
    x = np.array([[1.0, 2.0], [0.0, 0.0]])
    _, dx, dw = fetched(lower(graph), {"x": x, "w": np.ones((2, 2)), "keep": np.array([True, False])})
    np.testing.assert_allclose(dw, [[1 / 3, 1 / 3], [2 / 3, 2 / 3]])
    np.testing.assert_array_equal(dx[1], [0.0, 0.0])


def test_a_gradient_of_an_intermediate_value_leaves_the_loss_stable() -> None:
    def both(x: Tensor) -> Sequence[Tensor]:
        p = ops.softmax(x)
        loss = -ops.log(p)
        return [loss, *grad([loss], [p])]

    alone = made({"x": "f32[N, 3]"}, lambda x: [-ops.log(ops.softmax(x))])
    together = made({"x": "f32[N, 3]"}, both)
    feeds = {"x": np.array([[1e4, 0.0, -1e4], [0.5, 1.0, 2.0]], np.float32)}
    (want,) = fetched(optimise(alone), feeds)
    value, dp = fetched(optimise(together), feeds)
    np.testing.assert_array_equal(value, want)
    assert np.isfinite(want).all()
    with np.errstate(divide="ignore"):
        e = np.exp(feeds["x"][1])
        np.testing.assert_allclose(dp[1], -e.sum() / e, rtol=1e-6)


@BOTH
def test_no_gradient_flows_through_a_stopped_value(lower: Callable[[Graph], Graph]) -> None:
    def stopped(x: Tensor) -> Sequence[Tensor]:
        p = ops.softmax(x)
        assert isinstance(p, Value)
        loss = x * ops.log(p)
        return [loss, *grad([loss], [x], no_grad=[p.name])]

    feeds = {"x": np.array([[0.5, 1.0, 2.0]])}
    _, dx = fetched(lower(made({"x": "f64[N, 3]"}, stopped)), feeds)
    e = np.exp(feeds["x"])
    np.testing.assert_allclose(dx, np.log(e / e.sum()))


@BOTH
def test_target_gradients(lower: Callable[[Graph], Graph]) -> None:
    graph = made({"x": "f64[N]", "s": "f64[N]"}, lambda x, s: grad([ops.square(x), 3.0 * x], [x], [s, s]))
    (dx,) = fetched(lower(graph), {"x": np.array([1.0, -2.0]), "s": np.array([10.0, 1.0])})
    np.testing.assert_allclose(dx, [50.0, -1.0])


@BOTH
def test_second_order(lower: Callable[[Graph], Graph]) -> None:
    """d/dx Σ (d/dx Σ -log σ(x))² = 2 g g'."""

    def twice(x: Tensor) -> Sequence[Tensor]:
        (g,) = grad([-ops.log(ops.sigmoid(x))], [x])
        return [g, *grad([ops.square(g)], [x])]

    x = np.array([0.5, -1.5, 3.0])
    g, h = fetched(lower(made({"x": "f64[N]"}, twice)), {"x": x})
    s = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(g, s - 1)
    np.testing.assert_allclose(h, 2 * (s - 1) * s * (1 - s))


def test_second_order_stays_stable() -> None:
    def twice(x: Tensor) -> Sequence[Tensor]:
        (g,) = grad([-ops.log(ops.softmax(x))], [x])
        return [g, *grad([ops.square(g)], [x])]

    values = fetched(optimise(made({"x": "f32[N, 3]"}, twice)), {"x": np.array([[1e4, -1e4, 0.0]], np.float32)})
    assert all(np.isfinite(v).all() for v in values)


@BOTH
def test_an_input_out_of_reach_has_gradient_zero(lower: Callable[[Graph], Graph]) -> None:
    graph = made({"x": "f64[N]", "z": "f64[N]"}, lambda x, z: grad([ops.exp(x)], [x, z]))
    dx, dz = fetched(lower(graph), {"x": np.zeros(2), "z": np.ones(2)})
    np.testing.assert_array_equal(dx, [1.0, 1.0])
    np.testing.assert_array_equal(dz, [0.0, 0.0])


def test_an_op_without_derivative_says_why() -> None:
    with pytest.raises(UnsupportedError, match="digamma has no derivative: the trigamma function"):
        optimise(build({"x": "f64[N]"}, lambda x: ops.digamma(x), wrt=["x"]))


def test_new_ops_carry_the_role_and_the_place_of_the_forward_op() -> None:
    here = Location("model.py", 3)
    graph = build({"x": "f64[N]"}, lambda x: ops.exp(x) * 3.0, wrt=["x"])
    after = optimise(graph.replace(ops=tuple(replace(o, loc=here) for o in graph.ops)))
    assert {o.role for o in after.ops} == {"forward", "backward"}
    assert {o.loc for o in after.ops} == {here}
