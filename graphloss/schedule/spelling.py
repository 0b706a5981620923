"""One spelling per size: products that an equation makes equal are the same expression to the scheduler."""

from __future__ import annotations

from dataclasses import replace

from graphloss.ir import dims as d
from graphloss.ir.dims import Dim, SymDim
from graphloss.ir.graph import Graph


def one_spelling(graph: Graph) -> Graph:
    """`graph` with each product of unknown sizes spelled as the left side of the equation that it is the right side of.

    No symbol can be solved from N*H*W == M*K*L, but with one spelling for both the rows of N*H*W scores and of M*K*L
    labels are one loop. Feeds and states keep the sizes they are declared with.
    """
    if not graph.equations:
        return graph
    given = {*graph.feeds, *graph.states}
    bound = frozenset().union(*(d.symbols(n) for name in given for n in graph.types[name].shape))
    known: list[tuple[Dim, Dim]] = []  # what is replaced, by what
    for e in graph.equations:
        left, right = _spelled(e.left, known), _spelled(e.right, known)
        if not d.symbols(left) | d.symbols(right) <= bound:
            continue  # it was solved: a symbol of it is gone
        if left != right and isinstance(left, SymDim) and isinstance(right, SymDim) and len(right.terms) == 1:
            known.append((right, left))
    if not known:
        return graph
    types = {
        name: t if name in given else t.with_shape(tuple(_spelled(n, known) for n in t.shape))
        for name, t in graph.types.items()
    }
    return replace(graph, types=types)


def _spelled(n: Dim, known: list[tuple[Dim, Dim]]) -> Dim:
    for old, new in known:
        if isinstance(n, SymDim) and (factor := d.exact_div(n, old)) is not None:
            n = d.mul(factor, new)
    return n
