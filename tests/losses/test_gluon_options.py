"""Gluon's options on random input, each class against its formula in NumPy: axes, weights, kinds of labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphloss.gluon import loss as gluon
from tests.losses.runners import RUNNERS, Array

RNG = np.random.default_rng(29)
SHAPE = (4, 3, 5)
X, Y = RNG.normal(size=SHAPE), RNG.normal(size=SHAPE)
P, Q = RNG.uniform(0.05, 0.95, SHAPE), RNG.uniform(0.05, 0.95, SHAPE)
S = RNG.choice([-1.0, 1.0], SHAPE)


def softplus(z: Array) -> Array:
    return np.logaddexp(0, z)


def log_softmax(x: Array, axis: int) -> Array:
    return np.asarray(x - np.log(np.exp(x).sum(axis, keepdims=True)))


def huber(x: Array, y: Array, rho: float) -> Array:
    d = np.abs(x - y)
    return np.where(d > rho, d - rho / 2, d**2 / (2 * rho))


# class, its options, inputs, the loss of each element
ELEMENTS: list[tuple[str, dict[str, Any], tuple[Array, Array], Callable[[Array, Array], Array]]] = [
    ("L2Loss", {}, (X, Y), lambda x, y: (x - y) ** 2 / 2),
    ("L1Loss", {}, (X, Y), lambda x, y: np.abs(x - y)),
    ("HuberLoss", {"rho": 0.7}, (X, Y), lambda x, y: huber(x, y, 0.7)),
    ("HingeLoss", {"margin": 0.5}, (X, S), lambda x, y: np.maximum(0, 0.5 - x * y)),
    ("SquaredHingeLoss", {"margin": 2}, (X, S), lambda x, y: np.maximum(0, 2 - x * y) ** 2),
    ("LogisticLoss", {}, (X, S), lambda x, y: softplus(-x * y)),
    ("LogisticLoss", {"label_format": "binary"}, (X, (S + 1) / 2), lambda x, y: softplus(-x * (2 * y - 1))),
    ("SigmoidBCELoss", {}, (X, P), lambda x, y: softplus(x) - x * y),
    ("SigmoidBCELoss", {"from_sigmoid": True}, (P, Q),
     lambda x, y: -(y * np.log(x + 1e-12) + (1 - y) * np.log(1 - x + 1e-12))),
    ("KLDivLoss", {}, (X, P), lambda x, y: y * (np.log(y + 1e-12) - x)),
    ("KLDivLoss", {"from_logits": False, "axis": 1}, (X, P), lambda x, y: y * (np.log(y + 1e-12) - log_softmax(x, 1))),
]  # fmt: skip
NAMES = [f"{name} {options}" for name, options, *_ in ELEMENTS]


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("weight", [None, 0.3])
@pytest.mark.parametrize("batch_axis", [0, 1, -1])
@pytest.mark.parametrize(("name", "options", "inputs", "formula"), ELEMENTS, ids=NAMES)
def test_axis_and_weights(
    name: str, options: dict[str, Any], inputs: tuple[Array, Array], formula: Callable[[Array, Array], Array],
    batch_axis: int, weight: float | None, sampled: bool, runner: str,
) -> None:  # fmt: skip
    loss = getattr(gluon, name)(**options, batch_axis=batch_axis, **({} if weight is None else {"weight": weight}))
    arrays = dict(zip(("pred", "label"), inputs, strict=True))
    each = formula(*inputs) * (1 if weight is None else weight)
    if sampled:
        shape = [1, 1, 1]
        shape[batch_axis] = SHAPE[batch_axis]
        arrays["sample_weight"] = np.linspace(0.5, 2, SHAPE[batch_axis]).reshape(shape)
        each = each * arrays["sample_weight"]
    value, _ = RUNNERS[runner](lambda **i: loss(*i.values()), arrays, ())
    want = each.mean(tuple(a for a in range(3) if a != batch_axis % 3))
    assert value.shape == want.shape
    np.testing.assert_allclose(value, want, rtol=1e-12)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("sparse_label", [False, True])
@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_softmax_cross_entropy(axis: int, sparse_label: bool, from_logits: bool, runner: str) -> None:
    log_p = log_softmax(X, axis)
    if sparse_label:
        y = RNG.integers(0, SHAPE[axis], tuple(n for a, n in enumerate(SHAPE) if a != axis % 3))
        each = -np.take_along_axis(log_p, np.expand_dims(y, axis), axis)
    else:
        y = P
        each = -(P * log_p).sum(axis, keepdims=True)
    loss = gluon.SoftmaxCELoss(axis=axis, sparse_label=sparse_label, from_logits=from_logits)
    value, _ = RUNNERS[runner](loss, {"pred": log_p if from_logits else X, "label": y}, ())
    np.testing.assert_allclose(value, each.mean((1, 2)), rtol=1e-12)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("name", ["L2Loss", "HuberLoss", "SigmoidBCELoss"])
def test_label_of_another_shape(name: str, runner: str) -> None:
    """A label with as many elements takes the shape of the prediction."""
    loss = getattr(gluon, name)()
    value, _ = RUNNERS[runner](loss, {"pred": P[:, :1, 0], "label": Q[:, 0, 0]}, ())
    same, _ = RUNNERS[runner](loss, {"pred": P[:, 0, 0], "label": Q[:, 0, 0]}, ())
    np.testing.assert_allclose(value, same, rtol=1e-14)
