"""From a graph to something that runs: every stage in order."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache as once
from pathlib import Path
from typing import TypeAlias

from graphloss.codegen import jit
from graphloss.codegen.identity import identity
from graphloss.codegen.kernel import emit_module
from graphloss.codegen.table import Table
from graphloss.codegen.target import Target
from graphloss.ir.dims import Dim
from graphloss.ir.forms import Cut
from graphloss.ir.graph import Graph
from graphloss.ir.printer import print_graph
from graphloss.ir.verify import verify
from graphloss.options import CompileOptions
from graphloss.passes.measure import Measured, measured
from graphloss.passes.pipelines import optimise
from graphloss.rewrite.pipeline import Dump, Observer, observers, verifying
from graphloss.rewrite.trace import Trace
from graphloss.runtime import saved
from graphloss.runtime.cache import DiskCache, default_cache
from graphloss.schedule.chunked import Region
from graphloss.schedule.kernel_text import print_kernel
from graphloss.schedule.nest import Native, NestKernel
from graphloss.schedule.plan import Plan, schedule
from graphloss.schedule.values import HostCall


@dataclass(frozen=True)
class Segment:
    """Kernels that run one after the other without a host call between them: one native call."""

    kernels: tuple[Native, ...]


@dataclass(frozen=True)
class Chunked:
    """A region of the plan: its parts run on the first rows, then on the next ones, and so on; each host call with the
    way it is cut."""

    region: Region
    parts: tuple[Segment | tuple[HostCall, Cut], ...]


Part: TypeAlias = Segment | HostCall | Chunked


@dataclass(frozen=True)
class Made:
    """What passes and scheduler make of a graph, and what tells its machine code; kept on disk."""

    whole: Graph
    graph: Graph
    plan: Plan
    parts: tuple[Part, ...]
    table: Table
    trace: Trace
    identity: str | None
    cut: Measured | None


@dataclass(frozen=True)
class Before:
    """What runs first since it tells sizes; see `passes.measure`."""

    code: Code
    cut: Measured


@dataclass
class Code:
    """Everything that compiling a graph made; what `explain` and `Compiled` read.

    `graph` is `whole` after all passes; or, where dimensions of `whole` depend on data, the rest of it behind `before`.
    """

    source: Graph
    whole: Graph
    graph: Graph
    plan: Plan
    parts: tuple[Part, ...]
    table: Table
    loaded: jit.Loaded | None
    trace: Trace
    seconds: dict[str, float] = field(default_factory=dict)
    before: Before | None = None

    @property
    def symbols(self) -> list[str]:
        """The entries of the segments, in the order of the parts."""
        return [f"run_{i}" for i, _ in enumerate(_native(self.parts))]


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
    cache = default_cache() if options.cache else None
    key, made = None, None
    if cache is not None and folder is None and not check:
        key = saved.key(graph, options, primitive is not None)
        found = None if key is None else saved.find(cache, key)
        made = found if isinstance(found, Made) else None
        clock("find")
    kept = made is not None
    if made is None:
        made = _made(graph, options, primitive, _observer(folder, check), clock)
    before = None
    if (cut := made.cut) is not None:
        before = Before(compile_graph(cut.first, options, primitive=cut.first), cut)
    loaded = None
    if made.plan.kernels:
        loaded = _load(made, cache, clock)
        clock("link")
    if cache is not None and key is not None and not kept:
        saved.keep(cache, key, made)
        clock("keep")
    if folder is not None:
        _dump(folder, made.plan, loaded)
    return Code(
        graph, made.whole, made.graph, made.plan, made.parts, made.table, loaded, made.trace, dict(seconds), before
    )


def _made(
    graph: Graph, options: CompileOptions, primitive: Graph | None, observer: Observer | None, clock: _Clock
) -> Made:
    trace = Trace()
    if primitive is None:
        primitive = optimise(graph, options, trace, observer)
    cut = measured(primitive)
    whole, primitive = primitive, primitive if cut is None else cut.rest
    clock("passes")
    plan = schedule(primitive, small_regions=options.row_chunk is not None)
    parts = _segments(plan)
    clock("schedule")
    table = Table.build(plan.kernels, (region.rows for region in plan.regions))
    known = identity(plan.kernels, host_target(), *_calls(parts)) if options.cache and plan.kernels else None
    return Made(whole, primitive, plan, parts, table, trace, known, cut)


def _load(made: Made, cache: DiskCache | None, clock: _Clock) -> jit.Loaded:
    """The machine code of the kernels, emitted only if the cache has none, or when somebody asks for its text."""
    segments, by_rows = _calls(made.parts)

    def emit() -> str:
        clock("look up")
        text = str(emit_module(made.plan.kernels, made.table, host_target(), segments, by_rows))
        clock("emit")
        return text

    symbols = [f"run_{i}" for i in range(len(segments))]
    return jit.load(emit, symbols, cache, identity=None if cache is None else made.identity)


def _calls(parts: Sequence[Part]) -> tuple[list[list[str]], dict[int, Dim]]:
    """The kernels of each segment, and of segments that run some rows at a time how many rows there are."""
    segments = list(_native(parts))
    by_rows = {i: region.rows for i, (_, region) in enumerate(segments) if region is not None}
    return [[k.name for k in s.kernels] for s, _ in segments], by_rows


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


def _segments(plan: Plan) -> tuple[Part, ...]:
    parts: list[Part] = []
    done = 0
    for region in plan.regions:
        parts += _runs(plan, done, region.begin)
        number = region.begin
        inside: list[Segment | tuple[HostCall, Cut]] = []
        for part in _runs(plan, region.begin, region.end):
            if isinstance(part, Segment):
                inside.append(part)
                number += len(part.kernels)
            else:
                inside.append((part, region.cuts[number]))
                number += 1
        parts.append(Chunked(region, tuple(inside)))
        done = region.end
    return (*parts, *_runs(plan, done, len(plan.steps)))


def _runs(plan: Plan, begin: int, end: int) -> list[Segment | HostCall]:
    """Steps of the plan, kernels next to each other as one segment; what changes a state begins one, so that it runs
    only after all checks before it."""
    parts: list[Segment | HostCall] = []
    run: list[Native] = []
    for step in plan.steps[begin:end]:
        changes = isinstance(step, NestKernel) and step.in_place
        if run and (isinstance(step, HostCall) or changes):
            parts.append(Segment(tuple(run)))
            run = []
        if isinstance(step, HostCall):
            parts.append(step)
        else:
            run.append(step)
    if run:
        parts.append(Segment(tuple(run)))
    return parts


def _native(parts: Sequence[Part]) -> Iterator[tuple[Segment, Region | None]]:
    """The segments in order, each with the region it is in; the i-th is called `run_<i>`."""
    for part in parts:
        if isinstance(part, Chunked):
            yield from ((p, part.region) for p in part.parts if isinstance(p, Segment))
        elif isinstance(part, Segment):
            yield part, None


def _dump(folder: Path, plan: Plan, loaded: jit.Loaded | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "80-kernels.gll").write_text("\n".join(print_kernel(k) for k in plan.kernels), encoding="utf-8")
    if loaded is not None:
        (folder / "90-code.ll").write_text(loaded.llvm_ir(), encoding="utf-8")
        (folder / "91-code.s").write_text(loaded.assembly(), encoding="utf-8")
