"""The losses that are timed: inputs, the exact answer, and how each contestant computes value and gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Result = tuple[Any, Any]  # value, gradient with respect to the first input


@dataclass(frozen=True)
class Case:
    """One loss at one size. `needed`: how many times as fast as PyTorch; `copies`: at most so many memcpys of x."""

    name: str
    kind: str
    shape: tuple[int, ...]
    needed: float = 2.5
    copies: float | None = None

    def inputs(self) -> tuple[Array, Array]:
        """Always the same numbers."""
        rng = np.random.default_rng(20)
        x = rng.standard_normal(self.shape, dtype=np.float32)
        if self.kind == "cross_entropy":
            return x, rng.integers(0, self.shape[1], (self.shape[0], *self.shape[2:]))
        if self.kind == "mse":
            return x, rng.standard_normal(self.shape, dtype=np.float32)
        return x, rng.integers(0, 2, self.shape).astype(np.float32)


CASES = (
    Case("cross entropy (8192, 1000)", "cross_entropy", (8192, 1000), copies=3),
    Case("cross entropy (65536, 10)", "cross_entropy", (65536, 10)),
    Case("cross entropy (1024, 50257)", "cross_entropy", (1024, 50257), copies=3),
    Case("cross entropy (8, 21, 256, 256)", "cross_entropy", (8, 21, 256, 256)),
    Case("squared error 2^18", "mse", (2**18,)),
    Case("squared error 2^24", "mse", (2**24,), needed=2),
    Case("BCE with logits 2^18", "bce", (2**18,)),
    Case("BCE with logits 2^24", "bce", (2**24,)),
)


def with_numpy(case: Case, x: Array, y: Array) -> Callable[[], Result]:
    """NumPy as one writes it with care: stable, few temporaries."""
    return {"cross_entropy": _cross_entropy, "mse": _mse, "bce": _bce}[case.kind](x, y)


def _cross_entropy(x: Array, y: Array) -> Callable[[], Result]:
    picked = np.expand_dims(y, 1)
    n = x.dtype.type(y.size)

    def run() -> Result:
        z = x - x.max(axis=1, keepdims=True)
        correct = np.take_along_axis(z, picked, 1)
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        loss = (np.log(total) - correct).mean()
        z /= total
        np.put_along_axis(z, picked, np.take_along_axis(z, picked, 1) - 1, 1)
        z /= n
        return loss, z

    return run


def _mse(x: Array, y: Array) -> Callable[[], Result]:
    def run() -> Result:
        d = x - y
        loss = np.square(d).mean()  # np.dot would sum in the order of BLAS, and lose five digits
        d *= d.dtype.type(2 / d.size)
        return loss, d

    return run


def _bce(x: Array, y: Array) -> Callable[[], Result]:
    def run() -> Result:
        e = np.exp(-np.abs(x))
        loss = (np.maximum(x, 0) - x * y + np.log1p(e)).mean()
        grad = np.where(x >= 0, 1, e)
        grad /= 1 + e
        grad -= y
        grad /= grad.dtype.type(grad.size)
        return loss, grad

    return run


def check(case: Case, x: Array, y: Array, result: Result, who: str) -> None:
    """Compares with NumPy in float64, slice by slice of the first axis."""
    value, gradient = float(np.asarray(result[0]).reshape(())), np.asarray(result[1])
    rows = case.shape[0]
    step = max(1, min(rows, 2**22 * rows // prod(case.shape)))
    exact, worst, largest = 0.0, 0.0, 0.0
    for a in range(0, rows, step):
        part = slice(a, a + step)
        share = x[part].shape[0] / rows
        labels = y[part].astype(np.float64) if y.dtype.kind == "f" else y[part]
        loss, grad = with_numpy(case, x[part].astype(np.float64), labels)()
        exact += float(loss) * share
        grad *= share
        worst = max(worst, float(np.abs(gradient[part] - grad).max()))
        largest = max(largest, float(np.abs(grad).max()))
    if not (abs(value - exact) <= 1e-5 * abs(exact) and worst <= 1e-5 * largest):
        off = f"value {value} for {exact}, gradient off by {worst} of {largest}"
        raise SystemExit(f"{who} is wrong on {case.name}: {off}")
