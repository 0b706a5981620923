"""How fast are value and gradient of CTC with log_softmax in front, against PyTorch, one thread each?

    python -m benchmarks.ctc [--seconds 5] [--json FILE]

Both results are checked against float64 first; then both run in turn, and medians are compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

import graphloss as gl
from benchmarks.measure import in_turn, medians, parser, seconds_of, shown, table, verdict, write_json

Array = Any
NEEDED = 6.0


@dataclass(frozen=True)
class Case:
    """T frames of N samples, C classes, labels of S symbols."""

    T: int
    N: int
    C: int
    S: int

    def inputs(self) -> dict[str, Array]:
        rng = np.random.default_rng(0)
        return {
            "x": rng.normal(size=(self.T, self.N, self.C)).astype(np.float32),
            "labels": rng.integers(1, self.C, (self.N, self.S)),
            "frames": np.full(self.N, self.T), "sizes": np.full(self.N, self.S),
        }  # fmt: skip


CASES = (Case(150, 32, 80, 40), Case(1000, 8, 32, 150), Case(50, 256, 30, 12), Case(200, 16, 4000, 40))


def with_graphloss(data: dict[str, Array]) -> Callable[[], list[Array]]:
    main = gl.Program()
    with gl.program_guard(main):
        given = {name: gl.data(name, [None] * a.ndim, a.dtype.name) for name, a in data.items()}
        functional = gl.nn.functional
        log_probs = functional.log_softmax(given["x"], 2)
        loss = functional.ctc_loss(log_probs, given["labels"], given["frames"], given["sizes"], reduction="sum")
        (gradient,) = gl.gradients([loss], [given["x"]])
    executor = gl.Executor(gl.CPUPlace())
    return lambda: executor.run(main, feed=data, fetch_list=[loss, gradient])


def with_torch(data: dict[str, Array]) -> Callable[[], list[Array]]:
    leaf = torch.from_numpy(data["x"]).requires_grad_()
    rest = [torch.from_numpy(data[name]) for name in ("labels", "frames", "sizes")]

    def run() -> list[Array]:
        loss = torch.nn.functional.ctc_loss(leaf.log_softmax(2), *rest, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        return [loss.detach().numpy(), gradient.numpy()]

    return run


def in_float64(data: dict[str, Array]) -> list[Array]:
    with gl.dygraph.guard():
        x = gl.dygraph.to_variable(data["x"].astype(np.float64))
        x.stop_gradient = False
        rest = (gl.dygraph.to_variable(data[name]) for name in ("labels", "frames", "sizes"))
        loss = gl.nn.functional.ctc_loss(gl.nn.functional.log_softmax(x, 2), *rest, reduction="sum")
        loss.backward()
        return [loss.numpy(), x.gradient()]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="time for each case")
    arguments = options.parse_args()
    rows, results = [], []
    for case in CASES:
        data = case.inputs()
        runs = {"graphloss": with_graphloss(data), "PyTorch": with_torch(data)}
        value, gradient = in_float64(data)
        errors = {}
        for who, run in runs.items():
            found = run()
            np.testing.assert_allclose(found[0], value, rtol=1e-5, err_msg=who)
            errors[who] = float(np.abs(found[1] - gradient).max())
        assert errors["graphloss"] < 1e-5
        s = medians(in_turn({who: partial(seconds_of, run) for who, run in runs.items()}, arguments.seconds))
        times = s["PyTorch"] / s["graphloss"]
        rows.append((
            f"T={case.T} N={case.N} C={case.C} S={case.S}", shown(s["graphloss"]), shown(s["PyTorch"]),
            f"{times:.1f}", f"{NEEDED:g}", verdict(times, NEEDED, at_least=True),
            *(f"{errors[who]:.1e}" for who in ("graphloss", "PyTorch")),
        ))  # fmt: skip
        results.append({"case": str(case), "seconds": s, "times_pytorch": times, "gradient_error": errors})
    head = ("value and gradient", "graphloss", "PyTorch", "times", "needed", "reached", "its error", "PyTorch's")
    print(table(head, rows))
    write_json(arguments.json, results)


if __name__ == "__main__":
    main()
