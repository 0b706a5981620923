"""The networkx view."""

from __future__ import annotations

import networkx

import graphloss as gl
from graphloss.ir.netx import to_networkx
from graphloss.ir.parser import parse_graph


def test_values_and_ops_are_nodes() -> None:
    graph = parse_graph(
        """
        program @g {
          feed %x : f32[N, 4]
          state %w : f32[4]
          %p = mul(%x, %x) : f32[N, 4]
          %q = add(%p, %w) : f32[N, 4] @backward
          write %w = %w
          fetch %q
        }
        """
    )
    view = to_networkx(graph)
    assert view.name == "g"
    assert set(view.nodes) == {"x", "w", "p", "q", 0, 1}
    assert [view.nodes[n]["kind"] for n in ("x", "w", "p", 0)] == ["feed", "state", "value", "op"]
    assert view.nodes["p"]["type"] == "f32[N, 4]"
    assert view.nodes[1] == {"kind": "op", "op": "add", "attrs": {}, "role": "backward", "scope": ""}
    assert (view.nodes["q"]["fetched"], view.nodes["p"]["fetched"]) == (True, False)
    assert view.nodes["w"]["written"] == ("w",)
    assert sorted(view.in_edges(0, data="position")) == [("x", 0, 0), ("x", 0, 1)]
    assert networkx.is_directed_acyclic_graph(view)
    assert networkx.ancestors(view, "q") == {"x", "w", "p", 0, 1}


def test_of_a_program() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 4])
        y = gl.layers.exp(x)
        z = gl.layers.log(y)
    view = main.to_networkx([z.name])
    assert networkx.shortest_path(view, "x", z.name) == ["x", 0, y.name, 1, z.name]
    assert (view.nodes["x"]["kind"], view.nodes[z.name]["fetched"]) == ("feed", True)
    assert not [n for n, kind in main.to_networkx().nodes(data="kind") if kind == "op"], "nothing is asked for"
