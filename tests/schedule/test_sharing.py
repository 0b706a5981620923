"""What shares a kernel, and what is computed again rather than stored: by structure, and by numbers."""

from __future__ import annotations

import numpy as np

from graphloss import ops
from graphloss.ir.data import data
from graphloss.ir.tensor import Tensor
from graphloss.ops.gradient import gradients
from graphloss.schedule.kernel import Buffer, Column, Kernel, RowReduce, Tile, Total
from graphloss.schedule.plan import Plan
from tests.schedule.test_plan import big, count, planned


def stored(plan: Plan, rank: int) -> list[Buffer]:
    """Tensors of a rank that go from kernel to kernel."""
    return [b for b in plan.buffers.values() if b.role == "temp" and len(b.shape) == rank]


def names(kernel: Kernel) -> set[str]:
    return {b.name for b in kernel.buffers}


def by(loss: Tensor, *xs: Tensor) -> list[Tensor]:
    grads = gradients([loss], list(xs))
    assert all(g is not None for g in grads)
    return [loss, *(g for g in grads if g is not None)]


def test_gradients_of_slices_are_written_side_by_side(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        x = data("x", [None, 4])
        a, b, c, d = (x[:, i] for i in range(4))
        return by(ops.reduce_sum(ops.exp(a) * b + ops.tanh(c) - a * d), x)

    plan = planned(build, {"x": rng.normal(size=(7, 4)).astype("float32")})
    assert len(big(plan)) == 1
    assert not stored(plan, 2), "nothing is padded"


def test_slices_of_different_width_take_a_kernel_each(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        x, y = data("x", [None, 14]), data("y", [None], "int64")
        scores = ops.neg(ops.pick(ops.log_softmax(x[:, :10]), y))
        return by(ops.reduce_sum(scores) + ops.reduce_sum(ops.square(x[:, 10:])), x)

    plan = planned(build, {"x": rng.normal(size=(7, 14)).astype("float32"), "y": rng.integers(0, 10, 7)})
    assert len(big(plan)) == 2
    assert not stored(plan, 2)


def test_a_pick_and_the_gradient_that_writes_all_share_the_labels(rng: np.random.Generator) -> None:
    for shape, axis in (((6, 40), 1), ((3, 5, 8), 1)):

        def build(shape: tuple[int, ...] = shape, axis: int = axis) -> list[Tensor]:
            x = data("x", [None if i != axis else n for i, n in enumerate(shape)])
            y = data("y", [None] * (len(shape) - 1), "int64")
            return by(ops.reduce_sum(ops.neg(ops.log(ops.pick(x, y, axis)))), x)

        labels = rng.integers(0, shape[axis], [n for i, n in enumerate(shape) if i != axis])
        plan = planned(build, {"x": rng.random(shape).astype("float32") + 0.1, "y": labels})
        assert len(big(plan)) == 1


def test_labels_of_another_shape_are_the_same_rows(rng: np.random.Generator) -> None:
    """The pixels of scores and of labels are equal in number, which is all that is known of them."""

    def build() -> list[Tensor]:
        x, y = data("x", [None, 5, None, None]), data("y", [None, None, None], "int64")
        rows = ops.reshape(ops.transpose(x, [0, 2, 3, 1]), [-1, 5])
        return by(ops.reduce_sum(ops.neg(ops.pick(ops.log_softmax(rows), ops.reshape(y, [-1])))), x)

    feeds = {"x": rng.normal(size=(2, 5, 3, 4)).astype("float32"), "y": rng.integers(0, 5, (4, 2, 3))}
    assert len(big(planned(build, feeds))) == 1


def test_pairs_are_not_stored(rng: np.random.Generator) -> None:
    """Sums over either side of a matrix of pairs, whose numbers come from the rows at each use."""

    def build() -> list[Tensor]:
        x, y = data("x", [None, 6]), data("y", [None, 6])
        gap = ops.unsqueeze(x, [2]) - ops.unsqueeze(y, [1])
        hinge = ops.where(gap > 0.0, ops.square(gap) + ops.exp(gap), ops.zeros_like(gap) - 1.0)
        left, right = (ops.reduce_sum(ops.square(ops.reduce_sum(hinge, axis))) for axis in (1, 2))
        return by(left + right, x, y)

    plan = planned(build, {n: rng.normal(size=(3, 6)).astype("float32") for n in "xy"})
    assert not stored(plan, 3)


def test_what_is_smaller_than_the_loops_is_stored(rng: np.random.Generator) -> None:
    """One exponential per pair of rows, not one per pair and feature."""

    def build() -> list[Tensor]:
        x, y = data("x", [None, 6]), data("y", [None, 6])
        gap = ops.unsqueeze(x, [1]) - ops.unsqueeze(y, [0])
        near = ops.exp(ops.neg(ops.reduce_sum(ops.square(gap), 2)))
        return [ops.reduce_sum(ops.unsqueeze(near, [2]) * gap, 1)]

    plan = planned(build, {"x": rng.normal(size=(3, 6)).astype("float32"), "y": rng.normal(size=(4, 6)).astype("f4")})
    assert len(stored(plan, 2)) == 1


def test_a_sum_over_labels_alone_joins_the_walk_over_the_scores(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        x, t = data("x", [None, 5, None]), data("t", [None, 5, None])
        p = ops.softmax(x, 1)
        found, there = ops.reduce_sum(p * t, 2), ops.reduce_sum(t, 2)
        return by(ops.reduce_sum(ops.square(found / (there + 1.0))), x)

    feeds = {"x": rng.normal(size=(3, 5, 7)).astype("float32"), "t": rng.random((3, 5, 7)).astype("float32")}
    plan = planned(build, feeds)
    assert sum("t" in names(k) for k in big(plan)) == 2, "the sums, and the gradient"


def test_a_sum_over_leading_axes_is_cut_into_chunks_of_rows(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        x = data("x", [None, None, 40])
        return [ops.reduce_sum(ops.square(x), [0, 1]), ops.reduce_max(x, [0, 1])]

    plan = planned(build, {"x": rng.normal(size=(70, 9, 40)).astype("float32")})
    (kernel,) = big(plan)
    assert (kernel.tile, kernel.row, count(kernel, Column)) == (Tile.ROWS, 40, 2)
    assert all(b.shape[1] == 40 for b in kernel.buffers if b.role == "partial")


def test_a_few_rows_or_very_wide_ones_are_reduced_in_place(rng: np.random.Generator) -> None:
    """Partial results of a chunk would be as large as the chunk."""
    for shape in ((8, 40), (None, 100_000), (None, None)):

        def build(shape: tuple[int | None, ...] = shape) -> list[Tensor]:
            return [ops.reduce_sum(data("x", list(shape)), 0)]

        sizes = [3 if n is None else n for n in shape]
        plan = planned(build, {"x": rng.normal(size=sizes).astype("float32")})
        (kernel,) = big(plan)
        assert (count(kernel, Column), count(kernel, RowReduce)) == (0, 1)


def test_means_and_variances_over_the_batch(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        x = data("x", [None, 12])
        off = x - ops.reduce_mean(x, 0, True)
        spread = ops.sqrt(ops.reduce_mean(ops.square(off), 0) + 1e-3)
        return by(ops.reduce_sum(ops.relu(1.0 - spread)) + ops.reduce_sum(ops.tanh(off)), x)

    plan = planned(build, {"x": rng.normal(size=(300, 12)).astype("float32")})
    assert all(k.outer or not k.inner for k in big(plan)), "chunks of rows everywhere"


def test_row_values_are_summed_by_the_chunks_that_make_them(rng: np.random.Generator) -> None:
    """A one-hot mask varies along fewer axes than the scores: no one loop walks both, but one chunk sums a sample."""

    def build() -> list[Tensor]:
        x, y = data("x", [None, 400, 12]), data("y", [None, 400], "int64")
        mask = ops.cast(ops.equal(ops.unsqueeze(y, [2]), ops.iota([1, 1, 12], 2, "int64")), "float32")
        overlap, both = ops.reduce_sum(x * mask, [1, 2]), ops.reduce_sum(x + mask, [1, 2])
        return by(ops.reduce_mean(1.0 - 2.0 * overlap / (both + 1e-5)), x)

    feeds = {"x": rng.random((5, 400, 12)).astype("float32"), "y": rng.integers(0, 12, (5, 400))}
    plan = planned(build, feeds)
    assert len(big(plan)) == 2, "the sums, and the gradient"
    assert not stored(plan, 2)


def test_means_over_pixels_of_row_values(rng: np.random.Generator) -> None:
    """Along the inner axis, of unknown size: the rows of a tile and all tiles of a sample are one chunk."""

    def build() -> list[Tensor]:
        x, y = data("x", [None, 5, None]), data("y", [None, None], "int64")
        return [ops.reduce_mean(ops.neg(ops.pick(ops.log_softmax(x, 1), y, 1)), 1)]

    for n, s in ((3, 700), (1, 1), (2, 0)):
        feeds = {"x": rng.normal(size=(n, 5, s)).astype("float32"), "y": rng.integers(0, 5, (n, s))}
        with np.errstate(invalid="ignore"):
            plan = planned(build, feeds)
        assert sum("x" in names(k) for k in big(plan)) == 1
        assert not stored(plan, 2)


def test_a_penalty_joins_the_kernel_that_adds_its_gradient(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        x, w = data("x", [None, 6]), data("w", [6, 30])
        fit = ops.reduce_sum(ops.square(ops.matmul(x, w) - 1.0))
        return by(fit + 0.1 * ops.reduce_sum(ops.square(w)), w)

    plan = planned(build, {"x": rng.normal(size=(5, 6)).astype("float32"), "w": rng.random((6, 30)).astype("float32")})
    assert sum("w" in names(k) for k in big(plan)) == 1


def test_a_sum_of_one_level_stays_there(rng: np.random.Generator) -> None:
    """What a stored tensor needs early is not made again for a sum that could come later."""

    def build() -> list[Tensor]:
        x = data("x", [None, 30])
        p = ops.tanh(x * ops.reduce_sum(x, 1, True))
        total = ops.reduce_sum(ops.square(p))
        (g,) = gradients([ops.square(total)], [x])
        assert g is not None
        return [total, ops.reduce_sum(ops.exp(p)), g]

    plan = planned(build, {"x": rng.normal(size=(6, 30)).astype("float32")})
    assert [count(k, Total) for k in big(plan)] == [2, 0], "the totals, and the gradient that one of them scales"


def test_columns_that_are_no_one_loop(rng: np.random.Generator) -> None:
    def build() -> list[Tensor]:
        x, w = data("x", [None, 4, 5]), data("w", [5, 4])
        return [ops.reduce_sum(x * ops.transpose(w, [1, 0]), 0)]

    planned(build, {"x": rng.normal(size=(6, 4, 5)).astype("float32"), "w": rng.normal(size=(5, 4)).astype("float32")})
