"""The SSA form: versions, effects, what is kept, equations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import UnknownVariable, VerifyError
from graphloss.ir.printer import print_graph
from graphloss.ir.verify import verify


@pytest.fixture(autouse=True)
def main() -> Iterator[gl.Program]:
    program = gl.Program()
    with gl.program_guard(program), gl.unique_name.guard():
        yield program


def test_only_what_is_needed_is_kept(main: gl.Program) -> None:
    x, unused = gl.data("x", [None, 3]), gl.data("unused", [None])
    y = ops.exp(x)
    ops.log(unused)
    graph = main.snapshot([y])
    assert print_graph(graph) == (
        "program @main {\n  feed %x : f32[x.0, 3]\n  %exp_0.tmp_0 = exp(%x) : f32[x.0, 3]\n  fetch %exp_0.tmp_0\n}\n"
    )
    assert graph.ops[0].loc is not None
    assert graph.ops[0].loc.file == __file__


def test_reads_after_a_write_see_the_written_value(main: gl.Program) -> None:
    block = main.global_block()
    w = block.create_parameter("w", [3], "float32")
    before = ops.exp(w)
    half = w * 0.5
    block.write(w, half)
    after = ops.exp(w)
    block.write(w, after)
    graph = main.snapshot([before, after, w, w])
    verify(graph)
    assert graph.states == ("w",)
    assert graph.definition[before.name].inputs == ("w",)
    assert graph.definition[after.name].inputs == (half.name,)
    assert graph.writes == (("w", after.name),)
    assert graph.fetches == (before.name, after.name, after.name, after.name)


def test_writes_run_without_a_fetch_and_pure_ops_do_not(main: gl.Program) -> None:
    x = gl.data("x", [3])
    block = main.global_block()
    w = block.create_parameter("w", [3], "float32")
    seen = ops.exp(x)
    block.write(w, ops.exp(w))
    ops.log(seen)
    graph = main.snapshot()
    assert (graph.feeds, graph.states, [op.type for op in graph.ops]) == ((), ("w",), ["exp"])


def test_a_state_that_is_only_written_is_not_read(main: gl.Program) -> None:
    w = main.global_block().create_parameter("w", [3], "float32")
    main.global_block().write(w, ops.fill((3,), 0.5, "float32"))
    graph = main.snapshot()
    assert (graph.states, graph.writes[0][0]) == ((), "w")
    verify(graph)


def test_random_ops_always_run(main: gl.Program) -> None:
    noise = ops.uniform((3,), seed=1)
    graph = main.snapshot()
    assert [op.type for op in graph.ops] == ["uniform"]
    assert graph.ops[0].outputs == (noise.name,)


def test_a_value_marked_persistable_is_committed(main: gl.Program) -> None:
    x = gl.data("x", [3])
    y = ops.exp(x)
    y.persistable = True
    assert main.snapshot().writes == ((y.name, y.name),)


def test_a_variable_written_but_not_kept_is_only_renamed(main: gl.Program) -> None:
    x = gl.data("x", [3])
    y = ops.exp(x)
    z = ops.log(x)
    main.global_block().write(y, z)
    graph = main.snapshot([y])
    assert graph.fetches == (z.name,)
    assert graph.writes == ()


def test_a_fetch_may_be_a_feed_or_a_state(main: gl.Program) -> None:
    x = gl.data("x", [None])
    main.global_block().create_parameter("w", [3], "float32")
    graph = main.snapshot([x, "w", "x"])
    assert (graph.feeds, graph.states, graph.fetches, graph.ops) == (("x",), ("w",), ("x", "w", "x"), ())
    verify(graph)


def test_equal_dimensions_look_equal_and_only_the_needed_equations_stay(main: gl.Program) -> None:
    a, b, c = (gl.data(n, [None, 3]) for n in "abc")
    first = a + b
    second = b * c
    graph = main.snapshot([first])
    assert [str(e) for e in graph.equations] == ["a.0 == b.0"]
    assert {str(t) for t in graph.types.values()} == {"f32[a.0, 3]"}
    both = main.snapshot([first, second])
    assert {str(t) for t in both.types.values()} == {"f32[a.0, 3]"}
    assert len(both.equations) == 2
    alone = main.snapshot([second])
    assert {str(t) for t in alone.types.values()} == {"f32[b.0, 3]"}
    for g in (graph, both, alone):
        verify(g)


def test_a_feed_whose_shape_is_read_is_needed(main: gl.Program) -> None:
    x = gl.data("x", [None, 3])
    ones = ops.ones_like(x)
    graph = main.snapshot([ones])
    assert graph.feeds == ("x",)
    assert graph.definition[ones.name].inputs == ()
    verify(graph)


def test_unknown_and_undefined_variables(main: gl.Program) -> None:
    h = main.global_block().create_var("h", [3], "float32")
    y = ops.exp(h)
    with pytest.raises(UnknownVariable, match="unknown variable 'hh'"):
        main.snapshot(["hh"])
    with pytest.raises(VerifyError) as caught:
        main.snapshot([y])
    lines = str(caught.value).split("\n  ")
    assert lines[0] == "variable 'h' is read before any op defines it"
    assert lines[1] == "op: %exp_0.tmp_0 = exp(%h) : f32[3]"
    assert lines[2].startswith(f"at: {__file__}:")
    assert main.snapshot([]).ops == ()


def test_clones_are_independent(main: gl.Program) -> None:
    x = gl.data("x", [None, 3])
    y = ops.exp(x)
    twin = main.clone()
    assert str(twin) == str(main)
    assert twin.snapshot([y.name]) == main.snapshot([y])
    assert twin.var(y.name) is not y
    assert twin.var(y.name).op is twin.global_block().ops[0]
    with gl.program_guard(twin):
        ops.log(twin.var(y.name))
    assert len(main.global_block().ops) == 1
    twin.var("x").stop_gradient = False
    assert x.stop_gradient


def test_a_clone_for_test_has_the_forward_ops_only(main: gl.Program) -> None:
    block = main.global_block()
    x = gl.data("x", [None, 3])
    w = block.create_parameter("w", [3], "float32", optimize_attr={"learning_rate": 2.0})
    loss = ops.reduce_mean(x * w)
    before = main.clone(for_test=True)
    ((_, dw),) = gl.append_backward(loss)
    norm = ops.reduce_sum(dw * dw)
    with gl.ir.context.op_role("optimize"):
        block.write(w, w - dw)
    behind = ops.exp(norm)
    after = main.clone(for_test=True)
    assert str(after) == str(before)
    assert not after.global_block().has_var("w@GRAD")
    assert not after.global_block().has_var(behind.name)
    parameter = after.all_parameters()[0]
    assert parameter is not w
    assert parameter.optimize_attr == {"learning_rate": 2.0}
    assert parameter.optimize_attr is not w.optimize_attr
    assert len(main.global_block().ops) > len(after.global_block().ops)
