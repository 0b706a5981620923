"""Compile one function of the math library over arrays, sample its argument, measure its error."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt
from llvmlite import ir

from graphloss.codegen.math import emit
from graphloss.codegen.values import Lanes, Target

Array = npt.NDArray[Any]
Body = Callable[..., ir.Value]


@cache
def target(level: str) -> Target:
    """The host, or the host with fewer features; `level` "host" or one of `Target.host`."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return Target.host(None if level == "host" else level)


def kernel_text(body: Body, dtypes: tuple[str, ...], result: str, width: int, goal: Target) -> str:
    """LLVM IR of `void kernel(ptr out, ptr in_0, ..., i64 vectors)` that applies body(lanes, *values)."""
    module = ir.Module()
    module.triple = goal.name
    pointer, i64 = ir.PointerType(), ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * (len(dtypes) + 1) + [i64]), "kernel")
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))
    builder = ir.IRBuilder(entry)
    lanes = Lanes(builder, module, width, goal)
    out, *inputs, count = function.args
    builder.cbranch(builder.icmp_signed(">", count, i64(0)), loop, end)
    builder.position_at_end(loop)
    step = builder.phi(i64)
    step.add_incoming(i64(0), entry)
    first = builder.mul(step, i64(width))
    values = [lanes.load(lanes.element(p, first, d), d) for p, d in zip(inputs, dtypes, strict=True)]
    lanes.store(lanes.element(out, first, result), body(lanes, *values), result)
    following = builder.add(step, i64(1))
    step.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, end)
    builder.position_at_end(end)
    builder.ret_void()
    return str(module)


class Compiled:
    """A kernel that takes and returns arrays."""

    def __init__(self, body: Body, dtypes: tuple[str, ...], result: str, width: int = 16, level: str = "host") -> None:
        goal = target(level)
        self.text = kernel_text(body, dtypes, result, width, goal)
        self.width, self.dtypes, self.result = width, dtypes, result
        module = llvm.parse_assembly(self.text)
        module.verify()
        self.machine = llvm.Target.from_triple(goal.name).create_target_machine(
            cpu=goal.cpu, features=goal.features, opt=2
        )
        self.engine = llvm.create_mcjit_compiler(module, self.machine)
        self.engine.finalize_object()
        types = [ctypes.c_void_p] * (len(dtypes) + 1) + [ctypes.c_int64]
        self.call = ctypes.CFUNCTYPE(None, *types)(self.engine.get_function_address("kernel"))

    def assembly(self) -> str:
        return str(self.machine.emit_assembly(llvm.parse_assembly(self.text)))

    def __call__(self, *arrays: npt.ArrayLike) -> Array:
        flat = [np.asarray(a, d).ravel() for a, d in zip(arrays, self.dtypes, strict=True)]
        size = flat[0].size
        padded = -(-size // self.width) * self.width
        inputs = [np.concatenate([a, np.ones(padded - size, a.dtype)]) for a in flat]
        out = np.empty(padded, self.result)
        self.call(out.ctypes.data, *(a.ctypes.data for a in inputs), padded // self.width)
        return out[:size]


@cache
def compiled(function: str, dtype: str, arguments: int = 1, width: int = 16, level: str = "host") -> Compiled:
    """One function of the math library on arrays of `dtype`."""
    return Compiled(lambda lanes, *a: emit(lanes, function, dtype, *a), (dtype,) * arguments, dtype, width, level)


def stratified(dtype: str, per_exponent: int, seed: int = 0) -> Array:
    """Values of both signs over every exponent of the format, subnormals included."""
    rng = np.random.default_rng(seed)
    mantissa, exponents, bits = (23, 255, np.uint32) if dtype == "float32" else (52, 2047, np.uint64)
    fields = np.repeat(np.arange(exponents, dtype=bits), per_exponent) << bits(mantissa)
    fractions = rng.integers(0, 1 << mantissa, fields.size, dtype=bits)
    fractions[::per_exponent] = 0
    fractions[1::per_exponent] = (1 << mantissa) - 1
    positive = (fields | fractions).view(dtype)
    return np.concatenate([positive, -positive])


def specials(dtype: str) -> Array:
    """±0, ±∞, NaN, the ends of the normal and subnormal ranges, small integers and halves."""
    info = np.finfo(dtype)
    sizes = [0.0, np.inf, info.max, info.tiny, info.smallest_subnormal, 1.0, 0.5, 1.5, 2.0, 3.0, 2.5, 10.0, 0.1]
    near = [np.nextafter(np.array(v, dtype), np.array(w, dtype)) for v in (1.0, 2.0, 0.5) for w in (0.0, 4.0)]
    values = np.array([*sizes, *near], dtype)
    return np.concatenate([values, -values, np.array([np.nan], dtype)])


def around(dtype: str, center: float, steps: int) -> Array:
    """The neighbours of a value, `steps` on each side."""
    bits = np.int32 if dtype == "float32" else np.int64
    middle = np.array([center], dtype).view(bits)[0]
    return (middle + np.arange(-steps, steps + 1, dtype=bits)).astype(bits).view(dtype)


def uniform(dtype: str, low: float, high: float, count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(low, high, count).astype(dtype)


def ulps(got: Array, exact: npt.NDArray[np.longdouble], floor: npt.ArrayLike = 0.0) -> npt.NDArray[np.float64]:
    """|got - exact| in units in the last place of `exact` (of `floor`, where larger).

    0 where both are the same infinity or both NaN, infinite where only one of them is finite. An exact value beyond the
    largest finite number counts as infinite from half a unit on, as IEEE rounding has it.
    """
    dtype = got.dtype
    info = np.finfo(dtype)
    exact = np.asarray(exact, np.longdouble)
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype)
        size = np.maximum(np.abs(rounded), np.array(floor, dtype))
        unit = np.spacing(np.clip(size, info.tiny, info.max)).astype(np.longdouble)
        error = np.abs(got.astype(np.longdouble) - exact) / unit
        same = (got == rounded) & ~np.isfinite(rounded) | np.isnan(got) & np.isnan(rounded)
        # One side infinite and the other the largest finite number: a rounding at the edge of the range.
        edge = np.isinf(rounded) ^ np.isinf(got)
        top = np.longdouble(info.max)
        clipped = np.clip(got.astype(np.longdouble), -top, top) - np.clip(exact, -top, top)
        error = np.where(edge, np.abs(clipped) / unit + 1, error)
    return np.where(same, 0.0, np.where(np.isnan(error), np.inf, error)).astype(np.float64)
