"""A plain interpreter of kernels: the loops of the data model, one element at a time, on NumPy scalars."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.special

from graphloss.ir import dims
from graphloss.schedule.kernel import (
    Access,
    Apply,
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
    RowReduce,
    Store,
    Total,
)

Array = npt.NDArray[Any]

UNARY = {
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite,
    "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc, "exp": np.exp,
    "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "tanh": np.tanh, "not": np.logical_not,
    "rsqrt": lambda x: 1 / np.sqrt(x), "reciprocal": lambda x: 1 / x, "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(x, 0), "erf": scipy.special.erf,
}  # fmt: skip
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum,
    "mod": np.mod, "floordiv": np.floor_divide, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "pow": np.power,
}  # fmt: skip


class Memory:
    """Buffers as flat arrays; every access is checked against the bounds, and every element written is remembered."""

    def __init__(self, arrays: Mapping[str, Array], env: Mapping[str, int]) -> None:
        self.flat = {name: a.reshape(-1) for name, a in arrays.items()}
        assert all(np.shares_memory(self.flat[n], a) or a.size == 0 for n, a in arrays.items())
        self.env = env
        self.status: dict[int, tuple[int, int]] = {}

    def dim(self, d: dims.Dim) -> int:
        return dims.evaluate(d, self.env)

    def where(self, access: Access, index: Mapping[int, int]) -> int:
        return self.dim(access.offset) + sum(i * self.dim(access.strides[axis]) for axis, i in index.items())

    def read(self, access: Access, index: Mapping[int, int], extra: int = 0) -> Any:
        at = self.where(access, index) + extra
        assert 0 <= at < self.flat[access.buffer].size, f"read of {access.buffer}[{at}]"
        return self.flat[access.buffer][at]

    def write(self, buffer: str, at: int, value: Any) -> None:
        assert 0 <= at < self.flat[buffer].size, f"write of {buffer}[{at}]"
        self.flat[buffer][at] = value


def reduce(kind: str, values: list[Any], dtype: str) -> Any:
    """The reduction of a list; an empty one gives the neutral element. float32 sums are carried exactly."""
    if kind in ("argmax", "argmin"):
        return int(getattr(np, kind)(np.array(values))) if values else 0
    if kind in ("any", "all"):
        return any(values) if kind == "any" else all(values)
    if kind == "sum":
        if not np.issubdtype(dtype, np.floating):
            return sum(int(v) for v in values)
        finite = all(math.isfinite(v) for v in values)
        return math.fsum(values) if finite else np.sum(np.array(values, "float64"))
    if kind == "prod":
        with np.errstate(all="ignore"):
            return np.prod(np.array(values, "float64" if np.issubdtype(dtype, np.floating) else "int64"))
    if not values:
        if np.issubdtype(dtype, np.floating):
            return -np.inf if kind == "max" else np.inf
        if dtype == "bool":
            return kind == "min"
        return np.iinfo(dtype).min if kind == "max" else np.iinfo(dtype).max
    return getattr(np, kind)(np.array(values, dtype))


class Interpreter:
    def __init__(self, kernel: Kernel, memory: Memory) -> None:
        self.kernel = kernel
        self.memory = memory
        self.sizes = [memory.dim(d) for d in kernel.axes]
        n = len(kernel.outer)
        self.outer = range(n)
        self.row = n if kernel.row is not None else None
        self.inner = len(kernel.axes) - 1 if kernel.inner is not None else None

    def value(self, position: int, values: Mapping[int, Any], index: Mapping[int, int]) -> Any:
        memory, action = self.memory, self.kernel.nodes[position].action
        with np.errstate(all="ignore"):
            if isinstance(action, Const):
                return np.dtype(action.dtype).type(action.value)
            if isinstance(action, DimValue):
                return np.dtype(action.dtype).type(memory.dim(action.dim))
            if isinstance(action, Iota):
                return np.dtype(action.dtype).type(memory.dim(action.start) + action.step * index[action.axis])
            if isinstance(action, Load):
                return memory.read(action.access, index)
            if isinstance(action, IndexedLoad):
                return memory.read(action.access, index, int(values[action.index]) * memory.dim(action.stride))
            if isinstance(action, Check):
                found = values[action.index]
                if 0 <= found < memory.dim(action.limit):
                    return found
                self.report(action.slot, int(found), index)
                return np.dtype(action.dtype).type(0)
            if isinstance(action, CheckInterval):
                found = values[action.arg]
                if found < action.low or found > action.high:
                    self.report(action.slot, int(np.float64(found).view(np.int64)), index)
                return found
            if isinstance(action, Apply):
                return np.dtype(action.dtype).type(self.apply(action, [values[a] for a in action.args]))
        raise AssertionError(action)

    def report(self, slot: int, found: int, index: Mapping[int, int]) -> None:
        number = 0
        for axis in sorted(index):
            number = number * self.sizes[axis] + index[axis]
        lowest = self.memory.status.get(slot, (2**63 - 1, 0))
        self.memory.status[slot] = min(lowest, (number, found))

    @staticmethod
    def apply(action: Apply, args: list[Any]) -> Any:
        if action.fn == "cast":
            return args[0]
        if action.fn == "select":
            return args[1] if args[0] else args[2]
        return UNARY[action.fn](args[0]) if action.fn in UNARY else BINARY[action.fn](*args)

    def dtype(self, position: int) -> str:
        return self.kernel.nodes[position].action.dtype

    def level(self, position: int) -> Level:
        node = self.kernel.nodes[position]
        return Level.ROW if isinstance(node.action, RowReduce) else node.level

    def run(self) -> None:
        kernel, memory = self.kernel, self.memory
        nodes = list(enumerate(kernel.nodes))
        scalars: dict[int, Any] = {}
        for p, node in nodes:
            if node.level is Level.SCALAR:
                if isinstance(node.action, Store):
                    access = node.action.access
                    memory.write(access.buffer, memory.where(access, {}), scalars[node.action.arg])
                else:
                    scalars[p] = self.value(p, scalars, {})
        extent = self.sizes[self.row] if kernel.split_row else math.prod(self.sizes[a] for a in self.outer)
        grain = memory.dim(kernel.grain)
        for chunk in range(-(-extent // grain)):
            self.chunk(chunk, chunk * grain, min((chunk + 1) * grain, extent), scalars)

    def chunk(self, chunk: int, begin: int, end: int, scalars: dict[int, Any]) -> None:
        kernel, memory = self.kernel, self.memory
        self.totals: dict[int, list[Any]] = {}
        self.columns: dict[tuple[int, int], list[Any]] = {}
        for p, node in enumerate(kernel.nodes):
            if isinstance(node.action, Total):
                self.totals[p] = []
            if isinstance(node.action, Column):
                for r in range(self.sizes[self.row]):
                    self.columns[p, r] = []
        outer = list(itertools.product(*(range(self.sizes[a]) for a in self.outer)))
        if kernel.split_row:
            rows = [({}, range(begin, end))]
        else:
            length = range(self.sizes[self.row]) if self.row is not None else range(1)
            rows = [(dict(enumerate(o)), length) for o in outer[begin:end]]
        inner = range(self.sizes[self.inner]) if self.inner is not None else [None]
        for index, row in rows:
            for i in inner:
                self.one_row(index if i is None else {**index, self.inner: i}, row, dict(scalars))
        for p, found in self.totals.items():
            action = kernel.nodes[p].action
            at = memory.dim(action.access.offset) + chunk
            memory.write(action.access.buffer, at, reduce(action.kind, found, self.dtype(action.arg)))
        for (p, r), found in self.columns.items():
            action = kernel.nodes[p].action
            at = memory.dim(action.access.offset) + chunk * self.sizes[self.row] + r
            memory.write(action.access.buffer, at, reduce(action.kind, found, self.dtype(action.arg)))

    def one_row(self, index: dict[int, int], row: range, values: dict[int, Any]) -> None:
        kernel = self.kernel
        for step in range(kernel.passes + 1):
            for p, node in enumerate(kernel.nodes):
                if isinstance(node.action, RowReduce) or self.per_element(p) or step not in node.at:
                    continue
                self.visit(p, step, values, index)
            if step == kernel.passes:
                break
            reduced: dict[int, list[Any]] = {
                p: [] for p, n in enumerate(kernel.nodes) if isinstance(n.action, RowReduce) and n.at[0] == step
            }
            for r in row:
                inside = dict(values)
                here = index if self.row is None else {**index, self.row: r}
                for p, node in enumerate(kernel.nodes):
                    if self.per_element(p) and step in node.at:
                        self.visit(p, step, inside, here, r)
                for p, found in reduced.items():
                    found.append(inside[kernel.nodes[p].action.arg])
            for p, found in reduced.items():
                action = kernel.nodes[p].action
                values[p] = np.dtype(action.dtype).type(reduce(action.kind, found, self.dtype(action.arg)))

    def per_element(self, p: int) -> bool:
        node = self.kernel.nodes[p]
        if isinstance(node.action, Total):
            return self.level(node.action.arg) is Level.ELEMENT
        return isinstance(node.action, Column) or self.level(p) is Level.ELEMENT

    def visit(self, p: int, step: int, values: dict[int, Any], index: dict[int, int], r: int = 0) -> None:
        node = self.kernel.nodes[p]
        action = node.action
        if isinstance(action, Keep):
            if step == node.at[0]:
                values[p] = values[action.arg]
                self.memory.write(action.access.buffer, self.memory.where(action.access, index), values[p])
            else:
                values[p] = self.memory.read(action.access, index)
        elif isinstance(action, Store):
            self.memory.write(action.access.buffer, self.memory.where(action.access, index), values[action.arg])
        elif isinstance(action, Total):
            self.totals[p].append(values[action.arg])
        elif isinstance(action, Column):
            self.columns[p, r].append(values[action.arg])
        else:
            values[p] = self.value(p, values, index)


def interpret(kernel: Kernel, arrays: Mapping[str, Array], env: Mapping[str, int]) -> dict[int, tuple[int, int]]:
    """Runs the kernel on `arrays` in place; the failed checks as {slot: (lowest row, value)}."""
    memory = Memory(arrays, env)
    Interpreter(kernel, memory).run()
    return memory.status
