"""The scheduler by structure: how many kernels, of which tile, in how many passes; and by numbers, interpreted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from graphloss import ops
from graphloss.ir.data import data
from graphloss.ir.defaults import program_guard
from graphloss.ir.graph import Graph
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor
from graphloss.ops.evaluate import evaluate
from graphloss.ops.gradient import gradients
from graphloss.passes.pipelines import lower_only, optimise
from graphloss.schedule.kernel import Buffer, Check, Column, Keep, Kernel, RowReduce, Tile, Total
from graphloss.schedule.plan import Plan, schedule
from tests.schedule.interpret import run

Feeds = dict[str, np.ndarray]


def planned(build: Callable[[], list[Tensor]], feeds: Feeds) -> Plan:
    """The plan of the optimised program, after its interpretation was compared with the reference evaluation."""
    main = Program()
    with program_guard(main):
        fetches = build()
    graph: Graph = main.snapshot([f.name for f in fetches])  # type: ignore[attr-defined]
    best, plain = optimise(graph), lower_only(graph)
    plan = schedule(best)
    given = {n: feeds[n] for n in best.feeds}
    got, want = run(plan, best, given), evaluate(plain, given)
    for a, b in zip(best.fetches, plain.fetches, strict=True):
        np.testing.assert_allclose(got[a], want[b], rtol=2e-4, atol=1e-6)
    return plan


def big(plan: Plan) -> list[Kernel]:
    """The kernels that walk over a tensor; what combines partial results and finishes scalars is left out."""

    def tensor(b: Buffer) -> bool:
        return b.role == "input" or (len(b.shape) > 1 and b.role != "partial")

    return [k for k in plan.kernels if any(map(tensor, k.buffers))]


def count(kernel: Kernel, kind: type) -> int:
    return sum(isinstance(n.action, kind) for n in kernel.nodes)


def cross_entropy(shape: list[int | None], axis: int) -> Callable[[], list[Tensor]]:
    def build() -> list[Tensor]:
        x, y = data("x", shape), data("y", [n for i, n in enumerate(shape) if i != axis], "int64")
        loss = ops.reduce_mean(ops.neg(ops.pick(ops.log(ops.softmax(x, axis)), y, axis)))
        (g,) = gradients([loss], [x])
        assert g is not None
        return [loss, g]

    return build


@pytest.mark.parametrize(
    ("shape", "axis", "tile", "sizes"),
    [
        ([None, 40], 1, Tile.ROWS, (5, 40)),
        ([None, 10], 1, Tile.LANES_ARE_ROWS, (7, 10)),
        ([None, 21, None], 1, Tile.COLUMNS, (2, 21, 6)),
    ],
)
def test_cross_entropy_is_one_kernel_of_three_passes(
    rng: np.random.Generator, shape: list[int | None], axis: int, tile: str, sizes: tuple[int, ...]
) -> None:
    labels = rng.integers(0, sizes[axis], [n for i, n in enumerate(sizes) if i != axis])
    plan = planned(cross_entropy(shape, axis), {"x": rng.normal(size=sizes).astype("float32"), "y": labels})
    (kernel,) = big(plan)
    assert (kernel.tile, kernel.passes) == (tile, 3)
    assert count(kernel, RowReduce) == 2, "the maximum and the sum; the gradient needs no third reduction"
    assert count(kernel, Total) == count(kernel, Check) == 1
    # e^x is kept in the gradient's own buffer, unless the whole row is in registers
    assert count(kernel, Keep) == (0 if tile == Tile.LANES_ARE_ROWS else 1)


def test_value_alone_keeps_nothing(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        return cross_entropy([None, 40], 1)()[:1]

    (kernel,) = big(planned(build, {"x": rng.normal(size=(5, 40)).astype("float32"), "y": rng.integers(0, 40, 5)}))
    assert (kernel.passes, count(kernel, Keep)) == (2, 0)


def test_weighted_mean_takes_one_trip_over_the_logits(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        x, y, w = data("x", [None, 40]), data("y", [None], "int64"), data("w", [40])
        weight = ops.gather(w, y)
        loss = ops.reduce_sum(weight * ops.neg(ops.pick(ops.log_softmax(x), y))) / ops.reduce_sum(weight)
        (g,) = gradients([loss], [x])
        assert g is not None
        return [loss, g]

    feeds = {
        "x": rng.normal(size=(5, 40)).astype("float32"),
        "y": rng.integers(0, 40, 5),
        "w": rng.random(40).astype("float32"),
    }
    plan = planned(build, feeds)
    readers = [k for k in plan.kernels if any(b.name == "x" for b in k.buffers)]
    assert len(readers) == 1, "the sum of weights is its own small kernel; loss and gradient share the other"


def test_dice_per_sample_then_batch_mean(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        p, t = data("p", [None, None, None]), data("t", [None, None, None])
        overlap = ops.reduce_sum(p * t, [1, 2])
        loss = ops.reduce_mean(1.0 - 2.0 * overlap / (ops.reduce_sum(p, [1, 2]) + ops.reduce_sum(t, [1, 2]) + 1e-5))
        (g,) = gradients([loss], [p])
        assert g is not None
        return [loss, g]

    plan = planned(build, {n: rng.random((3, 4, 5)).astype("float32") for n in "pt"})
    (kernel,) = big(plan)
    assert (kernel.tile, kernel.passes, count(kernel, RowReduce)) == (Tile.ROWS, 2, 3)


def test_infonce_over_both_axes(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        a, b = data("a", [None, 8]), data("b", [None, 8])
        s = ops.matmul(a, b, False, True)
        i = ops.iota([s.type.shape[0]], 0, "int64")
        rows = ops.reduce_mean(ops.logsumexp(s, 1) - ops.pick(s, i, 1))
        columns = ops.reduce_mean(ops.logsumexp(s, 0) - ops.pick(s, i, 0))
        loss = rows + columns
        grads = [g for g in gradients([loss], [a, b]) if g is not None]
        return [loss, *grads]

    plan = planned(build, {n: rng.normal(size=(6, 8)).astype("float32") for n in "ab"})
    assert [k.tile for k in big(plan)] == [Tile.ROWS, Tile.COLUMNS, Tile.ROWS], (
        "rows, columns, and the sum of both gradients"
    )
    assert sum(not isinstance(s, Kernel) for s in plan.steps) == 3, "one product forward, two backward"


def test_bias_gradient_joins_the_kernel_of_the_gradient(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        x, b, y = data("x", [None, 40]), data("b", [40]), data("y", [None], "int64")
        loss = ops.reduce_mean(ops.neg(ops.pick(ops.log_softmax(x + b), y)))
        return [g for g in gradients([loss], [x, b]) if g is not None]

    feeds = {
        "x": rng.normal(size=(5, 40)).astype("float32"),
        "b": rng.random(40).astype("float32"),
        "y": rng.integers(0, 40, 5),
    }
    plan = planned(build, feeds)
    (kernel,) = big(plan)
    assert count(kernel, Column) == 1


def test_an_unseen_loss_from_ops_alone(rng: np.random.Generator) -> None:
    """A margin over a softmax with an entropy term: row reductions of one axis, one kernel for value and gradient."""

    def build() -> list[Tensor]:
        x, y = data("x", [None, 30]), data("y", [None], "int64")
        logp = ops.log_softmax(x * 3.0)
        p = ops.softmax(x * 3.0)
        entropy = ops.neg(ops.reduce_sum(p * logp, 1))
        margin = ops.relu(1.0 - ops.pick(x, y) + ops.reduce_max(x, 1))
        loss = ops.reduce_mean(margin + 0.1 * entropy)
        (g,) = gradients([loss], [x])
        assert g is not None
        return [loss, g]

    plan = planned(build, {"x": rng.normal(size=(6, 30)).astype("float32"), "y": rng.integers(0, 30, 6)})
    assert len(big(plan)) == 1


def test_what_reads_a_product_of_inputs_comes_after_it(rng: np.random.Generator) -> None:
    """Numbers that no stored tensor needs: the rows of a product that labels choose, of a call that reads the product,
    and of a product that a stored tensor needs late."""

    def build() -> list[Tensor]:
        x, w, y = data("x", [None, 8]), data("w", [50, 8]), data("y", [None], "int64")
        scores = ops.matmul(x, w, False, True)
        capped = ops.reduce_mean(ops.neg(ops.pick(ops.log_softmax(30.0 * ops.tanh(scores / 30.0)), y)))
        summed = ops.reduce_sum(ops.pick(ops.cumsum(scores, 1), y) * 3.0)
        late = scores * ops.reduce_sum(x) / ops.reduce_sum(ops.exp(x * ops.reduce_sum(w)))
        return [capped, summed, ops.reduce_sum(ops.pick(scores, y)), late]

    x, w = (0.3 * rng.normal(size=n).astype("float32") for n in ((6, 8), (50, 8)))
    feeds = {"x": x, "w": w, "y": rng.integers(0, 50, 6)}
    for wanted in ([0], [1], [2], [0, 1, 2], [1, 3], [0, 1, 2, 3]):
        planned(lambda wanted=wanted: [build()[i] for i in wanted], feeds)  # type: ignore[misc]


@pytest.mark.parametrize("kind", [ops.reduce_sum, ops.reduce_max])
def test_results_of_columns_lie_as_they_are_read(kind: Callable[..., Tensor]) -> None:
    """Columns are summed in the order of x; what reads the sums walks them in another."""

    def build() -> list[Tensor]:
        x = data("x", [None, 24])
        n = x.type.shape[0]
        turned = ops.transpose(ops.reshape(x - kind(ops.tanh(x), 0, True), (n, 12, 2)), [0, 2, 1])
        return [ops.reshape(turned, (n, 24))]

    planned(build, {"x": np.random.default_rng(5).normal(size=(70, 24)).astype("float32")})
