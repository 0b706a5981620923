"""Two small programs whose lines are known, for tests that look at the texts of errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import graphloss as gl

Array = npt.NDArray[Any]


def at(mark: str, file: str = __file__) -> str:
    """file:line of the one line of a file that ends in this comment."""
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    (number,) = (i for i, text in enumerate(lines, 1) if text.endswith(f"# {mark}"))
    return f"{file}:{number}"


class Classifier:
    """Softmax cross entropy over 20 classes, averaged."""

    def __init__(self) -> None:
        self.main = gl.Program()
        with gl.unique_name.guard(), gl.program_guard(self.main, gl.Program()):
            self.x = gl.data("logits", [None, 20])  # logits
            self.y = gl.data("labels", [None, 1], "int64")  # labels
            each = gl.layers.softmax_with_cross_entropy(self.x, self.y)  # loss
            self.loss = gl.layers.mean(each)  # mean
        self.exe = gl.Executor()

    def run(self, **changes: object) -> list[Array]:
        feed: dict[str, object] = {"logits": np.zeros((8, 20), "float32"), "labels": np.zeros((8, 1), "int64")}
        return self.exe.run(self.main, {**feed, **changes}, [self.loss])


class Training:
    """A linear classifier of 3 features and 4 classes, its scope set up."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.main, self.startup, self.scope = gl.Program(), gl.Program(), gl.Scope()
        self.startup.random_seed = 7
        with gl.unique_name.guard(), gl.program_guard(self.main, self.startup):
            x, y = gl.data("x", [None, 3]), gl.data("y", [None, 1], "int64")
            logits = gl.layers.fc(x, size=4)  # fc
            self.loss = gl.layers.mean(gl.layers.softmax_with_cross_entropy(logits, y))
            make().minimize(self.loss)
        self.exe = gl.Executor()
        self.exe.run(self.startup, scope=self.scope)

    def step(self, x: Array, y: Array) -> float:
        return float(self.exe.run(self.main, {"x": x, "y": y}, [self.loss], scope=self.scope)[0][0])

    def state(self) -> dict[str, bytes]:
        return {n: np.array(h.get_tensor()).tobytes() for n, h in self.scope.holders.items() if h.value is not None}


OPTIMIZERS = {
    "sgd": lambda: gl.optimizer.SGD(learning_rate=0.5),
    "momentum": lambda: gl.optimizer.Momentum(learning_rate=0.5, momentum=0.9),
    "adam": lambda: gl.optimizer.Adam(learning_rate=0.5),
}
