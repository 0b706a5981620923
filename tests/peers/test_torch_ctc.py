"""CTC against PyTorch on random batches: repeats, empty targets, samples without frames, targets without alignment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import graphloss as gl
from graphloss.nn import functional as F

Array = npt.NDArray[Any]
OPTIONS = [
    (reduction, zero, packed, blank)
    for reduction, blank in (("none", 2), ("sum", 0), ("mean", 0))
    for zero in (False, True)
    for packed in (False, True)
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than these small batches."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_batch(rng: np.random.Generator, packed: bool, blank: int) -> tuple[Array, ...]:
    T, N, S = int(rng.integers(1, 13)), int(rng.integers(1, 6)), int(rng.integers(0, 8))
    C = int(rng.integers(blank + 2, blank + 5))
    symbols = np.array([c for c in range(C) if c != blank])[: rng.integers(1, C)]
    z = rng.normal(size=(T, N, C)) * rng.choice([1.0, 5.0, 40.0])
    targets = rng.choice(symbols, (N, S))
    sizes = np.where(rng.uniform(size=N) < 0.2, 0, rng.integers(0, S + 1, N))
    frames = np.where(rng.uniform(size=N) < 0.3, rng.integers(0, T + 1, N), T)
    frames[rng.uniform(size=N) < 0.1] = 0
    if packed:
        targets = targets[np.arange(S) < sizes[:, None]]
    return z, targets, frames, sizes


def of_torch(arrays: tuple[Array, ...], reduction: str, zero: bool, blank: int) -> tuple[Array, Array]:
    z, *rest = (torch.tensor(a) for a in arrays)
    z.requires_grad_()
    loss = torch.nn.functional.ctc_loss(z.log_softmax(2), *rest, blank, reduction, zero)
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    return loss.detach().numpy(), gradient.numpy()


@pytest.mark.parametrize(("reduction", "zero", "packed", "blank"), OPTIONS)
def test_random_batches(reduction: str, zero: bool, packed: bool, blank: int) -> None:
    main = gl.Program()
    with gl.program_guard(main):
        z = gl.data("z", [None, None, None], "float64")
        z.stop_gradient = False
        y = gl.data("y", [None] if packed else [None, None], "int64")
        t, s = gl.data("t", [None], "int64"), gl.data("s", [None], "int64")
        loss = F.ctc_loss(F.log_softmax(z, 2), y, t, s, blank, reduction, zero)
        (g,) = gl.gradients([loss], [z])
    executor = gl.Executor()
    rng = np.random.default_rng(OPTIONS.index((reduction, zero, packed, blank)))
    seen = {"inf": 0, "empty": 0, "no frames": 0}
    for _ in range(85):
        arrays = random_batch(rng, packed, blank)
        value, gradient = executor.run(main, dict(zip("zyts", arrays, strict=True)), [loss, g])
        want, want_gradient = of_torch(arrays, reduction, zero, blank)
        np.testing.assert_allclose(value, want, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(gradient, want_gradient, atol=1e-9)
        seen["inf"] += int(np.isinf(want).any())
        seen["empty"] += int((arrays[3] == 0).any())
        seen["no frames"] += int((arrays[2] == 0).any())
    assert all(n >= 3 for name, n in seen.items() if name != "inf" or not zero), seen


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_one_sample_without_a_batch(reduction: str) -> None:
    rng = np.random.default_rng(7)
    x = np.log(rng.dirichlet(np.ones(4), 6))
    for label in ([], [1], [3, 3, 1]):
        want = torch.nn.functional.ctc_loss(
            torch.tensor(x), torch.tensor(label, dtype=torch.int64), (6,), (len(label),), reduction=reduction
        )
        with gl.dygraph.guard():
            p, y = gl.dygraph.to_variable(x), gl.dygraph.to_variable(np.array(label, np.int64))
            found = gl.nn.CTCLoss(reduction=reduction)(p, y, (6,), (len(label),)).numpy()
        assert found.shape == tuple(want.shape)
        np.testing.assert_allclose(found, want.numpy(), rtol=1e-9)
