"""Runs the layers of packed sequences on offsets and labels that mean nothing, beside pages that nobody may touch.

A program of its own, as `guarded`: ``python -m tests.runtime.guarded_sequences``. Linux only.
"""

from __future__ import annotations

import faulthandler
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import graphloss as gl
from graphloss.errors import GraphlossError
from graphloss.options import CompileOptions
from tests.runtime.guarded import Guarded

Array = npt.NDArray[Any]
Feed = dict[str, Array]

RUNS = 2500
# A label without tokens is reported by the length that a layer computes, and its row; that variable is the layer's own.
LENGTHS = (r"edit_distance_0\.tmp_\d+\[\d+\] = 0",)
CLASSES = 5
EXTREMES = (2**63 - 1, -(2**63), 2**62, 2**40, -(2**31), 2**31)


@dataclass(frozen=True)
class Layer:
    """What is made of x and y, and whether labels y are right for offsets that are."""

    make: Callable[[Any, Any], Any]
    x_dtype: str
    right: Callable[[Feed], bool]


def crf(x: Any, y: Any) -> Any:
    cost = gl.layers.linear_chain_crf(x, y, gl.ParamAttr(name="crf"))
    path = gl.layers.crf_decoding(x, gl.ParamAttr(name="crf"))
    return [cost, path, gl.gradients([cost], [x])[0]]


def ctc(x: Any, y: Any) -> Any:
    cost = gl.layers.warpctc(x, y)
    return [cost, gl.gradients([cost], [x])[0]]


def same_sequences(feed: Feed) -> bool:
    return feed["x@LOD"].tolist() == feed["y@LOD"].tolist() and bool(np.all((feed["y"] >= 0) & (feed["y"] < CLASSES)))


def symbols(feed: Feed) -> bool:
    return len(feed["x@LOD"]) == len(feed["y@LOD"]) and bool(np.all((feed["y"] > 0) & (feed["y"] < CLASSES)))


def labels_of_some_length(feed: Feed) -> bool:
    return len(feed["x@LOD"]) == len(feed["y@LOD"]) and bool(np.all(np.diff(feed["y@LOD"]) > 0))


LAYERS = {
    "linear_chain_crf": Layer(crf, "float32", same_sequences),
    "warpctc": Layer(ctc, "float32", symbols),
    "ctc_greedy_decoder": Layer(lambda x, y: [gl.layers.ctc_greedy_decoder(x, 0)], "float32", lambda feed: True),
    "edit_distance": Layer(lambda x, y: [gl.layers.edit_distance(x, y)[0]], "int64", labels_of_some_length),
}


def divides(offsets: Array, rows: int) -> bool:
    if offsets.size == 0 or offsets[0] != 0 or offsets[-1] != rows:
        return False
    return bool(np.all(offsets[1:] >= offsets[:-1]))


def spoiled(feed: Feed, rng: np.random.Generator) -> tuple[Feed, set[str]]:
    """The feed with some integers changed, and in which arrays."""
    out, changed = dict(feed), set()
    for name in rng.choice(["x@LOD", "y@LOD", "y"], int(rng.integers(1, 3)), replace=False).tolist():
        value = feed[name].copy()
        if name != "y" and rng.random() < 0.1:  # a sequence too many, or too few
            value = value[:-1] if rng.integers(2) else np.append(value, value[-1])
        elif value.size:
            flat = value.reshape(-1)
            place = int(rng.integers(flat.size))
            near = int(flat[place]) + int(rng.choice([-1, 1, 3]))
            flat[place] = int(rng.choice([near, -1, int(rng.choice(EXTREMES))]))
        out[name] = value
        changed.add(name)
    return out, changed


def error_of(call: Callable[[], object]) -> str | None:
    try:
        call()
    except GraphlossError as error:
        return str(error)
    return None


def run(name: str, layer: Layer, memory: Guarded, rng: np.random.Generator, runs: int) -> tuple[int, int]:
    """(runs, errors): an error where something is wrong, and only there, that names a variable that was changed."""
    main, startup, scope = gl.Program(), gl.Program(), gl.Scope()
    with gl.unique_name.guard(), gl.program_guard(main, startup):
        width = CLASSES if layer.x_dtype == "float32" else 1
        fetches = layer.make(
            gl.data("x", [None, width], layer.x_dtype, lod_level=1), gl.data("y", [None, 1], "int64", lod_level=1)
        )
    exe = gl.Executor(options=CompileOptions(threads=1))
    if startup.all_parameters():
        exe.run(startup, scope=scope)
    needed = {"x", "x@LOD"} if name == "ctc_greedy_decoder" else {"x", "x@LOD", "y", "y@LOD"}
    errors = 0
    for _ in range(runs):
        lengths = rng.integers(0, 5, int(rng.integers(1, 6)))
        labels = lengths if name == "linear_chain_crf" else rng.integers(1, 4, len(lengths))
        x = rng.normal(size=(lengths.sum(), width)) if width > 1 else rng.integers(0, 9, (lengths.sum(), 1))
        feed: Feed = {
            "x": x.astype(layer.x_dtype), "x@LOD": np.concatenate([[0], np.cumsum(lengths)]),
            "y": rng.integers(1, CLASSES, (labels.sum(), 1)), "y@LOD": np.concatenate([[0], np.cumsum(labels)]),
        }  # fmt: skip
        bad, changed = spoiled(feed, rng)
        right = divides(bad["x@LOD"], len(x))
        if "y" in needed:
            right = right and divides(bad["y@LOD"], len(bad["y"])) and layer.right(bad)
        with memory.in_use(bool(rng.integers(2))):
            placed = {n: memory.feed(v) for n, v in bad.items() if n in needed}
            text = error_of(lambda: exe.run(main, placed, fetches, scope=scope, return_numpy=False))  # noqa: B023
        assert (text is None) is right, f"{name}: {text} of {bad}"
        if text is not None:
            named = {*changed, *(n[0] for n in changed), *LENGTHS}  # of y@LOD, say, or y
            assert any(re.search(rf"\b{n}(?!\w)", text) for n in named), text
            place = r"\[\d+, 0\] = |\[\d+\] = |(?:sequence|sample) \d+|last offset|offset \d+|axis 0"
            assert re.search(place, text), text
            errors += 1
    return runs, errors


def main() -> None:
    memory, rng = Guarded(64), np.random.default_rng(23)
    for name, layer in LAYERS.items():
        print(name, *run(name, layer, memory, rng, RUNS // len(LAYERS)), flush=True)


if __name__ == "__main__":
    faulthandler.enable()
    main()
