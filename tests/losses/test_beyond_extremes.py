"""Every further loss on extreme values: no NaN gradient beside a finite value; eager, compiled, batch left open."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from graphloss import losses
from tests.losses.runners import Array, Build, compiled, eager

LOGITS = np.array([1e4, -1e4, 0.0, -0.0, 88.8, -104.0, 1e-30, 1.0], np.float32)
PROBABILITIES = np.array([0.0, 1.0, 0.5, 1e-30, 1 - 2**-24], np.float32)
POSITIVE = np.array([1e-6, 1.0, 1e4, 3.0], np.float32)
COORDINATES = np.array([0.0, 1.0, -1e4, 1e4, 0.5], np.float32)

Draw = Callable[[np.random.Generator], dict[str, Array]]


def of(values: Array, shape: tuple[int, ...], *names: str) -> Draw:
    return lambda rng: {n: rng.choice(values, shape) for n in names}


def labelled(values: Array = LOGITS, classes: int = 3) -> Draw:
    return lambda rng: {"x": rng.choice(values, (12, classes)), "y": rng.integers(0, classes, 12)}


def masks(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.choice(PROBABILITIES, (12, 2, 3)), "y": (rng.random((12, 2, 3)) < 0.3).astype(np.float32)}


def boxes(rng: np.random.Generator) -> dict[str, Array]:
    corners = rng.choice(COORDINATES, (2, 40, 2, 2))
    both = np.concatenate([corners.min(2), corners.max(2)], -1)
    return {"x": both[0], "y": both[1]}


def pixels(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.choice(LOGITS, (4, 3, 5)), "y": rng.integers(0, 3, (4, 5))}


def binary(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.choice(LOGITS, 40), "y": rng.integers(0, 2, 40).astype(np.float32)}


def vectors(rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.choice([0.0, 1.0, -1.0, 1e4], (6, 2)).astype(np.float32), "y": rng.integers(0, 3, 6)}


# The inputs go to the loss in their order.
CASES: list[tuple[Build, Draw, tuple[str, ...]]] = [
    (losses.sigmoid_focal_loss, binary, ("x",)),
    (lambda x, y, reduction: losses.sigmoid_focal_loss(x, y, None, 0.3, reduction), binary, ("x",)),
    (losses.softmax_focal_loss, labelled(), ("x",)),
    (lambda x, y, reduction: losses.softmax_focal_loss(x, y, None, 0.3, -100, reduction), labelled(), ("x",)),
    (losses.generalized_cross_entropy, labelled(), ("x",)),
    (losses.poly1_cross_entropy, labelled(), ("x",)),
    (losses.capped_cross_entropy, labelled(), ("x",)),
    (lambda x, y, reduction: losses.capped_cross_entropy(x, y, 1e-4, 30.0, -100, reduction), labelled(), ("x",)),
    (losses.arcface_loss, labelled(np.array([1, -1, 0, 0.5, -0.9, 1 - 2**-24], np.float32)), ("x",)),
    (losses.cosface_loss, labelled(np.array([1, -1, 0, 0.5], np.float32)), ("x",)),
    (lambda x, reduction: losses.z_loss(x, reduction=reduction), of(LOGITS, (12, 3), "x"), ("x",)),
    (lambda x, t, reduction: losses.distillation_loss(x, t, reduction=reduction), of(LOGITS, (12, 3), "x", "t"),
     ("x",)),
    (lambda x, t, reduction: losses.jensen_shannon_loss(x, t, reduction=reduction), of(LOGITS, (12, 3), "x", "t"),
     ("x", "t")),
    (lambda a, b, c, reduction: losses.dpo_loss(a, b, c, c, reduction=reduction), of(LOGITS, (40,), "a", "b", "c"),
     ("a", "b")),
    (losses.quantile_loss, of(LOGITS, (40,), "x", "y"), ("x", "y")),
    (losses.expectile_loss, of(LOGITS, (40,), "x", "y"), ("x", "y")),
    (losses.log_cosh_loss, of(LOGITS, (40,), "x", "y"), ("x", "y")),
    (losses.mape_loss, of(LOGITS, (40,), "x", "y"), ("x", "y")),
    (losses.msle_loss, of(np.abs(LOGITS), (40,), "x", "y"), ("x", "y")),
    (losses.gamma_deviance_loss, of(POSITIVE, (40,), "x", "y"), ("x", "y")),
    *((lambda x, y, reduction, p=p: losses.tweedie_deviance_loss(x, y, p, reduction),
       of(POSITIVE, (40,), "x", "y"), ("x", "y")) for p in (-1.0, 1.0, 1.5, 2.0, 2.5)),
    (losses.tversky_loss, masks, ("x",)),
    (losses.focal_tversky_loss, masks, ("x",)),
    (losses.jaccard_loss, masks, ("x",)),
    (lambda x, y, reduction: losses.tversky_loss(x, y, smooth=0.0, per_class=True, reduction=reduction), masks, ("x",)),
    (lambda x, y, reduction: losses.focal_tversky_loss(x, y, 1.0, 0.0, 3.0, 0.0, True, reduction), masks, ("x",)),
    (losses.generalized_dice_loss, masks, ("x",)),
    (losses.dice_cross_entropy_loss, pixels, ("x",)),
    (losses.giou_loss, boxes, ("x", "y")),
    (losses.diou_loss, boxes, ("x", "y")),
    (losses.ciou_loss, boxes, ("x", "y")),
    (lambda x, z, reduction: losses.info_nce_loss(x, z, symmetric=True, reduction=reduction),
     of(np.array([0, 1, -1, 1e4], np.float32), (6, 2), "x", "z"), ("x", "z")),
    (lambda x, z, reduction: losses.nt_xent_loss(x, z, reduction=reduction),
     of(np.array([0, 1, -1, 1e4], np.float32), (6, 2), "x", "z"), ("x", "z")),
    (losses.supervised_contrastive_loss, vectors, ("x",)),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(CASES)))
def test_no_nan(case: int, rng: np.random.Generator) -> None:
    loss, draw, by = CASES[case]
    arrays = draw(rng)
    how = "sum" if loss is losses.dice_cross_entropy_loss else "none"  # it has no value per element
    found = []
    for run in (eager, compiled, partial(compiled, free=True)):
        value, grads = run(lambda **i: loss(*i.values(), reduction=how), arrays, by)
        assert np.isfinite(value).all()
        for name, g in zip(by, grads, strict=True):
            assert not np.isnan(g).any(), f"gradient by {name}"
        found.append((value, *grads))
    for a, b, free in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)
        np.testing.assert_allclose(b, free, rtol=1e-5, atol=1e-7)
