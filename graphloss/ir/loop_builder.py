"""Writing a loop nest in Python: arrays that are indexed, `with` blocks for loops, operators for arithmetic.

Example:
    >>> from graphloss.ir.loop_builder import NestBuilder
    >>> b = NestBuilder("running_sum")
    >>> N, T = b.sizes("N", "T")
    >>> x, out = b.input("x", "float32", (N, T)), b.output("out", "float32", (N, T))
    >>> with b.parallel("n", N) as n:
    ...     total = b.var("total", b.number(0, "float32"))
    ...     with b.loop("t", 0, T) as t:
    ...         b.assign(total, total + x[n, t])
    ...         out[n, t] = total
    >>> nest = b.nest()
    >>> nest.index, [s.name for s in nest.of_kind("in")]
    ('n', ['x'])
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from graphloss.ir import loops
from graphloss.ir.loop_verify import verify_nest
from graphloss.ir.loops import Array, Const, Expr, Load, Nest, Operand, Size, Statement, Store, Use

Index: TypeAlias = "Expr | int | tuple[Expr | int, ...]"
Block: TypeAlias = "AbstractContextManager[Use]"


class Handle:
    """An array of the nest under construction: `a[i, j]` reads, `a[i, j] = v` writes."""

    def __init__(self, builder: NestBuilder, array: Array) -> None:
        self._builder = builder
        self.array = array

    def __getitem__(self, index: Index) -> Load:
        return Load(self.array.name, self._index(index), self.array.dtype)

    def __setitem__(self, index: Index, value: Operand) -> None:
        self.store(index, value)

    def load(self, index: Index, when: Expr, other: Operand = 0) -> Load:
        """The element where `when` holds; elsewhere `other`, and nothing is read."""
        return Load(self.array.name, self._index(index), self.array.dtype, when, self._value(other))

    def store(self, index: Index, value: Operand, when: Expr | None = None) -> None:
        self._builder.add(Store(self.array.name, self._index(index), self._value(value), when))

    def _value(self, value: Operand) -> Expr:
        return _expr(value, self.array.dtype)

    def _index(self, index: Index) -> tuple[Expr, ...]:
        parts = index if isinstance(index, tuple) else (index,)
        if len(parts) != len(self.array.shape):
            raise TypeError(f"{self.array.name} has {len(self.array.shape)} dimensions, got {len(parts)} indices")
        return tuple(_expr(i, "int64") for i in parts)


class NestBuilder:
    """Collects arrays and statements; `nest()` is the result. Names that repeat get a number."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._sizes: list[str] = []
        self._arrays: list[Array] = []
        self._body: list[Statement] = []
        self._names: set[str] = set()
        self._parallel: tuple[str, Expr] | None = None

    # what the nest is given

    def sizes(self, *names: str) -> tuple[Size, ...]:
        self._sizes += names
        self._names.update(names)
        return tuple(Size(n) for n in names)

    def input(self, name: str, dtype: str, shape: tuple[Expr | int, ...]) -> Handle:
        return self._array(name, loops.INPUT, dtype, shape)

    def output(self, name: str, dtype: str, shape: tuple[Expr | int, ...]) -> Handle:
        return self._array(name, loops.OUTPUT, dtype, shape)

    def update(self, name: str, dtype: str, shape: tuple[Expr | int, ...]) -> Handle:
        """An operand and a result at once: the result starts as the operand."""
        return self._array(name, loops.UPDATE, dtype, shape)

    def scratch(self, name: str, dtype: str, shape: tuple[Expr | int, ...]) -> Handle:
        """Memory of one iteration of the parallel loop, with no particular content at its start."""
        return self._array(name, loops.SCRATCH, dtype, shape)

    def shared(self, name: str, dtype: str, shape: tuple[Expr | int, ...]) -> Handle:
        """Memory of the whole nest: each iteration has elements of its own, with no particular content at the start."""
        return self._array(name, loops.SHARED, dtype, shape)

    def _array(self, name: str, kind: str, dtype: str, shape: tuple[Expr | int, ...]) -> Handle:
        array = Array(self._fresh(name), kind, dtype, tuple(_expr(n, "int64") for n in shape))
        self._arrays.append(array)
        return Handle(self, array)

    # statements

    def add(self, statement: Statement) -> None:
        self._body.append(statement)

    def number(self, value: float | int | bool, dtype: str) -> Const:
        return loops.const(value, dtype)

    def let(self, name: str, value: Expr) -> Use:
        """A name for a value that is computed once."""
        name = self._fresh(name)
        self.add(loops.Let(name, value))
        return Use(name, value.dtype)

    def var(self, name: str, value: Expr) -> Use:
        """A variable, for `assign` in sequential loops and `accumulate` in vector loops."""
        name = self._fresh(name)
        self.add(loops.Var(name, value))
        return Use(name, value.dtype)

    def assign(self, variable: Use, value: Operand) -> None:
        self.add(loops.Assign(variable.name, _expr(value, variable.dtype)))

    def accumulate(self, variable: Use, kind: str, value: Expr, when: Expr | None = None) -> None:
        if value.dtype != variable.dtype:
            raise TypeError(f"{variable.name} is {variable.dtype}, accumulates {value.dtype}")
        self.add(loops.Accumulate(variable.name, kind, value, when))

    def check(
        self, name: str, array: Handle, index: Index, ok: Expr, expected: str, *, value: Use, other: Operand = 0,
        step: Operand | None = None,
    ) -> Use:  # fmt: skip
        """`value`, a name for the element of `array` or something made of it, if `ok` holds; else `other` and an error
        of the run, which tells the position `step` in the sample where it is given. The element is read once: a feed
        may change between two reads."""
        name = self._fresh(name)
        safe, place = _expr(other, value.dtype), None if step is None else _expr(step, "int64")
        self.add(loops.Check(name, value, ok, safe, array.array.name, array._index(index), expected, place))
        return Use(name, value.dtype)

    @contextmanager
    def parallel(self, index: str, extent: Expr) -> Iterator[Use]:
        """The loop over what is independent, each iteration with its own scratch; a nest has one, around everything."""
        if self._parallel is not None or self._body:
            raise TypeError(f"{self._name}: everything stands in one parallel loop")
        self._parallel = (self._fresh(index), extent)
        yield Use(self._parallel[0], "int64")

    @contextmanager
    def _loop(self, kind: str, index: str, begin: Operand, end: Operand) -> Iterator[Use]:
        index = self._fresh(index)
        outer, self._body = self._body, []
        yield Use(index, "int64")
        inner, self._body = self._body, outer
        self.add(loops.Loop(kind, index, _expr(begin, "int64"), _expr(end, "int64"), tuple(inner)))

    def loop(self, index: str, begin: Operand, end: Operand, *, reverse: bool = False) -> Block:
        """A sequential loop over begin .. end - 1, upwards or downwards."""
        return self._loop(loops.REVERSE if reverse else loops.SEQUENTIAL, index, begin, end)

    def vector(self, index: str, begin: Operand, end: Operand) -> Block:
        """A loop whose iterations do not depend on each other."""
        return self._loop(loops.VECTOR, index, begin, end)

    def nest(self) -> Nest:
        if self._parallel is None:
            raise TypeError(f"{self._name} has no parallel loop")
        index, extent = self._parallel
        arrays = sorted(self._arrays, key=lambda a: a.kind in (loops.SCRATCH, loops.SHARED))
        nest = Nest(self._name, tuple(self._sizes), tuple(arrays), index, extent, tuple(self._body))
        verify_nest(nest)
        return nest

    def _fresh(self, name: str) -> str:
        count, unique = 1, name
        while unique in self._names:
            unique, count = f"{name}_{count}", count + 1
        self._names.add(unique)
        return unique


def _expr(x: Operand, dtype: str) -> Expr:
    if isinstance(x, (bool, int, float)):
        return loops.const(x, dtype)
    if x.dtype != dtype:
        raise TypeError(f"{dtype} is needed, got {x} of dtype {x.dtype}")
    return x
