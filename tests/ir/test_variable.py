"""Variables: what they know, their operators, and the inputs of a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, GraphlossError, ShapeError, UnsupportedError
from graphloss.ir.data import layers_data
from graphloss.ir.dims import symbol


@pytest.fixture(autouse=True)
def main() -> Iterator[gl.Program]:
    program = gl.Program()
    with gl.program_guard(program), gl.unique_name.guard():
        yield program


def types(program: gl.Program) -> list[str]:
    return [op.type for op in program.global_block().ops]


def test_data_has_fluids_shape_and_symbols_behind_it(main: gl.Program) -> None:
    x = gl.data("x", [None, 64, -1], np.float64)
    assert x.shape == (-1, 64, -1)
    assert x.type.shape == (symbol("x.0"), 64, symbol("x.2"))
    assert x.dtype == "float64"
    assert str(x.dtype) == "float64"
    assert (x.persistable, x.stop_gradient, x.is_data, x.lod_level, x.ndim) == (False, True, True, 0, 3)
    assert x.grad_name == "x@GRAD"
    assert x.block is main.global_block()
    assert x.op is None
    assert x.location is not None
    assert x.location.file == __file__


def test_declaring_the_same_data_again_gives_the_same_variable() -> None:
    x = gl.data("x", [None, 64])
    assert gl.data("x", [None, 64]) is x
    with pytest.raises(AttrError) as caught:
        gl.data("x", [None, 32])
    lines = str(caught.value).split("\n")
    assert lines[0] == "variable 'x' exists with other properties"
    assert lines[1] == "  expected feed %x : f32[x.0, 64], got f32[x.0, 32]"
    assert lines[2].startswith(f"  at: {__file__}:")
    with pytest.raises(AttrError):
        gl.data("x", [None, 64], "float64")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: gl.data(3, [1]), ArgumentTypeError),  # type: ignore[arg-type]
        (lambda: gl.data("x", 3), ArgumentTypeError),  # type: ignore[arg-type]
        (lambda: gl.data("x", [1], "float31"), ArgumentTypeError),
        (lambda: gl.data("x", [-2]), ShapeError),
        (lambda: gl.data("x", [1.5]), ShapeError),  # type: ignore[list-item]
        (lambda: gl.data("", [1]), AttrError),
    ],
)
def test_data_refuses(main: gl.Program, call: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()
    assert list(main.list_vars()) == []


def test_the_older_data_puts_the_batch_first() -> None:
    assert layers_data("a", [3]).shape == (-1, 3)
    assert layers_data("b", [None, 3]).shape == (-1, 3)
    assert layers_data("c", [-1, 3]).shape == (-1, 3)
    assert layers_data("d", [3], append_batch_size=False, stop_gradient=False).shape == (3,)
    assert not layers_data("e", [3], stop_gradient=False).stop_gradient


def test_operators_append_ops(main: gl.Program) -> None:
    x, y = gl.data("x", [3]), gl.data("y", [3])
    made = [x + y, x - y, x * y, x / y, x // y, x % y, x**y, -x, x < y, x <= y, x > y, x >= y, x == y, x != y]
    assert types(main) == [
        "add", "sub", "mul", "div", "floordiv", "mod", "pow", "neg",
        "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    ]  # fmt: skip
    assert [v.type.dtype for v in made] == ["float32"] * 8 + ["bool"] * 6
    assert all(isinstance(v, gl.Variable) for v in made)
    assert [op.input_arg_names for op in main.global_block().ops][:2] == [("x", "y")] * 2
    assert (1.0 - x).type == x.type
    assert main.global_block().ops[-1].input_arg_names == ("fill_0.tmp_0", "x")


def test_operators_promote_as_numpy_does(main: gl.Program) -> None:
    a, b = gl.data("a", [3], "int64"), gl.data("b", [3], "float32")
    assert (a + b).dtype == "float64"
    assert (b + a).dtype == "float64"
    assert (b + 1).dtype == "float32"
    with pytest.raises(ArgumentTypeError, match=r"the number 0\.5 would be truncated"):
        a + 0.5


def test_a_variable_is_compared_by_identity_and_has_no_truth(main: gl.Program) -> None:
    x, y = gl.data("x", [3]), gl.data("y", [3])
    assert {x: 1, y: 2}[y] == 2
    with pytest.raises(TypeError, match="no truth value"):
        bool(x == y)


def test_stop_gradient_follows_fluid() -> None:
    x, label = gl.data("x", [2, 3]), gl.data("label", [2], "int64")
    assert not (x * x).stop_gradient
    for stopped in (x > x, label + label, ops.fill((3,), 1.0), ops.one_hot(label, 3), ops.argmax(x, 1)):
        assert isinstance(stopped, gl.Variable)
        assert stopped.stop_gradient


def test_astype_and_indexing(main: gl.Program) -> None:
    x = gl.data("x", [None, 4, 5])
    assert x.astype("float32") is x
    assert x.astype(np.float64).type.dtype == "float64"
    assert [str(v.type) for v in (x[0], x[0, 1:3], x[..., -1], x[:, None], x[:, ::-2])] == [
        "f32[4, 5]", "f32[2, 5]", "f32[x.0, 4]", "f32[x.0, 1, 4, 5]", "f32[x.0, 2, 5]",
    ]  # fmt: skip
    with pytest.raises(IndexError):
        x[0, 4]
    with pytest.raises(IndexError):
        x[0, 0, 0, 0]
    with pytest.raises(ArgumentTypeError):
        x["a"]  # type: ignore[index]


def test_iteration_needs_a_known_length() -> None:
    assert [str(v.type) for v in gl.data("x", [2, 3])] == ["f32[3]", "f32[3]"]  # type: ignore[attr-defined]
    with pytest.raises(ShapeError) as caught:
        list(gl.data("y", [None, 3]))
    assert str(caught.value).splitlines()[:2] == [
        "variable 'y' cannot be iterated",
        "  expected a first dimension known when the program is built, got f32[y.0, 3]",
    ]
    assert "test_variable.py:" in str(caught.value)


def test_an_op_that_is_no_method_is_named() -> None:
    x = gl.data("x", [2, 3])
    with pytest.raises(AttributeError, match=r"no attribute 'exp'; there is gl\.ops\.exp$"):
        x.exp()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"there is gl\.ops\.reduce_mean$"):
        x.mean()  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"no attribute 'nonsense'$"):
        x.nonsense  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(UnsupportedError, match=r"numpy\.mean needs an eager array"):
        np.mean(x)  # type: ignore[call-overload]


def test_a_new_name_is_used_everywhere(main: gl.Program) -> None:
    x = gl.data("x", [None, 3])
    w = main.global_block().create_parameter("w", [3], "float32")
    y = x * w
    z = ops.exp(y)
    gl.append_backward(z * w, no_grad_set={z})
    main.global_block().write(w, ops.exp(w))
    w.name, x.name, z.name = "weight", "input", "blocked"
    assert main.global_block().ops[3].attr("no_grad") == ("blocked",)
    assert main.var("weight") is w
    assert "%w" not in str(main).replace("%weight", "").replace("%w@GRAD", "")
    assert [v.name for v in main.list_vars()][:2] == ["input", "weight"]
    assert gl.data("x", [None, 3]).type.shape == (symbol("x.0_1"), 3)  # x.0 belongs to the renamed one still
    with pytest.raises(AttrError, match="'weight' exists already"):
        x.name = "weight"


@pytest.mark.parametrize("method", ["numpy", "backward", "gradient", "detach", "clear_gradient"])
def test_eager_methods_say_what_to_do_instead(method: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        getattr(gl.data("x", [1]), method)()
    assert str(caught.value).startswith(f"{method}() needs an eager array, and 'x' is a variable of a program\n")
    assert caught.value.hint


def test_shape_errors_have_five_lines(main: gl.Program) -> None:
    x, y = gl.data("x", [None, 4]), gl.data("y", [None, 3])
    with pytest.raises(ShapeError) as caught:
        x + y
    lines = str(caught.value).split("\n  ")
    assert len(lines) == 5
    assert lines[2] == "op: add(%x : f32[x.0, 4], %y : f32[y.0, 3])"
    assert lines[3].startswith(f"at: {__file__}:")
    assert types(main) == []


def test_a_variable_of_another_program_is_refused(main: gl.Program) -> None:
    theirs: Any = gl.Program("theirs").global_block().create_var("x", [3], "float32")
    for use in (lambda: ops.exp(theirs), lambda: main.snapshot([theirs]), lambda: gl.gradients(theirs * 1.0, theirs)):
        with pytest.raises(ArgumentTypeError) as caught:
            use()
        lines = str(caught.value).split("\n  ")
        assert "variable 'x' belongs to another program" in lines[0]
        assert lines[1].startswith("expected a variable of program 'main' (made at ")
        assert "got one of program 'theirs' (made at " in lines[1]
        assert lines[-1].startswith("hint: ")


def test_equal_dimensions_are_recorded(main: gl.Program) -> None:
    x, y = gl.data("x", [None, 4]), gl.data("y", [None, 4])
    z = x + y
    assert z.shape == (-1, 4)
    assert [str(e) for e in main.equations.recorded] == ["x.0 == y.0"]


def test_writes_check_the_type(main: gl.Program) -> None:
    block = main.global_block()
    w = block.create_parameter("w", [3], "float32")
    with pytest.raises(DtypeError, match="a write changes the dtype"):
        block.write(w, ops.fill((3,), 1.0, "float64"))
    for shape in ((4,), (1, 3)):
        with pytest.raises(ShapeError, match="a write changes the shape"):
            block.write(w, ops.fill(shape, 1.0, "float32"))
    late = block.create_var("late")
    with pytest.raises(GraphlossError, match="has no shape and dtype yet"):
        late + 1.0
    block.write(late, w)
    assert late.shape == (3,)


def test_an_op_that_is_refused_leaves_no_equation(main: gl.Program) -> None:
    x, y = gl.data("x", [None, 3, None]), gl.data("y", [None, 4, None])
    for refused in (lambda: x + y, lambda: main.global_block().write(x, y)):
        with pytest.raises(ShapeError):
            refused()
        assert main.equations.recorded == []
    assert not main.equations.same(x.type.shape[0], y.type.shape[0])
