"""Programs whose largest arrays are a matrix product and what its loss makes of it, and arrays to feed them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import graphloss as gl
from graphloss.nn import functional as F

Array = npt.NDArray[Any]
Feed = dict[str, Array]
# Chunks of kernels on rows of 2500 are 8 or 16 rows, so that a few dozen rows make several row chunks.
N, C, D = 70, 2500, 6
CHUNK = 16


def inputs(rng: np.random.Generator, n: int = N) -> Feed:
    f = {
        "x": (n, D), "w": (C, D), "b": (C,), "t": (n, D), "u": (C, D), "class_weight": (C,), "wt": (D, C),
        "aim": (n, C), "pair_bias": (C // 2, 2), "v": (D, D),
    }  # fmt: skip
    feed: Feed = {name: rng.normal(size=shape).astype("float32") for name, shape in f.items()}
    feed["class_weight"] = abs(feed["class_weight"])
    feed["y"] = rng.integers(0, C, n)
    feed["pairs"] = rng.integers(0, C // 2, (n, 2))
    if n > 3:
        feed["y"][3] = -100
    return feed


def data(*names: str) -> list[Any]:
    shapes: dict[str, list[int | None]] = {
        "x": [None, D], "t": [None, D], "w": [C, D], "u": [C, D], "b": [C], "class_weight": [C], "wt": [D, C],
        "aim": [None, C], "pair_bias": [C // 2, 2], "v": [D, D], "y": [None], "pairs": [None, 2],
    }  # fmt: skip
    return [gl.data(n, shapes[n], "int64" if n in ("y", "pairs") else "float32") for n in names]


def with_gradients(loss: Any, *by: Any) -> list[Any]:
    return [loss, *gl.gradients([loss], list(by))]


def plain() -> list[Any]:
    x, w, y = data("x", "w", "y")
    return with_gradients(F.linear_cross_entropy(x, w, y), x, w)


def bias_and_smoothing() -> list[Any]:
    x, w, y, b = data("x", "w", "y", "b")
    return with_gradients(F.linear_cross_entropy(x, w, y, linear_bias=b, label_smoothing=0.1), x, w, b)


def class_weights() -> list[Any]:
    x, w, y, c = data("x", "w", "y", "class_weight")
    return with_gradients(F.linear_cross_entropy(x, w, y, weight=c), x, w)


def per_row() -> list[Any]:
    x, w, y = data("x", "w", "y")
    return with_gradients(F.linear_cross_entropy(x, w, y, reduction="none"), x, w)


def value_only() -> list[Any]:
    x, w, y = data("x", "w", "y")
    return [F.linear_cross_entropy(x, w, y)]


def capped_with_z_loss() -> list[Any]:
    x, w, y = data("x", "w", "y")
    return with_gradients(gl.losses.capped_cross_entropy(F.linear(x, w), y, z_weight=1e-2, cap=5.0), x, w)


def distilled() -> list[Any]:
    x, w, t, u = data("x", "w", "t", "u")
    return with_gradients(gl.losses.distillation_loss(F.linear(x, w), F.linear(t, u)), x, w)


def divergence() -> list[Any]:
    x, w, t, u = data("x", "w", "t", "u")
    q = F.softmax(F.linear(t, u), 1)
    return with_gradients(F.kl_div(F.log_softmax(F.linear(x, w), 1), q, reduction="batchmean"), x, w)


def fluid() -> list[Any]:
    x, w, y = data("x", "wt", "y")
    logits = gl.layers.matmul(x, w)
    each = gl.layers.softmax_with_cross_entropy(logits, gl.layers.unsqueeze(y, [1]))
    return with_gradients(gl.layers.mean(each), x, w)


def probabilities() -> list[Any]:
    x, w, t, u = data("x", "w", "t", "u")
    return with_gradients(F.linear_cross_entropy(x, w, F.softmax(F.linear(t, u), 1)), x, w)


def squared_error() -> list[Any]:
    x, w, b, aim = data("x", "w", "b", "aim")
    return with_gradients(F.mse_loss(F.linear(x, w, b), aim), x, w, b)


def yes_or_no() -> list[Any]:
    x, w, aim = data("x", "w", "aim")
    return with_gradients(F.binary_cross_entropy_with_logits(F.linear(x, w), gl.layers.sigmoid(aim)), x, w)


def each_element() -> list[Any]:
    x, w, aim = data("x", "w", "aim")
    return with_gradients(F.smooth_l1_loss(F.linear(x, w), aim, reduction="none"), x, w)


def two_classes_of_a_row() -> list[Any]:
    x, w, y, b = data("x", "w", "pairs", "pair_bias")
    w = gl.layers.reshape(w, [C // 2, 2, D])
    return with_gradients(F.linear_cross_entropy(x, w, y, linear_bias=b, ignore_index=3), x, w, b)


def hidden_layer() -> list[Any]:
    x, w, y, b, v = data("x", "w", "y", "b", "v")
    return with_gradients(F.linear_cross_entropy(gl.layers.relu(F.linear(x, v)), w, y, linear_bias=b), x, w, b, v)


def two_heads_and_a_penalty() -> list[Any]:
    x, w, u, y, b = data("x", "w", "u", "y", "b")
    both = F.linear_cross_entropy(x, w, y, linear_bias=b) + F.linear_cross_entropy(x, u, y, label_smoothing=0.1)
    return with_gradients(both + 0.1 * gl.layers.reduce_sum(gl.layers.square(w)), x, w, u, b)


def extremes() -> list[Any]:
    x, w, y, b = data("x", "w", "y", "b")
    z = F.linear(x, w, b)
    return [
        *with_gradients(F.cross_entropy(z, y), x, w),
        gl.layers.reduce_max(z, dim=0),
        gl.layers.reduce_min(z, dim=0),
    ]


BUILDERS = (
    plain, bias_and_smoothing, class_weights, per_row, value_only, capped_with_z_loss, distilled, divergence, fluid,
    probabilities, squared_error, yes_or_no, each_element, two_classes_of_a_row, hidden_layer, two_heads_and_a_penalty,
    extremes,
)  # fmt: skip
