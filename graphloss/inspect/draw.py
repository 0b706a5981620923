"""Pictures of a program: as it was written, after the passes, and as the kernels that run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from graphloss.inspect.layout import Edge, Layout, Node, layered
from graphloss.ir.graph import Graph
from graphloss.ir.printer import type_text
from graphloss.ir.program import Program
from graphloss.ir.variable import Variable
from graphloss.options import CompileOptions
from graphloss.runtime.arguments import check_program, fetches_of
from graphloss.runtime.compile import Code, compile_graph
from graphloss.schedule.kernel import Kernel
from graphloss.schedule.launches import parts, touched
from graphloss.schedule.nest import NestKernel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = {
    "input": "#d9e8f6",
    "forward": "#ffffff",
    "backward": "#fbe5d6",
    "optimize": "#e2f0d9",
    "kernel": "#fff2cc",
    "result": "#d9d2e9",
}
_LETTER, _LINE, _PAD = 0.105, 0.62, 0.35  # inches: a letter's width, a layer's height, the room around a label


@dataclass
class Picture:
    """Boxes with a label and a kind (a key of `COLOURS`), and arrows; nodes are in topological order."""

    title: str
    labels: dict[Node, str] = field(default_factory=dict)
    kinds: dict[Node, str] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def box(self, node: Node, label: str, kind: str) -> None:
        self.labels[node] = label
        self.kinds[node] = kind

    def layout(self) -> Layout:
        widths = {n: _LETTER * max(map(len, label.split("\n"))) + _PAD for n, label in self.labels.items()}
        return layered(list(self.labels), self.edges, widths)


def draw(
    program: Program,
    path: str | os.PathLike[str],
    fetch_list: Sequence[Variable | str] = (),
    options: CompileOptions | None = None,
) -> None:
    """Writes a picture of `program`, in three parts: its ops as written, its ops after the passes, and what runs.

    Constants are left out. The file's ending says its format, as for matplotlib.

    Args:
        program: the program; nothing is run.
        path: the file to write.
        fetch_list: variables or names.
        options: as for an Executor.
    """
    from matplotlib.figure import Figure

    check_program(program, "a picture")
    code = compile_graph(program.snapshot(fetches_of(fetch_list)), options or CompileOptions())
    pictures = [of_graph(code.source, "as written"), of_graph(code.whole, "after the passes"), of_plan(code)]
    layouts = [p.layout() for p in pictures]
    widths = [max(2.5, layout.size[0] + 1.5) for layout in layouts]
    height = _LINE * max(layout.size[1] for layout in layouts) + 1
    figure = Figure(figsize=(sum(widths), height))
    grid = figure.add_gridspec(
        1, len(pictures), width_ratios=widths, left=0.01, right=0.99, bottom=0.01, top=1 - 0.5 / height, wspace=0.02
    )
    for i, (picture, layout) in enumerate(zip(pictures, layouts, strict=True)):
        _paint(figure.add_subplot(grid[0, i]), picture, layout)
    figure.savefig(path, dpi=100)


def of_graph(graph: Graph, title: str) -> Picture:
    """Ops and inputs; a value is the arrow from the op that makes it to one that reads it."""
    picture = Picture(f"{title}: {len(graph.ops)} ops")
    maker: dict[str, Node] = {}
    needed = graph.needed()
    for name in (*graph.feeds, *graph.states):
        if name in needed:
            maker[name] = name
            picture.box(name, f"{name}\n{type_text(graph.types[name])}", "input")
    for i, op in enumerate(graph.ops):
        if not op.inputs:
            continue
        picture.box(i, op.type, op.role)
        picture.edges += [(maker[n], i) for n in op.inputs if n in maker]
        maker.update(dict.fromkeys(op.outputs, i))
    for name in graph.fetches:
        _result(picture, maker.get(name), name, name)
    for state, name in graph.writes:
        _result(picture, maker.get(name), f"{name} to {state}", f"write {state}")
    return picture


def of_plan(code: Code) -> Picture:
    """Kernels and host calls; an arrow is a buffer that one writes and the other reads."""
    steps = code.plan.steps
    belongs = parts(steps)
    kernels = len(code.plan.kernels) - len(belongs)
    picture = Picture(f"what runs: {len(steps)} steps, {kernels} of them kernels")
    maker: dict[str, Node] = {}
    for i, step in enumerate(steps):
        if isinstance(step, Kernel):
            reads, writes = touched(step)
            axes = " x ".join(map(str, step.axes)) or "scalar"
            label, kind = f"{step.name}: {axes}", "kernel"
            if step.name in belongs:
                label = f"{step.name}: {belongs[step.name]}"
        else:
            reads, writes = step.inputs, step.outputs
            if isinstance(step, NestKernel):
                label, kind = f"{step.name}: {step.nest.name}", "kernel"
            else:
                label, kind = step.op, "forward"
        for name in reads:
            if name not in maker and code.plan.buffers[name].role == "input":
                maker[name] = name
                picture.box(name, name, "input")
        picture.box(i, label, kind)
        picture.edges += [(maker[n], i) for n in reads if n in maker]
        maker.update(dict.fromkeys(writes, i))
    for name in code.graph.fetches:
        _result(picture, maker.get(code.plan.results[name]), name, name)
    for state, name in code.graph.writes:
        _result(picture, maker.get(code.plan.results[name]), f"{name} to {state}", f"write {state}")
    return picture


def _result(picture: Picture, source: Node | None, key: str, label: str) -> None:
    if source is not None:
        picture.box(("result", key), label, "result")
        picture.edges.append((source, ("result", key)))


def _paint(axes: Axes, picture: Picture, layout: Layout) -> None:
    for route in layout.route.values():
        xs, ys = [p[0] for p in route], [-p[1] for p in route]
        axes.plot(xs, ys, color="#7f7f7f", linewidth=0.9, zorder=1)
    for node, (x, y) in layout.place.items():
        box = {"boxstyle": "round,pad=0.3", "facecolor": COLOURS[picture.kinds[node]], "edgecolor": "#404040"}
        axes.text(x, -y, picture.labels[node], ha="center", va="center", fontsize=8, bbox=box, zorder=2)
    axes.set_title(picture.title, fontsize=11)
    axes.axis("off")
    points = [p for route in layout.route.values() for p in route] + list(layout.place.values())
    if points:
        axes.set_xlim(min(x for x, _ in points) - 0.75, max(x for x, _ in points) + 0.75)
        axes.set_ylim(-max(y for _, y in points) - 0.5, 0.5)
