"""Kernels as readable loops: arguments with shapes first, then one loop per pass, scalar functions folded into expressions."""

from __future__ import annotations

from graphloss import dtypes
from graphloss.schedule.kernel import (
    Access,
    Action,
    Apply,
    Buffer,
    Check,
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

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def print_kernel(kernel: Kernel) -> str:
    """The kernel as loop text."""
    return _Printer(kernel).text()


class _Printer:
    def __init__(self, kernel: Kernel) -> None:
        self.k = kernel
        self.names: dict[int, str] = {}
        self.lines: list[str] = []
        self.axes = [*(f"o{i}" for i in range(len(kernel.outer)))]
        if len(self.axes) == 1:
            self.axes = ["o"]
        self.axes += ["r"] if kernel.row is not None else []
        self.axes += ["i"] if kernel.inner is not None else []
        self.uses: dict[int, int] = {}
        for n in kernel.nodes:
            for a in operands(n.action):
                self.uses[a] = self.uses.get(a, 0) + 1

    def text(self) -> str:
        k = self.k
        reads = [_argument(b) for b in k.buffers if not self._written(b)]
        writes = [_argument(b) for b in k.buffers if self._written(b)]
        self.lines = [f"loops @{k.name}({', '.join(reads)}) -> ({', '.join(writes)}) {{", f"  ; tile: {k.tile}, {k.grain} positions a chunk"]
        self._level(Level.SCALAR, 1, None)
        depth = 1
        around = [*range(len(k.outer)), *([len(self.axes) - 1] if k.inner is not None else [])]
        for a in around:
            self._say(depth, f"for {self.axes[a]} in {k.axes[a]} {{")
            depth += 1
        for p in range(k.passes + 1):
            self._level(Level.ROW, depth, p)
            if p < k.passes and k.row is not None:
                for i, n in enumerate(k.nodes):
                    if isinstance(n.action, RowReduce) and n.at == (p,):
                        self.names[i] = f"{n.action.kind}{i}"
                        self._say(depth, f"var {self.names[i]}: {dtypes.SHORT[n.action.dtype]}")
                self._say(depth, f"for r in {k.row} {{  ; pass {p}")
                self._level(Level.ELEMENT, depth + 1, p)
                self._say(depth, "}")
        for _ in around:
            depth -= 1
            self._say(depth, "}")
        return "\n".join([*self.lines, "}"])

    def _written(self, b: Buffer) -> bool:
        return any(isinstance(n.action, (Store, Total, Column)) and n.action.access.buffer == b.name for n in self.k.nodes)

    def _say(self, depth: int, line: str) -> None:
        self.lines.append("  " * depth + line)

    def _level(self, level: Level, depth: int, step: int | None) -> None:
        for i, n in enumerate(self.k.nodes):
            action = n.action
            if isinstance(action, RowReduce):
                if level == Level.ELEMENT and n.at == (step,):
                    op = {"sum": "+=", "prod": "*="}.get(action.kind, f"{action.kind}=")
                    self._say(depth, f"{self.names[i]} {op} {self._value(action.arg)}")
                continue
            if n.level != level or (step is not None and step not in n.at):
                continue
            line = self._line(i, action, later=step is not None and n.at[:1] != (step,))
            if line:
                self._say(depth, line)

    def _line(self, i: int, action: Action, *, later: bool) -> str:
        if isinstance(action, Store):
            return f"{self._place(action.access)} = {self._value(action.arg)}"
        if isinstance(action, Total):
            return f"{action.access.buffer}[chunk] {action.kind}= {self._value(action.arg)}"
        if isinstance(action, Column):
            return f"{action.access.buffer}[chunk, r] {action.kind}= {self._value(action.arg)}"
        if isinstance(action, Keep):
            self.names[i] = f"v{i}"
            place = self._place(action.access)
            return f"let v{i} = {place}" if later else f"let v{i} = {place} = {self._value(action.arg)}"
        if isinstance(action, Check):
            self.names[i] = f"v{i}"
            return f"let v{i} = check {self._value(action.index)} in {action.limit}"
        text = self._expression(action)
        # a value used once, and everything atomic, is written where it is used
        if self.uses.get(i, 0) <= 1 or isinstance(action, (Const, DimValue, Iota)):
            self.names[i] = text
            return ""
        self.names[i] = f"v{i}"
        return f"let v{i}: {dtypes.SHORT[action.dtype]} = {text}"

    def _expression(self, action: Action) -> str:
        if isinstance(action, Const):
            return repr(action.value)
        if isinstance(action, DimValue):
            return f"{dtypes.SHORT[action.dtype]}({action.dim})"
        if isinstance(action, Iota):
            step = f"{action.step}*" if action.step != 1 else ""
            start = f"{action.start}+" if action.start != 0 else ""
            return f"{start}{step}{self.axes[action.axis]}"
        if isinstance(action, Load):
            return self._place(action.access)
        if isinstance(action, IndexedLoad):
            return self._place(action.access, f"{self._value(action.index)}*{action.stride}" if action.stride != 1 else self._value(action.index))
        assert isinstance(action, Apply)
        args = [self._value(a) for a in action.args]
        if action.fn in _INFIX:
            return f"({args[0]} {_INFIX[action.fn]} {args[1]})"
        fn = dtypes.SHORT[action.dtype] if action.fn == "cast" else action.fn
        return f"{fn}({', '.join(args)})"

    def _value(self, i: int) -> str:
        return self.names.get(i, f"v{i}")

    def _place(self, access: Access, extra: str = "") -> str:
        terms = [f"{a}*{s}" if s != 1 else a for a, s in zip(self.axes, access.strides, strict=True) if s != 0]
        if access.offset != 0:
            terms.append(str(access.offset))
        if extra:
            terms.append(extra)
        return f"{access.buffer}[{' + '.join(terms) or 0}]"


def operands(action: Action) -> tuple[int, ...]:
    """The nodes that an action reads."""
    if isinstance(action, Apply):
        return action.args
    if isinstance(action, (IndexedLoad, Check)):
        return (action.index,)
    if isinstance(action, (RowReduce, Total, Column, Store, Keep)):
        return (action.arg,)
    return ()


def _argument(b: Buffer) -> str:
    return f"{b.name}: {dtypes.SHORT[b.dtype]}[{', '.join(map(str, b.shape))}]"
