"""The scaled form of a value, c·v·e^s: what is known of it without building anything, and v and s when they are wanted.

exp, softmax, sigmoid and cosh are e^s by themselves; products add shifts, quotients subtract them, a sum is
e^logsumexp(s), and
ops that move elements move v and s. A value that is none of this has no scaled form.

Where a sum has weights of unknown sign, the shift is the maximum m of s, a choice of representation: v = Σ w·e^(s-m).
It is built
on a detached m, so it is never differentiated, and the derivative is exact for any m.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.ir.graph import Op
from graphloss.ir.tensor import Tensor, apply
from graphloss.passes.stable.terms import as_value
from graphloss.rewrite.rule import Surroundings

# A scaled form of more nested ops than this is not looked for.
MAX_DEPTH: Final = 24

Parts = tuple["Value | None", "Value | None"]


@dataclass(eq=False)
class Scaled:
    """coef · v · e^s.

    `pure`: there is no v, so the sign is that of coef. `bounded`: |value| <= |coef|, so it cannot overflow.
    `calm`: e^s cannot overflow, whatever v is (None: as `bounded`); a product of calm values needs no shift.
    `carried`: v is NaN wherever s is, so that s may cancel against an equal shift.
    `alone`: the value is as accurate by itself; its form only helps against another shift.
    `lifted` is False for plain operands (a number, a count, data) of an op that has a scaled form.
    """

    coef: float
    pure: bool
    bounded: bool
    depth: int
    make: Callable[[], Parts]
    lifted: bool = True
    carried: bool = False
    calm: bool | None = None
    alone: bool = False
    _made: Parts | None = None

    @property
    def is_calm(self) -> bool:
        return self.bounded if self.calm is None else self.calm

    @property
    def positive(self) -> bool:
        return self.pure and self.coef > 0

    def parts(self) -> Parts:
        """(v, s); None stands for 1 and for 0."""
        if self._made is None:
            self._made = self.make()
        return self._made

    @property
    def v(self) -> Value | None:
        return self.parts()[0]

    @property
    def s(self) -> Value | None:
        return self.parts()[1]

    def log(self, dtype: str) -> Value:
        """s + log coef of a positive value."""
        assert self.positive
        s = self.s
        if s is None:
            return number(math.log(self.coef), dtype)
        return s if self.coef == 1 else as_value(s + math.log(self.coef))


def number(x: float, dtype: str) -> Value:
    return as_value(apply("fill", (), {"shape": (), "dtype": dtype, "value": float(x)})[0])


def add_shift(a: Value | None, b: Value | None) -> Value | None:
    return b if a is None else a if b is None else as_value(a + b)


def sub_shift(a: Value | None, b: Value | None) -> Value | None:
    return a if b is None else as_value(-b) if a is None else as_value(a - b)


def mul_factor(a: Value | None, b: Value | None) -> Value | None:
    return b if a is None else a if b is None else as_value(a * b)


class Lifter:
    """The scaled forms of the values of one graph under reconstruction."""

    def __init__(self, graph: Surroundings) -> None:
        self.graph = graph
        self._known: dict[str, Scaled | None] = {}

    def of(self, name: str) -> Scaled | None:
        """The scaled form of a value, operands first and without recursion; None if it has none."""
        stack = [name]
        while stack:
            top = stack[-1]
            if top in self._known:
                stack.pop()
                continue
            op = self.graph.op_of(top)
            handler = None if op is None else HANDLERS.get(op.type)
            if op is None or handler is None:
                self._known[stack.pop()] = None
                continue
            missing = [n for n in op.inputs if n not in self._known]
            if missing:
                stack.extend(missing)
                continue
            found = handler(self, op)
            self._known[stack.pop()] = None if found is None or found.depth > MAX_DEPTH else found
        return self._known[name]

    def factor(self, name: str) -> Scaled:
        """The scaled form, or what stands for a plain operand: a number, a count, or data as v."""
        found = self.of(name)
        if found is not None:
            return found
        value = self.graph.value(name)
        known = self.graph.number_of(name)
        if known is not None and known != 0 and math.isfinite(known):
            return Scaled(float(known), True, True, 0, lambda: (None, None), lifted=False)
        count = self._count(name)
        if count is not None:
            return Scaled(1.0, True, False, 0, lambda: (None, as_value(ops.log(count))), lifted=False, calm=True)
        return Scaled(1.0, False, False, 0, lambda: (value, None), lifted=False, calm=True)

    def opaque(self, value: Tensor) -> Value:
        """A value built for a scaled form: it is not taken apart again."""
        v = as_value(value)
        self._known[v.name] = None
        return v

    def _count(self, name: str) -> Value | None:
        """A number of elements, which is positive."""
        op = self.graph.op_of(name)
        return self.graph.value(name) if op is not None and op.type == "size" else None


def lifter(graph: Surroundings) -> Lifter:
    found = graph.notes.get(Lifter)
    if not isinstance(found, Lifter):
        found = graph.notes[Lifter] = Lifter(graph)
    return found


Handler = Callable[[Lifter, Op], "Scaled | None"]
HANDLERS: dict[str, Handler] = {}


def handles(*types: str) -> Callable[[Handler], Handler]:
    """Says what scaled form the ops of these types have; the operands' are known by then."""

    def enter(handler: Handler) -> Handler:
        HANDLERS.update((t, handler) for t in types)
        return handler

    return enter
