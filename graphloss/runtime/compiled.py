"""A compiled graph as a callable on arrays: sizes, buffers, native calls, status."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from graphloss import dtypes
from graphloss.codegen.table import DISPATCH, NO_ROW, STATUS, STATUS_WORDS
from graphloss.ir import dims
from graphloss.options import CompileOptions
from graphloss.runtime import buffers, threads
from graphloss.runtime.bind import bind
from graphloss.runtime.compile import Code, Segment
from graphloss.runtime.prepare import address, prepare_array
from graphloss.runtime.status import check_nonempty, failed_check

Array = npt.NDArray[Any]
_Entry: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_ALIGN: Final = 64


class _Binding:
    """What depends on the shapes of a run only: sizes, result shapes, memory for values between kernels."""

    def __init__(self, code: Code, inputs: Sequence[str], shapes: tuple[tuple[int, ...], ...]) -> None:
        types = code.graph.types
        self.shapes = shapes
        self.env = bind(types, list(zip(inputs, shapes, strict=True)), code.graph.equations)
        check_nonempty(code.plan.nonempty, self.env)
        table = code.table
        self.words = (ctypes.c_int64 * table.slots)()
        for i, d in enumerate(table.dims):
            self.words[table.first_dim + i] = dims.evaluate(d, self.env)
        self.checks = range(0, table.checks * STATUS_WORDS, STATUS_WORDS)
        self.status = (ctypes.c_int64 * max(table.checks * STATUS_WORDS, 1))()
        self.clear_status()
        self.words[STATUS] = ctypes.addressof(self.status)
        self.argument = ctypes.addressof(self.words)
        self.arrays: dict[str, Array] = {}
        # Word of the address, how to get memory, shape and dtype of each result; their buffers.
        self.results: list[tuple[int, Callable[..., Array], tuple[int, ...], np.dtype[Any]]] = []
        self.result_buffers = tuple(code.plan.results.values())
        outputs = set(code.plan.results.values())
        index = {b: table.first_buffer + i for i, b in enumerate(table.buffers)}
        self._arena(code, outputs, index)
        self.inputs = [(index[name], i) for i, name in enumerate(inputs) if name in index]
        for name, buffer in code.plan.results.items():
            shape = tuple(dims.evaluate(n, self.env) for n in types[name].shape)
            dtype = np.dtype(types[name].dtype)
            small = prod(shape) * dtype.itemsize < buffers.THRESHOLD
            self.results.append((index.get(buffer, -1), np.empty if small else buffers.empty, shape, dtype))

    def clear_status(self) -> None:
        for i in self.checks:
            self.status[i], self.status[i + 1], self.status[i + 2] = NO_ROW, 0, 0

    def failed(self) -> list[tuple[int, int, int]]:
        """(slot, position, value) of each failed check; the status is clear again afterwards."""
        bad = [(i // STATUS_WORDS, self.status[i], self.status[i + 1]) for i in self.checks if self.status[i] != NO_ROW]
        self.clear_status()
        return bad

    def _arena(self, code: Code, outputs: set[str], index: dict[str, int]) -> None:
        """One block for all buffers between kernels."""
        offsets: list[tuple[str, int, tuple[int, ...], str]] = []
        total = 0
        for b in code.plan.buffers.values():
            if b.role in ("temp", "partial") and b.name not in outputs:
                shape = tuple(dims.evaluate(n, self.env) for n in b.shape)
                offsets.append((b.name, total, shape, b.dtype))
                size = int(np.prod(shape, dtype=np.int64)) * dtypes.itemsize(b.dtype)
                total += -(-size // _ALIGN) * _ALIGN
        memory = buffers.empty((total + _ALIGN,), np.dtype(np.uint8))
        base = -address(memory) % _ALIGN
        for name, offset, shape, dtype in offsets:
            view = memory[base + offset : base + offset + int(np.prod(shape, dtype=np.int64)) * dtypes.itemsize(dtype)]
            self.arrays[name] = view.view(dtype).reshape(shape)
            if name in index:
                self.words[index[name]] = address(memory) + base + offset


class Compiled:
    """`run(arrays)` computes the results of a graph; several threads may run one Compiled.

    Arrays come in the order of `inputs` (feeds, then states); results in the order of the graph's results.
    """

    def __init__(self, code: Code, options: CompileOptions) -> None:
        self.code = code
        self.options = options
        self.inputs = (*code.graph.feeds, *code.graph.states)
        place = {name: i for i, name in enumerate(code.plan.results)}
        fetches = [place[name] for name in code.graph.fetches]
        # Which result each fetch and each write is, and whether it must be a copy: an array has one owner.
        self.fetched = [(i, i in fetches[:n]) for n, i in enumerate(fetches)]
        self.written: list[tuple[str, int, bool]] = []
        for state, name in code.graph.writes:
            i = place[name]
            self.written.append((state, i, i in fetches or any(i == j for _, j, _ in self.written)))
        types = [code.graph.types[n] for n in self.inputs]
        self._declared = [(n, np.dtype(t.dtype), t.rank) for n, t in zip(self.inputs, types, strict=True)]
        self._local = threading.local()
        self._steps: list[tuple[Any, Any]] = []
        number = 0
        for part in code.parts:
            if isinstance(part, Segment):
                assert code.loaded is not None
                self._steps.append((_Entry(code.loaded[f"run_{number}"]), None))
                number += 1
            else:
                self._steps.append((None, part))

    def run(self, values: Sequence[object]) -> list[Array]:
        """The results for these inputs; raises before anything is returned if a check fails."""
        arrays = [
            prepare_array(name, v, dtype, ndim) for v, (name, dtype, ndim) in zip(values, self._declared, strict=True)
        ]
        shapes = tuple([a.shape for a in arrays])
        binding: _Binding | None = getattr(self._local, "binding", None)
        if binding is None or binding.shapes != shapes:
            binding = self._local.binding = _Binding(self.code, self.inputs, shapes)
        return self._call(binding, arrays)

    def _call(self, binding: _Binding, arrays: list[Array]) -> list[Array]:
        words = binding.words
        for slot, i in binding.inputs:
            words[slot] = address(arrays[i])
        results: list[Array] = []
        for slot, empty, shape, dtype in binding.results:
            array = empty(shape, dtype)
            results.append(array)
            if slot >= 0:
                words[slot] = address(array)
        n = self.options.num_threads()
        if n > 1:
            threads.ensure(n)
            words[DISPATCH] = threads.dispatch_address()
        else:
            words[DISPATCH] = 0
        for entry, host in self._steps:
            if entry is None:
                self._host(host, binding, arrays, results)
                continue
            entry(binding.argument)
            for i in binding.checks:
                if binding.status[i] != NO_ROW:
                    raise failed_check(self.code.plan.sites, binding.failed(), binding.env)
        return results

    def _host(self, host: Any, binding: _Binding, arrays: list[Array], results: list[Array]) -> None:
        fresh = dict(zip(binding.result_buffers, results, strict=True))

        def find(name: str) -> Array:
            if name in fresh:
                return fresh[name]
            if name in binding.arrays:
                return binding.arrays[name]
            return arrays[self.inputs.index(name)]

        outputs = [find(b) for b in host.outputs]
        with np.errstate(all="ignore"):  # inf and NaN are results here, as they are in a kernel
            computed = host.form.fn(tuple(find(b) for b in host.inputs), tuple(o.shape for o in outputs))
            for out, value in zip(outputs, computed, strict=True):
                np.copyto(out, value)
