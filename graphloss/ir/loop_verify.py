"""Whether a loop nest keeps the rules of its language."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

from graphloss import dtypes
from graphloss.errors import VerifyError
from graphloss.ir import loops
from graphloss.ir.loop_data import verify_data
from graphloss.ir.loop_live import parts
from graphloss.ir.loops import (
    Accumulate,
    Apply,
    Assign,
    Check,
    Const,
    Expr,
    Let,
    Load,
    Loop,
    Nest,
    Size,
    Statement,
    Store,
    Use,
    Var,
)
from graphloss.ir.scalar import FUNCTIONS

_KINDS: Final = (loops.INPUT, loops.OUTPUT, loops.UPDATE, loops.SCRATCH, loops.SHARED)


def verify_nest(nest: Nest) -> None:
    """VerifyError unless: names are defined once and before their use; dtypes and ranks agree; only results, updates
    and scratch are written; checks are on what is given, which is read once; variables are assigned in sequential code
    and accumulated into from vector loops, which do not read them; bounds do not depend on the lanes of a vector loop,
    and what it writes does; no index and no bound comes from data that was not checked.

    That no index leaves its array is not told: the interpreter sees it.
    """
    _Verifier(nest).run()
    verify_data(nest)


class _Verifier:
    def __init__(self, nest: Nest) -> None:
        self.nest = nest
        self.arrays = {a.name: a for a in nest.arrays}
        self.names: dict[str, str] = {}  # dtypes of what is in scope
        self.variables: dict[str, bool] = {}  # whether a variable was made in the vector loop
        self.taken: set[str] = set()
        self.vector = False
        self.lanes: set[str] = set()  # names whose values differ from lane to lane
        self.sums: dict[str, str] = {}  # how the vector loop accumulates into variables

    def fail(self, why: str) -> NoReturn:
        raise VerifyError(f"loop nest {self.nest.name}: {why}")

    def define(self, name: str, dtype: str) -> None:
        if not name.isidentifier() or keyword.iskeyword(name):
            self.fail(f"{name!r} is no name")
        if name in self.taken:
            self.fail(f"{name} is defined twice")
        self.taken.add(name)
        self.names[name] = dtype

    def run(self) -> None:
        for name in self.nest.sizes:
            self.define(name, "int64")
        for array in self.nest.arrays:
            if array.kind not in _KINDS or array.dtype not in dtypes.SHORT:
                self.fail(f"array {array.name} is of kind {array.kind}, dtype {array.dtype}")
            if array.name in self.taken:
                self.fail(f"{array.name} is defined twice")
            self.taken.add(array.name)
            for n in array.shape:
                self.size(n)
        self.size(self.nest.extent)
        self.define(self.nest.index, "int64")
        self.body(self.nest.body)

    def size(self, e: Expr) -> None:
        if isinstance(e, Apply):
            for a in e.args:
                self.size(a)
        elif not (isinstance(e, Const) and e.dtype == "int64") and not (isinstance(e, Size) and e.name in self.names):
            self.fail(f"{e} is no size")

    # --- statements

    def body(self, body: Sequence[Statement]) -> None:
        names, variables = dict(self.names), dict(self.variables)
        for s in body:
            self.statement(s)
        self.names, self.variables = names, variables

    def statement(self, s: Statement) -> None:
        if isinstance(s, Loop):
            self.loop(s)
        elif isinstance(s, (Let, Var)):
            dtype = self.expr(s.value)
            self.define(s.name, dtype)
            self.mark(s.name, (s.value,))
            if isinstance(s, Var):
                self.variables[s.name] = self.vector
        elif isinstance(s, Assign):
            self.variable(s.name, s.value)
            if self.variables[s.name] is not self.vector:
                self.fail(f"{s.name}, from outside of the vector loop, is assigned in it")
            self.mark(s.name, (s.value,))
        elif isinstance(s, Accumulate):
            self.accumulate(s)
        elif isinstance(s, Store):
            array = self.place(s.array, s.index)
            if array.kind == loops.INPUT:
                self.fail(f"{s.array} is given, and written")
            self.typed(s.value, array.dtype, f"what is stored in {s.array}")
            self.condition(s.when)
            if self.vector and not self.varies(s.index):
                self.fail(f"all lanes write one element of {s.array}")
        else:
            self.check(s)

    def loop(self, s: Loop) -> None:
        for bound in (s.begin, s.end):
            self.typed(bound, "int64", f"a bound of {s.index}")
            if self.varies((bound,)):
                self.fail(f"a bound of {s.index} differs from lane to lane")
        if s.kind not in (loops.SEQUENTIAL, loops.REVERSE, loops.VECTOR):
            self.fail(f"there is no loop of kind {s.kind}")
        if s.kind == loops.VECTOR and self.vector:
            self.fail(f"the vector loop over {s.index} stands in another one")
        outside = self.vector
        self.vector = outside or s.kind == loops.VECTOR
        self.define(s.index, "int64")
        if s.kind == loops.VECTOR:
            self.lanes.add(s.index)
            self.sums = _accumulations(s.body)
        self.body(s.body)
        if s.kind == loops.VECTOR:
            self.sums = {}
        self.vector = outside
        del self.names[s.index]

    def accumulate(self, s: Accumulate) -> None:
        if s.kind not in loops.ACCUMULATE:
            self.fail(f"{s.name} accumulates by {s.kind}")
        self.variable(s.name, s.value)
        if self.sums.get(s.name, s.kind) != s.kind:
            self.fail(f"{s.name} accumulates by {s.kind} and by {self.sums[s.name]}")
        if not self.vector or self.variables[s.name]:
            self.fail(f"{s.name} accumulates from outside of a vector loop")
        if s.kind in ("any", "all") and s.value.dtype != "bool":
            self.fail(f"{s.name} accumulates {s.value.dtype} by {s.kind}")
        self.condition(s.when)

    def variable(self, name: str, value: Expr) -> None:
        if name not in self.variables:
            self.fail(f"{name} is no variable here")
        self.typed(value, self.names[name], name)

    def check(self, s: Check) -> None:
        array = self.place(s.array, s.index)
        if array.kind not in loops.GIVEN:
            self.fail(f"the check {s.name} is on {s.array}, which is not given")
        dtype = self.expr(s.value)
        if not dtypes.is_int(dtype):
            self.fail(f"the check {s.name} is on {dtype}")
        read = [e for x in (s.value, s.ok, s.other) for e in parts(x) if isinstance(e, Load)]
        if any(self.arrays[e.array].kind in loops.GIVEN for e in read if e.array in self.arrays):
            self.fail(f"the check {s.name} reads {s.array} itself, not a name for its element: it may change meanwhile")
        self.condition(s.ok)
        self.typed(s.other, dtype, f"the other value of {s.name}")
        if s.step is not None:
            self.typed(s.step, "int64", f"the step of {s.name}")
        self.define(s.name, dtype)
        self.mark(s.name, (s.value, s.ok, s.other))

    def condition(self, e: Expr | None) -> None:
        if e is not None:
            self.typed(e, "bool", "a condition")

    def mark(self, name: str, values: Iterable[Expr]) -> None:
        """A name that may differ from lane to lane; a variable of a vector loop always may."""
        if self.vector and (name in self.variables or self.varies(values)):
            self.lanes.add(name)

    # --- expressions

    def varies(self, values: Iterable[Expr]) -> bool:
        stack = list(values)
        while stack:
            e = stack.pop()
            if isinstance(e, Use) and e.name in self.lanes:
                return True
            if isinstance(e, Apply):
                stack += e.args
            elif isinstance(e, Load):
                stack += [*e.index, *(x for x in (e.when, e.other) if x is not None)]
        return False

    def typed(self, e: Expr, dtype: str, what: str) -> None:
        found = self.expr(e)
        if found != dtype:
            self.fail(f"{what} is {found}, not {dtype}")

    def place(self, name: str, index: Sequence[Expr]) -> loops.Array:
        if name not in self.arrays:
            self.fail(f"there is no array {name}")
        array = self.arrays[name]
        if len(index) != len(array.shape):
            self.fail(f"{name} has {len(array.shape)} dimensions, not {len(index)}")
        for e in index:
            self.typed(e, "int64", f"an index of {name}")
        return array

    def expr(self, e: Expr) -> str:
        """The dtype of an expression that is right."""
        if isinstance(e, (Use, Size)):
            if self.names.get(e.name) != e.dtype:
                self.fail(f"{e.name} of dtype {e.dtype} is not defined here")
            if e.name in self.sums:
                self.fail(f"{e.name} is read in the vector loop that accumulates into it")
        elif isinstance(e, Load):
            array = self.place(e.array, e.index)
            self.condition(e.when)
            if (e.when is None) is not (e.other is None) or array.dtype != e.dtype:
                self.fail(f"a load of {e.array} has a condition and another value, or none, and its dtype")
            if e.other is not None:
                self.typed(e.other, e.dtype, f"the other value of {e.array}")
        elif isinstance(e, Apply):
            self.apply(e)
        return e.dtype

    def apply(self, e: Apply) -> None:
        if e.fn not in FUNCTIONS or len(e.args) != FUNCTIONS[e.fn].arity:
            self.fail(f"{e.fn} of {len(e.args)} operands is no function")
        found = [self.expr(a) for a in e.args]
        same = found[1:] if e.fn == "select" else found
        if len(set(same)) > 1 or (e.fn == "select" and found[0] != "bool"):
            self.fail(f"{e.fn} of {', '.join(found)}")
        if e.fn == "cast":
            return
        if e.dtype != ("bool" if FUNCTIONS[e.fn].result == "bool" else same[0]):
            self.fail(f"{e.fn} of {same[0]} is not {e.dtype}")


def _accumulations(body: Sequence[Statement]) -> dict[str, str]:
    found: dict[str, str] = {}
    for s in reversed(body):
        if isinstance(s, Accumulate):
            found[s.name] = s.kind
        elif isinstance(s, Loop):
            found.update(_accumulations(s.body))
    return found
