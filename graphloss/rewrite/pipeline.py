"""Running passes in order, with one observer between them for verifying, dumping and timing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from graphloss.ir.graph import Graph
from graphloss.rewrite.trace import Trace


class Pass(Protocol):
    """A frozen dataclass whose fields are its options: valid graph in, valid graph out. It never prints."""

    @property
    def name(self) -> str: ...

    def __call__(self, graph: Graph, trace: Trace) -> Graph: ...


# observer(name of the pass, graph before, graph after, seconds)
Observer: TypeAlias = Callable[[str, Graph, Graph, float], None]


def run(pipeline: Iterable[Pass], graph: Graph, trace: Trace | None = None, observer: Observer | None = None) -> Graph:
    """`graph` after each pass in turn."""
    trace = Trace() if trace is None else trace
    for step in pipeline:
        begin = time.perf_counter()
        after = step(graph, trace)
        if observer is not None:
            observer(step.name, graph, after, time.perf_counter() - begin)
        graph = after
    return graph


def observers(*several: Observer) -> Observer:
    """All of them, in order."""

    def observe(name: str, before: Graph, after: Graph, seconds: float) -> None:
        for one in several:
            one(name, before, after, seconds)

    return observe


def verifying(verify: Callable[[Graph], object]) -> Observer:
    """Checks the graph after each pass."""

    def observe(name: str, before: Graph, after: Graph, seconds: float) -> None:
        verify(after)

    return observe


@dataclass(slots=True)
class Dump:
    """Writes the graph after each pass as `NN-name.gl` into `folder`."""

    folder: Path
    text: Callable[[Graph], str]
    count: int = 0

    def __call__(self, name: str, before: Graph, after: Graph, seconds: float) -> None:
        if self.count == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "00-input.gl").write_text(self.text(before), encoding="utf-8")
        self.count += 1
        (self.folder / f"{self.count:02d}-{name}.gl").write_text(self.text(after), encoding="utf-8")


@dataclass(frozen=True)
class Repeat:
    """The passes again and again while `condition` holds, at most `limit` times."""

    name: str
    passes: tuple[Pass, ...]
    condition: Callable[[Graph], bool]
    limit: int = 32

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        for _ in range(self.limit):
            if not self.condition(graph):
                break
            for step in self.passes:
                graph = step(graph, trace)
        return graph
