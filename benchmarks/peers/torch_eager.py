"""PyTorch eager: its own losses, and those it lacks as one writes them with its functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from benchmarks.formulas import ALPHA, SMOOTH, TEMPERATURE
from benchmarks.peers.numpy_arrays import Array, Asked, Result

torch.set_num_threads(1)


def focal(x: Any, y: Any) -> Any:
    p = torch.sigmoid(x)
    nll = functional.binary_cross_entropy_with_logits(x, y, reduction="none")
    miss = 1 - (p * y + (1 - p) * (1 - y))
    return ((ALPHA * y + (1 - ALPHA) * (1 - y)) * miss**2 * nll).mean()


def dice(x: Any, y: Any) -> Any:
    p = torch.softmax(x, 1)
    t = functional.one_hot(y, x.shape[1]).movedim(-1, 1).to(x.dtype)
    shared, areas = (p * t).sum((2, 3)), p.sum((2, 3)) + t.sum((2, 3))
    return functional.cross_entropy(x, y) + (1 - (2 * shared + SMOOTH) / (areas + SMOOTH)).mean()


def info_nce(x: Any, y: Any) -> Any:
    s = functional.normalize(x) @ functional.normalize(y).T / TEMPERATURE
    return functional.cross_entropy(s, torch.arange(len(x)))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": functional.cross_entropy,
    "mse": functional.mse_loss,
    "bce": functional.binary_cross_entropy_with_logits,
    "focal": focal,
    "dice": dice,
    "info_nce": info_nce,
}


def differentiated(loss_of: Callable[[Any, Any], Any], x: Array, y: Array) -> Callable[[], Result]:
    leaf, target = torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)

    def run() -> Result:
        loss = loss_of(leaf, target)
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), gradient

    return run


def runner(case: Asked, x: Array, y: Array) -> Callable[[], Result]:
    return differentiated(LOSSES[case.kind], x, y)
