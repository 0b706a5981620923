"""What do value and all gradients of a large last layer with cross entropy cost: time, and memory above the inputs?

    python -m benchmarks.linear_cross_entropy [--rounds 5] [--rows 1024] [--bias] [--json FILE]

(N, 2048) x (2048, 50257) in float32, on request with a bias and its gradient, one thread for kernels and BLAS alike.
Each contestant runs in a fresh process: the memory is the peak of resident pages during the first value and gradient
less what was there before, with inputs and libraries loaded: a tiny layer has been through them. Then contestants are
timed in turn, and medians are compared. Every result is checked against float64 on some rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import in_turn, medians, parser, shown, table, verdict, write_json

Array = npt.NDArray[Any]
FEATURES, CLASSES = 2048, 50257
CONTESTANTS = ("graphloss", "PyTorch logits", "PyTorch linear_cross_entropy")
MEMORY, SAMPLE = 1.3, 7  # outputs at most; rows that are checked


def inputs(rows: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, FEATURES), dtype=np.float32)
    w = rng.standard_normal((CLASSES, FEATURES), dtype=np.float32)
    w *= np.float32(0.05)
    return x, w, rng.integers(0, CLASSES, rows)


def with_graphloss(x: Array, w: Array, y: Array, c: Array | None) -> Callable[[], Any]:
    import graphloss as gl

    main = gl.Program()
    feed = {"x": x, "w": w, "y": y}
    with gl.program_guard(main):
        a = gl.data("x", [None, w.shape[1]], "float32")
        b = gl.data("w", w.shape, "float32")
        target = gl.data("y", [None], "int64")
        by, bias = [a, b], None
        if c is not None:
            bias, feed["c"] = gl.data("c", c.shape, "float32"), c
            by.append(bias)
        loss = gl.nn.functional.linear_cross_entropy(a, b, target, linear_bias=bias)
        gradients = gl.gradients([loss], by)
    executor = gl.Executor(gl.CPUPlace())
    return lambda: executor.run(main, feed=feed, fetch_list=[loss, *gradients])


def with_torch(x: Array, w: Array, y: Array, c: Array | None, *, chunked: bool) -> Callable[[], Any]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    by = [torch.from_numpy(v).requires_grad_() for v in (x, w, c) if v is not None]
    a, b, bias, target = by[0], by[1], None if c is None else by[2], torch.from_numpy(y)

    def run() -> Any:
        if chunked:
            options = torch.nn.LinearCrossEntropyOptions()
            loss = functional.linear_cross_entropy(a, b, target, linear_bias=bias, options=options)
        else:
            loss = functional.cross_entropy(functional.linear(a, b, bias), target)
        return loss.detach().numpy(), *(g.numpy() for g in torch.autograd.grad(loss, by))

    return run


def check(x: Array, w: Array, y: Array, c: Array | None, result: Any) -> None:
    """Rows of dx, and columns of dW by a difference of the loss would cost too much: the sum of dW over the classes."""
    loss, dx, dw, *_ = result
    some = slice(0, len(x), max(1, len(x) // SAMPLE))
    z = x[some].astype(np.float64) @ w.T.astype(np.float64) + (0 if c is None else c)
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(z)), y[some]] -= 1
    np.testing.assert_allclose(dx[some], p @ w / len(x), rtol=1e-3, atol=1e-7)
    assert np.isfinite(loss) and abs(dw.sum(axis=0, dtype=np.float64)).max() < 1e-4, "softmax minus one-hot sums to 0"
    if c is not None:
        assert abs(result[3].sum(dtype=np.float64)) < 1e-4 < abs(result[3]).max(), "so does the gradient of the bias"


def resident(what: str) -> int:
    """`VmRSS` or `VmHWM` (its peak) of this process, in bytes."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(what))
    return 1024 * int(line.split()[1])


def child(who: str, rows: int, bias: bool) -> None:
    x, w, y = inputs(rows)
    c = np.linspace(-1, 1, CLASSES, dtype=np.float32) if bias else None
    makers: dict[str, Callable[..., Callable[[], Any]]] = {
        "graphloss": with_graphloss,
        "PyTorch logits": partial(with_torch, chunked=False),
        "PyTorch linear_cross_entropy": partial(with_torch, chunked=True),
    }
    makers[who](x[:4, :8].copy(), w[:16, :8].copy(), y[:4] % 16, None if c is None else c[:16].copy())()
    run = makers[who](x, w, y, c)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    result = run()
    memory = resident("VmHWM") - before
    outputs = sum(np.asarray(r).nbytes for r in result)
    check(x, w, y, c, result)
    del result
    print(json.dumps({"memory": memory, "outputs": outputs}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        result = run()
        print(time.perf_counter() - start, flush=True)
        del result


class Worker:
    """The other end, in the parent: `memory` and `outputs` in bytes, and `time()`, the seconds of one more run."""

    def __init__(self, who: str, rows: int, bias: bool) -> None:
        command = [sys.executable, "-m", "benchmarks.linear_cross_entropy", "--child", who, "--rows", str(rows)]
        command += ["--bias"] if bias else []
        self._process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        first = json.loads(self._answer())
        self.memory, self.outputs = first["memory"], first["outputs"]

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("a contestant ended")
        return answer

    def time(self) -> float:
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return float(self._answer())


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5, help="timed runs of each contestant")
    options.add_argument("--rows", type=int, default=1024)
    options.add_argument("--bias", action="store_true", help="with a bias and its gradient")
    options.add_argument("--child", choices=CONTESTANTS, help="one contestant, in this process")
    arguments = options.parse_args()
    if arguments.child is not None:
        child(arguments.child, arguments.rows, arguments.bias)
        return
    workers = {who: Worker(who, arguments.rows, arguments.bias) for who in CONTESTANTS}
    taken = in_turn({who: w.time for who, w in workers.items()}, 0, arguments.rounds, warm=1)
    seconds = medians(taken)
    rows = []
    for who, worker in workers.items():
        ratio = worker.memory / worker.outputs
        reached = ("", "")
        if who == "graphloss":
            reached = (verdict(seconds[who], seconds["PyTorch logits"]), verdict(ratio, MEMORY))
        rows.append((
            who, shown(seconds[who]), shown(min(taken[who])), reached[0], f"{worker.memory / 1e6:.0f} MB",
            f"{ratio:.2f}", reached[1],
        ))  # fmt: skip
    what = "linear with bias" if arguments.bias else "linear"
    head = (f"{what} + cross entropy, {arguments.rows} rows", "median", "least", "no slower", "memory", "of outputs",
            f"at most {MEMORY}")  # fmt: skip
    print(table(head, rows))
    write_json(arguments.json, {w: {"seconds": taken[w], "memory": workers[w].memory} for w in workers})


if __name__ == "__main__":
    main()
