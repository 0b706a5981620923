"""Adaptive softmax against PyTorch's: random models and batches; value, gradients, log-probabilities, predictions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.losses.test_adaptive import RUNNERS, random_model


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")  # a projection of no width
@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("seed", range(4))
def test_adaptive_softmax(seed: int, runner: str) -> None:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(8, 60))
    f, div, bias = int(rng.integers(3, 12)), float(rng.choice([1.0, 1.5, 2.0])), bool(seed % 2)
    cutoffs = sorted(rng.choice(np.arange(1, k), int(rng.integers(1, 4)), replace=False).tolist())
    values = random_model(rng, f, k, cutoffs, div, bias)
    x, y = rng.normal(size=(20, f)), rng.integers(0, k, 20)
    model = torch.nn.AdaptiveLogSoftmaxWithLoss(f, k, cutoffs, div, bias, dtype=torch.float64)
    for p, value in zip(model.parameters(), values, strict=True):
        p.data = torch.tensor(value)
    a, b = torch.tensor(x, requires_grad=True), torch.tensor(y)
    output, loss = model(a, b)
    loss.backward()
    found = RUNNERS[runner](x, y, values, f, k, cutoffs, div, bias)
    assert a.grad is not None
    for name, want in (
        ("output", output), ("loss", loss), ("dx", a.grad), ("log_prob", model.log_prob(a)),
        ("predict", model.predict(a)),
    ):  # fmt: skip
        np.testing.assert_allclose(found[name], want.detach().numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
    for got, p in zip(found["dW"], model.parameters(), strict=True):
        want = np.zeros(tuple(p.shape)) if p.grad is None else p.grad.numpy()
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)
