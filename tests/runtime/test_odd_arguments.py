"""Arguments of another kind than any that is taken: our errors, never an AttributeError from within."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss.errors import FeedError, GraphlossError

ODD: list[Any] = [
    None, 3, -1, 2.5, True, "x", "", b"z", [], [None], (), {}, {"x": 1}, {"w": 1}, {3: 4}, set(), object(),
    np.zeros(3, "float32"), np.zeros((2, 3)), lambda: 0, gl.Program(), gl.Scope(),
]  # fmt: skip
X = np.ones((2, 3), "float32")


class Model:
    def __init__(self) -> None:
        self.main = gl.Program()
        with gl.program_guard(self.main, gl.Program()):
            self.x = gl.data("x", [None, 3])
            self.y = gl.layers.mean(self.x)
        self.exe = gl.Executor()
        self.block = self.main.global_block()


Call = Callable[[Model, Any], object]
CALLS: dict[str, Call] = {
    "run program": lambda m, o: m.exe.run(o, {"x": X}, [m.y]),
    "run feed": lambda m, o: m.exe.run(m.main, o, [m.y]),
    "run value": lambda m, o: m.exe.run(m.main, {"x": o}, [m.y]),
    "run fetches": lambda m, o: m.exe.run(m.main, {"x": X}, o),
    "run fetch": lambda m, o: m.exe.run(m.main, {"x": X}, [o]),
    "run partial": lambda m, o: m.exe.run(m.main, {"x": X}, [o], partial=True),
    "run scope": lambda m, o: m.exe.run(m.main, {"x": X}, [m.y], scope=o),
    "executor": lambda m, o: gl.Executor(options=o),
    "combine": lambda m, o: gl.combine(o),
    "combine one": lambda m, o: gl.combine([o]),
    "compiled": lambda m, o: m.exe.run(gl.CompiledProgram(o), {"x": X}, [m.y]),
    "strategy": lambda m, o: m.exe.run(gl.CompiledProgram(m.main, o), {"x": X}, [m.y]),
    "scope.var": lambda m, o: gl.Scope().var(o),
    "scope.find_var": lambda m, o: gl.Scope().find_var(o),
    "scope_guard": lambda m, o: gl.scope_guard(o).__enter__(),
    "program_guard": lambda m, o: gl.program_guard(o).__enter__(),
    "explain": lambda m, o: gl.explain(o),
    "explain fetches": lambda m, o: gl.explain(m.main, fetch_list=o),
    "compare": lambda m, o: gl.compare(o, feed={"x": X}, fetch_list=[m.y]),
    "compare feed": lambda m, o: gl.compare(m.main, feed=o, fetch_list=[m.y]),
    "compare fetches": lambda m, o: gl.compare(m.main, feed={"x": X}, fetch_list=o),
    "data": lambda m, o: gl.data(o, [1]),
    "data shape": lambda m, o: gl.data("q", o),
    "data dtype": lambda m, o: gl.data("q", [1], o),
    "block": lambda m, o: m.main.block(o),
    "block.var": lambda m, o: m.block.var(o),
    "create_var": lambda m, o: m.block.create_var(o, [1]),
    "create_parameter": lambda m, o: m.block.create_parameter("p", o, "float32"),
    "create_parameter dtype": lambda m, o: m.block.create_parameter("p", [2], o),
    "append_op": lambda m, o: m.block.append_op(o),
    "append_op inputs": lambda m, o: m.block.append_op("exp", o),
    "append_op input": lambda m, o: m.block.append_op("exp", {"X": o}),
    "append_op outputs": lambda m, o: m.block.append_op("exp", {"X": m.x}, o),
    "append_op attrs": lambda m, o: m.block.append_op("exp", {"X": m.x}, attrs=o),
    "parse": lambda m, o: gl.Program.parse_from_string(o),
    "to_string": lambda m, o: m.main.to_string(o),
    "random_seed": lambda m, o: setattr(gl.Program(), "random_seed", o),
    "astype": lambda m, o: m.x.astype(o),
    "gradients": lambda m, o: gl.gradients(o, [m.x]),
    "gradients inputs": lambda m, o: gl.gradients([m.y], o),
    "append_backward": lambda m, o: gl.append_backward(o),
}


@pytest.mark.filterwarnings("ignore:the program has nothing to run")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_odd_arguments(call: Call) -> None:
    refused = 0
    for odd in ODD:
        with gl.program_guard(gl.Program(), gl.Program()):
            try:
                call(Model(), odd)
            except GraphlossError:
                refused += 1
    assert refused > len(ODD) // 2


@pytest.mark.parametrize("other", [X, np.zeros(3), [1.0], "x", None, 10**400, object(), np.array(None)])
def test_operands_that_are_none(other: Any) -> None:
    model = Model()
    uses = (lambda v: v + other, lambda v: other * v, lambda v: v / other, lambda v: v**other, lambda v: v < other)
    for apply in uses:
        with gl.program_guard(model.main), pytest.raises((TypeError, ValueError)) as caught:
            apply(model.x)
        assert isinstance(caught.value, GraphlossError), caught.value


def test_a_comparison_needs_the_feeds_and_states_of_a_run() -> None:
    model = Model()
    with pytest.raises(FeedError, match=r"^'x' is not fed, and the run needs it\n"):
        gl.compare(model.main, {}, [model.y])
    with pytest.raises(FeedError, match=r"^the value of 'x' has another dtype than its variable\n") as caught:
        gl.compare(model.main, {"x": X.astype("float64")}, [model.y])
    assert "op: feed %x : f32[x.0, 3]\n" in str(caught.value) and f"at: {__file__}:" in str(caught.value)
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        out = gl.layers.fc(gl.data("x", [None, 3]), size=2)
    with pytest.raises(FeedError, match="has no value in the scope"):
        gl.compare(main, {"x": X}, [out], scope=gl.Scope())
