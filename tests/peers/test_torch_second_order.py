"""Second derivatives of the losses against PyTorch: the gradient of ⟨∂loss/∂x, v⟩ by x, eager and compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import graphloss as gl
from graphloss import layers
from graphloss.nn import functional as F

Array = npt.NDArray[Any]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5)) * 3
Y, P, T = RNG.integers(0, 5, 4), RNG.dirichlet(np.ones(5), 4), RNG.uniform(size=(4, 5))
V = RNG.normal(size=(4, 5))

CASES: list[tuple[str, Array, Array, Mapping[str, Any]]] = [
    ("cross_entropy", X, Y, {"label_smoothing": 0.1}),
    ("cross_entropy", X, P, {}),
    ("cross_entropy", np.array([[1e3, -1e3, 0, 1, 2]]), np.array([1]), {}),
    ("binary_cross_entropy_with_logits", X, T, {}),
    ("binary_cross_entropy_with_logits", np.array([[0.0, 60, -60, 900, -900]]), T[:1], {}),
    ("binary_cross_entropy", RNG.uniform(0.1, 0.9, (4, 5)), T, {}),
    ("mse_loss", X, T, {}),
    ("huber_loss", X, T, {"delta": 2.0}),
]


def of_torch(name: str, x: Array, y: Array, v: Array, options: Mapping[str, Any]) -> tuple[Array, Array]:
    t = torch.tensor(x, requires_grad=True)
    loss = getattr(torch.nn.functional, name)(t, torch.tensor(y), **options)
    (first,) = torch.autograd.grad(loss, t, create_graph=True)
    (second,) = torch.autograd.grad((first * torch.tensor(v)).sum(), t)
    return first.detach().numpy(), second.numpy()


def compiled(name: str, x: Array, y: Array, v: Array, options: Mapping[str, Any]) -> tuple[Array, Array]:
    main = gl.Program()
    with gl.program_guard(main):
        dx, dy, dv = (gl.data(n, a.shape, a.dtype) for n, a in (("x", x), ("y", y), ("v", v)))
        (first,) = gl.gradients([getattr(F, name)(dx, dy, **options)], [dx])
        (second,) = gl.gradients([layers.reduce_sum(first * dv)], [dx])
    found = gl.Executor().run(main, feed={"x": x, "y": y, "v": v}, fetch_list=[first, second])
    return found[0], found[1]


def eager(name: str, x: Array, y: Array, v: Array, options: Mapping[str, Any]) -> tuple[Array, Array]:
    with gl.dygraph.guard():
        dx, dy, dv = (gl.dygraph.to_variable(a) for a in (x, y, v))
        dx.stop_gradient = False
        (first,) = gl.dygraph.grad(getattr(F, name)(dx, dy, **options), dx, create_graph=True)
        (second,) = gl.dygraph.grad(layers.reduce_sum(first * dv), dx)
        return first.numpy(), second.numpy()


@pytest.mark.parametrize("run", [eager, compiled])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]} {c[1].shape}")
def test_second_order(case: tuple[str, Array, Array, Mapping[str, Any]], run: Any) -> None:
    name, x, y, options = case
    v = V[: len(x)]
    for got, want in zip(run(name, x, y, v, options), of_torch(name, x, y, v, options), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
