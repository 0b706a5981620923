"""Recording of gradients: what is reached, what is blocked, and gradients asked for later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import graphloss as gl
from graphloss import ops
from graphloss.errors import ArgumentTypeError, DtypeError, ShapeError, UnknownVariable, UnsupportedError
from graphloss.ir.graph import Op
from graphloss.ir.opdef import get


@pytest.fixture(autouse=True)
def main() -> Iterator[gl.Program]:
    program = gl.Program()
    with gl.program_guard(program), gl.unique_name.guard():
        yield program


def grad_ops(program: gl.Program) -> list[Op]:
    return [op.entry for op in program.global_block().ops if isinstance(op.entry, Op) and op.type == "grad"]


def parameter(name: str, *shape: int) -> gl.Parameter:
    return gl.default_main_program().global_block().create_parameter(name, list(shape), "float32")


def test_one_op_is_recorded_with_its_parts(main: gl.Program) -> None:
    x, y = gl.data("x", [None, 3]), gl.data("y", [None, 3])
    dx, dy = gl.gradients([x * y, x + y], [x, y], target_gradients=[None, y])
    assert dx is not None
    assert dy is not None
    assert (dx.name, dx.shape, dx.dtype, dx.stop_gradient) == ("x@GRAD", (-1, 3), "float32", False)
    assert str(dy.type) == "f32[y.0, 3]"
    (op,) = grad_ops(main)
    assert op.inputs == ("mul_0.tmp_0", "add_0.tmp_0", "x", "y", "fill_0.tmp_0", "y")
    assert op.outputs == ("x@GRAD", "y@GRAD")
    assert op.attr == {"n_targets": 2, "n_wrt": 2, "no_grad": ()}
    assert op.role == "backward"
    assert op.loc is not None
    assert op.loc.file == __file__


def test_names_are_numbered_and_repeated_inputs_share_one(main: gl.Program) -> None:
    x = gl.data("x", [3])
    y = x * x
    first, again = gl.gradients(y, [x, x])
    (second,) = gl.gradients(y, x)
    assert first is again
    assert second is not None
    assert second.name == "x@GRAD_1"


def test_unreachable_inputs_give_none(main: gl.Program) -> None:
    x, y, label = gl.data("x", [3]), gl.data("y", [3]), gl.data("label", [3], "int64")
    z = x * ops.cast(label, "float32")
    assert gl.gradients(z, [y, label]) == [None, None]
    assert grad_ops(main) == []
    dx, dy, dlabel = gl.gradients(z, [x, y, label])
    assert dx is not None
    assert (dy, dlabel) == (None, None)
    assert grad_ops(main)[0].attr["n_wrt"] == 1


def test_a_gradient_passes_no_op_without_a_rule(main: gl.Program) -> None:
    x = gl.data("x", [2, 3])
    hot = ops.one_hot(ops.argmax(x, 1), 3)
    assert gl.gradients(hot, x) == [None]
    assert gl.gradients(hot * x, x)[0] is not None


def test_stop_gradient_is_looked_at_when_called(main: gl.Program) -> None:
    x = gl.data("x", [3])
    h = ops.exp(x)
    z = h * x
    h.stop_gradient = True
    dx, dh = gl.gradients(z, [x, h])
    assert dx is not None
    assert dh is not None, "an input named in gradients() gets its gradient"
    assert grad_ops(main)[0].attr["no_grad"] == (h.name,)
    h.stop_gradient = False
    gl.gradients(z, [x])
    assert grad_ops(main)[1].attr["no_grad"] == ()
    assert grad_ops(main)[0].attr["no_grad"] == (h.name,)


def test_no_grad_set_takes_variables_and_names(main: gl.Program) -> None:
    x = gl.data("x", [3])
    h, k = ops.exp(x), ops.log(x)
    z = h * k
    assert gl.gradients(z, [h], no_grad_set={h}) == [None]
    assert gl.gradients(z, [x], no_grad_set={h, k.name}) == [None]
    assert gl.gradients(z, [x], no_grad_set=[k.name])[0] is not None
    assert grad_ops(main)[0].attr["no_grad"] == (k.name,)


def test_append_backward_follows_stop_gradient(main: gl.Program) -> None:
    x = gl.data("x", [None, 3])
    w, frozen, apart = parameter("w", 3), parameter("frozen", 3), parameter("apart", 3)
    frozen.trainable = False
    frozen.stop_gradient = True
    loss = ops.reduce_mean(x * w + frozen)
    pairs = gl.backward.append_backward(loss)
    assert [(p.name, g.name) for p, g in pairs] == [("w", "w@GRAD")]
    assert grad_ops(main)[0].outputs == (loss.grad_name, "w@GRAD")
    assert gl.append_backward(loss, parameter_list=["w", apart], no_grad_set={w}) == []


def test_a_gradient_can_be_had_by_name_afterwards(main: gl.Program) -> None:
    x = gl.data("x", [None, 3])
    x.stop_gradient = False
    w = parameter("w", 3)
    h = x * w
    loss = ops.reduce_mean(ops.exp(h))
    off = ops.log(h)
    gl.append_backward(loss)
    edits = main.edits
    found = main.var(h.grad_name)
    assert main.edits > edits
    assert main.var(h.grad_name) is found
    assert str(found.type) == str(h.type)
    assert main.snapshot(["x@GRAD"]).ops[-1].inputs[1:] == ("x",)
    (op,) = grad_ops(main)
    assert op.outputs == (loss.grad_name, "w@GRAD", h.grad_name, "x@GRAD")
    assert op.attr["n_wrt"] == 4
    with pytest.raises(UnknownVariable):
        main.var(off.grad_name)
    h.stop_gradient = True
    with pytest.raises(UnknownVariable):
        main.var("nothing@GRAD")


def test_only_append_backward_is_added_to(main: gl.Program) -> None:
    x = gl.data("x", [3])
    h = ops.exp(x)
    gl.gradients(ops.log(h), [x])
    with pytest.raises(UnknownVariable):
        main.var(h.grad_name)


def test_a_gradient_blocked_at_the_call_stays_blocked(main: gl.Program) -> None:
    x = gl.data("x", [3])
    x.stop_gradient = False
    w = parameter("w", 3)
    h = ops.exp(x)
    h.stop_gradient = True
    gl.append_backward(ops.reduce_sum(h * w))
    h.stop_gradient = False
    with pytest.raises(UnknownVariable):
        main.var("x@GRAD")


def test_second_order_goes_through_the_first(main: gl.Program) -> None:
    x = gl.data("x", [3])
    w = parameter("w", 3)
    (dx,) = gl.gradients(ops.reduce_sum(ops.exp(x * w)), x)
    assert dx is not None
    dw, ddx = gl.gradients(dx * dx, [w, x])
    assert dw is not None
    assert ddx is not None
    assert [op.outputs for op in grad_ops(main)] == [("x@GRAD",), ("w@GRAD", "x@GRAD_1")]


def test_a_snapshot_keeps_the_gradients_that_are_needed(main: gl.Program) -> None:
    x = gl.data("x", [3])
    w, v = parameter("w", 3), parameter("v", 3)
    loss = ops.reduce_sum(x * w * v)
    gl.append_backward(loss)
    (op,) = [op for op in main.snapshot(["v@GRAD"]).ops if op.type == "grad"]
    assert (op.inputs, op.outputs, op.attr["n_wrt"]) == ((loss.name, "v"), ("v@GRAD",), 1)
    assert [op.type for op in main.snapshot([loss]).ops] == ["mul", "mul", "reduce_sum"]


def test_grad_speaks_of_the_versions_that_its_forward_ops_read(main: gl.Program) -> None:
    block = main.global_block()
    w = parameter("w", 3)
    loss = ops.reduce_sum(ops.exp(w))
    block.write(w, w * 0.5)
    (dw,) = gl.gradients(loss, w)
    assert dw is not None
    graph = main.snapshot([dw])
    assert graph.definition[dw.name].inputs == (loss.name, "w")
    half = dict(graph.writes)["w"]
    (second,) = gl.gradients(ops.reduce_sum(ops.log(w)), w)
    assert second is not None
    assert main.snapshot([second]).definition[second.name].inputs[1] == half


def test_a_blocked_name_means_all_its_versions(main: gl.Program) -> None:
    block = main.global_block()
    w = parameter("w", 3)
    half = w * 0.5
    block.write(w, half)
    z = ops.exp(w)
    assert gl.gradients(z, [w], no_grad_set={"w"}) == [None]
    assert gl.gradients(z, [w])[0] is not None


def test_what_is_blocked_is_a_version(main: gl.Program) -> None:
    x = gl.data("x", [3])
    h, z = ops.exp(x), ops.log(x)
    first = h * x
    h.stop_gradient = True
    main.global_block().write(h, z)
    both = gl.gradients(first * h, [x])
    assert grad_ops(main)[0].attr["no_grad"] == (h.name,)
    assert main.snapshot(both[:1]).ops[-1].attr["no_grad"] == (h.name,)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("targets", "inputs", "seeds", "blocked", "error", "text"),
    [
        ("x", ["x"], None, None, ArgumentTypeError, "targets holds something else\n  expected Variable, got str"),
        ([], ["x"], None, None, ShapeError, "gradients needs at least one target"),
        (["y"], [3], None, None, ArgumentTypeError, "inputs holds something else\n  expected Variable, got int"),
        (
            ["y"],
            ["x"],
            ["x", "x"],
            None,
            ShapeError,
            "there must be one target gradient for each target\n  expected 1, ",
        ),
        (["y"], ["x"], None, [3], ArgumentTypeError, "no_grad_set holds something else\n  expected Variable or str, "),
    ],
)
def test_gradients_refuses(
    targets: object, inputs: list[object], seeds: object, blocked: object, error: type[Exception], text: str
) -> None:
    x = gl.data("x", [3])
    known = {"x": x, "y": ops.exp(x)}

    def named(names: object) -> object:
        return [known.get(n, n) if isinstance(n, str) else n for n in names] if isinstance(names, list) else names

    with pytest.raises(error) as caught:
        gl.gradients(named(targets), named(inputs), named(seeds), blocked)  # type: ignore[arg-type]
    assert str(caught.value).startswith(text)


def test_wrong_dtypes_and_shapes(main: gl.Program) -> None:
    x, n = gl.data("x", [3]), gl.data("n", [3], "int64")
    with pytest.raises(DtypeError, match="there is no gradient of 'n'"):
        gl.gradients(n, x)
    with pytest.raises(ArgumentTypeError, match="append_backward takes a loss"):
        gl.append_backward("x")  # type: ignore[arg-type]
    with pytest.raises(ShapeError) as caught:
        gl.gradients(ops.exp(x), x, [ops.fill((4,), 1.0, "float32")])  # type: ignore[list-item]
    lines = str(caught.value).split("\n  ")
    assert lines[:2] == ["a target gradient is not like its target", "expected f32[3], got f32[4]"]
    assert lines[2].startswith("op: grad(%exp_0.tmp_0 : f32[3], %x : f32[3], ")


def test_the_op_itself_computes_nothing() -> None:
    grad = get("grad")
    with pytest.raises(UnsupportedError):
        grad.reference([], {})
    assert grad.lower is not None
    with pytest.raises(UnsupportedError):
        grad.lower([], [], {})
