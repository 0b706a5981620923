"""What a loop nest need not do when some of its outputs are not wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from graphloss.ir import loops
from graphloss.ir.loops import Accumulate, Apply, Assign, Check, Expr, Let, Load, Loop, Nest, Statement, Store, Use, Var


def without(nest: Nest, unwanted: Collection[str]) -> Nest:
    """`nest` that leaves the outputs `unwanted` unwritten, and without all that is computed for them alone.

    An unwanted output that other results are made from stays. So do checks.
    """
    live = _Liveness({a.name for a in nest.of_kind(*loops.MADE)} - set(unwanted))
    while live.grows(nest.body):
        pass
    body = live.kept(nest.body)
    arrays = tuple(a for a in nest.arrays if a.kind in loops.GIVEN or a.name in live.arrays)
    return replace(nest, arrays=arrays, body=body)


def parts(e: Expr) -> Iterator[Expr]:
    """An expression and everything inside it."""
    stack: list[Expr] = [e]
    while stack:
        x = stack.pop()
        yield x
        if isinstance(x, Apply):
            stack += x.args
        elif isinstance(x, Load):
            stack += [*x.index, *(y for y in (x.when, x.other) if y is not None)]


def checks(body: Sequence[Statement]) -> Iterator[Check]:
    """The checks of some statements and of the loops among them."""
    for s in body:
        if isinstance(s, Check):
            yield s
        elif isinstance(s, Loop):
            yield from checks(s.body)


def expressions(s: Statement) -> tuple[Expr, ...]:
    """The expressions that stand in a statement itself; not those of a loop's body."""
    if isinstance(s, (Let, Var, Assign)):
        return (s.value,)
    if isinstance(s, Accumulate):
        return (s.value,) if s.when is None else (s.value, s.when)
    if isinstance(s, Store):
        return (*s.index, s.value) if s.when is None else (*s.index, s.value, s.when)
    if isinstance(s, Check):
        return (s.value, s.ok, s.other, *s.index, *(() if s.step is None else (s.step,)))
    return (s.begin, s.end)


class _Liveness:
    def __init__(self, wanted: set[str]) -> None:
        self.arrays = wanted
        self.names: set[str] = set()

    def grows(self, body: Sequence[Statement]) -> bool:
        """Marks what live statements read, last ones first; whether anything new was marked."""
        before = len(self.arrays) + len(self.names)
        for s in reversed(body):
            if isinstance(s, Loop):
                self.grows(s.body)
            if self._live(s):
                for e in (x for top in expressions(s) for x in parts(top)):
                    if isinstance(e, Use):
                        self.names.add(e.name)
                    elif isinstance(e, Load):
                        self.arrays.add(e.array)
        return len(self.arrays) + len(self.names) > before

    def _live(self, s: Statement) -> bool:
        if isinstance(s, Check):
            return True
        if isinstance(s, Store):
            return s.array in self.arrays
        if isinstance(s, Loop):
            return any(self._live(x) for x in s.body)
        return s.name in self.names

    def kept(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        return tuple(replace(s, body=self.kept(s.body)) if isinstance(s, Loop) else s for s in body if self._live(s))
