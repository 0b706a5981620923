"""Pipelines: order, observers, repetition."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from graphloss.errors import VerifyError
from graphloss.ir.graph import Graph
from graphloss.rewrite.pipeline import Dump, Repeat, observers, run, verifying
from graphloss.rewrite.trace import Trace
from tests.rules.graphs import build

GRAPH = build({"x": "f32[N]"}, lambda x: x + 1.0)


@dataclass(frozen=True)
class Named:
    name: str
    suffix: str = ""

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        return graph.replace(name=graph.name + self.suffix)


def test_passes_run_in_order() -> None:
    assert run((Named("a", "-a"), Named("b", "-b")), GRAPH).name == "test-a-b"


def test_an_observer_sees_every_pass() -> None:
    first: list[str] = []
    second: list[str] = []
    both = observers(lambda n, before, after, s: first.append(n), lambda n, before, after, s: second.append(n))
    run((Named("a"), Named("b")), GRAPH, observer=both)
    assert first == second == ["a", "b"]


def test_verifying_stops_at_the_pass_that_broke_the_graph() -> None:
    def verify(graph: Graph) -> None:
        if graph.name.endswith("broken"):
            raise VerifyError("broken")

    with pytest.raises(VerifyError, match="broken"):
        run((Named("a"), Named("b", "broken"), Named("c", "!")), GRAPH, observer=verifying(verify))


def test_dump_writes_numbered_files(tmp_path: Path) -> None:
    run((Named("a"), Named("b", "-b")), GRAPH, observer=Dump(tmp_path / "dump", lambda g: g.name))
    texts = {p.name: p.read_text() for p in (tmp_path / "dump").iterdir()}
    assert texts == {"00-input.gl": "test", "01-a.gl": "test", "02-b.gl": "test-b"}


def test_repeat_runs_while_its_condition_holds() -> None:
    again = Repeat("again", (Named("a", "+"),), lambda g: len(g.name) < 7)
    assert run((again,), GRAPH).name == "test+++"
