"""Whether the data of a loop nest can lead it anywhere: an index or a bound is made of what was checked."""

from __future__ import annotations

from collections.abc import Sequence

from graphloss.errors import VerifyError
from graphloss.ir import loops
from graphloss.ir.loop_live import expressions, parts
from graphloss.ir.loops import Accumulate, Apply, Assign, Check, Expr, Let, Load, Loop, Nest, Statement, Store, Use, Var

_CLAMP = {"min": "max", "max": "min"}


def verify_data(nest: Nest) -> None:
    """VerifyError if an index or a bound is made of a number in a given array that has passed no `Check`.

    A number between two others, max(min(x, high), low), is as good as a checked one; so is one of two that a condition
    on the data chooses. That the check itself keeps the nest inside its arrays is for the interpreter to see.
    """
    data = _Data(nest)
    while data.grows(nest.body):
        pass
    data.verify(nest.body)


class _Data:
    """The names and arrays that may hold any number whatever."""

    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        self.arrays = {a.name for a in nest.of_kind(*loops.GIVEN)}
        self.names: set[str] = set()

    def grows(self, body: Sequence[Statement]) -> bool:
        before = len(self.arrays) + len(self.names)
        for s in body:
            if isinstance(s, Loop):
                self.grows(s.body)
            elif isinstance(s, (Let, Var, Assign, Accumulate)):
                if self.wild(s.value):
                    self.names.add(s.name)
            elif isinstance(s, Store):
                if self.wild(s.value):
                    self.arrays.add(s.array)
            elif self.wild(s.other):
                self.names.add(s.name)
        return len(self.arrays) + len(self.names) > before

    def wild(self, e: Expr) -> bool:
        if e.dtype == "bool":
            return False
        if isinstance(e, Use):
            return e.name in self.names
        if isinstance(e, Load):
            return e.array in self.arrays or (e.other is not None and self.wild(e.other))
        if isinstance(e, Apply):
            args = e.args[1:] if e.fn == "select" else e.args
            return any(map(self.wild, args)) and not self.between(e)
        return False

    def between(self, e: Apply) -> bool:
        """max(min(x, high), low) and the like."""
        inner = [a for a in e.args if self.wild(a)]
        return (
            len(inner) == 1
            and e.fn in _CLAMP
            and isinstance(inner[0], Apply)
            and inner[0].fn == _CLAMP[e.fn]
            and not all(map(self.wild, inner[0].args))
        )

    def verify(self, body: Sequence[Statement]) -> None:
        for s in body:
            if isinstance(s, Loop):
                self.tame((s.begin, s.end), f"a bound of {s.index}")
                self.verify(s.body)
            elif isinstance(s, (Store, Check)):
                self.tame(s.index, f"an index of {s.array}")
            for e in (x for top in expressions(s) for x in parts(top)):
                if isinstance(e, Load):
                    self.tame(e.index, f"an index of {e.array}")

    def tame(self, values: Sequence[Expr], what: str) -> None:
        if any(map(self.wild, values)):
            raise VerifyError(f"loop nest {self.nest.name}: {what} comes from data that no check has seen")
