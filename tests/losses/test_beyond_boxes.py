"""Losses of boxes: formulas, boxes apart, inside, equal and without area, one kernel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from graphloss import losses
from graphloss.errors import ShapeError
from tests.losses.beyond import Case, check_case, tensor_kernels
from tests.losses.runners import RUNNERS, Array, Build, Runner


def parts(a: Array, b: Array) -> tuple[Array, ...]:
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), -1)
    union = np.prod(a[..., 2:] - a[..., :2], -1) + np.prod(b[..., 2:] - b[..., :2], -1) - shared
    hull = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    centers = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    return shared / union, union, hull, centers


def giou(x: Array, y: Array) -> Array:
    iou, union, hull, _ = parts(x, y)
    area = np.prod(hull, -1)
    return 1 - iou + (area - union) / area


def diou(x: Array, y: Array) -> Array:
    iou, _, hull, centers = parts(x, y)
    return 1 - iou + (centers**2).sum(-1) / (hull**2).sum(-1)


def shape_term(x: Array, y: Array) -> Array:
    """v of the paper, by two angles."""
    angles = [np.arctan((b[..., 2] - b[..., 0]) / (b[..., 3] - b[..., 1])) for b in (y, x)]
    return 4 / math.pi**2 * (angles[0] - angles[1]) ** 2


def ciou(x: Array, y: Array, at: Array | None = None) -> Array:
    """α is that of the boxes `at`: it takes no part in the gradient."""
    at = x if at is None else at
    v = shape_term(at, y)
    return diou(x, y) + v / (1 - parts(at, y)[0] + v) * shape_term(x, y)


def boxes(rng: np.random.Generator) -> dict[str, Array]:
    """Half of the pairs meet; no edge of one is so near to one of the other that a difference quotient passes it."""
    low = rng.integers(0, 10, (2, 8, 2)) / 10
    high = low + rng.integers(4, 15, (2, 8, 2)) / 10
    both = np.concatenate([low, high], -1) + rng.uniform(-0.02, 0.02, (2, 8, 4))
    both[1] += 0.05
    both[1, ::2] += 3
    return {"x": both[0], "y": both[1]}


CASES = [
    Case("GIoU", lambda x, y, reduction: losses.giou_loss(x, y, reduction), giou, boxes, ("x", "y")),
    Case("DIoU", lambda x, y, reduction: losses.diou_loss(x, y, reduction), diou, boxes, ("x", "y")),
    Case(
        "DIoU of a grid", lambda x, y, reduction: losses.diou_loss(x, y, reduction), diou,
        lambda rng: {n: b.reshape(2, 4, 4) for n, b in boxes(rng).items()},
    ),
    Case(
        "CIoU", lambda x, y, at, reduction: losses.ciou_loss(x, y, reduction), ciou,
        lambda rng: {**(b := boxes(rng)), "at": b["x"].copy()},
    ),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_textbook_formula(case: Case, runner: str, dtype: str, rng: np.random.Generator) -> None:
    check_case(case, runner, dtype, rng)


LOSSES = [losses.giou_loss, losses.diou_loss, losses.ciou_loss]


@pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)
@pytest.mark.parametrize("loss", LOSSES)
class TestEdges:
    def test_equal_boxes(self, run: Runner, loss: Build) -> None:
        x = np.array([[0.0, 0, 2, 1], [-1e4, -1e4, 1e4, 1e4]])
        value, grads = run(lambda x, y: loss(x, y, "none"), {"x": x, "y": x.copy()}, ("x", "y"))
        np.testing.assert_allclose(value, 0, atol=1e-15)
        assert all(np.isfinite(g).all() for g in grads)

    def test_boxes_without_area(self, run: Runner, loss: Build) -> None:
        point, flat, tall, box = [1.0, 1, 1, 1], [0.0, 1, 2, 1], [1.0, 0, 1, 2], [0.0, 0, 2, 2]
        kinds = [point, flat, tall, box, [5.0, 5, 5, 5]]
        pairs = [(a, b) for a in kinds for b in kinds]
        x, y = (np.array([p[i] for p in pairs]) for i in (0, 1))
        value, grads = run(lambda x, y: loss(x, y, "none"), {"x": x, "y": y}, ("x", "y"))
        assert np.isfinite(value).all()
        assert all(np.isfinite(g).all() for g in grads)
        assert np.all((value >= 0) & (value <= 3))
        np.testing.assert_array_equal(value[0], 1)  # a point on itself: no overlap, nothing else

    def test_far_apart(self, run: Runner, loss: Build) -> None:
        x, y = np.array([[-1e4, -1e4, -1e4 + 1, -1e4 + 1]], np.float32), np.array([[0, 0, 1, 1]], np.float32)
        arrays = {"x": x, "y": y}
        value, (grad,) = run(lambda x, y: loss(x, y), arrays, ("x",))
        np.testing.assert_allclose(value, 2, rtol=1e-3)
        assert np.all(np.isfinite(grad))
        assert np.any(grad != 0)  # it pulls them together

    def test_batch_of_none(self, run: Runner, loss: Build) -> None:
        arrays = {"x": np.zeros((0, 4)), "y": np.zeros((0, 4))}
        value, (grad,) = run(lambda x, y: loss(x, y, "sum"), arrays, ("x",))
        assert value == 0
        assert grad.shape == (0, 4)

    def test_one_box(self, run: Runner, loss: Build) -> None:
        arrays = {"x": np.array([0.0, 0, 2, 2]), "y": np.array([1.0, 0, 3, 2])}
        value, (grad,) = run(lambda x, y: loss(x, y, "none"), arrays, ("x",))
        assert value.shape == ()
        batch, (rows,) = run(lambda x, y: loss(x, y), {n: a[None] for n, a in arrays.items()}, ("x",))
        np.testing.assert_allclose(value, batch, rtol=1e-14)
        np.testing.assert_allclose(grad, rows[0], rtol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
def test_one_kernel(loss: Build) -> None:
    inputs = {"x": ("float32", [None, 4]), "y": ("float32", [None, 4])}
    assert tensor_kernels(lambda x, y: loss(x, y), inputs, ["x"]) == 1


def test_refused() -> None:
    with pytest.raises(ShapeError, match="four coordinates"):
        RUNNERS["eager"](lambda x: losses.giou_loss(x, x), {"x": np.zeros((2, 5))}, ())
