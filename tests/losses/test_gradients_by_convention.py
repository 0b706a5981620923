"""Gradients that are a convention and not a limit: at ties and bounds, of labels, through clamps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphloss import layers
from graphloss.nn import functional as F
from tests.losses.runners import RUNNERS, Array, Runner

pytestmark = pytest.mark.parametrize("run", RUNNERS.values(), ids=RUNNERS)


def test_swap_halves_the_gradient_at_a_tie(run: Runner) -> None:
    arrays = {"a": np.array([[0.0, 0.0]]), "p": np.array([[2.0, 0.0]]), "n": np.array([[1.0, 0.0]])}
    value, grads = run(
        lambda a, p, n: F.triplet_margin_loss(a, p, n, eps=0.0, swap=True), arrays, tuple(arrays)
    )
    assert value == 2
    np.testing.assert_array_equal(grads, [[[-0.5, 0]], [[0.5, 0]], [[0, 0]]])


def test_teacher_student_has_no_gradient_at_its_bounds(run: Runner) -> None:
    x = np.array([[-15.0], [-14.999], [14.999], [15.0], [16.0]])
    value, (grad,) = run(
        lambda x, y: layers.teacher_student_sigmoid_loss(x, y), {"x": x, "y": np.full((5, 1), 0.5)}, ("x",)
    )
    np.testing.assert_array_equal(grad[:, 0] == 0, [True, False, False, True, True])
    np.testing.assert_allclose(value[:, 0], 2 * np.logaddexp(0, x[:, 0]) - 0.5 * x[:, 0])
    _, (grad,) = run(
        lambda x, y: layers.teacher_student_sigmoid_loss(x, y, 20.0, -1.0), {"x": x, "y": np.full((5, 1), 0.5)}, ("x",)
    )
    np.testing.assert_array_equal(grad[:, 0] == 0, [True, True, False, False, False])


def test_hinge_embedding_of_other_targets_is_the_sum(run: Runner) -> None:
    arrays = {"x": np.array([0.25, 0.25, 3.0]), "y": np.array([0.0, 2.0, 0.5])}
    value, (grad,) = run(lambda x, y: F.hinge_embedding_loss(x, y, reduction="none"), arrays, ("x",))
    np.testing.assert_array_equal(value, [1, 1, 3])
    np.testing.assert_array_equal(grad, [0, 0, 1])


def test_cosine_similarity_ignores_its_bound_in_the_gradient(run: Runner) -> None:
    arrays = {"x": np.array([[0.003, 0.004]]), "y": np.array([[1.0, 0.0]])}
    value, (grad,) = run(lambda x, y: F.cosine_similarity(x, y, eps=0.1), arrays, ("x",))
    np.testing.assert_allclose(value, [0.03])
    # d(x·y / n) with n = 0.1 and dn/dx = x/‖x‖: y/n − (x·y/n²)·x/‖x‖
    np.testing.assert_allclose(grad, [[10 - 0.3 * 0.6, -0.3 * 0.8]])


ONE, HALF = np.array([[0.3], [0.6]]), np.array([[0.5], [0.25]])
ROWS, SPREAD = np.array([[0.3, 0.7], [0.6, 0.4]]), np.array([[0.5, 0.5], [0.1, 0.9]])
UNTAUGHT: list[tuple[str, Callable[..., Any], dict[str, Array]]] = [
    ("log_loss", lambda x, y: layers.log_loss(x, y), {"x": ONE, "y": HALF}),
    ("rank_loss", lambda x, y: layers.rank_loss(y, x, x * 2.0), {"x": ONE, "y": HALF}),
    ("margin_rank_loss", lambda x, y: layers.margin_rank_loss(y, x, x * 2.0), {"x": ONE, "y": HALF}),
    ("teacher_student", lambda x, y: layers.teacher_student_sigmoid_loss(x, y), {"x": ONE, "y": HALF}),
    ("kldiv_loss", lambda x, y: layers.kldiv_loss(x, y), {"x": ROWS, "y": SPREAD}),
    ("npair_loss", lambda x, y: layers.npair_loss(x, x, y), {"x": ROWS, "y": HALF[:, 0]}),
    ("dice_loss", lambda x, y: layers.dice_loss(x, y), {"x": ONE, "y": HALF}),
    ("sigmoid CE", lambda x, y: layers.sigmoid_cross_entropy_with_logits(x, y), {"x": ROWS, "y": SPREAD}),
    ("softmax CE", lambda x, y: layers.softmax_with_cross_entropy(x, y, soft_label=True), {"x": ROWS, "y": SPREAD}),
    ("soft_margin_loss", lambda x, y: F.soft_margin_loss(x, y), {"x": ROWS, "y": SPREAD}),
    ("hinge_embedding_loss", lambda x, y: F.hinge_embedding_loss(x, y), {"x": ROWS * 9, "y": SPREAD}),
]


@pytest.mark.parametrize(("name", "build", "arrays"), UNTAUGHT, ids=[u[0] for u in UNTAUGHT])
def test_labels_get_no_gradient(run: Runner, name: str, build: Callable[..., Any], arrays: dict[str, Array]) -> None:
    _, (by_x, by_y) = run(build, arrays, ("x", "y"))
    assert np.any(by_x != 0)
    np.testing.assert_array_equal(by_y, 0)
