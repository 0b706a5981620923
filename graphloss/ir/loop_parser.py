"""Reads the text of a loop nest back.

    nest       = "nest" name "(" (name ("," name)*)? ")" "{" array* "parallel" name "in" expr "{" statement* "}" "}"
    array      = ("in" | "out" | "inout" | "scratch" | "shared") name ":" dtype index
    statement  = let | var | assign | accumulate | store | check | loop
    let        = "let" name "=" expr
    var        = "var" name "=" expr
    assign     = name "=" expr
    accumulate = name ("+=" | "max=" | "min=" | "|=" | "&=") expr when?
    store      = place "=" expr when?
    when       = "if" expr
    check      = "check" name "=" expr "if" expr "else" expr "of" place ["step" expr] "expected" string
    loop       = ("loop" | "reverse" | "vector") name "in" expr ".." expr "{" statement* "}"
    place      = name index
    index      = "[" (expr ("," expr)*)? "]"
    expr       = name | number | place | call | "(" expr ")" | expr infix expr
    call       = (function | dtype) "(" expr ("," expr)* ")" | "load" "(" place "," expr "," expr ")"
    infix      = "==" | "!=" | "<" | "<=" | ">" | ">=" | "|" | "&" | "+" | "-" | "*" | "/" | "//" | "%"
    number     = "-"? (digits | float | "inf" | "nan" | "True" | "False")

A statement and its brace stand in a line of their own; expressions are read as Python reads them.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from typing import Final, NoReturn

from graphloss import dtypes
from graphloss.errors import ParseError
from graphloss.ir import loops
from graphloss.ir.loop_text import CALLS, INFIX, STEPS
from graphloss.ir.loops import (
    Accumulate,
    Apply,
    Array,
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
_LOOP: Final = re.compile(rf"({loops.SEQUENTIAL}|{loops.REVERSE}|{loops.VECTOR}) (\w+) in (.+) \.\. (.+) \{{")
_CHECK: Final = re.compile(r"check (\w+) = (.+) if (.+) else (.+) of (\w+)(\[.*?\])(?: step (.+?))? expected (.+)")
_STEP: Final = re.compile(rf"(\w+) ({'|'.join(re.escape(s) for s in STEPS.values())}) (.+?)(?: if (.+))?")
_STORE: Final = re.compile(r"(\w+)(\[.*?\]) = (.+?)(?: if (.+))?")
_NAMES: Final = {symbol: name for name, (symbol, _) in INFIX.items()}
_BINARY: Final = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.BitAnd: "&",
    ast.BitOr: "|", ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_FUNCTIONS: Final = {CALLS.get(fn, fn): fn for fn in FUNCTIONS}


def parse_nest(text: str) -> Nest:
    """The nest that `print_nest` wrote as `text`.

    Raises:
        ParseError: the text is no nest; the error names the line.
    """
    return _Parser(text).nest()


class _Parser:
    def __init__(self, text: str) -> None:
        self.lines = [line.strip() for line in text.strip().splitlines()]
        self.at = 0
        self.arrays: dict[str, Array] = {}
        self.names: dict[str, Expr] = {}

    def fail(self, expected: str) -> NoReturn:
        line = self.lines[self.at] if self.at < len(self.lines) else ""
        raise ParseError("this is no part of a loop nest", self.at + 1, 1, line, max(len(line), 1), expected=expected)

    def match(self, pattern: re.Pattern[str] | str, expected: str) -> tuple[str, ...]:
        line = self.lines[self.at] if self.at < len(self.lines) else ""
        found = re.fullmatch(pattern, line)
        if found is None:
            self.fail(expected)
        return found.groups()

    def nest(self) -> Nest:
        name, given = self.match(r"nest (\w+)\((.*)\) \{", "nest name(sizes) {")
        sizes = tuple(given.split(", ")) if given else ()
        self.names.update({n: Size(n) for n in sizes})
        self.at += 1
        while self.at < len(self.lines) and self.lines[self.at].split(" ")[0] in _KINDS:
            kind, array, short, shape = self.match(r"(\w+) (\w+): (\w+)(\[.*\])", "kind name: dtype[shape]")
            if short not in dtypes.LONG:
                self.fail(f"one of the dtypes {', '.join(dtypes.LONG)}")
            self.arrays[array] = Array(array, kind, dtypes.LONG[short], self.index(shape))
            self.at += 1
        index, extent = self.match(r"parallel (\w+) in (.+) \{", "parallel index in extent {")
        bound = self.expr(extent, "int64")
        self.names[index] = Use(index, "int64")
        self.at += 1
        body = self.body()
        self.match(r"\}", "} of the nest")
        if self.at != len(self.lines) - 1:
            self.at += 1
            self.fail("the end of the text")
        return Nest(name, sizes, tuple(self.arrays.values()), index, bound, body)

    def body(self) -> tuple[Statement, ...]:
        """Statements up to a closing brace, which is passed."""
        found: list[Statement] = []
        while self.at < len(self.lines) and self.lines[self.at] != "}":
            found.append(self.statement(self.lines[self.at]))
            self.at += 1
        self.match(r"\}", "a statement or }")
        self.at += 1
        return tuple(found)

    def statement(self, line: str) -> Statement:
        if (m := _LOOP.fullmatch(line)) is not None:
            begin, end = self.expr(m[3], "int64"), self.expr(m[4], "int64")
            self.names[m[2]] = Use(m[2], "int64")
            self.at += 1
            body = self.body()
            self.at -= 1
            return Loop(m[1], m[2], begin, end, body)
        if (m := re.fullmatch(r"(let|var) (\w+) = (.+)", line)) is not None:
            value = self.expr(m[3])
            self.names[m[2]] = Use(m[2], value.dtype)
            return Let(m[2], value) if m[1] == "let" else Var(m[2], value)
        if (m := _CHECK.fullmatch(line)) is not None:
            value, ok, other = self.expr(m[2]), self.expr(m[3]), self.expr(m[4])
            self.names[m[1]] = Use(m[1], value.dtype)
            step = self.expr(m[7], "int64") if m[7] else None
            place = self.array(m[5]).name, self.index(m[6])
            return Check(m[1], value, ok, other, *place, ast.literal_eval(m[8]), step)
        if (m := _STEP.fullmatch(line)) is not None:
            kind = next(kind for kind, symbol in STEPS.items() if symbol == m[2])
            return Accumulate(self.use(m[1]).name, kind, self.expr(m[3]), self.expr(m[4]) if m[4] else None)
        if (m := _STORE.fullmatch(line)) is not None and m[1] in self.arrays:
            return Store(m[1], self.index(m[2]), self.expr(m[3]), self.expr(m[4]) if m[4] else None)
        if (m := re.fullmatch(r"(\w+) = (.+)", line)) is not None:
            return Assign(self.use(m[1]).name, self.expr(m[2]))
        self.fail("a statement")

    def use(self, name: str) -> Use:
        found = self.names.get(name)
        if not isinstance(found, Use):
            self.fail(f"a name that is defined, not {name!r}")
        return found

    def array(self, name: str) -> Array:
        if name not in self.arrays:
            self.fail(f"an array, not {name!r}")
        return self.arrays[name]

    # --- expressions

    def tree(self, text: str) -> ast.expr:
        try:
            return ast.parse(text, mode="eval").body
        except SyntaxError:
            self.fail(f"an expression, not {text!r}")

    def expr(self, text: str, dtype: str | None = None) -> Expr:
        return self.convert(self.tree(text), dtype)

    def index(self, text: str) -> tuple[Expr, ...]:
        tree = self.tree(text)
        assert isinstance(tree, ast.List)
        return tuple(self.convert(e, "int64") for e in tree.elts)

    def convert(self, e: ast.expr, dtype: str | None) -> Expr:
        """The expression; a plain number has `dtype`."""
        number = _number(e)
        if number is not None:
            if dtype is None:
                self.fail(f"a number with its dtype, such as f32({number})")
            return loops.const(number, dtype)
        if isinstance(e, ast.Name) and e.id in self.names:
            return self.names[e.id]
        if isinstance(e, ast.Subscript) and isinstance(e.value, ast.Name):
            return self.load(e)
        if isinstance(e, ast.BinOp):
            return self.apply(_NAMES[_BINARY[type(e.op)]] if type(e.op) in _BINARY else "?", [e.left, e.right])
        if isinstance(e, ast.Compare) and len(e.ops) == 1:
            symbol = _BINARY.get(type(e.ops[0]), "?")
            return self.apply(_NAMES.get(symbol, "?"), [e.left, e.comparators[0]])
        if isinstance(e, ast.Call) and isinstance(e.func, ast.Name) and not e.keywords:
            return self.called(e.func.id, e.args)
        self.fail(f"an expression, not {ast.unparse(e)!r}")

    def called(self, name: str, args: list[ast.expr]) -> Expr:
        if name in dtypes.LONG and len(args) == 1:
            value = self.convert(args[0], dtypes.LONG[name])
            return value if isinstance(value, Const) else Apply("cast", (value,), dtypes.LONG[name])
        if name == "load" and len(args) == 3 and isinstance(args[0], ast.Subscript):
            place = self.load(args[0])
            return Load(place.array, place.index, place.dtype, self.convert(args[1], "bool"),
                        self.convert(args[2], place.dtype))  # fmt: skip
        if name not in _FUNCTIONS:
            self.fail(f"a function of the scalar language, not {name!r}")
        return self.apply(_FUNCTIONS[name], args)

    def load(self, e: ast.Subscript) -> Load:
        if not isinstance(e.value, ast.Name):
            self.fail("an array")
        array = self.array(e.value.id)
        parts = e.slice.elts if isinstance(e.slice, ast.Tuple) else [e.slice]
        return Load(array.name, tuple(self.convert(i, "int64") for i in parts), array.dtype)

    def apply(self, fn: str, args: list[ast.expr]) -> Apply:
        """fn(args); the operands that are no plain numbers tell the dtype of those that are."""
        if fn not in FUNCTIONS or len(args) != FUNCTIONS[fn].arity:
            self.fail("a function with its operands")
        first = [self.convert(args[0], "bool")] if fn == "select" else []
        rest = args[len(first) :]
        known = [self.convert(a, None).dtype for a in rest if _number(a) is None]
        values = [self.convert(a, known[0] if known else None) for a in rest]
        return self.typed(lambda: loops.call(fn, *first, *values))

    def typed(self, make: Callable[[], Apply]) -> Apply:
        try:
            return make()
        except TypeError as error:
            self.fail(f"operands that agree ({error})")


def _number(e: ast.expr) -> bool | int | float | None:
    if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
        inner = _number(e.operand)
        return None if inner is None or isinstance(inner, bool) else -inner
    if isinstance(e, ast.Constant) and isinstance(e.value, (bool, int, float)):
        return e.value
    if isinstance(e, ast.Name) and e.id in ("inf", "nan"):
        return math.inf if e.id == "inf" else math.nan
    return None
