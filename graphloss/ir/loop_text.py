"""Loop nests as text: statements in braces, expressions as Python writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from graphloss import dtypes
from graphloss.ir.loops import (
    Accumulate,
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

# Infix operators and how tightly they bind, as in Python.
INFIX: Final = {
    "eq": ("==", 1), "ne": ("!=", 1), "lt": ("<", 1), "le": ("<=", 1), "gt": (">", 1), "ge": (">=", 1),
    "or": ("|", 2), "and": ("&", 3), "add": ("+", 4), "sub": ("-", 4), "mul": ("*", 5), "div": ("/", 5),
    "floordiv": ("//", 5), "mod": ("%", 5),
}  # fmt: skip
# Functions whose names are words of Python, as calls.
CALLS: Final = {"and": "both", "or": "either", "not": "no"}
STEPS: Final = {"sum": "+=", "max": "max=", "min": "min=", "any": "|=", "all": "&="}


def print_nest(nest: Nest) -> str:
    """The nest as text.

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
        >>> print(print_nest(b.nest()))
        nest running_sum(N, T) {
          in x: f32[N, T]
          out out: f32[N, T]
          parallel n in N {
            var total = f32(0.0)
            loop t in 0 .. T {
              total = total + x[n, t]
              out[n, t] = total
            }
          }
        }
    """
    arrays = [f"  {a.kind} {a.name}: {dtypes.SHORT[a.dtype]}{_index(a.shape)}" for a in nest.arrays]
    lines = [f"nest {nest.name}({', '.join(nest.sizes)}) {{", *arrays]
    lines += [f"  parallel {nest.index} in {text(nest.extent)} {{", *_body(nest.body, "    "), "  }", "}"]
    return "\n".join(lines)


def _body(body: Sequence[Statement], indent: str) -> Iterator[str]:
    for s in body:
        if isinstance(s, Loop):
            yield f"{indent}{s.kind} {s.index} in {text(s.begin)} .. {text(s.end)} {{"
            yield from _body(s.body, indent + "  ")
            yield indent + "}"
        else:
            yield indent + _statement(s)


def _statement(s: Let | Var | Assign | Accumulate | Store | Check) -> str:
    if isinstance(s, Let):
        return f"let {s.name} = {_typed(s.value)}"
    if isinstance(s, Var):
        return f"var {s.name} = {_typed(s.value)}"
    if isinstance(s, Assign):
        return f"{s.name} = {_typed(s.value)}"
    if isinstance(s, Accumulate):
        return f"{s.name} {STEPS[s.kind]} {_typed(s.value)}{_when(s.when)}"
    if isinstance(s, Store):
        return f"{s.array}{_index(s.index)} = {_typed(s.value)}{_when(s.when)}"
    place = f"{s.array}{_index(s.index)}" + ("" if s.step is None else f" step {text(s.step)}")
    return (
        f"check {s.name} = {_typed(s.value)} if {text(s.ok)} else {_typed(s.other)} of {place} expected {s.expected!r}"
    )


def _when(when: Expr | None) -> str:
    return "" if when is None else f" if {text(when)}"


def _index(index: Sequence[Expr]) -> str:
    return f"[{', '.join(text(i) for i in index)}]"


def _typed(e: Expr) -> str:
    """An expression whose dtype the place it stands in does not tell."""
    return f"{dtypes.SHORT[e.dtype]}({_number(e)})" if isinstance(e, Const) else text(e)


def _number(e: Const) -> str:
    return repr(e.value)


def text(e: Expr, bound: int = 0) -> str:
    """The expression; in parentheses where an operator that binds as tightly as `bound` stands around it.

    A constant is written with its dtype unless it is an operand beside one that has the same, or an index.
    """
    if isinstance(e, Const):
        return _number(e)
    if isinstance(e, (Size, Use)):
        return e.name
    if isinstance(e, Load):
        place = f"{e.array}{_index(e.index)}"
        if e.when is None or e.other is None:
            return place
        return f"load({place}, {text(e.when)}, {_typed(e.other)})"
    if e.fn == "cast":
        return f"{dtypes.SHORT[e.dtype]}({_typed(e.args[0])})"
    same = e.args[1:] if e.fn == "select" else e.args
    plain = any(not isinstance(a, Const) for a in same)  # then it tells the dtype of constants beside it
    if e.fn in INFIX and plain:
        symbol, level = INFIX[e.fn]
        left, right = e.args
        line = f"{text(left, level - (level != 1))} {symbol} {text(right, level)}"
        return f"({line})" if level <= bound else line
    write = text if plain else _typed
    first = [text(e.args[0])] if e.fn == "select" else []
    return f"{CALLS.get(e.fn, e.fn)}({', '.join([*first, *(write(a) for a in same)])})"
