"""Bytes that kernels move, counted by hand where a hand can; explain shows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import graphloss as gl
from graphloss import ops
from graphloss.inspect.traffic import CACHE, LINE, Traffic, ideal, moved
from graphloss.ir.tensor import Tensor
from graphloss.passes.pipelines import optimise
from graphloss.schedule.plan import Plan, schedule

F32 = 4


def planned(build: Callable[..., list[Tensor]], *shapes: tuple[int | None, ...]) -> Plan:
    main = gl.Program()
    with gl.program_guard(main):
        results = build(*(gl.data(f"x{i}", list(s)) for i, s in enumerate(shapes)))
    return schedule(optimise(main.snapshot([r.name for r in results])))


def softmax_loss(x: Tensor) -> list[Tensor]:
    loss = ops.reduce_sum(ops.log_softmax(x) * 2.0)
    (grad,) = gl.gradients([loss], [x])
    assert grad is not None
    return [loss, grad]


def test_every_pass_and_memory() -> None:
    """Maximum, sum and gradient: x is read three times; the gradient's buffer takes e^x, gives it back, is written."""
    plan, one = planned(softmax_loss, (640, 100)), 640 * 100 * F32
    assert ideal(plan).read == one
    assert ideal(plan).written == one + F32
    partials = 2 * 8  # two chunks of a float64, written and read again
    assert moved(plan).read == one + partials
    assert moved(plan).written == one + F32 + partials
    assert moved(plan).every_pass == 6 * one + F32 + 2 * partials


def test_rows_beyond_the_cache_are_read_in_each_pass() -> None:
    n = CACHE // F32
    for columns, times in ((n // 4, 1), (n, 3)):
        plan = planned(softmax_loss, (32, columns))
        assert moved(plan).total == pytest.approx(times * ideal(plan).total, rel=1e-3)


def test_a_broadcast_operand_counts_once_while_it_fits() -> None:
    for columns, times in ((64, 1), (CACHE // F32 + 1, 100)):
        plan = planned(lambda x, w: [x * w], (100, columns), (columns,))
        assert moved(plan).read == (100 + times) * columns * F32
        assert ideal(plan).read == (100 + 1) * columns * F32


def test_lines_that_do_not_stay_are_read_again() -> None:
    n = CACHE // LINE
    for rows, times in ((n, 1), (n + 1, LINE // F32)):
        plan = planned(lambda x: [ops.transpose(x, [1, 0]) + 1.0], (rows, 64))
        assert moved(plan).read == times * ideal(plan).read


def test_lines_are_read_whole() -> None:
    strided = planned(lambda x: [x[:, 0] + 1.0], (100, 32))
    assert moved(strided).read == 100 * LINE
    assert ideal(strided).read == 100 * F32
    side_by_side = planned(lambda x: [x[:, 0] + x[:, 1]], (100, 2))
    assert moved(side_by_side).read == ideal(side_by_side).read == 200 * F32


def test_calls_between_kernels_count() -> None:
    plan = planned(lambda x, y: [ops.matmul(x, y) * 2.0], (10, 20), (20, 30))
    inputs, product = (10 * 20 + 20 * 30) * F32, 10 * 30 * F32
    assert moved(plan).total == inputs + 3 * product
    assert ideal(plan).total == inputs + product


def test_an_axis_behind_the_row() -> None:
    """Labels of pixels are read once, although each class of a tile of pixels asks for them."""

    def build(x: Tensor) -> list[Tensor]:
        return [ops.reduce_max(x * ops.reduce_sum(x, 1, True), 1)]

    plan = planned(build, (4, 21, 65536))
    assert moved(plan).total == ideal(plan).total


def test_explain_shows_the_sums() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 10])
        results = softmax_loss(x)
    found = gl.explain(main, results)
    assert found.moved == moved(found.code.plan)
    assert f"reads {found.ideal.read} B" in str(found).split("needed at least:")[1]
    assert sum(found.traffic, Traffic()) == found.moved, "no calls between the kernels"
