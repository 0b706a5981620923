"""Places for the nodes of an acyclic graph: layers from top to bottom, few crossings."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Node: TypeAlias = Hashable
Edge: TypeAlias = tuple[Node, Node]
Point: TypeAlias = tuple[float, float]

_SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """`place` gives each node x and, as y, its layer; `route` gives the points of each edge, both ends included."""

    place: Mapping[Node, Point]
    route: Mapping[Edge, Sequence[Point]]

    @property
    def size(self) -> tuple[float, int]:
        """Width and number of layers."""
        points = [p for route in self.route.values() for p in route] + list(self.place.values())
        if not points:
            return 0.0, 0
        return max(x for x, _ in points) - min(x for x, _ in points), 1 + round(max(y for _, y in points))


def layered(nodes: Sequence[Node], edges: Iterable[Edge], widths: Mapping[Node, float]) -> Layout:
    """Lays out `nodes`, given so that each edge leads from an earlier to a later one.

    A node stands below all that lead to it; one that nothing leads to stands just above its first user. An edge over
    several layers takes a place in each, so that it runs between the nodes and not through them.

    Args:
        nodes: all nodes, in topological order.
        edges: pairs of nodes; repeated ones count once.
        widths: the room a node needs across.
    """
    unique = list(dict.fromkeys(edges))
    depth = _depths(nodes, unique)
    chains: dict[Edge, list[Node]] = {}
    room = {n: widths[n] for n in nodes}
    layer_of: dict[Node, int] = dict(depth)
    for edge in unique:
        bends: list[Node] = [("bend", edge, d) for d in range(depth[edge[0]] + 1, depth[edge[1]])]
        for d, bend in enumerate(bends, depth[edge[0]] + 1):
            layer_of[bend] = d
            room[bend] = 0.25
        chains[edge] = [edge[0], *bends, edge[1]]
    layers: list[list[Node]] = [[] for _ in range(1 + max(layer_of.values(), default=-1))]
    for node, d in layer_of.items():
        layers[d].append(node)
    above: dict[Node, list[Node]] = {n: [] for n in layer_of}
    below: dict[Node, list[Node]] = {n: [] for n in layer_of}
    for chain in chains.values():
        for a, b in itertools.pairwise(chain):
            below[a].append(b)
            above[b].append(a)
    x: dict[Node, float] = {}
    for layer in layers:
        _spread(layer, {n: float(i) for i, n in enumerate(layer)}, room, x)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for layer in layers if down else reversed(layers):
            wish = {n: sum(x[m] for m in near[n]) / len(near[n]) if near[n] else x[n] for n in layer}
            _spread(layer, wish, room, x)
    place: dict[Node, Point] = {n: (x[n], float(layer_of[n])) for n in nodes}
    return Layout(place, {e: [(x[n], float(layer_of[n])) for n in chain] for e, chain in chains.items()})


def _depths(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[Node, int]:
    before: dict[Node, list[Node]] = {n: [] for n in nodes}
    after: dict[Node, list[Node]] = {n: [] for n in nodes}
    for a, b in edges:
        before[b].append(a)
        after[a].append(b)
    depth: dict[Node, int] = {}
    for n in nodes:
        depth[n] = 1 + max((depth[m] for m in before[n]), default=-1)
    for n in nodes:
        if not before[n] and after[n]:
            depth[n] = max(0, min(depth[m] for m in after[n]) - 1)
    return depth


def _spread(
    layer: Sequence[Node], wish: Mapping[Node, float], room: Mapping[Node, float], x: dict[Node, float]
) -> None:
    """Sets x of a layer's nodes: in the order of their wishes, as near to them as their widths allow.

    Neighbours that overlap become a block, which stands where its members wish on average.
    """
    blocks: list[tuple[list[Node], float, float]] = []  # nodes, centre wished for, width
    for node in sorted(layer, key=lambda n: wish[n]):
        nodes, centre, width = [node], wish[node], room[node]
        while blocks and blocks[-1][1] + blocks[-1][2] / 2 > centre - width / 2:
            left, left_centre, left_width = blocks.pop()
            centre = (left_centre * len(left) + centre * len(nodes)) / (len(left) + len(nodes))
            nodes, width = left + nodes, left_width + width
        blocks.append((nodes, centre, width))
    for nodes, centre, width in blocks:
        edge = centre - width / 2
        for node in nodes:
            x[node] = edge + room[node] / 2
            edge += room[node]
