"""The losses that are timed: inputs, and the check of a result against float64."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from benchmarks.peers.numpy_arrays import Array, Result, runner

# Means over elements or rows: of a part of the rows, the share of the whole is known.
BY_ROWS = ("cross_entropy", "mse", "bce", "focal")


@dataclass(frozen=True)
class Case:
    """One loss at one size. `needed`: how many times as fast as PyTorch; `copies`: at most so many memcpys of x."""

    name: str
    kind: str
    shape: tuple[int, ...]
    needed: float | None = None
    copies: float | None = None

    def inputs(self) -> tuple[Array, Array]:
        """Always the same numbers."""
        rng = np.random.default_rng(20)
        x = rng.standard_normal(self.shape, dtype=np.float32)
        if self.kind in ("cross_entropy", "dice"):
            return x, rng.integers(0, self.shape[1], (self.shape[0], *self.shape[2:]))
        if self.kind in ("mse", "info_nce"):
            return x, rng.standard_normal(self.shape, dtype=np.float32)
        return x, rng.integers(0, 2, self.shape).astype(np.float32)


CASES = (
    Case("cross entropy (8192, 1000)", "cross_entropy", (8192, 1000), 2.5, copies=3),
    Case("cross entropy (65536, 10)", "cross_entropy", (65536, 10), 2.5),
    Case("cross entropy (1024, 50257)", "cross_entropy", (1024, 50257), 2.5, copies=3),
    Case("cross entropy (8, 21, 256, 256)", "cross_entropy", (8, 21, 256, 256), 2.5),
    Case("squared error 2^18", "mse", (2**18,), 2.5),
    Case("squared error 2^24", "mse", (2**24,), 2),
    Case("BCE with logits 2^18", "bce", (2**18,), 2.5),
    Case("BCE with logits 2^24", "bce", (2**24,), 2.5),
    Case("own focal 2^20", "focal", (2**20,)),
    Case("own dice + CE (8, 4, 256, 256)", "dice", (8, 4, 256, 256)),
    Case("own InfoNCE (1024, 128)", "info_nce", (1024, 128)),
)


def check(case: Case, x: Array, y: Array, result: Result, who: str) -> None:
    """Compares with NumPy in float64; slice by slice of the first axis where the loss allows it."""
    value, gradient = float(np.asarray(result[0]).reshape(())), np.asarray(result[1])
    rows = case.shape[0]
    step = max(1, min(rows, 2**22 * rows // prod(case.shape))) if case.kind in BY_ROWS else rows
    exact, worst, largest = 0.0, 0.0, 0.0
    for a in range(0, rows, step):
        part = slice(a, a + step)
        share = x[part].shape[0] / rows
        labels = y[part].astype(np.float64) if y.dtype.kind == "f" else y[part]
        loss, grad = runner(case, x[part].astype(np.float64), labels)()
        exact += float(loss) * share
        grad *= share
        worst = max(worst, float(np.abs(gradient[part] - grad).max()))
        largest = max(largest, float(np.abs(grad).max()))
    if not (abs(value - exact) <= 1e-5 * abs(exact) and worst <= 1e-5 * largest):
        off = f"value {value} for {exact}, gradient off by {worst} of {largest}"
        raise SystemExit(f"{who} is wrong on {case.name}: {off}")
