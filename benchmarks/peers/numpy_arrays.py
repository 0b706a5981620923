"""NumPy as one writes it with care: stable, few temporaries. In float64 it is what results are checked against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.formulas import ALPHA, SMOOTH, TEMPERATURE

Array = npt.NDArray[Any]
Result = tuple[Any, Any]  # value, gradient with respect to the first input


class Asked(Protocol):
    """What a contestant needs to know of a case."""

    @property
    def kind(self) -> str: ...


def runner(case: Asked, x: Array, y: Array) -> Callable[[], Result]:
    return RUNNERS[case.kind](x, y)


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


def _focal(x: Array, y: Array) -> Callable[[], Result]:
    def run() -> Result:
        sign = 2 * y - 1
        z = sign * x
        e = np.exp(-np.abs(z))
        nll = np.log1p(e) + np.maximum(-z, 0)
        p = np.where(z >= 0, 1, e)
        p /= 1 + e  # of the right answer
        weight = np.where(z >= 0, e, 1)
        weight /= 1 + e
        grad = 2 * p * nll + weight
        weight *= weight
        weight *= np.where(y > 0, x.dtype.type(ALPHA), x.dtype.type(1 - ALPHA))
        loss = (weight * nll).mean()
        sign *= weight
        grad *= sign
        grad *= x.dtype.type(-1 / x.size)
        return loss, grad

    return run


def _dice(x: Array, y: Array) -> Callable[[], Result]:
    picked, n, axes = np.expand_dims(y, 1), y.size, (2, 3)
    classes = np.arange(x.shape[1]).reshape(1, -1, 1, 1)

    def run() -> Result:
        z = x - x.max(axis=1, keepdims=True)
        correct = np.take_along_axis(z, picked, 1)
        p = np.exp(z, out=z)
        total = p.sum(axis=1, keepdims=True)
        hard = (np.log(total) - correct).mean()
        p /= total
        t = (picked == classes).astype(x.dtype)
        shared = 2 * (p * t).sum(axis=axes, keepdims=True) + SMOOTH
        areas = p.sum(axis=axes, keepdims=True) + t.sum(axis=axes, keepdims=True) + SMOOTH
        slope = (shared / areas - 2 * t) / (areas * areas.size)
        grad = p * (slope - (p * slope).sum(axis=1, keepdims=True))
        p -= t
        p /= n
        grad += p
        return hard + 1 - (shared / areas).mean(), grad.astype(x.dtype)

    return run


def _info_nce(x: Array, y: Array) -> Callable[[], Result]:
    rows = np.arange(len(x))

    def run() -> Result:
        norm = np.sqrt(np.square(x).sum(axis=1, keepdims=True))
        a = x / norm
        b = y / np.sqrt(np.square(y).sum(axis=1, keepdims=True))
        b /= x.dtype.type(TEMPERATURE)
        z = a @ b.T
        z -= z.max(axis=1, keepdims=True)
        correct = z[rows, rows]
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        loss = (np.log(total[:, 0]) - correct).mean()
        z /= total
        z[rows, rows] -= 1
        grad = z @ b
        grad -= a * (grad * a).sum(axis=1, keepdims=True)
        grad /= norm * len(x)
        return loss, grad

    return run


RUNNERS = {
    "cross_entropy": _cross_entropy, "mse": _mse, "bce": _bce, "focal": _focal, "dice": _dice, "info_nce": _info_nce,
}  # fmt: skip
