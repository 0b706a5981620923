"""The scalar language: what an elementwise op computes from one element of each operand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from graphloss import dtypes


@dataclass(frozen=True, slots=True)
class Function:
    """A scalar function: number of arguments, dtype of its result ("same" as the first or "bool"), rough cost in
    additions."""

    arity: int
    result: str = "same"
    cost: int = 1


FUNCTIONS: Final[dict[str, Function]] = {
    # arithmetic; max and min keep NaN; floordiv, mod follow NumPy
    "add": Function(2), "sub": Function(2), "mul": Function(2), "div": Function(2, cost=4), "neg": Function(1),
    "abs": Function(1),
    "max": Function(2), "min": Function(2), "mod": Function(2, cost=8), "floordiv": Function(2, cost=8),
    "sign": Function(1, cost=2),
    # comparison and logic; select(condition, a, b) has the dtype of a
    "lt": Function(2, "bool"), "le": Function(2, "bool"), "gt": Function(2, "bool"), "ge": Function(2, "bool"),
    "eq": Function(2, "bool"), "ne": Function(2, "bool"),
    "and": Function(2, "bool"), "or": Function(2, "bool"), "xor": Function(2, "bool"), "not": Function(1, "bool"),
    "select": Function(3), "isnan": Function(1, "bool"), "isinf": Function(1, "bool"), "isfinite": Function(1, "bool"),
    # cast has its dtype in Expr.dtype
    "cast": Function(1),
    "sqrt": Function(1, cost=6), "rsqrt": Function(1, cost=8), "reciprocal": Function(1, cost=4),
    "floor": Function(1), "ceil": Function(1), "round": Function(1), "trunc": Function(1),
    "exp": Function(1, cost=10), "log": Function(1, cost=14), "log1p": Function(1, cost=18), "expm1": Function(1,
    cost=14),
    "exp2": Function(1, cost=10), "log2": Function(1, cost=14),
    # ldexp(x, n) = x * 2^n for a whole number n, where |n| above 252 (float32) or 2044 (float64) may count as that
    "ldexp": Function(2, cost=2),
    "sigmoid": Function(1, cost=16), "softplus": Function(1, cost=26), "tanh": Function(1, cost=18),
    "erf": Function(1, cost=24),
    "sin": Function(1, cost=20), "cos": Function(1, cost=20), "tan": Function(1, cost=26), "asin": Function(1, cost=20),
    "acos": Function(1, cost=20), "atan": Function(1, cost=20), "sinh": Function(1, cost=20), "cosh": Function(1,
    cost=20),
    "lgamma": Function(1, cost=60), "digamma": Function(1, cost=60), "pow": Function(2, cost=40),
}  # fmt: skip

# From this cost on, a value is worth a trip through memory rather than a second evaluation.
EXPENSIVE: Final = 10


@dataclass(frozen=True, slots=True)
class Expr:
    """One node: fn is a function of the table, "arg" (index says which operand) or "const" (value)."""

    fn: str
    dtype: str
    args: tuple[Expr, ...] = ()
    index: int = 0
    value: float | int | bool = 0

    def __str__(self) -> str:
        if self.fn == "arg":
            return f"${self.index}"
        if self.fn == "const":
            return repr(self.value)
        name = f"cast_{dtypes.SHORT[self.dtype]}" if self.fn == "cast" else self.fn
        return f"{name}({', '.join(str(a) for a in self.args)})"


def arg(index: int, dtype: str) -> Expr:
    return Expr("arg", dtype, index=index)


def const(value: float | int | bool, dtype: str) -> Expr:
    return Expr("const", dtype, value=value)


def call(fn: str, *args: Expr) -> Expr:
    """fn(args), typed; arguments of one call have one dtype, except select's condition."""
    info = FUNCTIONS[fn]
    if len(args) != info.arity:
        raise TypeError(f"{fn} takes {info.arity} arguments, got {len(args)}")
    same = args[1:] if fn == "select" else args
    if any(a.dtype != same[0].dtype for a in same) or (fn == "select" and args[0].dtype != "bool"):
        raise TypeError(f"{fn}: argument dtypes {[a.dtype for a in args]} do not agree")
    return Expr(fn, "bool" if info.result == "bool" else same[0].dtype, args)


def cast(x: Expr, dtype: str) -> Expr:
    return x if x.dtype == dtype else Expr("cast", dtype, (x,))
