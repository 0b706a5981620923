"""numba: the loops that one writes by hand, value and gradient at once.

numba compiles `math.exp` to a call per element (its vector math needs a patched LLVM, which its wheels do not have), a
maximum of floats to a chain of single steps, and for vectors of half the width that AVX-512 has. Who wants speed does
as here: exp and log1p are polynomials in float32, good to a few units of the last place; maxima run in lanes; no loop
reads what it writes, which would keep LLVM from making vectors; and the preference for 256 bits is switched off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import config, njit

from benchmarks.formulas import ALPHA, SMOOTH, TEMPERATURE
from benchmarks.peers.numpy_arrays import Array, Asked, Result

FEATURES = llvm.get_host_cpu_features()
if FEATURES.get("avx512f"):
    config.CPU_NAME = llvm.get_host_cpu_name()
    config.CPU_FEATURES = FEATURES.flatten() + ",-prefer-256-bit"

F = np.float32
# without the check of a division by 0, which no loop of vectors survives
FAST: dict[str, Any] = {"fastmath": True, "error_model": "numpy"}
EXACT: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy"}
LANES = 64  # running maxima of a row
BLOCK = 2048  # elements that are summed in float32, before float64
TILE = 512  # pixels, or short rows, that are worked on together
SHORT = 64  # rows up to this length are turned, and go through the tile loop

LOG2E, LN2_HIGH, LN2_LOW = F(1.44269504), F(0.693359375), F(-2.12194440e-4)
E0, E1, E2, E3, E4, E5 = (
    F(c) for c in (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
)  # fmt: skip
L0, L1, L2, L3, L4, L5, L6, L7, L8 = (
    F(c) for c in (
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )
)  # fmt: skip
SQRT2, LN2 = F(math.sqrt(2)), F(math.log(2))


@njit(**EXACT)
def exp(x):
    """For x at most 88; what is less than -87 counts as -87."""
    x = max(x, F(-87))
    n = np.int32(math.floor(x * LOG2E + F(0.5)))
    k = F(n)
    r = x - k * LN2_HIGH - k * LN2_LOW
    p = ((((E0 * r + E1) * r + E2) * r + E3) * r + E4) * r + E5
    return (p * r * r + r + F(1)) * np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(**EXACT)
def log1p(e):
    """For e in [0, 1]."""
    big = e > SQRT2 - F(1)
    r = F(0.5) * e - F(0.5) if big else e
    p = ((((((((L0 * r + L1) * r + L2) * r + L3) * r + L4) * r + L5) * r + L6) * r + L7) * r + L8) * r
    s = r * r
    return r - F(0.5) * s + s * p + (LN2 if big else F(0))


@njit(**FAST)
def top_of(row, lanes):
    n = row.size // LANES * LANES
    for k in range(LANES):
        lanes[k] = row[0]
    for j in range(0, n, LANES):
        for k in range(LANES):
            lanes[k] = max(lanes[k], row[j + k])
    top = lanes[0]
    for k in range(1, LANES):
        top = max(top, lanes[k])
    for j in range(n, row.size):
        top = max(top, row[j])
    return top


@njit(**FAST)
def cross_entropy_rows(x, y, grad):
    n, classes = x.shape
    lanes = np.empty(LANES, np.float32)
    loss = 0.0
    for i in range(n):
        row, out = x[i], grad[i]
        top, total, correct = top_of(row, lanes), F(0), row[y[i]]
        for j in range(classes):
            e = exp(row[j] - top)
            out[j] = e
            total += e
        loss += math.log(total) + top - correct
        scale = F(1) / (total * F(n))
        for j in range(classes):
            out[j] *= scale
        out[y[i]] -= F(1) / F(n)
    return loss / n


@njit(**FAST)
def softmax_tile(x, a, b, p, at, top, total):
    """Softmax, but for the division, of x[:, a:b] over the first axis into p from column `at`; its maxima and sums."""
    top[: b - a] = -np.inf
    total[: b - a] = 0
    for c in range(x.shape[0]):
        row = x[c, a:b]
        for k in range(row.size):
            top[k] = max(top[k], row[k])
    for c in range(x.shape[0]):
        row, out = x[c, a:b], p[c, at : at + b - a]
        for k in range(row.size):
            e = exp(row[k] - top[k])
            out[k] = e
            total[k] += e


@njit(**FAST)
def logarithm(x):
    """For x at least 1."""
    bits = F(x).view(np.int32)
    n = (bits >> np.int32(23)) - np.int32(127)
    m = np.int32(bits - (n << np.int32(23))).view(np.float32)
    return log1p(m - F(1)) + F(n) * LN2


@njit(**FAST)
def nll_of_tile(x, labels, a, b, top, total):
    value = F(0)
    for k in range(b - a):
        value += logarithm(total[k]) + top[k]
    for k in range(b - a):
        value -= x[labels[a + k], a + k]
    return value


@njit(**FAST)
def cross_entropy_pixels(x, y, grad):
    """x (N, C, P)."""
    n, classes, pixels = x.shape
    top, total, scale = np.empty(TILE, np.float32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    loss, count = 0.0, n * pixels
    for i in range(n):
        image, out, labels = x[i], grad[i], y[i]
        for a in range(0, pixels, TILE):
            b = min(a + TILE, pixels)
            softmax_tile(image, a, b, out, a, top, total)
            loss += nll_of_tile(image, labels, a, b, top, total)
            for k in range(b - a):
                scale[k] = F(1) / (total[k] * F(count))
            for c in range(classes):
                row = out[c, a:b]
                for k in range(row.size):
                    row[k] *= scale[k]
            for k in range(a, b):
                out[labels[k], k] -= F(1) / F(count)
    return loss / count


@njit(**FAST)
def cross_entropy_short_rows(x, y, grad):
    n, classes = x.shape
    top, total = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    turned, p = np.empty((classes, TILE), np.float32), np.empty((classes, TILE), np.float32)
    loss = 0.0
    for a in range(0, n, TILE):
        w = min(TILE, n - a)
        rows, out, labels = x[a : a + w], grad[a : a + w], y[a : a + w]
        for c in range(classes):
            for k in range(w):
                turned[c, k] = rows[k, c]
        for k in range(w):
            loss -= rows[k, labels[k]]
        softmax_tile(turned, 0, w, p, 0, top, total)
        part = F(0)
        for k in range(w):
            part += logarithm(total[k]) + top[k]
            total[k] = F(1) / (total[k] * F(n))
        loss += part
        for c in range(classes):
            for k in range(w):
                out[k, c] = p[c, k] * total[k]
        for k in range(w):
            out[k, labels[k]] -= F(1) / F(n)
    return loss / n


@njit(**FAST)
def mse(x, y, grad):
    n = x.size
    total, scale = 0.0, F(2 / n)
    for a in range(0, n, BLOCK):
        u, v, g, part = x[a : a + BLOCK], y[a : a + BLOCK], grad[a : a + BLOCK], F(0)
        for i in range(u.size):
            d = u[i] - v[i]
            part += d * d
            g[i] = scale * d
        total += part
    return total / n


@njit(**FAST)
def bce(x, y, grad):
    n = x.size
    total, scale = 0.0, F(1 / n)
    for a in range(0, n, BLOCK):
        u, v, g, part = x[a : a + BLOCK], y[a : a + BLOCK], grad[a : a + BLOCK], F(0)
        for i in range(u.size):
            z = u[i]
            e = exp(-abs(z))
            r = F(1) / (F(1) + e)
            part += max(z, F(0)) - z * v[i] + log1p(e)
            g[i] = ((r if z >= F(0) else e * r) - v[i]) * scale
        total += part
    return total / n


@njit(**FAST)
def focal(x, y, grad):
    """With z = x for a positive, -x for a negative: weight·(1-σ(z))²·softplus(-z), and its derivative by z."""
    n = x.size
    total, scale = 0.0, F(-1 / n)
    for a in range(0, n, BLOCK):
        u, v, g, part = x[a : a + BLOCK], y[a : a + BLOCK], grad[a : a + BLOCK], F(0)
        for i in range(u.size):
            sign = F(2) * v[i] - F(1)
            z = sign * u[i]
            e = exp(-abs(z))
            r = F(1) / (F(1) + e)
            p, q = (r, e * r) if z >= F(0) else (e * r, r)
            nll = log1p(e) + max(-z, F(0))
            weight = (F(ALPHA) if sign > F(0) else F(1 - ALPHA)) * q * q
            part += weight * nll
            g[i] = sign * scale * weight * (F(2) * p * nll + q)
        total += part
    return total / n


@njit(**FAST)
def dice(x, y, grad):
    """x (N, C, P). The softmax stays in the gradient's buffer until each class has its sums; then a second walk."""
    n, classes, pixels = x.shape
    top, total, dot = np.empty(TILE, np.float32), np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    areas, shared = np.empty(classes), np.empty(classes)
    slope, less = np.empty(classes, np.float32), np.empty(classes, np.float32)
    hard, soft, count = 0.0, 0.0, n * pixels
    for i in range(n):
        image, p, labels = x[i], grad[i], y[i]
        areas[:] = 0
        shared[:] = 0
        for a in range(0, pixels, TILE):
            b = min(a + TILE, pixels)
            softmax_tile(image, a, b, p, a, top, total)
            hard += nll_of_tile(image, labels, a, b, top, total)
            for k in range(b - a):
                total[k] = F(1) / total[k]
            for c in range(classes):
                row, part = p[c, a:b], F(0)
                for k in range(row.size):
                    row[k] *= total[k]
                    part += row[k]
                areas[c] += part
            for k in range(a, b):
                shared[labels[k]] += p[labels[k], k]
                areas[labels[k]] += 1
        for c in range(classes):
            whole = areas[c] + SMOOTH
            ratio = (2 * shared[c] + SMOOTH) / whole
            soft += 1 - ratio
            slope[c] = ratio / (whole * n * classes)
            less[c] = 2 / (whole * n * classes)
        for a in range(0, pixels, TILE):
            b = min(a + TILE, pixels)
            for k in range(b - a):
                c = labels[a + k]
                total[k] = p[c, a + k] * less[c]
                dot[k] = F(-1) / F(count) - total[k]
            for c in range(classes):
                row = p[c, a:b]
                for k in range(row.size):
                    dot[k] += row[k] * slope[c]
            for c in range(classes):
                row = p[c, a:b]
                for k in range(row.size):
                    row[k] *= slope[c] - dot[k]
            for k in range(b - a):
                p[labels[a + k], a + k] -= total[k] + F(1) / F(count)
    return hard / count + soft / (n * classes)


@njit(**FAST)
def scale_rows(x, out, by):
    for i in range(x.shape[0]):
        part = F(0)
        for j in range(x.shape[1]):
            part += x[i, j] * x[i, j]
        by[i] = F(1) / math.sqrt(part)
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * by[i]


@njit(**FAST)
def info_nce(x, y, grad):
    n = x.shape[0]
    a, b = np.empty_like(x), np.empty_like(y)
    by = np.empty(n, np.float32)
    scale_rows(y, b, by)
    scale_rows(x, a, by)
    b *= F(1 / TEMPERATURE)
    s = np.dot(a, b.T)
    slope = np.empty_like(s)
    value = cross_entropy_rows(s, np.arange(n), slope)
    np.dot(slope, b, grad)
    for i in range(n):
        along = F(0)
        for j in range(x.shape[1]):
            along += grad[i, j] * a[i, j]
        for j in range(x.shape[1]):
            grad[i, j] = (grad[i, j] - along * a[i, j]) * by[i]
    return value


def runner(case: Asked, x: Array, y: Array, given: bool) -> Callable[[], Result]:
    """`given`: all calls write into one gradient buffer; otherwise each call makes a new one."""
    kernels = {"mse": mse, "bce": bce, "focal": focal, "dice": dice, "info_nce": info_nce}
    kernel = kernels.get(case.kind, cross_entropy_rows)
    if case.kind == "cross_entropy" and x.ndim > 2:
        kernel = cross_entropy_pixels
    elif case.kind == "cross_entropy" and x.shape[1] <= SHORT:
        kernel = cross_entropy_short_rows
    flat, labels = (x.reshape(*x.shape[:2], -1), y.reshape(len(y), -1)) if x.ndim > 2 else (x, y)
    buffer = np.zeros_like(flat)

    def run() -> Result:
        grad = buffer if given else np.empty_like(flat)
        return kernel(flat, labels, grad), grad.reshape(x.shape)

    return run
