"""Kernels as text: arguments with their shapes, then the loops; only what is used more than once gets a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from graphloss import dtypes
from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.ir.loop_text import print_nest
from graphloss.schedule.kernel import (
    Access,
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
    RowReduce,
    Store,
    Total,
    operands,
)
from graphloss.schedule.nest import Native, NestKernel

_INFIX: Final = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==",
    "ne": "!=", "and": "&", "or": "|", "xor": "^",
}  # fmt: skip
_OUTER: Final = ("n", "m", "l", "k", "j", "h", "g", "f")
_STEP: Final = {"sum": "+=", "prod": "*="}
_START: Final = {
    "sum": "0", "prod": "1", "max": "-inf", "min": "inf", "any": "false", "all": "true", "argmax": "none",
    "argmin": "none",
}  # fmt: skip


def print_kernel(kernel: Native) -> str:
    """The kernel as loops: tile and chunks first, then one `for` per axis and pass.

    Example:
        >>> from graphloss.schedule.kernel import Node, Tile
        >>> x, y = Access("x", 0, (1,)), Access("y", 0, (1,))
        >>> N = dims.symbol("N")
        >>> nodes = (Node(Load("float32", x), Level.ELEMENT, (0,)),
        ...          Node(Apply("float32", "exp", (0,)), Level.ELEMENT, (0,)),
        ...          Node(Store("float32", 1, y), Level.ELEMENT, (0,)))
        >>> buffers = (Buffer("x", "float32", (N,), "input"), Buffer("y", "float32", (N,), "output"))
        >>> print(print_kernel(Kernel("k0", Tile.ROWS, (), N, None, 1, nodes, buffers, True, 4096)))
        loops @k0(x: f32[N]) -> (y: f32[N]) {
          tile rows, chunks of 4096 along c
          for c in N {  # pass 0
            y[c] = exp(x[c])
          }
        }
    """
    if isinstance(kernel, NestKernel):
        given = ", ".join(f"{a.name} = {b.name}" for a, b in zip(kernel.nest.arrays, kernel.buffers, strict=True))
        sizes = ", ".join(f"{n} = {d}" for n, d in kernel.bound.items())
        return f"{print_nest(kernel.nest)}\nnest @{kernel.name}: {sizes}; {given}; chunks of {kernel.grain}"
    return _Text(kernel).text()


class _Text:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.shapes = {b.name: b.shape for b in kernel.buffers}
        outer = _OUTER[: len(kernel.outer)]
        if len(kernel.outer) > len(_OUTER):
            outer = tuple(f"n{i}" for i in range(len(kernel.outer)))
        self.axes = (*outer, *(("c",) if kernel.row is not None else ()), *(("s",) if kernel.inner is not None else ()))
        self.uses = Counter(o for n in kernel.nodes for o in operands(n.action))
        self.users = {o: p for p, n in enumerate(kernel.nodes) for o in operands(n.action)}
        self.names: dict[int, str] = {}
        self.lines: list[str] = []
        self.depth = 1

    def text(self) -> str:
        kernel = self.kernel
        inputs = ", ".join(_buffer(b) for b in kernel.buffers if b.role == "input")
        results = ", ".join(_buffer(b) for b in kernel.buffers if b.role != "input")
        along = self.axes[kernel.row_axis] if kernel.split_row else "*".join(self.axes[: len(kernel.outer)])
        chunks = f", chunks of {kernel.grain} along {along}" if along else ""
        self._line(f"tile {kernel.tile}{chunks}")
        self._nodes(p for p, n in enumerate(kernel.nodes) if n.level is Level.SCALAR)
        opened = self._open(range(len(kernel.outer)))
        if kernel.inner is not None:
            opened += self._open([len(self.axes) - 1])
        for step in range(kernel.passes + 1):
            self._nodes(p for p in range(len(kernel.nodes)) if self._level(p) is Level.ROW and self._in(p, step))
            if step < kernel.passes:
                self._pass(step)
        self._close(opened)
        return "\n".join([f"loops @{kernel.name}({inputs}) -> ({results}) {{", *self.lines, "}"])

    def _pass(self, step: int) -> None:
        kernel = self.kernel
        for p, node in enumerate(kernel.nodes):
            if isinstance(node.action, RowReduce) and node.at[0] == step:
                self._line(f"var {self._name(p)}: {dtypes.SHORT[node.action.dtype]} = {_START[node.action.kind]}")
        opened = self._open([kernel.row_axis], f"  # pass {step}") if kernel.row is not None else 0
        inside = (p for p in range(len(kernel.nodes)) if self._level(p) is Level.ELEMENT and self._in(p, step))
        self._nodes(inside, step)
        self._close(opened)

    def _level(self, p: int) -> Level:
        """In which loop the text of a node stands."""
        node = self.kernel.nodes[p]
        if isinstance(node.action, (RowReduce, Column)):
            return Level.ELEMENT
        if isinstance(node.action, Total):
            arg = self.kernel.nodes[node.action.arg]
            return Level.ROW if isinstance(arg.action, RowReduce) else arg.level
        return node.level

    def _in(self, p: int, step: int) -> bool:
        return step in self.kernel.nodes[p].at

    def _line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    def _open(self, axes: range | list[int], note: str = "") -> int:
        for axis in axes:
            self._line(f"for {self.axes[axis]} in {self.kernel.axes[axis]} {{{note}")
            self.depth += 1
        return len(axes)

    def _close(self, count: int) -> None:
        for _ in range(count):
            self.depth -= 1
            self._line("}")

    # nodes

    def _nodes(self, positions: Iterator[int], step: int = 0) -> None:
        for p in positions:
            action = self.kernel.nodes[p].action
            if isinstance(action, Keep):
                place = self._access(action.access)
                if step == self.kernel.nodes[p].at[0]:
                    self._line(f"let {self._name(p)} = {place} = {self._value(action.arg)}")
                else:
                    self._line(f"let {self._name(p)} = {place}")
            elif isinstance(action, Store):
                self._line(f"{self._access(action.access)} = {self._value(action.arg)}")
            elif isinstance(action, RowReduce):
                self._line(f"{self._name(p)} {_STEP.get(action.kind, action.kind + '=')} {self._value(action.arg)}")
            elif isinstance(action, (Total, Column)):
                index = "chunk" if isinstance(action, Total) else f"chunk, {self.axes[self.kernel.row_axis]}"
                step_text = _STEP.get(action.kind, action.kind + "=")
                self._line(f"{action.access.buffer}[{index}] {step_text} {self._value(action.arg)}")
            elif not self._inlined(p):
                self._line(f"let {self._name(p)} = {self._expression(p)}")

    def _inlined(self, p: int) -> bool:
        """Whether a value stands where it is used: constants, and what is used once in its own loop."""
        node = self.kernel.nodes[p]
        if isinstance(node.action, (Const, DimValue, Iota)):
            return True
        if isinstance(node.action, (Check, CheckInterval, RowReduce, Keep)) or self.uses[p] != 1:
            return False
        user = self.kernel.nodes[self.users[p]]
        read_in = user.at[:1] if isinstance(user.action, Keep) else user.at
        return self._level(self.users[p]) is self._level(p) and read_in == node.at

    def _name(self, p: int) -> str:
        if p not in self.names:
            self.names[p] = f"v{len(self.names)}"
        return self.names[p]

    def _value(self, p: int, nested: bool = False) -> str:
        if not self._inlined(p):
            return self._name(p)
        text = self._expression(p)
        action = self.kernel.nodes[p].action
        infix = isinstance(action, Apply) and action.fn in _INFIX
        return f"({text})" if nested and infix else text

    def _expression(self, p: int) -> str:
        action = self.kernel.nodes[p].action
        if isinstance(action, Const):
            return repr(action.value)
        if isinstance(action, DimValue):
            return f"{dtypes.SHORT[action.dtype]}({action.dim})"
        if isinstance(action, Iota):
            return _sum([(action.step, self.axes[action.axis])], action.start)
        if isinstance(action, Load):
            return self._access(action.access)
        if isinstance(action, IndexedLoad):
            return self._access(action.access, (action.stride, self._value(action.index, nested=True)))
        if isinstance(action, Check):
            return f"check {self._value(action.index)} in {action.limit}"
        if isinstance(action, CheckInterval):
            return f"check {self._value(action.arg)} in [{action.low!r}, {action.high!r}]"
        assert isinstance(action, Apply)
        if action.fn in _INFIX:
            return f" {_INFIX[action.fn]} ".join(self._value(a, nested=True) for a in action.args)
        name = dtypes.SHORT[action.dtype] if action.fn == "cast" else action.fn
        return f"{name}({', '.join(self._value(a) for a in action.args)})"

    def _access(self, access: Access, indexed: tuple[Dim, str] | None = None) -> str:
        terms = [(stride, self.axes[i]) for i, stride in enumerate(access.strides) if stride != 0]
        if indexed is not None:
            terms.append(indexed)
        shape = self.shapes.get(access.buffer, ())
        subscripts = _subscripts(terms, shape) if access.offset == 0 else None
        return f"{access.buffer}[{_sum(terms, access.offset) if subscripts is None else ', '.join(subscripts)}]"


def _subscripts(terms: list[tuple[Dim, str]], shape: tuple[Dim, ...]) -> list[str] | None:
    """One index per dimension of a dense array, or None where the terms are not of that form."""
    strides: list[Dim] = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = dims.mul(strides[i + 1], shape[i + 1])
    left = list(terms)
    found = []
    for size, stride in zip(shape, strides, strict=True):
        own = [t for t in left if t[0] == stride and size != 1][:1]
        found.append(own[0][1] if own else "0")
        left = [t for t in left if t not in own]
    return None if left else found


def _sum(terms: list[tuple[Dim, str]], offset: Dim) -> str:
    parts = [name if stride == 1 else f"{_factor(stride)}*{name}" for stride, name in terms]
    if offset != 0 or not parts:
        parts.append(str(offset))
    return " + ".join(parts)


def _factor(stride: Dim) -> str:
    return f"({stride})" if not isinstance(stride, int) and len(stride.terms) > 1 else str(stride)


def _buffer(buffer: Buffer) -> str:
    return f"{buffer.name}: {dtypes.SHORT[buffer.dtype]}[{', '.join(str(d) for d in buffer.shape)}]"
