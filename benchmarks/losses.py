"""How fast are value and gradient of common losses, against NumPy and PyTorch eager, one thread each?

    python -m benchmarks.losses [--only TEXT] [--seconds 5] [--json FILE]

Every contestant's result is checked against float64 first; then all run in turn, and medians are compared. PyTorch runs
as it comes, and with an allocator that keeps freed pages; the better of the two is the one to beat. `memcpy` copies the
first input into memory that was touched before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.measure import in_turn, medians, one_thread, parser, seconds_of, shown, table, verdict, write_json

one_thread()

import numpy as np  # noqa: E402

import graphloss as gl  # noqa: E402
from benchmarks.cases import CASES, Array, Case, check, with_numpy  # noqa: E402
from benchmarks.torch_worker import Worker  # noqa: E402

HEAD = (
    "loss", "graphloss", "NumPy", "PyTorch", "PyTorch, pages kept", "memcpy",
    "x NumPy", "x PyTorch", "needed", "reached", "memcpys", "at most", "reached",
)  # fmt: skip


def compiled(case: Case, x: Array, y: Array) -> Callable[[], Any]:
    main = gl.Program()
    with gl.program_guard(main):
        a = gl.data("x", [None, *case.shape[1:]], "float32")
        b = gl.data("y", [None, *y.shape[1:]], y.dtype.name)
        functional = gl.nn.functional
        losses: dict[str, Callable[..., Any]] = {
            "cross_entropy": functional.cross_entropy,
            "mse": functional.mse_loss,
            "bce": functional.binary_cross_entropy_with_logits,
        }
        loss = losses[case.kind](a, b)
        gradient, = gl.gradients([loss], [a])
    executor, feed, fetches = gl.Executor(gl.CPUPlace()), {"x": x, "y": y}, [loss, gradient]
    return lambda: executor.run(main, feed=feed, fetch_list=fetches)


def measured(number: int, workers: dict[str, Worker], budget: float) -> dict[str, float]:
    case = CASES[number]
    x, y = case.inputs()
    runs = {"graphloss": compiled(case, x, y), "NumPy": with_numpy(case, x, y)}
    for who, run in runs.items():
        check(case, x, y, run(), who)
    target = np.zeros_like(x)
    contestants: dict[str, Callable[[], float]] = {who: partial(seconds_of, run) for who, run in runs.items()}
    contestants.update((who, partial(worker.time, number)) for who, worker in workers.items())
    contestants["memcpy"] = partial(seconds_of, partial(np.copyto, target, x))
    return medians(in_turn(contestants, budget))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", default="", metavar="TEXT", help="only losses whose name contains TEXT")
    options.add_argument("--seconds", type=float, default=5.0, help="time for each loss")
    arguments = options.parse_args()
    workers = {"PyTorch": Worker(keep_pages=False), "PyTorch, pages kept": Worker(keep_pages=True)}
    rows, results = [], []
    for number, case in enumerate(CASES):
        if arguments.only not in case.name:
            continue
        s = measured(number, workers, arguments.seconds)
        times = min(s["PyTorch"], s["PyTorch, pages kept"]) / s["graphloss"]
        copies = s["graphloss"] / s["memcpy"]
        rows.append((
            case.name, *(shown(s[who]) for who in HEAD[1:6]), f"{s['NumPy'] / s['graphloss']:.1f}",
            f"{times:.2f}", f"{case.needed}", verdict(times, case.needed, at_least=True), f"{copies:.2f}",
            *(("", "") if case.copies is None else (f"{case.copies}", verdict(copies, case.copies))),
        ))  # fmt: skip
        results.append({"loss": case.name, "seconds": s, "times_pytorch": times, "memcpys": copies})
    for worker in workers.values():
        worker.close()
    print(table(HEAD, rows))
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()
