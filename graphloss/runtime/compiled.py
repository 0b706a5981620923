"""A compiled graph as a callable on arrays: sizes, buffers, native calls, status."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from graphloss import dtypes
from graphloss.codegen.table import DISPATCH, NO_ROW, STATUS, STATUS_WORDS
from graphloss.ir import dims
from graphloss.ir.forms import Host
from graphloss.ir.graph import Op
from graphloss.ir.opdef import get
from graphloss.ir.types import TensorType
from graphloss.options import CompileOptions
from graphloss.runtime import buffers, threads
from graphloss.runtime.bind import bind
from graphloss.runtime.compile import Before, Chunked, Code, Segment
from graphloss.runtime.prepare import address, prepare_array
from graphloss.runtime.row_chunks import RowChunks, evaluate
from graphloss.runtime.status import check_nonempty, failed_check
from graphloss.schedule.values import HostCall

Array = npt.NDArray[Any]
_Entry: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_RangeEntry: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_ALIGN: Final = 64


class _Binding:
    """What depends on the shapes of a run only: sizes, result shapes, memory for values between kernels."""

    def __init__(
        self, code: Code, inputs: Sequence[str], shapes: tuple[tuple[int, ...], ...], row_chunk: int | None
    ) -> None:
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
        self.chunked = [RowChunks(region, self.env, row_chunk) for region in code.plan.regions]
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
        """One block for all buffers between kernels; those of a region have room for the rows of a chunk."""
        offsets: list[tuple[str, int, tuple[int, ...], str]] = []
        slots: dict[tuple[int, int], int] = {}
        local = {b: (n, slot) for n, c in enumerate(self.chunked) for b, slot in c.region.local.items()}
        owner = {b: c for c in self.chunked for b in (*c.region.local, *c.region.folds)}
        total = 0
        for b in code.plan.buffers.values():
            if b.role in ("temp", "partial") and b.name not in outputs:
                shape = tuple(dims.evaluate(n, self.env) for n in b.shape)
                place = local.get(b.name)
                if b.name in owner:
                    shape = owner[b.name].shape(b.name, shape)
                offset = total if place is None else slots.setdefault(place, total)
                offsets.append((b.name, offset, shape, b.dtype))
                if offset == total:
                    size = prod(shape) * dtypes.itemsize(b.dtype)
                    total += -(-size // _ALIGN) * _ALIGN
        memory = buffers.empty((total + _ALIGN,), np.dtype(np.uint8))
        base = -address(memory) % _ALIGN
        for name, offset, shape, dtype in offsets:
            view = memory[base + offset : base + offset + prod(shape) * dtypes.itemsize(dtype)]
            self.arrays[name] = view.view(dtype).reshape(shape)
            if name not in index:
                continue
            if name in owner:
                owner[name].place(name, index[name], self.arrays[name])
            else:
                self.words[index[name]] = address(memory) + base + offset


class Compiled:
    """`run(arrays)` computes the results of a graph; several threads may run one Compiled.

    Arrays come in the order of `inputs` (feeds, then states); results in the order of the graph's results. Where
    dimensions depend on data, another Compiled runs before and binds them.
    """

    def __init__(self, code: Code, options: CompileOptions) -> None:
        self.code = code
        self.options = options
        self.inputs = (*code.whole.feeds, *code.whole.states)
        self._before = None if code.before is None else Measuring(code.before, options)
        self._all = (*code.graph.feeds, *code.graph.states)
        place = {name: i for i, name in enumerate((*code.plan.results, *code.plan.in_place))}
        # Values that lie in the memory of a state are results, too.
        self._in_place = [self._all.index(state) for state in code.plan.in_place.values()]
        fetches = [place[name] for name in code.graph.fetches]
        # Which result each fetch and each write is, and whether it must be a copy: an array has one owner.
        self.fetched = [(i, i in fetches[:n]) for n, i in enumerate(fetches)]
        self.written: list[tuple[str, int, bool]] = []
        for state, name in code.graph.writes:
            i = place[name]
            self.written.append((state, i, i in fetches or any(i == j for _, j, _ in self.written)))
        types = [code.graph.types[n] for n in self._all]
        self._declared = [(n, np.dtype(t.dtype), t.rank) for n, t in zip(self._all, types, strict=True)]
        self._local = threading.local()
        # A native entry, a host call, or the number of a region with its steps.
        self._steps: list[tuple[Any, Any]] = []
        addresses = iter([] if code.loaded is None else map(code.loaded.__getitem__, code.symbols))
        regions = 0
        for part in code.parts:
            if isinstance(part, Segment):
                self._steps.append((_Entry(next(addresses)), None))
            elif isinstance(part, Chunked):
                inside = [_RangeEntry(next(addresses)) if isinstance(p, Segment) else p for p in part.parts]
                self._steps.append((None, (regions, inside)))
                regions += 1
            else:
                self._steps.append((None, part))

    def run(self, values: Sequence[object]) -> list[Array]:
        """The results for these inputs; raises before anything is returned if a check fails."""
        if self._before is not None:
            values = [*values, *self._before.run(values)]
        arrays = [
            prepare_array(name, v, dtype, ndim) for v, (name, dtype, ndim) in zip(values, self._declared, strict=True)
        ]
        shapes = tuple([a.shape for a in arrays])
        binding: _Binding | None = getattr(self._local, "binding", None)
        if binding is None or binding.shapes != shapes:
            binding = self._local.binding = _Binding(self.code, self._all, shapes, self.options.row_chunk)
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
        memory: dict[str, Array] = {}
        for entry, other in self._steps:
            if entry is not None:
                entry(binding.argument)
                self._check(binding)
                continue
            if not memory:
                memory = {**binding.arrays, **dict(zip(self._all, arrays, strict=True))}
                memory.update(zip(binding.result_buffers, results, strict=True))
            if isinstance(other, HostCall):
                evaluate(other.form, [memory[b] for b in other.inputs], [memory[b] for b in other.outputs])
            else:
                number, steps = other
                check = partial(self._check, binding)
                binding.chunked[number].run(steps, words, binding.argument, memory, check)
        return results + [arrays[i] for i in self._in_place] if self._in_place else results

    def _check(self, binding: _Binding) -> None:
        for i in binding.checks:
            if binding.status[i] != NO_ROW:
                raise failed_check(self.code.plan.sites, binding.failed(), binding.env)


class Measuring:
    """What runs before a graph some of whose dimensions depend on data: gives the values that bind them."""

    def __init__(self, before: Before, options: CompileOptions) -> None:
        self._first = Compiled(before.code, options)
        self._cut = before.cut
        self._calls = [(op, _host(op, before.cut.first.types)) for op in before.cut.between]

    def run(self, values: Sequence[object]) -> list[Array]:
        """The values that are handed on."""
        results = self._first.run(values)
        found = {name: results[i] for name, (i, _) in zip(self._cut.first.fetches, self._first.fetched, strict=True)}
        for op, form in self._calls:
            found.update(zip(op.outputs, form.fn(tuple(found[n] for n in op.inputs), ()), strict=True))
        return [found[n] for n in self._cut.handed]


def _host(op: Op, types: Mapping[str, TensorType]) -> Host:
    lower = get(op.type).lower
    assert lower is not None
    form = lower([types[n] for n in op.inputs], (), op.attr)
    assert isinstance(form, Host)
    return form
