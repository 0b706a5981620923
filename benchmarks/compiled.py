"""The losses in graphloss: those it has by their name, the others as their formula reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphloss as gl
from benchmarks.cases import Case
from benchmarks.formulas import ALPHA, SMOOTH, TEMPERATURE
from benchmarks.peers.numpy_arrays import Array

F = gl.nn.functional


def focal(x: Any, y: Any) -> Any:
    p = gl.ops.sigmoid(x)
    hit, miss = y * (1.0 - p) ** 2.0 * gl.ops.log(p), (1.0 - y) * p**2.0 * gl.ops.log(1.0 - p)
    return gl.ops.reduce_mean(-ALPHA * hit - (1.0 - ALPHA) * miss)


def dice(x: Any, y: Any) -> Any:
    p = gl.ops.softmax(x, 1)
    t = gl.ops.cast(gl.ops.equal(gl.ops.unsqueeze(y, (1,)), gl.ops.iota((1, x.shape[1], 1, 1), 1)), "float32")
    shared = gl.ops.reduce_sum(p * t, (2, 3))
    areas = gl.ops.reduce_sum(p, (2, 3)) + gl.ops.reduce_sum(t, (2, 3))
    return F.cross_entropy(x, y) + gl.ops.reduce_mean(1.0 - (2.0 * shared + SMOOTH) / (areas + SMOOTH))


def info_nce(x: Any, y: Any) -> Any:
    a, b = gl.layers.l2_normalize(x, 1), gl.layers.l2_normalize(y, 1)
    return F.cross_entropy(gl.ops.matmul(a, b, False, True) / TEMPERATURE, gl.ops.iota(x.type.shape[:1], 0))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": F.cross_entropy,
    "mse": F.mse_loss,
    "bce": F.binary_cross_entropy_with_logits,
    "focal": focal,
    "dice": dice,
    "info_nce": info_nce,
}


def runner(case: Case, x: Array, y: Array) -> Callable[[], Any]:
    main = gl.Program()
    with gl.program_guard(main):
        a = gl.data("x", [None, *x.shape[1:]], "float32")
        b = gl.data("y", [None, *y.shape[1:]], y.dtype.name)
        loss = LOSSES[case.kind](a, b)
        (gradient,) = gl.gradients([loss], [a])
    executor, feed, fetches = gl.Executor(gl.CPUPlace()), {"x": x, "y": y}, [loss, gradient]
    return lambda: executor.run(main, feed=feed, fetch_list=fetches)
