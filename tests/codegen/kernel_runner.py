"""Build kernels by hand, run them compiled and interpreted, and compare every byte of every buffer."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss.codegen import jit
from graphloss.codegen.kernel import emit_module
from graphloss.codegen.table import NO_ROW, STATUS, STATUS_WORDS, Table, chunks
from graphloss.codegen.target import Target
from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.schedule.kernel import (
    Access,
    Action,
    Apply,
    Buffer,
    Check,
    CheckInterval,
    Column,
    Const,
    DimValue,
    IndexedLoad,
    Iota,
    Keep,
    Kernel,
    Level,
    Load,
    Node,
    RowReduce,
    Store,
    Total,
)
from tests.codegen.kernel_reference import interpret

Array = npt.NDArray[Any]
S, R, E = Level.SCALAR, Level.ROW, Level.ELEMENT
GUARD = 64  # elements on each side of an array that nobody may touch


class Build:
    """Appends nodes; a level is followed by the passes of the node."""

    def __init__(
        self, tile: str, outer: tuple[Dim, ...], row: Dim | None, inner: Dim | None = None, passes: int = 1,
        grain: Dim = 8, split_row: bool = False,
    ) -> None:  # fmt: skip
        self.shape = (tile, outer, row, inner, passes)
        self.split_row, self.grain = split_row, grain
        self.nodes: list[Node] = []
        self.buffers: dict[str, Buffer] = {}
        axes = (*outer, *(d for d in (row, inner) if d is not None))
        strides: list[Dim] = [1]
        for d in axes[:0:-1]:
            strides.insert(0, dims.mul(strides[0], d))
        self.full = tuple(strides[: len(axes)])

    def add(self, action: Action, level: Level, *at: int) -> int:
        self.nodes.append(Node(action, level, at))
        return len(self.nodes) - 1

    def access(self, name: str, dtype: str, strides: Sequence[Dim] | None = None, offset: Dim = 0) -> Access:
        self.buffers[name] = Buffer(name, dtype, (), "temp")
        return Access(name, offset, self.full if strides is None else tuple(strides))

    def const(self, value: float, dtype: str = "float32") -> int:
        return self.add(Const(dtype, value), S)

    def dim(self, dim: Dim, dtype: str = "float32") -> int:
        return self.add(DimValue(dtype, dim), S)

    def iota(self, level: Level, at: Sequence[int], axis: int, dtype: str = "int64", start: Dim = 0,
             step: int = 1) -> int:  # fmt: skip
        return self.add(Iota(dtype, axis, start, step), level, *at)

    def load(self, name: str, level: Level, at: Sequence[int], dtype: str = "float32",
             strides: Sequence[Dim] | None = None, offset: Dim = 0) -> int:  # fmt: skip
        return self.add(Load(dtype, self.access(name, dtype, strides, offset)), level, *at)

    def pick(self, name: str, level: Level, at: Sequence[int], index: int, stride: Dim, dtype: str = "float32",
             strides: Sequence[Dim] | None = None) -> int:  # fmt: skip
        return self.add(IndexedLoad(dtype, self.access(name, dtype, strides), index, stride), level, *at)

    def check(self, level: Level, at: Sequence[int], index: int, limit: Dim, slot: int = 0) -> int:
        return self.add(Check(self.dtype(index), index, limit, slot), level, *at)

    def interval(self, level: Level, at: Sequence[int], arg: int, low: float, high: float, slot: int = 0) -> int:
        return self.add(CheckInterval(self.dtype(arg), arg, low, high, slot), level, *at)

    def apply(self, fn: str, level: Level, at: Sequence[int], *args: int, dtype: str | None = None) -> int:
        return self.add(Apply(dtype or self.dtype(args[-1]), fn, args), level, *at)

    def reduce(self, kind: str, p: int, arg: int, dtype: str | None = None) -> int:
        return self.add(RowReduce(dtype or self.dtype(arg), kind, arg), R, p)

    def total(self, kind: str, level: Level, p: int, arg: int, name: str, dtype: str = "float64") -> int:
        return self.add(Total(dtype, kind, arg, self.access(name, dtype)), level, p)

    def column(self, kind: str, p: int, arg: int, name: str, dtype: str = "float64") -> int:
        return self.add(Column(dtype, kind, arg, self.access(name, dtype)), E, p)

    def store(self, name: str, level: Level, at: Sequence[int], arg: int, strides: Sequence[Dim] | None = None) -> int:
        return self.add(Store(self.dtype(arg), arg, self.access(name, self.dtype(arg), strides)), level, *at)

    def keep(self, name: str, at: Sequence[int], arg: int) -> int:
        return self.add(Keep(self.dtype(arg), arg, self.access(name, self.dtype(arg))), E, *at)

    def dtype(self, position: int) -> str:
        return self.nodes[position].action.dtype

    def kernel(self, name: str = "k0") -> Kernel:
        return Kernel(name, *self.shape, tuple(self.nodes), tuple(self.buffers.values()), self.split_row, self.grain)


class Compiled:
    """Kernels as machine code."""

    def __init__(self, *kernels: Kernel, target: Target | None = None) -> None:
        self.kernels = kernels
        self.table = Table.build(kernels)
        names = [f"k{i}" for i in range(len(kernels))]
        self.module = str(emit_module(kernels, self.table, target or Target.host(), [[k.name for k in kernels]]))
        self.loaded = jit.load(self.module, [*names, "run_0"])

    def argument(self, env: Mapping[str, int], arrays: Mapping[str, Array]) -> tuple[Array, Array]:
        table = self.table
        status = np.array([[NO_ROW, 0, 0]] * max(table.checks, 1), np.int64)
        assert status.shape[1] == STATUS_WORDS
        words = np.zeros(table.slots, np.int64)
        words[STATUS] = status.ctypes.data
        for dim in table.dims:
            words[table.dim_index(dim)] = dims.evaluate(dim, env)
        for name in table.buffers:
            words[table.buffer_index(name)] = arrays[name].ctypes.data
        return words, status

    def run(self, env: Mapping[str, int], arrays: Mapping[str, Array]) -> dict[int, tuple[int, int]]:
        words, status = self.argument(env, arrays)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.loaded["run_0"])(words.ctypes.data)
        assert not status[:, 2].any()
        return {i: (int(row), int(value)) for i, (row, value, _) in enumerate(status) if row != NO_ROW}

    def run_backwards(self, env: Mapping[str, int], arrays: Mapping[str, Array]) -> None:
        """Every chunk in a call of its own, the last one first."""
        words, _ = self.argument(env, arrays)
        for i, kernel in enumerate(self.kernels):
            call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(self.loaded[f"k{i}"])
            count = dims.evaluate(chunks(kernel), env)
            if count == 0:
                call(words.ctypes.data, 0, 0)
            for chunk in reversed(range(count)):
                call(words.ctypes.data, chunk, chunk + 1)


def guarded(array: Array, shift: int = 0) -> tuple[Array, Array]:
    """A copy of `array` between guard bytes, `shift` bytes off its natural place in the guard; and the guard."""
    size = array.itemsize
    space = np.full((array.size + 2 * GUARD) * size + size, 0xA5, np.uint8)
    begin = GUARD * size + shift * size % (size + 1)
    begin -= (space.ctypes.data + begin) % size
    view = space[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view, space


def check(
    kernel: Kernel, env: Mapping[str, int], arrays: Mapping[str, Array], rtol: float = 2e-6, atol: float = 1e-6
) -> tuple[dict[str, Array], dict[int, tuple[int, int]]]:
    """Runs the kernel both ways on copies of `arrays`; the compiled buffers and status after comparing them."""
    want = {name: a.copy() for name, a in arrays.items()}
    failed = interpret(kernel, want, env)
    got, guards = {}, {}
    for name, a in arrays.items():
        got[name], guards[name] = guarded(a)
    compiled = Compiled(kernel)
    status = compiled.run(env, got)
    assert status == failed, f"checks: {status}, expected {failed}"
    for name in arrays:
        where = f"buffer {name}"
        if want[name].dtype.kind == "f":
            np.testing.assert_allclose(got[name], want[name], rtol=rtol, atol=atol, err_msg=where)
        else:
            np.testing.assert_array_equal(got[name], want[name], err_msg=where)
        clean = np.full_like(guards[name], 0xA5)
        inside = got[name].ctypes.data - guards[name].ctypes.data
        clean[inside : inside + got[name].nbytes] = got[name].reshape(-1).view(np.uint8)
        np.testing.assert_array_equal(guards[name], clean, err_msg=f"outside of {where}")
    again = {name: guarded(a, shift=1)[0] for name, a in arrays.items()}
    compiled.run_backwards(env, again)
    for name in arrays:
        assert again[name].tobytes() == got[name].tobytes(), f"buffer {name}: chunks one by one give other bits"
    return got, status
