"""The loop language: loop nests with a dependence that elementwise expressions and reductions cannot state.

A nest takes arrays, writes arrays, and has scratch arrays of its own. It is one parallel loop; each of its iterations
sees scratch of its own and runs statements in order, among them sequential loops (whose iterations depend on each
other) and vector loops (whose iterations do not: every statement is done for all of them before the next one, or for
some of them at a time). Names are defined once, except variables, which a sequential loop may assign; in a vector loop
a variable from outside can only be accumulated into. Indices are int64, and a nest must not leave its arrays: what
comes from data passes a `Check` first, whose value is safe whatever the data hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias, Union

from graphloss import dtypes
from graphloss.ir.scalar import FUNCTIONS

Number: TypeAlias = "bool | int | float"
# What the operators take: an expression, or a number that becomes a constant of the other operand's dtype.
Operand: TypeAlias = Union["Expr", "bool", "int", "float"]

ACCUMULATE: Final = ("sum", "max", "min", "any", "all")
SEQUENTIAL, REVERSE, VECTOR = "loop", "reverse", "vector"
INPUT, OUTPUT, UPDATE, SCRATCH, SHARED = "in", "out", "inout", "scratch", "shared"
GIVEN: Final = (INPUT, UPDATE)  # what a nest is given, in the order of its operands
MADE: Final = (OUTPUT, UPDATE)  # what it makes, in the order of its results


class _Operators:
    """Arithmetic and order as Python writes them; equality stays that of values, so it is a function (`equal`)."""

    __slots__ = ()
    dtype: str

    def __add__(self, other: Operand) -> Apply:
        return call("add", self, other)

    def __radd__(self, other: Operand) -> Apply:
        return call("add", other, self)

    def __sub__(self, other: Operand) -> Apply:
        return call("sub", self, other)

    def __rsub__(self, other: Operand) -> Apply:
        return call("sub", other, self)

    def __mul__(self, other: Operand) -> Apply:
        return call("mul", self, other)

    def __rmul__(self, other: Operand) -> Apply:
        return call("mul", other, self)

    def __truediv__(self, other: Operand) -> Apply:
        return call("div", self, other)

    def __rtruediv__(self, other: Operand) -> Apply:
        return call("div", other, self)

    def __floordiv__(self, other: Operand) -> Apply:
        return call("floordiv", self, other)

    def __mod__(self, other: Operand) -> Apply:
        return call("mod", self, other)

    def __neg__(self) -> Apply:
        return call("neg", self)

    def __lt__(self, other: Operand) -> Apply:
        return call("lt", self, other)

    def __le__(self, other: Operand) -> Apply:
        return call("le", self, other)

    def __gt__(self, other: Operand) -> Apply:
        return call("gt", self, other)

    def __ge__(self, other: Operand) -> Apply:
        return call("ge", self, other)

    def __and__(self, other: Operand) -> Apply:
        return call("and", self, other)

    def __or__(self, other: Operand) -> Apply:
        return call("or", self, other)

    def __invert__(self) -> Apply:
        return call("not", self)


@dataclass(frozen=True, slots=True, eq=False)
class Const(_Operators):
    """A number. Equal are those that print alike: NaN is NaN, and -0 is not 0."""

    value: Number
    dtype: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Const) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str]:
        return repr(self.value), self.dtype


@dataclass(frozen=True, slots=True)
class Size(_Operators):
    """A size that the nest is given."""

    name: str
    dtype: str = "int64"


@dataclass(frozen=True, slots=True)
class Use(_Operators):
    """The value of a name: of a `Let`, a variable, a checked value or a loop's index."""

    name: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Load(_Operators):
    """array[index]; where `when` is given and false, `other`, and nothing is read."""

    array: str
    index: tuple[Expr, ...]
    dtype: str
    when: Expr | None = None
    other: Expr | None = None


@dataclass(frozen=True, slots=True)
class Apply(_Operators):
    """A function of `ir.scalar.FUNCTIONS`; `cast` converts to `dtype`."""

    fn: str
    args: tuple[Expr, ...]
    dtype: str


Expr: TypeAlias = Const | Size | Use | Load | Apply


@dataclass(frozen=True, slots=True)
class Array:
    """kind: `in`, `out`, `inout`, `scratch` or `shared`. The shape is in sizes.

    An `inout` array is an operand and a result: the result starts as the operand, and may lie in the same memory.
    `scratch` exists once per iteration of the parallel loop; of what is `shared`, each iteration has elements of its
    own, as it has of an `out` array. Neither has any particular content at the start.
    """

    name: str
    kind: str
    dtype: str
    shape: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Let:
    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Var:
    """A variable with its first value."""

    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Assign:
    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Accumulate:
    """The variable `name`, from outside of the vector loop this stands in, combined with the values of all its
    iterations for which `when` holds. The order in which they are combined is a matter of the target."""

    name: str
    kind: str
    value: Expr
    when: Expr | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """array[index] = value, where `when` holds."""

    array: str
    index: tuple[Expr, ...]
    value: Expr
    when: Expr | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """`name` = `value` where `ok` holds, and `other` elsewhere, which the run then reports as an error.

    `value` was found in `array` at `index`; `expected` says what should stand there, with sizes in braces. Where the
    iterations of the parallel loop are samples, `step` may tell the position in the sample: the error then says both,
    whatever the layout of the array.
    """

    name: str
    value: Expr
    ok: Expr
    other: Expr
    array: str
    index: tuple[Expr, ...]
    expected: str
    step: Expr | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """for index in begin .. end (not included), from the last one on if the kind is `reverse`."""

    kind: str
    index: str
    begin: Expr
    end: Expr
    body: tuple[Statement, ...]


Statement: TypeAlias = Let | Var | Assign | Accumulate | Store | Check | Loop


@dataclass(frozen=True)
class Nest:
    """`sizes` are names; arrays come in the order in which the nest is given them, scratch last.

    `body` is what an iteration of the parallel loop does, `index` its number, from 0 to `extent` (not included).
    """

    name: str
    sizes: tuple[str, ...]
    arrays: tuple[Array, ...]
    index: str
    extent: Expr
    body: tuple[Statement, ...]

    def array(self, name: str) -> Array:
        return next(a for a in self.arrays if a.name == name)

    def of_kind(self, *kinds: str) -> tuple[Array, ...]:
        return tuple(a for a in self.arrays if a.kind in kinds)


# --- making expressions


def const(value: Number, dtype: str) -> Const:
    if dtypes.is_float(dtype):
        return Const(float(value), dtype)
    return Const(bool(value) if dtype == "bool" else int(value), dtype)


def operand(x: Operand | _Operators, dtype: str) -> Expr:
    """An expression as it is, a number as a constant of `dtype`."""
    if isinstance(x, (bool, int, float)):
        return const(x, dtype)
    assert isinstance(x, (Const, Size, Use, Load, Apply))
    return x


def call(fn: str, *operands: Operand | _Operators) -> Apply:
    """fn(operands), typed; a plain number takes the dtype of the operands beside it."""
    info = FUNCTIONS[fn]
    if len(operands) != info.arity:
        raise TypeError(f"{fn} takes {info.arity} operands, got {len(operands)}")
    known = [x.dtype for x in (operands[1:] if fn == "select" else operands) if isinstance(x, _Operators)]
    if not known:
        raise TypeError(f"{fn}: the dtype of plain numbers is not known")
    wanted = ["bool" if fn == "select" and i == 0 else known[0] for i in range(len(operands))]
    args = tuple(operand(x, dtype) for x, dtype in zip(operands, wanted, strict=True))
    same = args[1:] if fn == "select" else args
    if any(a.dtype != same[0].dtype for a in same) or (fn == "select" and args[0].dtype != "bool"):
        raise TypeError(f"{fn}: operands of dtypes {', '.join(a.dtype for a in args)}")
    return Apply(fn, args, "bool" if info.result == "bool" else same[0].dtype)


def cast(x: Expr, dtype: str) -> Expr:
    """x as `dtype`; a constant is converted at once."""
    if x.dtype == dtype:
        return x
    return const(x.value, dtype) if isinstance(x, Const) else Apply("cast", (x,), dtype)


def equal(a: Operand, b: Operand) -> Apply:
    return call("eq", a, b)


def unequal(a: Operand, b: Operand) -> Apply:
    return call("ne", a, b)


def select(condition: Expr, a: Operand, b: Operand) -> Apply:
    return call("select", condition, a, b)


def maximum(a: Operand, b: Operand) -> Apply:
    return call("max", a, b)


def minimum(a: Operand, b: Operand) -> Apply:
    return call("min", a, b)


def exp(x: Expr) -> Apply:
    return call("exp", x)


def log(x: Expr) -> Apply:
    return call("log", x)
