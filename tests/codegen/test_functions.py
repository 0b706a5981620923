"""Every scalar function and every cast on integers and bools, and the exact ones on floats, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import graphloss as gl
from graphloss.codegen.kernel import emit_module
from graphloss.codegen.table import Table
from graphloss.codegen.target import Target
from graphloss.dtypes import HALVES, INTS, SHORT
from graphloss.errors import UnsupportedError
from graphloss.ir import dims
from graphloss.ir.scalar import FUNCTIONS
from graphloss.schedule.kernel import Tile
from tests.codegen.kernel_reference import BINARY, UNARY
from tests.codegen.kernel_runner import Build, Compiled, E

COMPARISONS = ["lt", "le", "gt", "ge", "eq", "ne"]
LOGIC = ["and", "or", "xor", "not"]
TESTS = ["isnan", "isinf", "isfinite"]
BY_DTYPE = {
    **{d: [*COMPARISONS, *LOGIC, *TESTS, "add", "sub", "mul", "neg", "abs", "sign", "max", "min", "mod", "floordiv",
           "floor", "ceil", "round", "trunc", "select"] for d in INTS},
    "bool": [*COMPARISONS, *LOGIC, *TESTS, "add", "mul", "max", "min", "abs", "select"],
    **{d: [*COMPARISONS, *TESTS, "add", "sub", "mul", "div", "neg", "abs", "sign", "max", "min", "floor", "ceil",
           "round", "trunc", "sqrt", "reciprocal", "select"] for d in ("float32", "float64")},
}  # fmt: skip


def values(dtype: str) -> np.ndarray:
    if dtype == "bool":
        return np.array([False, True])
    if dtype[0] == "f":
        return np.array([0.0, -0.0, 1.5, -2.5, 0.5, 7.0, np.inf, -np.inf, np.nan, 1e30, -3e-30], dtype)
    info = np.iinfo(dtype)
    return np.array([info.min, info.max, 0, 1, 2, 7, 100, info.max // 3, *([] if info.min == 0 else [-1, -7])], dtype)


def pairs(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    x = values(dtype)
    return np.repeat(x, x.size), np.tile(x, x.size)


@pytest.mark.parametrize("dtype", list(BY_DTYPE))
def test_functions(dtype: str) -> None:
    a, c = pairs(dtype)
    size = a.size
    b = Build(Tile.ROWS, (), dims.symbol("N"), split_row=True, grain=1000)
    x, y = b.load("x", E, [0], dtype), b.load("y", E, [0], dtype)
    cond = b.apply("ge", E, [0], x, y, dtype="bool")
    for fn in BY_DTYPE[dtype]:
        args = (cond, x, y) if fn == "select" else (x, y)[: FUNCTIONS[fn].arity]
        result = "bool" if FUNCTIONS[fn].result == "bool" and fn not in LOGIC else dtype
        b.store(fn, E, [0], b.apply(fn, E, [0], *args, dtype=result))
    arrays = {name: np.zeros(size, buffer.dtype) for name, buffer in b.buffers.items()}
    arrays["x"][:], arrays["y"][:] = a, c
    Compiled(b.kernel()).run({"N": size}, arrays)
    with np.errstate(all="ignore"):
        for fn in BY_DTYPE[dtype]:
            if fn == "select":
                want = np.where(a >= c, a, c)
            elif fn == "not" and dtype != "bool":
                want = np.bitwise_not(a)
            elif fn == "round" and dtype[0] != "f":
                want = a
            elif fn in TESTS and dtype[0] != "f":
                want = np.full(size, fn == "isfinite")
            else:
                want = UNARY[fn](a) if fn in UNARY else BINARY[fn](a, c)
            np.testing.assert_array_equal(arrays[fn], want.astype(arrays[fn].dtype), err_msg=f"{fn} of {dtype}")
            if dtype[0] == "f" and fn not in ("max", "min", "sign"):  # the sign of zero, too
                plain = ~np.isnan(want.astype("float64"))
                np.testing.assert_array_equal(np.signbit(arrays[fn][plain]), np.signbit(want[plain]), err_msg=fn)


PLAIN = [dtype for dtype in SHORT if dtype not in HALVES]  # of those, test_half


@pytest.mark.parametrize("source", PLAIN)
def test_casts(source: str) -> None:
    x = values(source)
    if source[0] == "f":
        x = x[np.isfinite(x) & (np.abs(x) < 100)]
    b = Build(Tile.ROWS, (), dims.symbol("N"), split_row=True, grain=1000)
    v = b.load("x", E, [0], source)
    for target in PLAIN:
        b.store(f"to_{target}", E, [0], b.apply("cast", E, [0], v, dtype=target))
    arrays = {name: np.zeros(x.size, buffer.dtype) for name, buffer in b.buffers.items()}
    arrays["x"][:] = x
    Compiled(b.kernel()).run({"N": x.size}, arrays)
    for target in PLAIN:
        if source[0] == "f" and target == "uint8":
            continue  # of a negative float: undefined
        np.testing.assert_array_equal(arrays[f"to_{target}"], x.astype(target), err_msg=f"{source} to {target}")


@pytest.mark.parametrize(("fn", "dtype"), [("exp", "int64"), ("sub", "bool")])
def test_functions_without_a_meaning_are_refused(fn: str, dtype: str) -> None:
    b = Build(Tile.ROWS, (), dims.symbol("N"), split_row=True)
    x = b.load("x", E, [0], dtype)
    b.store("y", E, [0], b.apply(fn, E, [0], *[x] * FUNCTIONS[fn].arity))
    kernel = b.kernel()
    with pytest.raises(UnsupportedError, match=f"kernels have no {fn} of {dtype}"):
        emit_module([kernel], Table.build([kernel]), Target.host())


def test_long_functions_become_calls_where_there_are_many() -> None:
    """A kernel of a hundred exponentials calls one function; the numbers are those of the inline code."""

    def chain(length: int) -> tuple[str, np.ndarray]:
        main = gl.Program()
        with gl.program_guard(main):
            x = y = gl.data("x", [None])
            for _ in range(length):
                y = gl.layers.exp(y * -1.0)
        explanation = gl.explain(main, [y])
        feed = {"x": np.linspace(-1, 1, 50, dtype="float32")}
        (value,) = gl.Executor().run(main, feed, [y])
        del x
        return explanation.llvm_ir(), value

    few, _ = chain(3)
    many, value = chain(100)
    assert "graphloss.call.exp.float32" not in few
    assert "graphloss.call.exp.float32" in many
    want = np.linspace(-1, 1, 50, dtype="float32").astype(np.float64)
    for _ in range(100):
        want = np.exp(-want)
    np.testing.assert_allclose(value, want, rtol=1e-6)
