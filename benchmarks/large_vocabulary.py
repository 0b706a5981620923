"""What a training step costs at ten times the classes: hierarchical, sampled, adaptive and full softmax, NCE.

    python -m benchmarks.large_vocabulary [--classes 10000] [--rows 512] [--width 256] [--seconds 5] [--json FILE]

A step is loss, gradients and the update by SGD, compiled, on one thread, whose own time is taken; each has another
batch, so that the number of rows in a cluster changes too. `times` is the median over pairs, taken in turn. Classes are
log-uniform, frequent ones first, as words are. Each loss is checked first against float64 in NumPy, on the weights of
the run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

import graphloss as gl
from benchmarks.measure import in_turn, medians, parser, seconds_of, shown, table, verdict, write_json

Array = npt.NDArray[Any]
# How many times a step may cost at ten times the classes.
LIMITS = {"hierarchical": 1.5, "NCE": 1.5, "sampled": 1.5, "adaptive": 4.0, "full": math.inf}
CUTOFFS = (2_000, 10_000, 50_000)
NEGATIVES, SAMPLES = 10, 100
BATCHES = 8
HEAD = ("loss", "classes", "a step", "classes", "a step", "times", "at most", "reached")


class Step:
    """A program that trains with one of the losses; `run` makes a step on the next batch."""

    def __init__(self, kind: str, classes: int, rows: int, width: int) -> None:
        rng = np.random.default_rng(0)
        self.kind, self.classes, self.width = kind, classes, width
        self.cutoffs = [c for c in CUTOFFS if c < classes] or [classes // 2]
        y = np.floor(np.exp(rng.uniform(0, np.log(classes), (BATCHES, rows, 1)))).astype(np.int64) - 1
        x = rng.normal(size=(BATCHES, rows, width)).astype(np.float32)
        self.feeds = [{"x": a, "y": b} for a, b in zip(x, y, strict=True)]
        self.main, startup = gl.Program(), gl.Program()
        startup.random_seed = 1
        with gl.program_guard(self.main, startup):
            self.loss = self._loss(gl.data("x", [None, width]), gl.data("y", [None, 1], "int64"))
            gl.optimizer.SGD(0.01).minimize(self.loss)
        self.scope, self.executor, self.number = gl.Scope(), gl.Executor(gl.CPUPlace()), count()
        self.executor.run(startup, scope=self.scope)

    def _loss(self, x: Any, y: Any) -> Any:
        layers, k = gl.layers, self.classes
        if self.kind == "hierarchical":
            return layers.mean(layers.hsigmoid(x, y, k))
        if self.kind == "NCE":
            return layers.mean(layers.nce(x, y, k, num_neg_samples=NEGATIVES, seed=1))
        if self.kind == "sampled":
            w, b = (layers.create_parameter(shape, "float32") for shape in ([k, self.width], [k]))
            return gl.losses.sampled_softmax_loss(x, y, w, b, SAMPLES, seed=1)
        if self.kind == "adaptive":
            _, loss = gl.nn.AdaptiveLogSoftmaxWithLoss(self.width, k, self.cutoffs).forward(x, layers.squeeze(y, [1]))
            return loss
        return layers.mean(gl.nn.functional.cross_entropy(layers.fc(x, k), layers.squeeze(y, [1]), reduction="none"))

    def run(self) -> Any:
        return self._fetch(self.feeds[next(self.number) % BATCHES], [self.loss])

    def _fetch(self, feed: dict[str, Array], fetches: list[Any]) -> list[Array]:
        return self.executor.run(self.main, feed=feed, fetch_list=fetches, scope=self.scope)

    def check(self) -> None:
        """The loss of the first step, from the weights before it."""
        variables = [self.scope.find_var(p.name) for p in self.main.all_parameters()]
        weights = [np.array(v.get_tensor()).astype(np.float64) for v in variables if v is not None]
        ops = self.main.global_block().ops
        drawn = [name for op in ops if op.type.startswith("sample_") for name in op.output_arg_names]
        feed = self.feeds[0]
        got, *draws = self._fetch(feed, [self.loss, *drawn])
        references: dict[str, Callable[..., float]] = {
            "hierarchical": self._hierarchical, "NCE": self._nce, "sampled": self._sampled, "adaptive": self._adaptive,
            "full": self._full,
        }  # fmt: skip
        want = references[self.kind](feed["x"].astype(np.float64), feed["y"][:, 0], *weights, *draws)
        np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=f"{self.kind}, {self.classes} classes")

    def _hierarchical(self, x: Array, y: Array, w: Array, b: Array) -> float:
        total, code = 0.0, y + self.classes
        while (code > 1).any():
            on, node, bit = code > 1, np.maximum(code // 2 - 1, 0), code % 2
            z = np.einsum("nd,nd->n", x, w[node]) + b[node, 0]
            total += float(np.where(on, np.logaddexp(0, z) - bit * z, 0).mean())
            code = code // 2
        return total

    def _nce(self, x: Array, y: Array, w: Array, b: Array, drawn: Array) -> float:
        ids = np.concatenate([y[:, None], drawn], 1)
        o = 1 / (1 + np.exp(-np.einsum("nd,nmd->nm", x, w[ids]) - b[ids, 0]))
        q = NEGATIVES / self.classes
        cost = -np.log(o[:, 0] / (o[:, 0] + q)) - np.log(q / (o[:, 1:] + q)).sum(1)
        return float(cost.mean()) / (NEGATIVES + 1)

    def _sampled(self, x: Array, y: Array, w: Array, b: Array, drawn: Array, tries: Array) -> float:
        p = np.log1p(1 / np.arange(1, self.classes + 1)) / np.log(self.classes + 1)
        s = x @ w.T + b - np.log(p * SAMPLES if tries == SAMPLES else -np.expm1(tries * np.log1p(-p)))
        among = np.where(drawn[None] == y[:, None], -np.inf, s[:, drawn])
        true = s[np.arange(len(y)), y]
        return float((np.logaddexp.reduce(np.concatenate([true[:, None], among], 1), 1) - true).mean())

    def _adaptive(self, x: Array, y: Array, head: Array, *tails: Array) -> float:
        log_p = log_softmax(x @ head.T)
        short = self.cutoffs[0]
        found = log_p[np.arange(len(y)), np.minimum(y, short - 1)]
        for i, (low, high) in enumerate(pairwise([*self.cutoffs, self.classes])):
            rows = np.flatnonzero((y >= low) & (y < high))
            inside = log_softmax(x[rows] @ tails[2 * i].T @ tails[2 * i + 1].T)
            found[rows] = log_p[rows, short + i] + inside[np.arange(len(rows)), y[rows] - low]
        return -float(found.mean())

    def _full(self, x: Array, y: Array, w: Array, b: Array) -> float:
        return -float(log_softmax(x @ w + b)[np.arange(len(y)), y].mean())


def log_softmax(z: Array) -> Array:
    z = z - z.max(1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(1, keepdims=True)))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--classes", type=int, default=10_000, help="and ten times as many")
    options.add_argument("--rows", type=int, default=512)
    options.add_argument("--width", type=int, default=256)
    options.add_argument("--only", default="", metavar="TEXT", help="only losses whose name contains TEXT")
    options.add_argument("--seconds", type=float, default=5.0, help="time for each loss")
    a = options.parse_args()
    rows, results = [], []
    for kind, limit in LIMITS.items():
        if a.only not in kind:
            continue
        few, many = (Step(kind, k, a.rows, a.width) for k in (a.classes, 10 * a.classes))
        for step in (few, many):
            step.check()
        measured = {str(t.classes): partial(seconds_of, t.run, 1e-2, time.thread_time) for t in (few, many)}
        taken = in_turn(measured, a.seconds)
        s, pairs = medians(taken), zip(*taken.values(), strict=True)
        times = median(more / less for less, more in pairs)
        limited = ("", "") if limit == math.inf else (f"{limit}", verdict(times, limit))
        cells = [cell for t in (few, many) for cell in (f"{t.classes}", shown(s[str(t.classes)]))]
        rows.append((kind, *cells, f"{times:.2f}", *limited))
        results.append({"loss": kind, "rows": a.rows, "width": a.width, "seconds": s, "times": times})
    print(table(HEAD, rows))
    write_json(a.json, results)


if __name__ == "__main__":
    main()
