"""Layouts: layers follow the arrows, nothing overlaps, edges bend around what is between."""

from __future__ import annotations

import numpy as np
import pytest

from graphloss.inspect.layout import Edge, Layout, Node, layered


def overlaps(layout: Layout, widths: dict[Node, float]) -> list[tuple[Node, Node]]:
    nodes = list(layout.place)
    found = []
    for i, a in enumerate(nodes):
        for b in nodes[:i]:
            (xa, ya), (xb, yb) = layout.place[a], layout.place[b]
            if ya == yb and abs(xa - xb) < (widths[a] + widths[b]) / 2 - 1e-9:
                found.append((a, b))
    return found


def test_chain_is_straight() -> None:
    layout = layered(["a", "b", "c"], [("a", "b"), ("b", "c")], {"a": 1, "b": 2, "c": 1})
    assert [y for _, y in layout.place.values()] == [0, 1, 2]
    assert len({x for x, _ in layout.place.values()}) == 1
    assert layout.size == (0, 3)


def test_input_stands_just_above_its_first_user() -> None:
    edges: list[Edge] = [("a", "b"), ("b", "c"), ("c", "d"), ("late", "d")]
    layout = layered(["a", "b", "c", "late", "d"], edges, {"a": 1, "b": 1, "c": 1, "late": 1, "d": 1})
    assert layout.place["late"][1] == 2


def test_long_edge_bends_around_what_is_between() -> None:
    layout = layered(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")], {"a": 2, "b": 2, "c": 2})
    (bend_x, bend_y) = layout.route["a", "c"][1]
    assert bend_y == 1
    assert abs(bend_x - layout.place["b"][0]) >= 1


def test_empty_graph() -> None:
    assert layered([], [], {}).size == (0, 0)


@pytest.mark.parametrize("size", [2, 5, 20, 60])
def test_random_graphs(size: int, rng: np.random.Generator) -> None:
    nodes: list[Node] = list(range(size))
    edges: list[Edge] = [(int(a), b) for b in range(1, size) for a in rng.integers(0, b, rng.integers(0, 3))]
    widths = {n: float(w) for n, w in zip(nodes, rng.uniform(0.5, 3, size), strict=True)}
    layout = layered(nodes, edges, widths)
    assert set(layout.place) == set(nodes)
    assert set(layout.route) == set(edges)
    assert overlaps(layout, widths) == []
    for (a, b), route in layout.route.items():
        assert (route[0], route[-1]) == (layout.place[a], layout.place[b])
        assert [y for _, y in route] == list(range(round(route[0][1]), round(route[-1][1]) + 1))
        assert route[0][1] < route[-1][1]
