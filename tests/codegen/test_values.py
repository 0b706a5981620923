"""Lanes: memory, masks, conversions, integers, reductions, against NumPy."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from graphloss.codegen.values import Lanes, Target
from tests.codegen.harness import Array, Compiled, specials, target, uniform

LEVELS = ("host", "avx2", "sse2")
WIDTHS = (1, 4, 16)
DTYPES = ("float32", "float64", "int32", "int64", "int8", "uint8", "int16", "bool")
Body = Callable[..., None]


def run(body: Body, *arrays: Array, width: int = 16, level: str = "host", number: int = 0) -> None:
    """body(lanes, *pointers, number) once, on arrays it may change."""
    goal = target(level)
    module = ir.Module()
    module.triple = goal.name
    pointer, i64 = ir.PointerType(), ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * len(arrays) + [i64]), "once")
    lanes = Lanes(ir.IRBuilder(function.append_basic_block()), module, width, goal)
    body(lanes, *function.args)
    lanes.builder.ret_void()
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    machine = llvm.Target.from_triple(goal.name).create_target_machine(cpu=goal.cpu, features=goal.features, opt=2)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    types = [ctypes.c_void_p] * len(arrays) + [ctypes.c_int64]
    ctypes.CFUNCTYPE(None, *types)(engine.get_function_address("once"))(*(a.ctypes.data for a in arrays), number)


def numbers(dtype: str, count: int, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).integers(-100, 100, count)
    return values > 0 if dtype == "bool" else values.astype(dtype)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_masked_load_and_store_touch_only_the_first_elements(dtype: str, width: int, level: str) -> None:
    for count in {0, 1, width - 1, width}:
        source, out = numbers(dtype, width), numbers(dtype, width + 1, seed=1)
        want = out.copy()
        want[:count] = source[:count]

        def body(lanes: Lanes, a: ir.Value, b: ir.Value, n: ir.Value) -> None:
            mask = lanes.first(n)
            lanes.masked_store(b, mask, lanes.masked_load(a, mask, dtype), dtype)

        run(body, source, out, width=width, level=level, number=count)
        assert np.array_equal(out, want)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_gather_and_scatter(dtype: str, width: int, level: str) -> None:
    source, out = numbers(dtype, 50), numbers(dtype, 50, seed=1)
    index = np.random.default_rng(2).permutation(50)[:width].astype(np.int32)
    keep = np.arange(width) % 3 != 2
    want = out.copy()
    want[index] = np.where(keep, source[index[::-1]], np.zeros((), dtype))

    def body(lanes: Lanes, a: ir.Value, b: ir.Value, i: ir.Value, r: ir.Value, k: ir.Value, _: ir.Value) -> None:
        found = lanes.gather(a, lanes.load(r, "int32"), dtype, lanes.load(k, "bool"))
        lanes.scatter(b, lanes.convert(lanes.load(i, "int32"), "int32", "int64"), found, dtype)

    run(body, source, out, index, index[::-1].copy(), keep, width=width, level=level)
    assert np.array_equal(out, want)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("source", DTYPES)
def test_convert_is_astype(source: str, level: str) -> None:
    x = numbers(source, 64)
    for dtype in DTYPES:
        value = np.abs(x) if source.startswith("float") and dtype == "uint8" else x
        got = Compiled(lambda lanes, v, d=dtype: lanes.convert(v, source, d), (source,), dtype, level=level)(value)
        assert np.array_equal(got, value.astype(dtype)), dtype


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_reductions(dtype: str, width: int) -> None:
    cases = [numbers(dtype, width)]
    if dtype.startswith("float"):
        cases += [np.where(np.arange(width) == k, np.nan, cases[0]).astype(dtype) for k in {0, width // 2, width - 1}]
    for x in cases:
        out = np.zeros(3, dtype)

        def body(lanes: Lanes, a: ir.Value, b: ir.Value, _: ir.Value) -> None:
            value = lanes.load(a, dtype)
            for k, result in enumerate((lanes.reduce_sum(value), lanes.reduce_max(value), lanes.reduce_min(value))):
                lanes.builder.store(result, lanes.element(b, ir.IntType(64)(k), dtype))

        run(body, x, out, width=width)
        assert np.array_equal(out, np.array([x.sum(), x.max(), x.min()], dtype), equal_nan=True)


@pytest.mark.parametrize("width", WIDTHS)
def test_masks_and_lanes(width: int) -> None:
    for pattern in (np.zeros(width, bool), np.ones(width, bool), np.arange(width) == width - 1):
        out = np.zeros(2, bool)

        def body(lanes: Lanes, a: ir.Value, b: ir.Value, _: ir.Value) -> None:
            mask = lanes.load(a, "bool")
            one = lanes.with_width(1)
            for k, result in enumerate((lanes.reduce_or(mask), lanes.reduce_and(mask))):
                one.store(lanes.element(b, ir.IntType(64)(k), "bool"), result, "bool")

        run(body, pattern, out, width=width)
        assert list(out) == [pattern.any(), pattern.all()]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_first_lanes_of_any_count(width: int) -> None:
    for count in (-3, 0, 1, width, width + 1, 2**32, 2**32 + 1, 2**40):
        out = np.zeros(width, bool)
        run(lambda lanes, p, n: lanes.store(p, lanes.first(n), "bool"), out, width=width, number=count)
        assert np.array_equal(out, np.arange(width) < count), count


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_comparisons_with_nan(dtype: str, level: str) -> None:
    values = specials(dtype)
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    for name, reference in (("lt", np.less), ("le", np.less_equal), ("gt", np.greater), ("ge", np.greater_equal),
                            ("eq", np.equal), ("ne", np.not_equal)):  # fmt: skip
        got = Compiled(lambda lanes, a, b, n=name: getattr(lanes, n)(a, b), (dtype, dtype), "bool", level=level)(x, y)
        assert np.array_equal(got, reference(x, y)), name


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("width", [1, 8, 16, 32])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scale_is_ldexp(dtype: str, width: int, level: str) -> None:
    bias = 127 if dtype == "float32" else 1023
    x = uniform(dtype, 1, 2, 4000)
    n = np.random.default_rng(1).integers(-2 * bias, 2 * bias, x.size)
    kernel = Compiled(lambda lanes, a, b: lanes.scale(a, b), (dtype, dtype), dtype, width, level)
    with np.errstate(over="ignore", under="ignore"):
        assert np.array_equal(kernel(x, n.astype(dtype)), np.ldexp(x, n))


@pytest.mark.parametrize("level", LEVELS)
def test_integers_wrap_and_shift(level: str) -> None:
    a, b = (np.random.default_rng(s).integers(-(2**31), 2**31, 64).astype(np.int32) for s in (0, 1))
    expected = {
        "add": a + b, "sub": a - b, "mul": a * b, "and_": a & b, "or_": a | b, "xor": a ^ b, "min": np.minimum(a, b),
        "max": np.maximum(a, b),
    }  # fmt: skip
    for name, want in expected.items():
        got = Compiled(lambda lanes, x, y, n=name: getattr(lanes, n)(x, y), ("int32",) * 2, "int32", level=level)(a, b)
        assert np.array_equal(got, want), name
    for name, want in {"shl": a << 5, "ashr": a >> 5, "lshr": (a.view(np.uint32) >> 5).view(np.int32)}.items():
        got = Compiled(lambda lanes, x, n=name: getattr(lanes, n)(x, 5), ("int32",), "int32", level=level)(a)
        assert np.array_equal(got, want), name
    for name, want in {"neg": -a, "abs": np.abs(a), "not_": ~a}.items():
        got = Compiled(lambda lanes, x, n=name: getattr(lanes, n)(x), ("int32",), "int32", level=level)(a)
        assert np.array_equal(got, want), name


def test_a_constant_prints_as_one_splat() -> None:
    module = ir.Module()
    lanes = Lanes(ir.IRBuilder(), module, 16, target("host"))
    assert str(lanes.const("float32", 1.5)) == "<16 x float> splat (float 0x3ff8000000000000)"
    assert lanes.constant_value(lanes.const("float64", 0.25)) == 0.25
    assert lanes.constant_value(lanes.iota("int32")) is None


def test_width_is_a_power_of_two() -> None:
    with pytest.raises(ValueError, match="power of two"):
        Lanes(ir.IRBuilder(), ir.Module(), 12, target("host"))


def test_levels_of_the_target() -> None:
    assert not Target.host("sse2").has_fma
    assert not Target.host("sse2").has_round
    assert Target.host("avx2").has_fma
    assert not Target.host("avx2").has_ldexp
    with pytest.raises(ValueError, match="feature level"):
        Target.host("avx1024")
