"""JAX: jit of value_and_grad, on the CPU; inputs are on its device before the clock starts.

Labels are int32, since JAX has no int64 unless asked. One thread: `NPROC` is the size of XLA's pool, the flag keeps
Eigen from splitting a product.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from benchmarks.formulas import ALPHA, SMOOTH, TEMPERATURE
from benchmarks.peers.numpy_arrays import Array, Asked, Result

os.environ.update(JAX_PLATFORMS="cpu", NPROC="1", XLA_FLAGS="--xla_cpu_multi_thread_eigen=false")

import jax
import jax.numpy as jnp
from jax import nn


def cross_entropy(x: Any, y: Any) -> Any:
    return -jnp.take_along_axis(nn.log_softmax(x, 1), jnp.expand_dims(y, 1), 1).mean()


def mse(x: Any, y: Any) -> Any:
    return jnp.square(x - y).mean()


def nll_of(x: Any, y: Any) -> Any:
    return nn.softplus(x) - x * y


def bce(x: Any, y: Any) -> Any:
    return nll_of(x, y).mean()


def focal(x: Any, y: Any) -> Any:
    p = nn.sigmoid(x)
    miss = 1 - (p * y + (1 - p) * (1 - y))
    return ((ALPHA * y + (1 - ALPHA) * (1 - y)) * miss**2 * nll_of(x, y)).mean()


def dice(x: Any, y: Any) -> Any:
    p = nn.softmax(x, 1)
    t = nn.one_hot(y, x.shape[1], axis=1, dtype=x.dtype)
    shared, areas = (p * t).sum((2, 3)), p.sum((2, 3)) + t.sum((2, 3))
    return cross_entropy(x, y) + (1 - (2 * shared + SMOOTH) / (areas + SMOOTH)).mean()


def info_nce(x: Any, y: Any) -> Any:
    a, b = (v / jnp.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    return cross_entropy(a @ b.T / TEMPERATURE, jnp.arange(len(x)))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": cross_entropy, "mse": mse, "bce": bce, "focal": focal, "dice": dice, "info_nce": info_nce,
}  # fmt: skip


def runner(case: Asked, x: Array, y: Array) -> Callable[[], Result]:
    function = jax.jit(jax.value_and_grad(LOSSES[case.kind]))
    a, b = jnp.asarray(x), jnp.asarray(y.astype("int32") if y.dtype.kind == "i" else y)
    return lambda: jax.block_until_ready(function(a, b))
