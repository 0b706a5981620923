"""Regions by structure, on kernels built by hand: which may run some rows at a time, and what may overwrite what."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from graphloss.ir import dims
from graphloss.ir.forms import Cut, Host
from graphloss.schedule.chunked import Region, Step, regions
from graphloss.schedule.in_place import overwrites
from graphloss.schedule.kernel import Buffer, Kernel, Tile
from graphloss.schedule.values import HostCall
from tests.codegen.kernel_runner import Build, E, R

N, C = dims.symbol("N"), 100
ROWS, SUM = Cut((0, None), 0), Cut((0, 0), None)
SHAPES = {"x": (N, 4), "w": (4, C), "logits": (N, C), "out": (N, C), "dw": (4, C), "each": (N,), "p": (N,)}


def call(inputs: tuple[str, ...], output: str, *cuts: Cut) -> HostCall:
    return HostCall(op="product", source=None, inputs=inputs, outputs=(output,), form=Host(lambda a, s: a, cuts=cuts))


def buffers(**dtypes: str) -> dict[str, Buffer]:
    roles = {"x": "input", "w": "input", "dw": "output", "each": "output"}
    return {n: Buffer(n, dtypes.get(n, "float32"), shape, roles.get(n, "temp")) for n, shape in SHAPES.items()}


def found(*steps: Step, results: Sequence[str] = ("dw", "each")) -> list[Region]:
    order, all_ = regions(steps, buffers(), set(results))
    assert sorted(map(named, order)) == sorted(map(named, steps))
    return all_


def named(step: Step) -> str:
    return step.outputs[0] if isinstance(step, HostCall) else step.name


def exponential(load: Callable[[Build], int], outer: dims.Dim = N, write: bool = True) -> Kernel:
    b = Build(Tile.ROWS, (outer,), C)
    e = b.apply("exp", E, [0], load(b))
    if write:
        b.store("out", E, [0], e)
    b.store("each", R, [1], b.reduce("sum", 0, e), (1, 0))
    return b.kernel()


def own_row(b: Build) -> int:
    return b.load("logits", E, [0])


PRODUCT = call(("x", "w"), "logits", ROWS)
GRADIENT = call(("x", "out"), "dw", SUM)


def test_product_kernel_product() -> None:
    (region,) = found(PRODUCT, exponential(own_row), GRADIENT)
    assert (region.begin, region.end, region.rows) == (0, 3, N)
    assert region.local == {"logits": 0, "out": 0}, "each element is read before it is overwritten"
    assert region.slots == (4 * C,) and region.sums == (16 * C,)
    assert region.cuts == {0: ROWS, 2: SUM}


@pytest.mark.parametrize(
    "load",
    [
        lambda b: b.load("logits", E, [0], offset=1),  # ends in the next row
        lambda b: b.load("logits", E, [0], offset=C),  # the next row
        lambda b: b.load("logits", E, [0], offset=-1),
        lambda b: b.load("logits", E, [0], strides=(0, 1)),  # the first row
        lambda b: b.load("logits", E, [0], strides=(C, -1)),
        lambda b: b.load("logits", E, [0], strides=(C, C)),
        lambda b: b.pick("logits", R, [0], b.load("y", R, [0], "int64", (1, 0)), 1, strides=(C, 0)),  # unchecked
        lambda b: b.pick(
            "logits", R, [0], b.check(R, [0], b.load("y", R, [0], "int64", (1, 0)), C + 1), 1, strides=(C, 0)
        ),
    ],
)
def test_a_kernel_that_may_look_into_other_rows(load: Callable[[Build], int]) -> None:
    def both(b: Build) -> int:
        own = own_row(b)
        return b.apply("add", E, [0], own, load(b))

    assert found(PRODUCT, exponential(both), GRADIENT) == []


def test_reads_inside_the_row() -> None:
    def both(b: Build) -> int:
        label = b.check(R, [0], b.load("y", R, [0], "int64", (1, 0)), C)
        picked = b.pick("logits", R, [0], label, 1, strides=(C, 0))
        backwards = b.load("logits", E, [0], strides=(C, -1), offset=C - 1)
        return b.apply("add", E, [0], backwards, picked)

    (region,) = found(PRODUCT, exponential(both), GRADIENT)
    assert len(region.slots) == 2, "backwards: an element would be overwritten before it is read"


def test_other_rows_than_those_of_the_product() -> None:
    assert found(PRODUCT, exponential(own_row, outer=dims.sub(N, 1)), GRADIENT) == []


def test_logits_that_are_a_result_or_read_elsewhere() -> None:
    kernel = exponential(own_row)
    (region,) = found(PRODUCT, kernel, GRADIENT, results=("dw", "each", "logits"))
    assert set(region.local) == {"out"}
    other = call(("logits", "w"), "p")
    (region,) = found(PRODUCT, kernel, GRADIENT, other)
    assert set(region.local) == {"out"}


def test_a_call_that_cannot_be_cut() -> None:
    assert found(call(("x", "w"), "logits"), exponential(own_row), GRADIENT) == []
    (region,) = found(PRODUCT, exponential(own_row), call(("x", "out"), "dw"))
    assert set(region.local) == {"logits"}


def test_sums_of_half_precision_stay_whole() -> None:
    _, (region,) = regions((PRODUCT, exponential(own_row), GRADIENT), buffers(dw="float16"), {"dw"})
    assert set(region.local) == {"logits"} and region.sums == ()


def test_what_needs_a_sum_of_the_region_comes_after_it() -> None:
    b = Build(Tile.ROWS, (N,), C)
    b.total("sum", E, 0, b.load("logits", E, [0]), "p")
    first = b.kernel("sums")
    b = Build(Tile.ROWS, (N,), C)
    b.store("out", E, [0], b.apply("mul", E, [0], b.load("logits", E, [0]), b.load("p", R, [0], strides=(0, 0))))
    assert found(PRODUCT, first, b.kernel("gradient"), GRADIENT) == [], "the logits are read again after the sum"


def test_steps_between_move_out_of_the_region() -> None:
    b = Build(Tile.ROWS, (), N)
    b.store("p", R, [1], b.reduce("sum", 0, b.load("each", E, [0])), (0,))
    finish, kernel = b.kernel("finish"), exponential(own_row)
    order, (region,) = regions((PRODUCT, kernel, finish, GRADIENT), buffers(), {"dw", "p"})
    assert [*map(named, order)] == ["logits", kernel.name, "dw", "finish"] and region.end == 3
    assert order[3] is finish


def each(offset: int = 0, width: int = C) -> Kernel:
    """All elements as one axis, cut where a chunk of elements ends."""
    b = Build(Tile.ROWS, (), dims.mul(N, width), grain=32, split_row=True)
    value = b.load("logits", E, [0], offset=offset)
    b.total("sum", E, 0, value, "parts")
    b.store("out", E, [0], value)
    return b.kernel("flat")


def test_a_walk_over_elements_is_cut_between_rows() -> None:
    all_buffers = {**buffers(), "parts": Buffer("parts", "float64", (dims.floordiv(dims.mul(N, C), 32),), "partial")}
    b = Build(Tile.ROWS, (), all_buffers["parts"].shape[0])
    b.store("sum", R, [1], b.reduce("sum", 0, b.load("parts", E, [0], "float64")), (0,))
    order, (region,) = regions((PRODUCT, each(), GRADIENT, b.kernel("finish")), all_buffers, {"dw", "sum"})
    assert [*map(named, order)] == ["logits", "flat", "dw", "finish"]
    assert region.local == {"logits": 0, "out": 0} and region.grain == 320
    flat, finish = order[1], order[3]
    assert isinstance(flat, Kernel) and isinstance(finish, Kernel)
    assert flat.grain == 320 * C and flat.split_row
    chunks = dims.floordiv(dims.add(N, 319), 320)
    assert dims.evaluate(finish.row or 0, {"N": 1000}) == dims.evaluate(chunks, {"N": 1000}) == 4
    assert all_buffers["parts"].shape == (finish.row,), "one partial result per chunk of rows"


@pytest.mark.parametrize("kernel", [each(offset=1), each(offset=-1), each(width=C - 1), each(width=2 * C)])
def test_a_walk_over_elements_of_other_rows(kernel: Kernel) -> None:
    assert found(PRODUCT, kernel, GRADIENT) == []


def test_a_walk_over_parts_of_rows() -> None:
    b = Build(Tile.ROWS, (dims.mul(N, 4),), C // 4, grain=8)
    b.store("out", E, [0], b.apply("exp", E, [0], b.load("logits", E, [0], strides=(C // 4, 1))), (C // 4, 1))
    kernel = b.kernel()
    order, (region,) = regions((PRODUCT, kernel, GRADIENT), buffers(), {"dw"})
    assert set(region.local) == {"logits", "out"}
    (walk,) = (s for s in order if isinstance(s, Kernel))
    assert walk.grain == dims.mul(region.grain, 4)


def column_sums(read: str = "out", offset: int = 0, *, total: bool = False) -> Kernel:
    b = Build(Tile.COLUMNS, (), N, C, grain=1)
    scale = b.load("factor", R, [0], strides=(0, 1))
    value = b.apply("mul", E, [0], b.load(read, E, [0], strides=(C, 1), offset=offset), scale)
    if total:
        b.total("sum", E, 0, value, "parts")
    column = b.reduce("sum", 0, value)
    b.store("db", R, [1], b.apply("mul", R, [1], column, scale), (0, 1))
    return b.kernel("columns")


def test_sums_of_columns_join_the_region() -> None:
    all_buffers = {**buffers(), "db": Buffer("db", "float32", (C,), "output")}
    all_buffers["factor"] = Buffer("factor", "float32", (C,), "input")
    steps = (PRODUCT, exponential(own_row), column_sums(), GRADIENT)
    order, (region,) = regions(steps, all_buffers, {"dw", "each", "db"})
    assert [*map(named, order)] == ["logits", "k0", "columns", "dw", "columns_sums"]
    assert set(region.local) == {"logits", "out"} and len(region.folds) == 1 and region.grain == 320
    walk, sums = order[2], order[4]
    assert isinstance(walk, Kernel) and isinstance(sums, Kernel)
    assert walk.outer == (N,) and walk.row == C and walk.tile == Tile.ROWS
    assert sums.row == 1 and {b.name for b in sums.buffers} == {*region.folds, "factor", "db"}


def test_a_total_beside_sums_of_columns_has_a_part_per_chunk() -> None:
    all_buffers = {**buffers(), "db": Buffer("db", "float32", (C,), "output")}
    all_buffers["factor"] = Buffer("factor", "float32", (C,), "input")
    all_buffers["parts"] = Buffer("parts", "float64", (1,), "partial")
    b = Build(Tile.ROWS, (), 1)
    b.store("sum", R, [1], b.reduce("sum", 0, b.load("parts", E, [0], "float64")), (0,))
    steps = (PRODUCT, column_sums("logits", total=True), b.kernel("finish"))
    order, (region,) = regions(steps, all_buffers, {"db", "sum"})
    assert [*map(named, order)] == ["logits", "columns", "columns_sums", "finish"]
    finish = order[3]
    assert isinstance(finish, Kernel) and finish.row == dims.floordiv(dims.add(N, 319), 320) and region.grain == 320
    assert finish.buffers[0].shape == all_buffers["parts"].shape == (finish.row,)


def test_sums_of_columns_of_other_rows() -> None:
    all_buffers = {**buffers(), "db": Buffer("db", "float32", (C,), "output")}
    all_buffers["factor"] = Buffer("factor", "float32", (C,), "input")
    steps = (PRODUCT, exponential(own_row), column_sums(offset=C), GRADIENT)
    _, (region,) = regions(steps, all_buffers, {"dw", "each", "db"})
    assert set(region.local) == {"logits"} and not region.folds


def in_two_passes(reads: Sequence[int], write: int = 1, after: bool = False) -> Kernel:
    """A kernel that reads `a` in some passes and writes `b` in one of them, before the read or after it."""
    k = Build(Tile.ROWS, (N,), C, passes=2)
    if after:
        k.keep("b", [write], k.const(1.0))
    value = k.load("a", E, reads)
    k.reduce("sum", 0, value)
    k.store("b", E, [write], value)
    return k.kernel()


@pytest.mark.parametrize(
    ("kernel", "may"),
    [
        (in_two_passes([0, 1]), True),
        (in_two_passes([0]), True),
        (in_two_passes([0, 1], write=0), False),
        (in_two_passes([0, 1], after=True), False),
    ],
)
def test_what_may_overwrite_in_passes(kernel: Kernel, may: bool) -> None:
    assert overwrites(kernel, "b", "a") is may


def in_lanes(strides: Sequence[int] = (12, 3, 1), offset: int = 0, stride: int = 3, write: int = 1) -> Kernel:
    """A kernel on (N, 4, 3) that reads `a` at its place in the first pass, and picks one along the row ahead of it."""
    k = Build(Tile.COLUMNS, (N,), 4, 3, passes=2)
    label = k.check(R, [0], k.load("label", R, [0], "int64", (1, 0, 0)), 4)
    picked = k.pick("a", R, [0], label, stride, strides=(12, 0, 1))
    value = k.load("a", E, [0], strides=strides, offset=offset)
    k.reduce("sum", 0, value)
    k.store("b", E, [write], k.apply("mul", E, [write], picked, value))
    return k.kernel()


@pytest.mark.parametrize(
    ("kernel", "may"),
    [
        (in_lanes(), True),
        (in_lanes(write=0), True),
        (in_lanes(strides=(12, 3, 0)), False),  # the first lane, which another tile may have overwritten
        (in_lanes(offset=1), False),
        (in_lanes(strides=(12, -3, 1), offset=9), False),
        (in_lanes(stride=2), False),
    ],
)
def test_what_may_overwrite_in_lanes(kernel: Kernel, may: bool) -> None:
    assert overwrites(kernel, "b", "a") is may


def in_rows_of_a_row(strides: Sequence[int] = (12, 4, 1), offset: int = 0, passes: Sequence[int] = (0, 1)) -> Kernel:
    """A kernel whose rows are parts of those of `a` and `b`."""
    k = Build(Tile.ROWS, (N, 3), 4, passes=2)
    value = k.load("a", E, passes, strides=strides, offset=offset)
    k.reduce("sum", 0, value)
    k.store("b", E, [1], value if 1 in passes else k.const(1.0))
    return k.kernel()


@pytest.mark.parametrize(
    ("kernel", "may"),
    [
        (in_rows_of_a_row(), True),
        (in_rows_of_a_row(passes=[0]), True),
        (in_rows_of_a_row(strides=(12, 0, 1), passes=[0]), False),  # the first part, read for the others too
        (in_rows_of_a_row(strides=(12, -4, 1), offset=8, passes=[0]), False),
        (in_rows_of_a_row(strides=(12, 4, 0), passes=[0]), True),
    ],
)
def test_what_may_overwrite_in_parts_of_a_row(kernel: Kernel, may: bool) -> None:
    assert overwrites(kernel, "b", "a") is may


def test_what_may_overwrite_in_a_walk_over_elements() -> None:
    assert overwrites(each(), "out", "logits") and not overwrites(each(offset=1), "out", "logits")
