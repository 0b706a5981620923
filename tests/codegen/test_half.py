"""float16 and bfloat16 to float32 and back, loaded, stored: every bit pattern, each set of features, against NumPy."""

from __future__ import annotations

from functools import cache
from typing import Any

import llvmlite.binding as llvm
import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

from graphloss.codegen.kernel import emit_module
from graphloss.codegen.table import Table
from graphloss.ir import dims
from graphloss.ops.registry import get
from graphloss.schedule.kernel import Kernel, Tile
from tests.codegen import kernel_runner
from tests.codegen.harness import Compiled, around, stratified, target
from tests.codegen.kernel_runner import E

Array = npt.NDArray[Any]

HALVES = ("float16", "bfloat16")
LEVELS = ("host", "avx2", "sse4", "sse2")
EVERY = np.arange(1 << 16, dtype=np.uint16)


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    return np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)


@cache
def conversion(source: str, target: str, level: str, width: int) -> Compiled:
    return Compiled(lambda lanes, x: lanes.convert(x, source, target), (source,), target, width, level)


@cache
def float32_numbers() -> Array:
    """All halves, the middles between neighbours and what lies beside them; all exponents; the ends of the ranges."""
    found = [stratified("float32", 64)]
    for dtype in HALVES:
        with np.errstate(invalid="ignore"):
            exact = EVERY.view(numpy_dtype(dtype)).astype(np.float32)
        exact = np.sort(exact[np.isfinite(exact)].astype(np.float64))
        middle = ((exact[1:] + exact[:-1]) / 2).astype(np.float32)
        found += [exact.astype(np.float32), middle, np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf)]
        largest = float(ml_dtypes.finfo(numpy_dtype(dtype)).max)
        found += [around("float32", s * largest, 1 << 14) for s in (1, -1)]
    tiny = np.arange(1 << 12, dtype=np.uint32).view(np.float32)
    found += [tiny, -tiny, np.array([65519.996, 65520.0, 65520.004, np.inf, -np.inf, np.nan], np.float32)]
    return np.concatenate([np.asarray(a, np.float32) for a in found])


def nans() -> Array:
    """NaN of both signs: quiet, signalling, with bits at either end of the payload only."""
    return np.array([0x7FC00000, 0x7F800001, 0x7F801000, 0x7FFFFFFF, 0xFFC00000, 0xFF800001], np.uint32).view("float32")


def assert_same_bits(got: Array, want: Array) -> None:
    """Bit by bit, the sign of zero too; a NaN is as good as another."""
    bits = np.uint32 if got.dtype.itemsize == 4 else np.uint16
    with np.errstate(invalid="ignore"):  # a signalling NaN
        number = ~np.isnan(want)
        np.testing.assert_array_equal(np.isnan(got), ~number)
    np.testing.assert_array_equal(got.view(bits)[number], want.view(bits)[number])


@pytest.mark.parametrize("width", [16, 1])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", HALVES)
def test_every_half_is_loaded_exactly(dtype: str, level: str, width: int) -> None:
    x = EVERY.view(numpy_dtype(dtype))
    with np.errstate(invalid="ignore"):
        want = x.astype(np.float32)
    assert_same_bits(conversion(dtype, "float32", level, width)(x), want)


@pytest.mark.parametrize("width", [16, 1])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", HALVES)
def test_float32_is_rounded_to_the_nearest_half(dtype: str, level: str, width: int) -> None:
    x = np.concatenate([float32_numbers(), nans()])
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        want = x.astype(numpy_dtype(dtype))
    assert_same_bits(conversion("float32", dtype, level, width)(x), want)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", HALVES)
def test_float64_is_rounded_once(dtype: str, level: str) -> None:
    """Also where the float32 between the two is exactly the middle, and the float64 is not."""
    x = float32_numbers()
    x = x[:: x.size // 100_000].astype(np.float64)
    x = np.concatenate([x, x * (1 + 2.0**-40), x * (1 - 2.0**-40), [1e300, -1e300, 1e-300, -1e-300, 5e-324, np.nan]])
    got = conversion("float64", dtype, level, 16)(x)
    with np.errstate(all="ignore"):
        assert_same_bits(got, get("cast").reference([x], {"dtype": dtype})[0])
    assert_nearest(got, x)


def assert_nearest(got: Array, x: Array) -> None:
    """No neighbour is nearer, and of two that are equally near the result is even; exact in long doubles."""
    high = float(ml_dtypes.finfo(got.dtype).max)
    inside = np.isfinite(got.astype(np.float64)) & (np.abs(got.astype(np.float64)) < high)
    found, exact = got[inside], x[inside].astype(np.longdouble)
    bits = found.view(np.int16)
    error = np.abs(found.astype(np.longdouble) - exact)
    for step in (1, -1):
        beside = (bits + np.int16(step)).astype(np.int16).view(got.dtype)
        beside = np.where((bits & 0x7FFF == 0) & (step < 0), np.array([-1], np.int16).view(got.dtype), beside)
        other = np.abs(beside.astype(np.longdouble) - exact)
        valid = np.isfinite(beside.astype(np.float64))
        assert np.all(error[valid] <= other[valid])
        assert np.all(bits[valid & (error == other)] & 1 == 0)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", HALVES)
def test_what_was_stored_is_what_is_loaded(dtype: str, level: str) -> None:
    x = EVERY.view(numpy_dtype(dtype))
    wide = conversion(dtype, "float32", level, 16)(x)
    assert_same_bits(conversion("float32", dtype, level, 16)(wide), x)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", HALVES)
def test_no_library_is_called(dtype: str, level: str) -> None:
    for source, result in ((dtype, "float32"), ("float32", dtype), ("float64", dtype), (dtype, "float64")):
        assembly = conversion(source, result, level, 16).assembly()
        assert "__" not in assembly and "callq" not in assembly


@pytest.mark.parametrize("dtype", HALVES)
def test_numbers_of_other_types(dtype: str) -> None:
    half = numpy_dtype(dtype)
    for source in ("int8", "uint8", "int16", "int32", "int64", "bool"):
        info = None if source == "bool" else np.iinfo(source)
        x = np.array([0, 1] if info is None else [0, 1, 7, 100, info.min, info.max], source)
        x = np.tile(x, 16)
        with np.errstate(over="ignore"):
            assert_same_bits(conversion(source, dtype, "host", 16)(x), x.astype(np.float32).astype(half))
    x = np.array([0.0, -0.0, 1.5, -2.5, 100.0, np.nan, np.inf, 6e-8], np.float32).astype(half)
    np.testing.assert_array_equal(conversion(dtype, "bool", "host", 16)(x), x.astype(np.float32) != 0)
    np.testing.assert_array_equal(conversion(dtype, "int32", "host", 16)(x[:5]), x[:5].astype(np.float32).astype("i4"))


class OnLevel(kernel_runner.Compiled):
    """Kernels with the features of a level, and no others."""

    def __init__(self, *kernels: Kernel, level: str) -> None:
        goal = target(level)
        self.kernels, self.table = kernels, Table.build(kernels)
        names = [f"k{i}" for i in range(len(kernels))]
        module = llvm.parse_assembly(str(emit_module(kernels, self.table, goal, [[k.name for k in kernels]])))
        machine = llvm.Target.from_triple(goal.name).create_target_machine(cpu=goal.cpu, features=goal.features, opt=2)
        self.engine = llvm.create_mcjit_compiler(module, machine)
        self.engine.finalize_object()
        self.loaded = {n: self.engine.get_function_address(n) for n in (*names, "run_0")}


@cache
def tripled(dtype: str, level: str) -> OnLevel:
    """y = 3·x, and t = x transposed."""
    n, c = dims.symbol("N"), dims.symbol("C")
    b = kernel_runner.Build(Tile.ROWS, (n,), c)
    x = b.load("x", E, [0], dtype, strides=(c, 1))
    wide = b.apply("cast", E, [0], x, dtype="float32")
    three = b.apply("mul", E, [0], wide, b.const(3.0))
    b.store("y", E, [0], b.apply("cast", E, [0], three, dtype=dtype), strides=(c, 1))
    b.store("t", E, [0], x, strides=(1, n))
    return OnLevel(b.kernel(), level=level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", HALVES)
def test_rows_of_any_length(dtype: str, level: str) -> None:
    """Masked loads and stores, and stores with gaps: nothing beyond the array is touched."""
    kernel, half = tripled(dtype, level), numpy_dtype(dtype)
    for rows, length in ((1, 1), (3, 7), (2, 16), (5, 17), (4, 33), (17, 3), (2, 0)):
        x = np.random.default_rng(length).normal(size=(rows, length)).astype(half)
        arrays = {name: np.full(rows * length + 40, 7, half) for name in "xyt"}
        arrays["x"][: x.size] = x.ravel()
        kernel.run({"N": rows, "C": length}, arrays)
        want = (x.astype(np.float32) * np.float32(3)).astype(half)
        assert_same_bits(arrays["y"][: x.size], want.ravel())
        assert_same_bits(arrays["t"][: x.size], x.T.ravel())
        assert all(np.all(arrays[name][x.size :] == half.type(7)) for name in "yt")
