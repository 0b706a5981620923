"""From a graph to something that runs: every stage in order."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache as once
from pathlib import Path

from graphloss.codegen import jit
from graphloss.codegen.identity import identity
from graphloss.codegen.kernel import emit_module
from graphloss.codegen.table import Table
from graphloss.codegen.target import Target
from graphloss.ir.graph import Graph
from graphloss.ir.printer import print_graph
from graphloss.ir.verify import verify
from graphloss.options import CompileOptions
from graphloss.passes.pipelines import optimise
from graphloss.rewrite.pipeline import Dump, Observer, observers, verifying
from graphloss.rewrite.trace import Trace
from graphloss.runtime.cache import DiskCache, default_cache
from graphloss.schedule.kernel_text import print_kernel
from graphloss.schedule.nest import Native
from graphloss.schedule.plan import Plan, schedule
from graphloss.schedule.values import HostCall


@dataclass(frozen=True)
class Segment:
    """Kernels that run one after the other without a host call between them: one native call."""

    kernels: tuple[Native, ...]


@dataclass
class Code:
    """Everything that compiling a graph made; what `explain` and `Compiled` read."""

    source: Graph
    graph: Graph
    plan: Plan
    parts: tuple[Segment | HostCall, ...]
    table: Table
    loaded: jit.Loaded | None
    trace: Trace
    seconds: dict[str, float] = field(default_factory=dict)


@contextmanager
def _collector_resting() -> Iterator[None]:
    """No garbage collection meanwhile.

    A compilation makes thousands of small objects that die at its end, those of LLVM's builder in circles: if they were
    old by then, a full collection would be due, which takes as long as the emission itself.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@_collector_resting()
def compile_graph(
    graph: Graph, options: CompileOptions, *, check: bool = False, primitive: Graph | None = None
) -> Code:
    """Rewrite, schedule, emit, assemble, link.

    With `check`, the result of every pass is verified; `primitive` is what was rewritten already.
    """
    seconds: dict[str, float] = {}
    clock = _Clock(seconds)
    folder = options.dump_folder()
    trace = Trace()
    if primitive is None:
        primitive = optimise(graph, options, trace, _observer(folder, check))
    clock("passes")
    plan = schedule(primitive)
    parts = _segments(plan)
    clock("schedule")
    table = Table.build(plan.kernels)
    loaded = None
    if plan.kernels:
        loaded = _load(plan.kernels, table, [[k.name for k in p.kernels] for p in parts if isinstance(p, Segment)],
                       default_cache() if options.cache else None, clock)  # fmt: skip
        clock("link")
    if folder is not None:
        _dump(folder, plan, loaded)
    return Code(graph, primitive, plan, parts, table, loaded, trace, dict(seconds))


def _load(
    kernels: Sequence[Native], table: Table, segments: list[list[str]], cache: DiskCache | None, clock: _Clock
) -> jit.Loaded:
    """The machine code of the kernels, emitted only if the cache has none, or when somebody asks for its text."""
    target = host_target()

    def emit() -> str:
        clock("look up")
        text = str(emit_module(kernels, table, target, segments))
        clock("emit")
        return text

    symbols = [f"run_{i}" for i in range(len(segments))]
    if cache is None:
        return jit.load(emit, symbols)
    return jit.load(emit, symbols, cache, identity=identity(kernels, target, segments))


host_target = once(Target.host)


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.last = seconds, time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self.last
        self.last = now


def _observer(folder: Path | None, check: bool) -> Observer | None:
    several: list[Observer] = []
    if check:
        several.append(verifying(verify))
    if folder is not None:
        several.append(Dump(folder, print_graph))
    return observers(*several) if several else None


def _segments(plan: Plan) -> tuple[Segment | HostCall, ...]:
    parts: list[Segment | HostCall] = []
    run: list[Native] = []
    for step in plan.steps:
        if not isinstance(step, HostCall):
            run.append(step)
            continue
        if run:
            parts.append(Segment(tuple(run)))
            run = []
        parts.append(step)
    if run:
        parts.append(Segment(tuple(run)))
    return tuple(parts)


def _dump(folder: Path, plan: Plan, loaded: jit.Loaded | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "80-kernels.gll").write_text("\n".join(print_kernel(k) for k in plan.kernels), encoding="utf-8")
    if loaded is not None:
        (folder / "90-code.ll").write_text(loaded.llvm_ir(), encoding="utf-8")
        (folder / "91-code.s").write_text(loaded.assembly(), encoding="utf-8")
