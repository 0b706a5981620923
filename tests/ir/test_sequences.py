"""Offsets in a program: which variables have sequences, and that texts and copies keep them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import (
    ArgumentTypeError,
    AttrError,
    GraphlossError,
    ParseError,
    ShapeError,
    UnsupportedError,
    VerifyError,
)
from graphloss.ir.dims import Equations, add, mul, shifted, sub, symbol
from graphloss.ir.parser import parse_graph
from graphloss.ir.printer import print_graph
from graphloss.ir.verify import verify


@pytest.fixture
def main() -> Iterator[gl.Program]:
    program = gl.Program()
    with gl.unique_name.guard(), gl.program_guard(program, gl.Program()):
        yield program


def test_data_declares_its_offsets(main: gl.Program) -> None:
    x = gl.data("x", [None, 4], lod_level=1)
    offsets = main.global_block().var("x@LOD")
    assert (x.lod_level, offsets.lod_level) == (1, 0)
    assert str(offsets.type) == "i64[x.seq+1]"
    assert offsets.is_data
    assert offsets.stop_gradient
    assert x.offsets() is offsets
    assert offsets.offsets() is None


def test_layers_data_puts_the_rows_first(main: gl.Program) -> None:
    x = gl.layers.data("x", [4], lod_level=1)
    assert (str(x.type), x.lod_level) == ("f32[x.0, 4]", 1)
    assert gl.layers.data("x", [4], lod_level=1) is x


def test_nested_levels_divide_the_sequences(main: gl.Program) -> None:
    x = gl.data("x", [None], lod_level=3)
    names = ["x@LOD", "x@LOD@LOD", "x@LOD@LOD@LOD"]
    types = [str(main.var(n).type) for n in names]
    assert types == ["i64[x.seq+1]", "i64[x.seq.seq+1]", "i64[x.seq.seq.seq+1]"]
    per_sequence = x.offsets()[1:]  # type: ignore[index]
    assert x.lod_level == 3
    assert per_sequence.lod_level == 2  # the sequences of the outer levels
    assert per_sequence.offsets() is main.var("x@LOD@LOD")


def test_what_has_a_row_for_each_row_has_the_sequences(main: gl.Program) -> None:
    x = gl.data("x", [None, 4], lod_level=1)
    x.stop_gradient = False
    ids = gl.data("ids", [None, 1], "int64", lod_level=1)
    dense = gl.data("dense", [None, 4])
    fc = gl.layers.fc(x, 3)
    loss = gl.layers.softmax_with_cross_entropy(fc, ids)
    same = [x * 2.0, fc, gl.layers.softmax(fc), ops.cast(x, "float64"), ops.reduce_sum(x, [1])]
    same += [ops.reshape(x, (x.type.shape[0], 2, 2)), gl.gradients(loss, x)[0], dense + x, x + dense]
    for v in same:
        assert v.offsets() is main.var("x@LOD"), v
        assert v.lod_level == 1
    assert loss.lod_level == 1
    assert dense.lod_level == 0  # an input is what it was declared
    assert gl.layers.embedding(ids, [10, 3]).offsets() is main.var("ids@LOD")
    none = [gl.layers.mean(x), ops.transpose(x, (1, 0)), ops.concat([x, x], 0), ops.reshape(x, (x.type.size,))]
    none += [ops.reduce_sum(x, [0]), main.all_parameters()[0], gl.data("other", [None, 4])]
    for v in none:
        assert v.offsets() is None, v
        assert v.lod_level == 0


def test_a_number_is_never_divided(main: gl.Program) -> None:
    x = gl.data("x", [None, 4], lod_level=1)
    fixed = gl.data("fixed", [6, 4])
    assert (x + fixed).lod_level == 0
    assert fixed.lod_level == 0
    assert x.lod_level == 1


@pytest.mark.parametrize("shape", [[], [6], [6, None]])
def test_sequences_need_an_open_first_dimension(main: gl.Program, shape: list[int | None]) -> None:
    with pytest.raises(ShapeError, match="'x' is declared with lod_level=1"):
        gl.data("x", shape, lod_level=1)
    assert not main.global_block().has_var("x")


@pytest.mark.parametrize(("level", "error"), [(-1, AttrError), ("1", ArgumentTypeError), (True, ArgumentTypeError)])
def test_levels_are_small_integers(main: gl.Program, level: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="lod_level of 'x'"):
        gl.data("x", [None], lod_level=level)  # type: ignore[arg-type]


def test_another_level_is_another_variable(main: gl.Program) -> None:
    gl.data("x", [None], lod_level=1)
    with pytest.raises(AttrError, match="exists with other properties"):
        gl.data("x", [None], lod_level=2)


def test_offsets_of_a_plain_variable_are_refused(main: gl.Program) -> None:
    x, plain = gl.data("x", [None, 4], lod_level=1), gl.data("plain", [None, 4])
    for call in (lambda: ops.offsets_of(plain), lambda: ops.offsets_of(x, plain)):
        with pytest.raises(UnsupportedError, match="'plain' has no sequences"):
            call()


def test_offsets_of_one_input_are_checked_once(main: gl.Program) -> None:
    x = gl.data("x", [None, 4], lod_level=1)
    found = ops.offsets_of(x, x * 2.0)
    assert found.op.attr("names") == ("x",)  # type: ignore[attr-defined]


def test_an_op_says_that_its_result_is_divided(main: gl.Program) -> None:
    rows, offsets = gl.data("rows", [None, 2]), gl.data("offsets", [None], "int64")
    assert ops.with_offsets(rows, offsets) is rows
    assert (rows * 2.0).offsets() is offsets
    with pytest.raises(ShapeError, match="known at run time only"):
        ops.with_offsets(gl.data("fixed", [3, 2]), offsets)
    with pytest.raises(ShapeError, match="offsets are int64"):
        ops.with_offsets(rows, rows)


def program_of_all(main: gl.Program) -> None:
    x = gl.data("x", [None, 4], lod_level=2)
    label = gl.data("label", [None, 1], "int64", lod_level=1)
    fc = gl.layers.fc(x, 3)
    loss = gl.layers.mean(gl.layers.softmax_with_cross_entropy(fc, label))
    ops.offsets_of(fc, label)
    gl.optimizer.SGD(0.1).minimize(loss)


def levels_of(program: gl.Program) -> dict[str, int]:
    return {v.name: v.lod_level for v in program.list_vars()}


def test_text_and_back(main: gl.Program) -> None:
    program_of_all(main)
    again = gl.Program.parse_from_string(str(main))
    assert str(again) == str(main)
    assert levels_of(again) == levels_of(main)
    assert again.sequences == main.sequences
    assert "sequences %x = %x@LOD@LOD, %x@LOD" in str(main)
    with gl.program_guard(again):
        assert gl.data("x", [None, 4], lod_level=2) is again.var("x")
    assert str(again) == str(main)
    verify(again.snapshot([again.global_block().ops[-1].output_arg_names[0]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("feed %x : f32[N]\n sequences %x = %x", "offsets are a vector of integers"),
        ("feed %x : f32[N]\n sequences %x = %o", "value %o is not defined"),
        ("feed %x : f32[]\n feed %o : i64[N]\n sequences %x = %o", "%x has no rows"),
        ("feed %o : i64[N]\n sequences %o %o", "unexpected word"),
    ],
)
def test_text_that_divides_by_nothing(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        gl.Program.parse_from_string(f"program @p {{\n {text}\n}}")


def test_graphs_carry_what_somebody_says() -> None:
    text = "program @p {\n  feed %x : f32[N]\n  feed %o : i64[S+1]\n  sequences %x = %o\n  fetch %x\n}\n"
    graph = parse_graph(text)
    assert graph.sequences == (("x", ("o",)),)
    assert print_graph(graph) == text
    verify(graph)
    assert gl.Program.parse_from_string(text).var("x").lod_level == 1
    with pytest.raises(VerifyError, match=r"value %z of a line of sequences is not defined"):
        verify(graph.replace(sequences=(("x", ("z",)),)))


def test_copies_keep_the_sequences(main: gl.Program) -> None:
    program_of_all(main)
    assert levels_of(main.clone()) == levels_of(main)
    test = main.clone(for_test=True)
    assert test.var("fc_0.tmp_0").lod_level == 2
    assert test.var("x").offsets() is test.var("x@LOD")


def test_a_renamed_variable_keeps_its_sequences(main: gl.Program) -> None:
    x = gl.data("x", [None, 4], lod_level=1)
    x.name = "z"
    main.var("x@LOD").name = "where"
    assert x.offsets() is main.var("where")
    assert levels_of(gl.Program.parse_from_string(str(main)))["z"] == 1


def test_two_inputs_that_meet_have_one_number_of_sequences(main: gl.Program) -> None:
    x, y = gl.data("x", [None], lod_level=1), gl.data("y", [None], lod_level=1)
    assert (x + y).offsets() is main.var("x@LOD")
    assert (y + x).offsets() is main.var("y@LOD")
    ops.offsets_of(x, y)
    weight = gl.data("weight", [None])
    assert main.equations.same(symbol("x.seq"), symbol("y.seq"))
    per_sequence = x.offsets()[1:] * ops.cast(weight, "int64")  # type: ignore[index]
    assert per_sequence.shape == (-1,)
    assert main.equations.same(symbol("weight.0"), symbol("x.seq"))


def test_a_symbol_and_a_number() -> None:
    n, m = symbol("n"), symbol("m")
    assert shifted(add(n, 3)) == ("n", 3)
    assert shifted(sub(n, 1)) == ("n", -1)
    assert shifted(n) == ("n", 0)
    assert [shifted(d) for d in (3, mul(2, n), add(n, m), mul(n, m))] == [None] * 4
    equations = Equations()
    assert equations.equal(add(n, 1), mul(m, m)) is not None
    assert equations.canonical(n) == sub(mul(m, m), 1)
    assert equations.equal(add(n, 1), add(n, 2)) is None


def test_every_error_is_ours(main: gl.Program) -> None:
    x = gl.data("x", [None, 4], lod_level=1)
    for wrong in (None, 3, "x", [x]):
        with pytest.raises((GraphlossError, TypeError)):
            ops.with_offsets(x, wrong)  # type: ignore[arg-type]
