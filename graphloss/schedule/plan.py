"""The whole schedule of a graph: kernels and host calls in order, buffers, checks."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphloss.ir import dims as d
from graphloss.ir.dims import Dim
from graphloss.ir.graph import Graph
from graphloss.schedule import layout
from graphloss.schedule.chunked import Region, Step, regions
from graphloss.schedule.group import Group, Grouping
from graphloss.schedule.kernel import (
    Access,
    Apply,
    Buffer,
    CheckSite,
    Kernel,
    Level,
    Load,
    Node,
    RowReduce,
    Store,
    Tile,
)
from graphloss.schedule.layout import NoSegments, RowSplit
from graphloss.schedule.lower import Lowering
from graphloss.schedule.nest import Native, NestKernel
from graphloss.schedule.rows import CHUNK, Built, KernelBuilder
from graphloss.schedule.stages import Staged, stage
from graphloss.schedule.values import HostCall, NestCall, Opaque, Reduction
from graphloss.schedule.workspace import Lowered, NonEmpty, row_major


@dataclass(frozen=True)
class Plan:
    """What a run does: `steps` in order. `buffers` by name; `results`: graph value -> buffer; `sites` explain failed
    checks by slot; `regions`, in order, are steps that may run some rows at a time; `in_place`: value -> the state
    whose memory it takes, at the end."""

    steps: tuple[Step, ...]
    buffers: dict[str, Buffer]
    results: dict[str, str]
    sites: tuple[CheckSite, ...]
    nonempty: tuple[NonEmpty, ...]
    regions: tuple[Region, ...] = ()
    in_place: dict[str, str] = field(default_factory=dict)

    @property
    def kernels(self) -> tuple[Native, ...]:
        return tuple(s for s in self.steps if not isinstance(s, HostCall))


def schedule(graph: Graph, *, small_regions: bool = False) -> Plan:
    """Plans a graph of primitive ops (every op has a scalar or structural form).

    With `small_regions`, also steps whose values between them are known to be small may run some rows at a time.
    """
    split, segments = False, True
    while True:
        try:
            return _schedule(graph, small_regions, split=split, segments=segments)
        except NoSegments:
            segments = False
        except RowSplit:
            if split:
                raise
            split = True


def _schedule(graph: Graph, small_regions: bool, *, split: bool, segments: bool) -> Plan:
    lowered = Lowering(graph).run()
    staged = stage(lowered, split=split, segments=segments)
    grouping = Grouping(staged)
    groups = grouping.run()
    sites: list[CheckSite] = []
    steps: list[Step] = []
    hosts = [(staged.host_level[i], x) for i, x in enumerate(staged.order) if isinstance(x, Opaque)]
    last = [x for _, x in hosts if isinstance(x, NestCall) and x.in_place]
    hosts = [(level, x) for level, x in hosts if x not in last]
    hosts.sort(key=lambda pair: pair[0])  # one that is written later may be needed earlier
    count = 0
    for group in groups:
        while hosts and hosts[0][0] < group.place[0]:
            steps.append(_opaque(hosts.pop(0)[1], f"n{len(steps)}", lowered, sites))
        built = KernelBuilder(staged, group, f"k{count}", sites).build()
        count += 1
        steps.append(built.kernel)
        for kernel in _finish(staged, grouping, group, built, count):
            steps.append(kernel)
            count += 1
    rest = [*(h for _, h in hosts), *last]
    steps += [_opaque(h, f"n{len(steps) + i}", lowered, sites) for i, h in enumerate(rest)]
    used = {b.name for s in steps if not isinstance(s, HostCall) for b in s.buffers}
    used |= {b for s in steps if isinstance(s, HostCall) for b in (*s.inputs, *s.outputs)}
    used |= set(lowered.results.values())
    buffers = {n: b for n, b in lowered.buffers.items() if n in used or b.role == "input"}
    steps, found = regions(steps, buffers, set(lowered.results.values()), small=small_regions)
    return Plan(tuple(steps), buffers, lowered.results, tuple(sites), tuple(lowered.nonempty), tuple(found),
                lowered.in_place)  # fmt: skip


def _opaque(step: Opaque, name: str, lowered: Lowered, sites: list[CheckSite]) -> Step:
    """A host call as it is; a nest with the slots of its checks."""
    if isinstance(step, HostCall):
        return step
    assert isinstance(step, NestCall)
    slots = tuple((check, len(sites) + i) for i, check in enumerate(step.sites))
    sites += step.sites.values()
    arrays = tuple(lowered.buffers[b] for b in step.arrays)
    return NestKernel(name, step.nest, step.sizes, arrays, slots, step.in_place)


def _finish(staged: Staged, grouping: Grouping, group: Group, built: Built, count: int) -> list[Kernel]:
    """Kernels that combine the partial results of `group` in chunk order: one for its totals, one per column result;
    and one that takes the results of segments, each of which one chunk has made, to their dtypes."""
    kernels: list[Kernel] = []
    parts = [(v, built.partials[i]) for i, v in group.partials.items()]
    totals = [(v, b) for v, b in parts if v.id in staged.total]
    columns = [(v, b) for v, b in parts if v.id in staged.column and v.id not in staged.segment]
    segments = [(v, b) for v, b in parts if v.id in staged.segment]
    if totals:
        kernels.append(_combine(staged, grouping, totals, f"k{count + len(kernels)}"))
    if segments:
        kernels.append(_taken(staged, grouping, segments, f"k{count + len(kernels)}"))
    for v, partial in columns:
        kernels.append(_combine(staged, grouping, [(v, partial)], f"k{count + len(kernels)}", built.row))
    return kernels


def _taken(staged: Staged, grouping: Grouping, parts: list[tuple[Reduction, Buffer]], name: str) -> Kernel:
    nodes: list[Node] = []
    buffers: list[Buffer] = []
    for v, partial in parts:
        result = staged.lowered.buffers[grouping.results[v.id]]
        buffers += [partial, result]
        nodes.append(Node(Load(partial.dtype, Access(partial.name, 0, (1,))), Level.ELEMENT, (0,)))
        if partial.dtype != v.dtype:
            nodes.append(Node(Apply(v.dtype, "cast", (len(nodes) - 1,)), Level.ELEMENT, (0,)))
        nodes.append(Node(Store(v.dtype, len(nodes) - 1, Access(result.name, 0, (1,))), Level.ELEMENT, (0,)))
    return Kernel(name, Tile.ROWS, (), parts[0][1].shape[0], None, 1, tuple(nodes), tuple(buffers), True, CHUNK)


def _combine(
    staged: Staged, grouping: Grouping, parts: list[tuple[Reduction, Buffer]], name: str, row: tuple[int, ...] = ()
) -> Kernel:
    """The sum over chunks of totals; or, of one column result, of each of the elements over the atoms `row`, in whose
    order partial results lie: the result may lie in another."""
    nodes: list[Node] = []
    buffers: list[Buffer] = []
    sizes = staged.lowered.atoms.sizes
    across: tuple[Dim, ...] = ()
    for v, partial in parts:
        chunks, width = partial.shape[0], d.product(partial.shape[1:])
        result = staged.lowered.buffers[grouping.results[v.id]]
        buffers += [partial, result]
        have = dict(zip(row, row_major([sizes[a] for a in row]), strict=True))
        want = grouping.plain(v)
        axes = layout.merge([row], [have, want], sizes)
        across = tuple(d.product(tuple(sizes[a] for a in axis)) for axis in axes)
        ins, outs = ([access.get(axis[-1], 0) for axis in axes] for access in (have, want))
        strides = (*ins[:-1], width, *ins[-1:])
        nodes.append(Node(Load(partial.dtype, Access(partial.name, 0, strides)), Level.ELEMENT, (0,)))
        nodes.append(Node(RowReduce(partial.dtype, v.kind, len(nodes) - 1), Level.ROW, (0,)))
        if partial.dtype != v.dtype:
            nodes.append(Node(Apply(v.dtype, "cast", (len(nodes) - 1,)), Level.ROW, (1,)))
        access = Access(result.name, 0, (*outs[:-1], 0, *outs[-1:]))
        nodes.append(Node(Store(v.dtype, len(nodes) - 1, access), Level.ROW, (1,)))
    tile, inner = (Tile.COLUMNS, across[-1]) if across else (Tile.ROWS, None)
    return Kernel(name, tile, across[:-1], chunks, inner, 1, tuple(nodes), tuple(buffers), False, 1)
