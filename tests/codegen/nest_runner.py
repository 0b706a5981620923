"""Runs a loop nest as machine code on arrays of one's own."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss.codegen import jit
from graphloss.codegen.kernel import emit_module
from graphloss.codegen.table import NO_ROW, STATUS, Table
from graphloss.codegen.target import Target
from graphloss.ir import dims, loops
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Loops
from graphloss.ir.loop_live import checks
from graphloss.ir.loops import Nest
from graphloss.ir.opdef import OpDef, all_ops
from graphloss.ir.types import TensorType
from graphloss.schedule.kernel import Buffer
from graphloss.schedule.nest import NestKernel, chunk_count, dimension

Array = npt.NDArray[Any]
Allocate = Callable[[tuple[int, ...], npt.DTypeLike], Array]


def cases() -> Iterator[tuple[OpDef, Nest, dict[str, int], list[Array]]]:
    """Op, nest, sizes and inputs of every sample of every op that is a nest, in both float types."""
    rng = np.random.default_rng(7)
    for op in all_ops():
        if op.lower is None or op.samples is None:
            continue
        for sample in op.samples(rng):
            for dtype in ("float64", "float32"):
                inputs = [np.asarray(x) for x in sample.inputs]
                inputs = [x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs]
                types = [TensorType(x.dtype.name, x.shape) for x in inputs]
                attrs = op.complete(sample.attrs)
                form = op.lower(types, op.infer(types, attrs, Equations()), attrs)
                if not isinstance(form, Loops):
                    break
                sizes = {n: int(d) for n, d in zip(form.nest.sizes, form.sizes, strict=True) if isinstance(d, int)}
                given = form.nest.of_kind(*loops.GIVEN)
                shaped = [x.reshape(shape_of(a, sizes)) for x, a in zip(inputs, given, strict=True)]
                yield op, form.nest, sizes, shaped


def shape_of(array: loops.Array, sizes: Mapping[str, int]) -> tuple[int, ...]:
    found = tuple(dimension(n, dict(sizes)) for n in array.shape)
    return tuple(n for n in found if isinstance(n, int))


class NativeNest:
    """`nest` compiled once, for any sizes."""

    def __init__(self, nest: Nest, target: Target | None = None) -> None:
        symbols = tuple(dims.symbol(n) for n in nest.sizes)
        bound = dict(zip(nest.sizes, symbols, strict=True))
        chunks = chunk_count(dimension(nest.extent, dict(bound)))
        buffers = []
        for array in nest.arrays:
            shape = tuple(dimension(n, dict(bound)) for n in array.shape)
            full = (chunks, *shape) if array.kind == loops.SCRATCH else shape
            buffers.append(Buffer(array.name, array.dtype, full, "temp"))
        self.names = [check.name for check in checks(nest.body)]
        slots = tuple((name, i) for i, name in enumerate(self.names))
        self.nest = nest
        self.kernel = NestKernel("n0", nest, symbols, tuple(buffers), slots)
        self.table = Table.build([self.kernel])
        module = emit_module([self.kernel], self.table, target or Target.host(), [["n0"]])
        self.loaded = jit.load(str(module), ["run_0", "k0"])
        self.run_0 = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.loaded["run_0"])
        self._layouts: dict[tuple[int, ...], tuple[list[tuple[int, ...]], list[int]]] = {}

    def layout(self, sizes: Mapping[str, int]) -> tuple[list[tuple[int, ...]], list[int]]:
        """The shapes of the arrays, and the dimensions in the table."""
        key = tuple(sizes[n] for n in self.nest.sizes)
        if key not in self._layouts:
            shapes = [tuple(dims.evaluate(n, sizes) for n in buffer.shape) for buffer in self.kernel.buffers]
            self._layouts[key] = shapes, [dims.evaluate(dim, sizes) for dim in self.table.dims]
        return self._layouts[key]

    def run(
        self, sizes: Mapping[str, int], inputs: Sequence[Array], allocate: Allocate = np.empty,
        place: Callable[[Array], Array] = np.copy,
    ) -> tuple[list[Array], dict[str, tuple[int, int]]]:  # fmt: skip
        """The outputs, and (position, value) of each check that failed; memory comes from `allocate` and `place`."""
        arrays: dict[str, Array] = {}
        given = iter(inputs)
        shapes, known = self.layout(sizes)
        for array, shape in zip(self.nest.arrays, shapes, strict=True):
            if array.kind == loops.INPUT:
                arrays[array.name] = place(next(given))
                continue
            made = allocate(shape, array.dtype)
            made[...] = next(given) if array.kind == loops.UPDATE else 0 if array.kind == loops.OUTPUT else 99
            arrays[array.name] = made
        status = np.array([[NO_ROW, 0, 0]] * max(self.table.checks, 1), np.int64)
        words = np.zeros(self.table.slots, np.int64)
        words[STATUS] = status.ctypes.data
        words[self.table.first_dim : self.table.first_dim + len(known)] = known
        for name in self.table.buffers:
            words[self.table.buffer_index(name)] = arrays[name].ctypes.data
        self.run_0(words.ctypes.data)
        failed = {
            name: (int(row), int(value))
            for name, (row, value, _) in zip(self.names, status, strict=False)
            if row != NO_ROW
        }
        return [arrays[a.name] for a in self.nest.of_kind(*loops.MADE)], failed
