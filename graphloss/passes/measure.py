"""Cutting a graph where a dimension depends on data: what must run first tells the sizes for the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from graphloss.ir.dims import symbols
from graphloss.ir.graph import Graph, Op, attr_symbols
from graphloss.ir.opdef import get


@dataclass(frozen=True)
class Measured:
    """`first` computes `first.fetches`; the ops `between` turn them into arrays whose shapes bind symbols; `rest`
    takes the values `handed`, of both, as its last states.

    `first` and `rest` have the feeds and states of the whole. `first` may have to be cut again.
    """

    first: Graph
    between: tuple[Op, ...]
    handed: tuple[str, ...]
    rest: Graph


def measured(graph: Graph) -> Measured | None:
    """The parts of a graph of primitive ops; None where no op measures."""
    measuring = [op for op in graph.ops if get(op.type).measures]
    if not measuring:
        return None
    early = needed_with_sizes(graph, [n for op in measuring for n in op.inputs])
    between = tuple(op for op in measuring if early.isdisjoint(op.outputs))
    done = early.union(*(op.outputs for op in between))
    late = tuple(op for op in graph.ops if done.isdisjoint(op.outputs))
    given = {*graph.feeds, *graph.states}
    # what measures is handed on even if nothing reads it: its shape binds its symbols
    sizes = (n for op in measuring for n in op.outputs)
    read = dict.fromkeys((*(n for op in late for n in op.inputs), *graph.results, *sizes))
    handed = tuple(n for n in read if n in done and n not in given)
    made = {n for op in between for n in op.outputs}
    asked = dict.fromkeys((*(n for op in between for n in op.inputs), *(n for n in handed if n not in made)))
    soon = tuple(op for op in graph.ops if not early.isdisjoint(op.outputs))
    first = _part(graph, soon, fetches=tuple(asked), writes=())
    rest = _part(graph, late, states=(*graph.states, *handed))
    return Measured(first, between, handed, rest)


def needed_with_sizes(graph: Graph, names: Iterable[str] | None = None) -> frozenset[str]:
    """`graph.needed(names)`, with what measures the dimensions of these values."""
    needed = graph.needed(names)
    measuring = {
        s: name
        for op in graph.ops
        if get(op.type).measures
        for name in op.outputs
        for d in graph.types[name].shape
        for s in symbols(d)
    }
    while measuring:
        used = {s for n in needed for d in graph.types[n].shape for s in symbols(d)}
        ops = (graph.definition[n] for n in needed if n in graph.definition)
        used.update(s for op in ops for _, value in op.attrs for s in attr_symbols(value))
        more = {measuring[s] for s in used if s in measuring} - needed
        if not more:
            break
        needed = graph.needed((*needed, *more))
    return needed


def _part(graph: Graph, ops: tuple[Op, ...], **changes: tuple[object, ...]) -> Graph:
    part = graph.replace(ops=ops, **changes)
    names = {*part.feeds, *part.states, *(o for op in ops for o in op.outputs)}
    return part.replace(types={n: t for n, t in graph.types.items() if n in names})
