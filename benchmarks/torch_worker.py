"""PyTorch eager in a process of its own, so that its allocator can be told to keep freed pages.

The parent writes the number of a case per line; the answer is one line. The first time, the result is checked; after
that, it is the seconds of one value and gradient.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.measure import one_thread, seconds_of

one_thread()

import torch  # noqa: E402
from torch.nn import functional  # noqa: E402

from benchmarks.cases import CASES, Array, Case, check  # noqa: E402

KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


class Worker:
    """The other end, in the parent."""

    def __init__(self, *, keep_pages: bool) -> None:
        environment = {**os.environ, **(KEEP_PAGES if keep_pages else {})}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.torch_worker"], env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def time(self, number: int) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(number, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("the PyTorch process ended")
        return float(answer)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def runner(case: Case, x: Array, y: Array) -> Callable[[], tuple[Any, Any]]:
    leaf = torch.from_numpy(x).requires_grad_()
    target = torch.from_numpy(y)
    losses: dict[str, Callable[..., Any]] = {
        "cross_entropy": functional.cross_entropy,
        "mse": functional.mse_loss,
        "bce": functional.binary_cross_entropy_with_logits,
    }
    loss_of = losses[case.kind]

    def run() -> tuple[Any, Any]:
        loss = loss_of(leaf, target)
        gradient, = torch.autograd.grad(loss, leaf)
        return loss, gradient

    return run


def main() -> None:
    torch.set_num_threads(1)
    current, run = -1, None
    for line in sys.stdin:
        number = int(line)
        if number != current:
            run = None  # frees the inputs of the case before
            case = CASES[number]
            x, y = case.inputs()
            current, run = number, runner(case, x, y)
            loss, gradient = run()
            check(case, x, y, (loss.detach().numpy(), gradient.numpy()), "PyTorch")
            del loss, gradient
        assert run is not None
        print(seconds_of(run), flush=True)


if __name__ == "__main__":
    main()
