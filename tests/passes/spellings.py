"""Textbook spellings of losses that must come out stable, each as a function of plain values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graphloss import ops
from graphloss.ir.tensor import Tensor

# What the spellings are tried on: rows with gaps far beyond where float32 exponentials saturate, and ordinary ones.
ROWS = np.array([[1e4, -1e4, 3.0], [-1e4, 1e4, 1e4], [0.5, -1.25, 2.0], [-1e4, -1e4, -1e4]], np.float32)
OTHER = np.array([[-1e4, 1e4, 0.0], [1e4, -1e4, 5.0], [0.25, 1.5, -2.0], [1e4, 0.0, -1e4]], np.float32)
# Rows whose largest element is close to a value elsewhere.
NEAR = np.array([[1e4 - 2, 1e4 + 0.5, -3.0], [-1e4, -1e4 + 2.5, -1e4 + 1], [0.5, 1.0, 2.0]], np.float32)
LABELS = np.array([1, 0, 2, 1])
LOGITS = np.array([1e4, -1e4, 3.0, -0.5, 20.0, -20.0], np.float32)
TARGETS = np.array([0.0, 1.0, 1.0, 0.25, 1.0, 0.0], np.float32)

ROW, LABEL, LINE = "f32[N, C]", "i64[N]", "f32[N]"


@dataclass(frozen=True)
class Spelling:
    """A loss written naively. `types` and `feeds` go together; gradients are taken by the first feed."""

    name: str
    types: dict[str, str]
    feeds: dict[str, np.ndarray]
    build: Callable[..., Tensor]
    saturates: bool = True  # the program as written overflows, underflows or cancels somewhere on these feeds


def hot(y: Tensor, x: Tensor) -> Tensor:
    return ops.one_hot(y, x.type.shape[1], axis=1)


def rows(name: str, build: Callable[..., Tensor], saturates: bool = True) -> Spelling:
    return Spelling(name, {"x": ROW}, {"x": ROWS}, build, saturates)


def labelled(name: str, build: Callable[..., Tensor], saturates: bool = True) -> Spelling:
    return Spelling(name, {"x": ROW, "y": LABEL}, {"x": ROWS, "y": LABELS}, build, saturates)


def pairs(name: str, build: Callable[..., Tensor], saturates: bool = True) -> Spelling:
    return Spelling(name, {"x": ROW, "z": ROW}, {"x": ROWS, "z": OTHER}, build, saturates)


def line(name: str, build: Callable[..., Tensor], saturates: bool = True) -> Spelling:
    return Spelling(name, {"x": LINE}, {"x": LOGITS}, build, saturates)


def targets(name: str, build: Callable[..., Tensor]) -> Spelling:
    return Spelling(name, {"x": LINE, "y": LINE}, {"x": LOGITS, "y": TARGETS}, build)


def softmax(x: Tensor) -> Tensor:
    e = ops.exp(x)
    return e / ops.reduce_sum(e, 1, True)


def softmax_shifted(x: Tensor) -> Tensor:
    e = ops.exp(x - ops.reduce_max(x, 1, True))
    return e / ops.reduce_sum(e, 1, True)


def nll(p: Tensor, y: Tensor) -> Tensor:
    return -ops.pick(ops.log(p), y)


def sigmoid(x: Tensor) -> Tensor:
    return 1.0 / (1.0 + ops.exp(-x))


def sigmoid_up(x: Tensor) -> Tensor:
    e = ops.exp(x)
    return e / (1.0 + e)


def bce(p: Tensor, y: Tensor) -> Tensor:
    return -(y * ops.log(p) + (1.0 - y) * ops.log(1.0 - p))


def kl(p: Tensor, q: Tensor) -> Tensor:
    return ops.reduce_sum(p * (ops.log(p) - ops.log(q)), 1)


def js(p: Tensor, q: Tensor) -> Tensor:
    m = 0.5 * (p + q)
    return 0.5 * (kl(p, m) + kl(q, m))


def mixture(x: Tensor, z: Tensor) -> Tensor:
    w = ops.softmax(z)
    return -ops.log(ops.reduce_sum(w * ops.exp(-0.5 * ops.square(x * 0.02)) / math.sqrt(2 * math.pi), 1))


def flat_gather(p: Tensor, y: Tensor) -> Tensor:
    n = p.type.shape[0]
    index = ops.concat([ops.unsqueeze(ops.iota((n,)), 1), ops.unsqueeze(y, 1)], 1)
    return -ops.log(ops.gather_nd(p, index))


def focal(x: Tensor, y: Tensor) -> Tensor:
    p = ops.pick(ops.softmax(x), y)
    return -(ops.pow(1.0 - p, 2.0) * ops.log(p))


def focal_sigmoid(x: Tensor, y: Tensor) -> Tensor:
    p = ops.sigmoid(x)
    pt = y * p + (1.0 - y) * (1.0 - p)
    return -(ops.square(1.0 - pt) * ops.log(pt))


def distillation(x: Tensor, z: Tensor) -> Tensor:
    t = 4.0
    p, q = ops.softmax(z / t), ops.softmax(x / t)
    return (t * t) * ops.reduce_sum(p * (ops.log(p) - ops.log(q)), 1)


def tanh(x: Tensor) -> Tensor:
    return (ops.exp(x) - ops.exp(-x)) / (ops.exp(x) + ops.exp(-x))


def tanh_double(x: Tensor) -> Tensor:
    e = ops.exp(2.0 * x)
    return (e - 1.0) / (e + 1.0)


SPELLINGS: tuple[Spelling, ...] = (
    labelled("log(softmax)", lambda x, y: nll(ops.softmax(x), y)),
    labelled("log(softmax by hand)", lambda x, y: nll(softmax(x), y)),
    labelled("log(softmax by hand with max)", lambda x, y: nll(softmax_shifted(x), y)),
    labelled("log_softmax by hand with max", lambda x, y: -ops.pick(
        (x - ops.reduce_max(x, 1, True)) - ops.log(ops.reduce_sum(ops.exp(x - ops.reduce_max(x, 1, True)), 1, True)), y
    ), saturates=False),
    labelled("cross entropy of softmax", lambda x, y: -ops.clamped_log(ops.pick(ops.softmax(x), y))),
    labelled("log of a picked softmax", lambda x, y: -ops.log(ops.pick(softmax(x), y))),
    labelled("one-hot times log", lambda x, y: -ops.reduce_sum(hot(y, x) * ops.log(ops.softmax(x)), 1)),
    labelled("log of one-hot times softmax", lambda x, y: -ops.log(ops.reduce_sum(hot(y, x) * ops.softmax(x), 1))),
    labelled("gather of softmax", lambda x, y: flat_gather(ops.softmax(x), y)),
    labelled("lse minus pick", lambda x, y: ops.log(ops.reduce_sum(ops.exp(x), 1)) - ops.pick(x, y)),
    labelled("minus log of exp over sum", lambda x,
        y: -ops.log(ops.exp(ops.pick(x, y)) / ops.reduce_sum(ops.exp(x), 1))),
    labelled("log(1 - softmax)", lambda x, y: -ops.pick(ops.log(1.0 - ops.softmax(x)), y)),
    labelled("log(1 - picked softmax)", lambda x, y: -ops.log(1.0 - ops.pick(softmax(x), y))),
    labelled("one-hot BCE of a softmax", lambda x, y: ops.reduce_sum(bce(ops.softmax(x), hot(y, x)), 1)),
    Spelling(
        "contrast of two tensors", {"x": LINE, "z": ROW}, {"x": np.array([1e4, -1e4 + 3, 2.5], np.float32), "z": NEAR},
        lambda x, z: -ops.log(ops.exp(x) / ops.reduce_sum(ops.exp(z), 1)),
    ),
    rows("logsumexp", lambda x: ops.log(ops.reduce_sum(ops.exp(x), 1))),
    rows("logsumexp with max", lambda x: ops.log(
        ops.reduce_sum(ops.exp(x - ops.reduce_max(x, 1, True)), 1)
    ) + ops.reduce_max(x, 1), saturates=False),
    rows("log of mean of exp", lambda x: ops.log(ops.reduce_mean(ops.exp(x), 1))),
    pairs("logaddexp", lambda x, z: ops.log(ops.exp(x) + ops.exp(z))),
    pairs("mixture density", mixture),
    line("log(sigmoid)", lambda x: ops.log(ops.sigmoid(x))),
    line("log(1 - sigmoid)", lambda x: ops.log(1.0 - ops.sigmoid(x))),
    line("log1p(-sigmoid)", lambda x: ops.log1p(-ops.sigmoid(x))),
    line("sigmoid by hand", lambda x: sigmoid(x)),
    line("sigmoid by hand, e^x/(1+e^x)", sigmoid_up),
    line("log of sigmoid by hand", lambda x: ops.log(sigmoid(x))),
    line("log of 1 - sigmoid by hand", lambda x: ops.log(1.0 - sigmoid_up(x))),
    targets("BCE", lambda x, y: bce(ops.sigmoid(x), y)),
    targets("BCE op", lambda x, y: ops.binary_cross_entropy(ops.sigmoid(x), y)),
    targets("BCE by hand", lambda x, y: bce(sigmoid(x), y)),
    targets("BCE with weights", lambda x, y: 0.3 * bce(ops.sigmoid(x), y)),
    targets("BCE with pos_weight", lambda x, y: -(
        2.5 * y * ops.log(ops.sigmoid(x)) + (1.0 - y) * ops.log(1.0 - ops.sigmoid(x))
    )),
    line("log odds", lambda x: ops.log(ops.sigmoid(x) / (1.0 - ops.sigmoid(x)))),
    line("log odds by difference", lambda x: ops.log(ops.sigmoid(x)) - ops.log(1.0 - ops.sigmoid(x))),
    line("softplus", lambda x: ops.log(1.0 + ops.exp(x))),
    line("softplus by log1p", lambda x: ops.log1p(ops.exp(x))),
    line("tanh", tanh),
    line("tanh of e^2x", tanh_double),
    line("tanh of a sigmoid", lambda x: 2.0 / (1.0 + ops.exp(-2.0 * x)) - 1.0),
    line("log of (1 + tanh)/2", lambda x: ops.log(0.5 + 0.5 * ops.tanh(x))),
    line("log cosh", lambda x: ops.log(ops.cosh(x))),
    line("log cosh by hand", lambda x: ops.log((ops.exp(x) + ops.exp(-x)) / 2.0)),
    line("1 - tanh squared", lambda x: 1.0 - ops.square(ops.tanh(x))),
    line("log(1 - tanh squared)", lambda x: ops.log(1.0 - ops.tanh(x) * ops.tanh(x))),
    Spelling("log(1 + x)", {"x": LINE}, {"x": np.array([1e-9, 1e4, 0.5, 1e-4], np.float32)},
        lambda x: ops.log(1.0 + x)),
    Spelling("e^x - 1", {"x": LINE}, {"x": np.array([1e-9, -1e4, 0.5, -1e-4], np.float32)}, lambda x: ops.exp(x) - 1.0),
    Spelling("1 - e^x", {"x": LINE}, {"x": np.array([1e-9, -1e4, 0.5, -1e-4], np.float32)}, lambda x: 1.0 - ops.exp(x)),
    Spelling("log(1 - e^x)", {"x": LINE}, {"x": np.array([-1e-9, -1e4, -0.5, -1e-4], np.float32)},
        lambda x: ops.log(1.0 - ops.exp(x))),
    Spelling("root minus one", {"x": LINE}, {"x": np.array([1e-5, -1e4, 0.5, 1e4], np.float32)},
        lambda x: ops.sqrt(1.0 + ops.square(x)) - 1.0),
    rows("entropy", lambda x: -ops.reduce_sum(ops.softmax(x) * ops.log(ops.softmax(x)), 1)),
    pairs("symmetric KL", lambda x, z: ops.reduce_sum(
        (ops.softmax(x) - ops.softmax(z)) * (ops.log(ops.softmax(x)) - ops.log(ops.softmax(z))), 1
    )),
    pairs("KL of a quotient", lambda x,
        z: ops.reduce_sum(ops.softmax(x) * ops.log(ops.softmax(x) / ops.softmax(z)), 1)),
    pairs("Jensen-Shannon", lambda x, z: js(ops.softmax(x), ops.softmax(z))),
    labelled("focal", focal),
    targets("focal of a sigmoid", focal_sigmoid),
    pairs("temperature distillation", distillation),
)  # fmt: skip
