"""The Fluid surface of programs, blocks and operators."""

from __future__ import annotations

import builtins
import threading
from typing import Any

import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, IndexRangeError, ParseError, ShapeError, UnknownVariable
from graphloss.ir.context import layer, op_role


@pytest.fixture
def main() -> gl.Program:
    return gl.Program()


def test_a_new_program_is_one_empty_block(main: gl.Program) -> None:
    assert main.num_blocks == 1
    assert main.block(0) is main.global_block() is main.current_block()
    block = main.global_block()
    assert (block.idx, block.parent_idx, block.ops, block.vars, block.program) == (0, -1, [], {}, main)
    with pytest.raises(IndexRangeError, match="0 to 0, got 1"):
        main.block(1)


def test_ops_are_appended_in_order_with_names_as_fluid_has_them(main: gl.Program) -> None:
    with gl.program_guard(main), gl.unique_name.guard():
        x = gl.data("x", [None, 4])
        y = ops.exp(x)
        z = ops.exp(y) + y
    assert (y.name, z.name) == ("exp_0.tmp_0", "add_0.tmp_0")
    assert [op.type for op in main.global_block().ops] == ["exp", "exp", "add"]
    assert [op.idx for op in main.global_block().ops] == [0, 1, 2]
    assert [v.name for v in main.list_vars()] == ["x", "exp_0.tmp_0", "exp_1.tmp_0", "add_0.tmp_0"]
    assert y.op is main.global_block().ops[0]
    assert x.op is None


def test_temporaries_of_a_layer_are_named_after_it(main: gl.Program) -> None:
    with gl.program_guard(main), gl.unique_name.guard():
        x = gl.data("x", [4])
        with layer("mean") as made:
            y = ops.exp(x) + x
        with layer("mean", "mine"):
            z = ops.exp(x)
    assert (made.name, y.name, z.name) == ("mean_0", "mean_0.tmp_1", "mine.tmp_0")


def test_names_stay_unique_when_counters_are_reset(main: gl.Program) -> None:
    with gl.program_guard(main):
        x = gl.data("x", [4])
        for _ in range(2):
            with gl.unique_name.guard():
                ops.exp(x)
    assert [op.output("Out") for op in main.global_block().ops] == [["exp_0.tmp_0"], ["exp_1.tmp_0"]]


def test_operator_says_what_it_is(main: gl.Program) -> None:
    with gl.program_guard(main), gl.unique_name.guard(), gl.name_scope("head"), op_role("optimize"):
        x = gl.data("x", [2, 4])
        ops.add(x, ops.reduce_sum(x, [1], keepdims=True))
    total, plus = main.global_block().ops
    assert plus.input("X") == ["x"]
    assert plus.input("y") == ["reduce_sum_0.tmp_0"]
    assert (plus.input_names, plus.output_names) == (("x", "y"), ("out",))
    assert (plus.input_arg_names, plus.output_arg_names) == (("x", "reduce_sum_0.tmp_0"), ("add_0.tmp_0",))
    assert (total.attr("axes"), total.attr("keepdims")) == ((1,), True)
    assert {"axes", "keepdims", "op_role"} <= set(total.attr_names)
    assert total.has_attr("keepdims")
    assert not total.has_attr("axis")
    assert total.attr_type("keepdims") == "bool"
    assert total.all_attrs()["op_namescope"] == "/head/"
    assert total.attr("op_role") == "optimize"
    assert __file__ in str(total.attr("op_callstack"))
    assert total.block is main.global_block()
    assert str(total) == "%reduce_sum_0.tmp_0 = reduce_sum(%x) {axes=[1], keepdims=true} : f32[2, 1] @optimize"
    with pytest.raises(AttrError, match="reduce_sum has no attribute 'axis'"):
        total.attr("axis")
    with pytest.raises(AttrError, match="reduce_sum has no input slot 'Label'"):
        total.input("Label")


def test_append_op_takes_slots_and_names(main: gl.Program) -> None:
    block = main.global_block()
    x = block.create_var("x", [3], "float32", is_data=True)
    op = block.append_op("add", {"X": x, "Y": ["x"]}, {"Out": "y"})
    assert str(op) == "%y = add(%x, %x) : f32[3]"
    assert block.var("y").shape == (3,)
    assert str(block.append_op("exp", {"x": "y"}).output("out")) == str([block.ops[-1].entry.outputs[0]])


def test_append_op_writes_an_output_that_exists(main: gl.Program) -> None:
    block = main.global_block()
    w = block.create_parameter("w", [3], "float32")
    block.append_op("exp", {"x": w}, {"out": w})
    assert [op.type for op in block.ops] == ["exp", "write"]
    assert block.ops[1].output("target") == ["w"]
    graph = main.snapshot([w])
    assert graph.writes == (("w", graph.ops[0].outputs[0]),)
    assert graph.fetches == graph.ops[0].outputs


@pytest.mark.parametrize(
    ("type", "inputs", "rest", "error", "text"),
    [
        (None, {}, {}, AttrError, "append_op needs the type of the op"),
        ("exq", {}, {}, AttrError, "there is no op named 'exq'\n  hint: did you mean 'exp'?"),
        ("exp", {}, {}, AttrError, "exp lacks its input 'x'\n  expected x"),
        ("exp", {"X": []}, {}, AttrError, "exp lacks its input 'x'\n  expected x"),
        ("exp", {"X": ["x", "x"]}, {}, AttrError, "input 'x' of exp takes one variable\n  got 2 of them"),
        ("exp", {"Z": "x"}, {}, AttrError, "exp has no input slot 'Z'\n  expected x"),
        ("exp", {"X": 3}, {}, ArgumentTypeError, "exp: input 'X' must be given as variables or names\n  got 3"),
        ("exp", {"X": "y"}, {}, UnknownVariable, "unknown variable 'y'\n  hint: known names: 'x'"),
        (
            "exp",
            {"X": "x"},
            {"attrs": [1]},
            ArgumentTypeError,
            "exp: attrs must be a mapping\n  expected dict, got list",
        ),
        ("exp", {"X": "x"}, {"attrs": {"a": 1}}, AttrError, "exp has no attribute 'a'\n  expected none"),
        ("exp", {"X": "x"}, {"outputs": {"Y": "y"}}, AttrError, "exp has no output slot 'Y'\n  expected out"),
    ],
)
def test_append_op_refuses(
    main: gl.Program, type: str, inputs: Any, rest: dict[str, Any], error: builtins.type[Exception], text: str
) -> None:
    block = main.global_block()
    block.create_var("x", [3], "float32", is_data=True)
    with pytest.raises(error) as caught:
        block.append_op(type, inputs, **rest)
    assert str(caught.value) == text
    assert block.ops == []


def test_variables_are_found_and_checked(main: gl.Program) -> None:
    block = main.global_block()
    a = block.create_var("a", [2, 3], "float64")
    assert block.var("a") is a
    assert block.has_var("a")
    assert not block.has_var("b")
    assert block.create_var("a", [2, 3], "float64") is a
    with pytest.raises(AttrError, match="variable 'a' exists with other properties"):
        block.create_var("a", [2, 4], "float64")
    with pytest.raises(AttrError, match="exists with other properties"):
        block.create_var("a", persistable=True)
    with pytest.raises(UnknownVariable, match="did you mean 'a'"):
        block.var("aa")
    with pytest.raises(ArgumentTypeError, match="expected str, got int"):
        block.var(3)  # type: ignore[arg-type]
    with gl.unique_name.guard():
        assert block.create_var().name == "_generated_var_0"


def test_parameters_live_in_the_global_block(main: gl.Program) -> None:
    block = main.current_block()
    w = block.create_parameter("w", [4, 2], "float32", optimize_attr={"learning_rate": 0.5})
    frozen = block.create_parameter("b", [2], "float32", trainable=False)
    assert main.all_parameters() == [w, frozen] or [p.name for p in main.all_parameters()] == ["w", "b"]
    assert (w.persistable, w.stop_gradient, w.trainable, w.optimize_attr) == (True, False, True, {"learning_rate": 0.5})
    assert frozen.stop_gradient
    assert block.create_parameter("w", [4, 2], "float32") is w


def test_a_parameter_is_initialised_once(main: gl.Program) -> None:
    def zeros(var: gl.Variable, block: object) -> None:
        main.global_block().write(var, ops.fill(var.shape, 0.0, var.dtype))

    with gl.program_guard(main):
        w = main.global_block().create_parameter("w", [2], "float32", initializer=zeros)
        assert main.snapshot([w]).writes[0][0] == "w"
        with pytest.raises(RuntimeError, match="initialised more than once"):
            main.global_block().create_parameter("w", [2], "float32", initializer=zeros)


@pytest.mark.parametrize("shape", [None, [], [None, 2], [-1]])
def test_a_parameter_needs_a_known_shape(main: gl.Program, shape: list[int]) -> None:
    with pytest.raises(ShapeError):
        main.global_block().create_parameter("w", shape, "float32")


def test_random_seed_is_an_integer(main: gl.Program) -> None:
    main.random_seed = 7
    assert main.clone().random_seed == 7
    with pytest.raises(ArgumentTypeError):
        main.random_seed = 1.5  # type: ignore[assignment]


def test_guards_switch_and_restore_the_defaults(main: gl.Program) -> None:
    before, startup = gl.default_main_program(), gl.default_startup_program()
    other = gl.Program()

    def guarded() -> None:
        with gl.program_guard(main, other):
            assert gl.default_main_program() is main
            assert gl.default_startup_program() is other
            with gl.program_guard(other):
                assert gl.default_main_program() is other
                assert gl.default_startup_program() is other
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        guarded()
    assert gl.default_main_program() is before
    assert gl.default_startup_program() is startup
    for wrong in ((None,), (main, 3)):
        with pytest.raises(ArgumentTypeError), gl.program_guard(*wrong):  # type: ignore[arg-type]
            pass


def test_threads_do_not_see_each_others_guards(main: gl.Program) -> None:
    inside, done = threading.Event(), threading.Event()
    seen: list[gl.Program] = []

    def other() -> None:
        with gl.program_guard(gl.Program()), gl.name_scope("other"), gl.unique_name.guard("theirs_"):
            inside.set()
            done.wait(60)

    thread = threading.Thread(target=other)
    with gl.program_guard(main), gl.unique_name.guard():
        thread.start()
        inside.wait(60)
        seen.append(gl.default_main_program())
        y = ops.exp(gl.data("x", [1]))
        done.set()
        thread.join()
    assert seen == [main]
    assert y.name == "exp_0.tmp_0"
    assert main.global_block().ops[0].attr("op_namescope") == "/"


def test_name_scopes_nest_and_count(main: gl.Program) -> None:
    with gl.program_guard(main):
        x = gl.data("x", [1])
        for _ in range(2):
            with gl.name_scope("a"), gl.name_scope("b"):
                ops.exp(x)
        with gl.name_scope():
            ops.exp(x)
        with pytest.raises(AttrError), gl.name_scope(""):
            pass
    scopes = [op.attr("op_namescope") for op in main.global_block().ops]
    assert scopes == ["/a/b/", "/a_1/b/", "/"]


def test_edits_are_counted_and_empty_the_compiled_forms(main: gl.Program) -> None:
    with gl.program_guard(main):
        x = gl.data("x", [1])
        for change in (
            lambda: ops.exp(x),
            lambda: setattr(x, "stop_gradient", False),
            lambda: setattr(x, "name", "y"),
            lambda: setattr(main, "random_seed", 3),
            lambda: setattr(x, "persistable", True),
        ):
            main.compiled["key"] = "kernel"
            before = main.edits
            change()
            assert main.edits > before
            assert main.compiled == {}
        main.compiled["key"] = "kernel"
        main.snapshot(["y"])
        assert main.compiled == {"key": "kernel"}


def test_to_string_takes_flags_only(main: gl.Program) -> None:
    with pytest.raises(ArgumentTypeError):
        main.to_string(1)  # type: ignore[arg-type]


def test_a_program_survives_its_text(main: gl.Program) -> None:
    with gl.program_guard(main):
        x = gl.data("x", [None, 4])
        w = main.global_block().create_parameter("w", [4], "float32")
        h = x * w
        loss = ops.reduce_mean(h)
        loss.persistable = True
        ((_, dw),) = gl.append_backward(loss)
        with op_role("optimize"):
            main.global_block().write(w, w - dw * 0.1)
        again = ops.reduce_mean(x * w)
        h.block.write(h, h + 1.0)
        last = ops.exp(h)
    text = str(main)
    twin = gl.Program.parse_from_string(text.encode())
    assert str(twin) == text
    names = [loss.name, again.name, last.name, h.name, "w", "w@GRAD"]
    assert twin.snapshot(names) == main.snapshot(names)
    with pytest.raises(ParseError, match="not UTF-8"):
        gl.Program.parse_from_string(b"\xff")
    assert "; /" not in text
    assert f"{__file__}:" in main.to_string(with_details=True)
    assert gl.Program.parse_from_string(main.to_string(with_details=True)).to_string() == text


def test_places() -> None:
    assert gl.CPUPlace() == gl.CPUPlace()
    assert gl.cpu_places(3) == [gl.CPUPlace()] * 3
    assert not gl.is_compiled_with_cuda()
    with pytest.raises(RuntimeError, match="use CPUPlace"):
        gl.CUDAPlace(0)
    for wrong in (0, 1.5):
        with pytest.raises((AttrError, ArgumentTypeError)):
            gl.cpu_places(wrong)  # type: ignore[arg-type]


def test_cpu_places_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPU_NUM", "2")
    assert len(gl.cpu_places()) == 2
    monkeypatch.setenv("CPU_NUM", "many")
    with pytest.raises(AttrError):
        gl.cpu_places()
