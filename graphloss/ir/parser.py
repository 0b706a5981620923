"""Reads the text form that `printer` writes.

Each rule of the grammar is a method of `_Parser` with the rule's name:

    program   = "program" "@"name "{" line* "}"
    line      = feed | state | where | op | write | set | sequences | fetch
    feed      = "feed" value ":" type
    state     = "state" value ":" type
    where     = "where" dim "==" dim string?
    op        = values "=" name "(" values? ")" attrs? ":" types ("@"role)?
    write     = "write" value "=" value
    set       = "set" value "=" value                      ; in programs only
    sequences = "sequences" value "=" values               ; offsets, those of the outer levels first
    fetch     = "fetch" values
    values    = value ("," value)*
    value     = "%"name
    attrs     = "{" attr ("," attr)* "}"
    attr      = name "=" literal
    literal   = "none" | "true" | "false" | string | float | dim | "[" (literal ("," literal)*)? "]"
    types     = type ("," type)*
    type      = dtype "[" (dim ("," dim)*)? "]"
    dim       = "-"? term (("+" | "-") term)*
    term      = factor ("*" factor)*
    factor    = int | name | "$"string | ("max" | "floordiv") "(" dim "," dim ")"

A name of other letters than `A-Z a-z 0-9 _ . @ /` is quoted like a string; `;` starts a comment. `float` is a number
with a point or an exponent, or `inf` or `nan`, after an optional `-`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from graphloss import dtypes
from graphloss.errors import AttrError, GraphlossError, ParseError, nearest_name_hint
from graphloss.ir import dims
from graphloss.ir.context import ROLES
from graphloss.ir.dims import Dim, Equation
from graphloss.ir.graph import Attr, Graph, Op
from graphloss.ir.lexer import Word, error_at, words
from graphloss.ir.opdef import OpDef, freeze, get
from graphloss.ir.operator import Statement, Write
from graphloss.ir.printer import type_text
from graphloss.ir.types import TensorType

_CONSTANTS: Final[dict[str, Attr]] = {"none": None, "true": True, "false": False, "inf": math.inf, "nan": math.nan}

_MAX_DEPTH: Final = 64
_MAX_DIGITS: Final = 80


@dataclass
class Parsed:
    """What a text says, statement by statement."""

    name: str = ""
    feeds: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    equations: list[Equation] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)  # what a `write` line names as its target
    sequences: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fetches: tuple[str, ...] = ()


def parse_graph(text: str) -> Graph:
    """The graph that `text` describes; attributes that are left out get their defaults.

    Raises:
        ParseError: with line and column, and the place underlined.

    Example:
        >>> graph = parse_graph("program @g { feed %x : f32[N] %y = exp(%x) : f32[N] fetch %y }")
        >>> graph.ops[0].inputs, str(graph.types["y"])
        (('x',), 'f32[N]')
    """
    found = _Parser(text, whole_program=False).program()
    return Graph(
        name=found.name,
        feeds=tuple(found.feeds),
        states=tuple(found.states),
        ops=tuple(s for s in found.statements if isinstance(s, Op)),
        types=found.types,
        fetches=found.fetches,
        writes=tuple((s.target, s.value) for s in found.statements if isinstance(s, Write)),
        equations=tuple(found.equations),
        sequences=tuple(found.sequences.items()),
    )


def parse_statements(text: str) -> Parsed:
    """What the text of a whole program says: there, writes stand between ops."""
    return _Parser(text, whole_program=True).program()


class _Parser:
    def __init__(self, source: str, whole_program: bool) -> None:
        self._source = source
        self._words = words(source)
        self._at = 0
        self._whole = whole_program
        self._out = Parsed()
        self._fetched = False
        self._written = False
        self._depth = 0

    # -- the grammar ----------------------------------------------------------------------------------------------

    def program(self) -> Parsed:
        self._expect_name("program")
        self._out.name = self._expect("at", "@ and the program's name").text
        self._mark("{")
        while not self._accept("}"):
            self.line()
        self._expect("end", "the end of the text")
        return self._out

    def line(self) -> None:
        word = self._word
        rules = {
            "feed": self.feed,
            "state": self.state,
            "where": self.where,
            "write": self.write,
            "set": self.set,
            "sequences": self.sequences,
            "fetch": self.fetch,
        }
        if word.kind == "value":
            self.op()
        elif word.kind == "name" and word.text in rules:
            self._at += 1
            rules[word.text]()
        else:
            raise self._error(word, "no line begins like this", "%value, " + ", ".join(rules) + ", or }")

    def feed(self) -> None:
        self._out.feeds.append(self._declaration())

    def state(self) -> None:
        self._out.states.append(self._declaration())

    def _declaration(self) -> str:
        word = self._expect("value", "a value to declare")
        self._mark(":")
        self._define(word, self.type())
        return word.text

    def where(self) -> None:
        left = self.dim()
        self._mark("==")
        right = self.dim()
        why = self._next().text if self._word.kind == "string" else ""
        self._out.equations.append(Equation(left, right, why))

    def op(self) -> None:
        outputs = [self._expect("value", "a value")]
        while self._accept(","):
            outputs.append(self._expect("value", "a value"))
        self._mark("=")
        name = self._next()
        if name.kind not in ("name", "string"):
            raise self._error(name, "an op has no name", "the name of an op")
        op = self._op_def(name)
        self._mark("(")
        inputs: tuple[str, ...] = ()
        if not self._accept(")"):
            inputs = self.values()
            self._mark(")")
        given = self.attrs() if self._accept("{") else {}
        self._mark(":")
        place = self._word
        types = self.types()
        if len(types) != len(outputs):
            raise self._error(place, "there must be one type for each output", len(outputs), len(types))
        role = "forward"
        if self._word.kind == "at":
            role = self._next().text
            if role not in ROLES:
                raise self._error(self._words[self._at - 1], "unknown role of an op", ", ".join(ROLES), role)
        try:
            attrs = freeze(op.complete(given))
        except GraphlossError as error:
            raise self._error(name, error.what, error.expected, error.got, error.hint) from None
        if self._written and not self._whole:
            raise self._error(outputs[0], "an op follows a write", "all writes of a graph after its ops")
        for word, type in zip(outputs, types, strict=True):
            self._define(word, type)
        self._out.statements.append(Op(op.name, inputs, tuple(w.text for w in outputs), attrs, role))

    def write(self) -> None:
        self._out.kept.add(self._write())

    def set(self) -> None:
        word = self._words[self._at - 1]
        if not self._whole:
            raise self._error(word, "a graph has no variables to set", "a program, or write")
        target = self._write()
        if target in self._out.states:
            raise self._error(word, f"%{target} is a state", "write, for what the scope keeps")

    def sequences(self) -> None:
        rows = self.value()
        if not self._out.types[rows].rank:
            raise self._error(self._words[self._at - 1], f"%{rows} has no rows", "a rank above 0")
        self._mark("=")
        place = self._word
        self._out.sequences[rows] = self.values()
        for type in map(self._out.types.__getitem__, self._out.sequences[rows]):
            if type.dtype != "int64" or type.rank != 1:
                raise self._error(place, "offsets are a vector of integers", "i64[S+1]", type_text(type))

    def _write(self) -> str:
        target = self._expect("value", "what is written").text
        self._mark("=")
        value = self.value()
        self._out.statements.append(Write(target, value))
        self._written = True
        if self._whole:
            self._out.types.setdefault(target, self._out.types[value])
        return target

    def fetch(self) -> None:
        if self._fetched:
            raise self._error(self._words[self._at - 1], "there is a second fetch line", "one, with all fetches")
        self._fetched = True
        self._out.fetches = self.values()

    def values(self) -> tuple[str, ...]:
        found = [self.value()]
        while self._accept(","):
            found.append(self.value())
        return tuple(found)

    def value(self) -> str:
        word = self._expect("value", "a value")
        if word.text not in self._out.types:
            hint = nearest_name_hint(word.text, self._out.types)
            raise self._error(word, f"value %{word.text} is not defined", hint=hint)
        return word.text

    def attrs(self) -> dict[str, Attr]:
        found = dict([self.attr()])
        while self._accept(","):
            word = self._word
            name, literal = self.attr()
            if name in found:
                raise self._error(word, f"attribute {name!r} is given twice")
            found[name] = literal
        self._mark("}")
        return found

    def attr(self) -> tuple[str, Attr]:
        word = self._next()
        if word.kind not in ("name", "string"):
            raise self._error(word, "an attribute has no name", "a name")
        self._mark("=")
        return word.text, self.literal()

    def literal(self) -> Attr:
        word = self._word
        if word.kind == "string":
            return self._next().text
        if self._accept("["):
            self._enter(word)
            items: list[Attr] = []
            if not self._accept("]"):
                items.append(self.literal())
                while self._accept(","):
                    items.append(self.literal())
                self._mark("]")
            self._depth -= 1
            return tuple(items)
        minus = word.kind == "mark" and word.text == "-"
        number = self._words[self._at + 1] if minus else word
        if number.kind == "float" or (minus and number.kind == "name" and number.text == "inf"):
            self._at += 2 if minus else 1
            return -float(number.text) if minus else float(number.text)
        if word.kind == "name" and word.text in _CONSTANTS:
            return _CONSTANTS[self._next().text]
        return self.dim()

    def types(self) -> list[TensorType]:
        found = [self.type()]
        while self._accept(","):
            found.append(self.type())
        return found

    def type(self) -> TensorType:
        word = self._expect("name", "a type, such as f32[N, 10]")
        if word.text not in dtypes.LONG:
            raise self._error(word, f"unknown dtype {word.text!r}", ", ".join(dtypes.LONG))
        self._mark("[")
        shape: list[Dim] = []
        if not self._accept("]"):
            shape.append(self.dim())
            while self._accept(","):
                shape.append(self.dim())
            self._mark("]")
        return TensorType(dtypes.available(dtypes.LONG[word.text]), tuple(shape))

    def dim(self) -> Dim:
        negative = self._accept("-")
        total = dims.mul(-1 if negative else 1, self.term())
        while True:
            if self._accept("+"):
                total = dims.add(total, self.term())
            elif self._accept("-"):
                total = dims.sub(total, self.term())
            else:
                return total

    def term(self) -> Dim:
        value = self.factor()
        while self._accept("*"):
            value = dims.mul(value, self.factor())
        return value

    def factor(self) -> Dim:
        word = self._next()
        if word.kind == "int" and len(word.text) <= _MAX_DIGITS:
            return int(word.text)
        if word.kind == "symbol":
            return dims.symbol(word.text)
        if word.kind == "name" and word.text in ("max", "floordiv"):
            self._enter(word)
            self._mark("(")
            left = self.dim()
            self._mark(",")
            right = self.dim()
            self._mark(")")
            self._depth -= 1
            if word.text == "floordiv" and right == 0:
                raise self._error(word, "division by 0")
            return dims.maximum(left, right) if word.text == "max" else dims.floordiv(left, right)
        if word.kind == "name" and word.text not in _CONSTANTS:
            return dims.symbol(word.text)
        raise self._error(word, "unexpected word", "a dimension or an attribute's value", word.text or "the end")

    # -- words ----------------------------------------------------------------------------------------------------

    @property
    def _word(self) -> Word:
        return self._words[self._at]

    def _next(self) -> Word:
        word = self._word
        if word.kind != "end":
            self._at += 1
        return word

    def _accept(self, mark: str) -> bool:
        if self._word.kind == "mark" and self._word.text == mark:
            self._at += 1
            return True
        return False

    def _mark(self, mark: str) -> None:
        if not self._accept(mark):
            raise self._error(self._word, "unexpected word", mark, self._word.text or "the end")

    def _expect(self, kind: str, expected: str) -> Word:
        word = self._next()
        if word.kind != kind:
            raise self._error(word, "unexpected word", expected, word.text or "the end")
        return word

    def _expect_name(self, name: str) -> None:
        word = self._next()
        if (word.kind, word.text) != ("name", name):
            raise self._error(word, "unexpected word", name, word.text or "the end")

    def _enter(self, word: Word) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(word, "the text is nested too deeply", f"at most {_MAX_DEPTH} levels")

    def _op_def(self, word: Word) -> OpDef:
        try:
            return get(word.text)
        except AttrError as error:
            raise self._error(word, f"unknown op {word.text!r}", hint=error.hint) from None

    def _define(self, word: Word, type: TensorType) -> None:
        if word.text in self._out.types:
            raise self._error(word, f"value %{word.text} is defined twice")
        self._out.types[word.text] = type

    def _error(
        self,
        word: Word,
        what: str,
        expected: object | None = None,
        got: object | None = None,
        hint: str | None = None,
    ) -> ParseError:
        return error_at(self._source, word, what, expected, got, hint)
