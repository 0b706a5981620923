"""Every exception that graphloss raises, and the one form their texts have.

A text has up to five lines: what is wrong; what was expected and what came; the op as text; the place in the user's
code that made the op; a hint. A line whose facts are absent is left out. Each class is also a subclass of a built-in
exception, so that ``except ValueError`` works without an import from here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeVar

__all__ = [
    "ArgumentTypeError",
    "AttrError",
    "ClosedError",
    "DtypeError",
    "FeedError",
    "GraphlossError",
    "IndexRangeError",
    "LabelError",
    "ParseError",
    "ShapeError",
    "StoredError",
    "UnknownVariable",
    "UnsupportedError",
    "ValueRangeError",
    "VerifyError",
    "nearest_name_hint",
]

_Error = TypeVar("_Error", bound="GraphlossError")


class GraphlossError(Exception):
    """What all errors of graphloss have in common.

    Args:
        what: the first line, one clause without a full stop.
        expected: what would have been right.
        got: what came instead.
        op: the op in question; its ``str`` is its text form.
        where: the user's ``file:line`` that made the op.
        hint: what to do about it.
        variable: the name of the variable whose value is at fault; whoever has the program adds its declaration.

    Example:
        >>> print(GraphlossError("the sum is empty", expected="N >= 1", got="N = 0", hint="drop empty batches"))
        the sum is empty
          expected N >= 1, got N = 0
          hint: drop empty batches
    """

    def __init__(
        self,
        what: str,
        expected: object | None = None,
        got: object | None = None,
        op: object | None = None,
        where: object | None = None,
        hint: str | None = None,
        variable: str | None = None,
    ) -> None:
        self.what = what
        self.expected = _text(expected)
        self.got = _text(got)
        self.op = _text(op)
        self.where = _text(where)
        self.hint = hint
        self.variable = variable
        super().__init__(what)

    def with_op(self: _Error, op: object, where: object | None = None) -> _Error:
        """This error, told which op it is about; what it knows already it keeps.

        A type rule sees types only, so whoever called it adds the op and its place.

        Example:
            >>> print(ShapeError("rank is not 2", got="f32[3]").with_op("%y = fc(%x)", "m.py:7"))
            rank is not 2
              got f32[3]
              op: %y = fc(%x)
              at: m.py:7
        """
        if self.op is None:
            self.op = _text(op)
        if self.where is None:
            self.where = _text(where)
        return self

    def __str__(self) -> str:
        lines = [self.what]
        compared = [f"{word} {text}" for word, text in (("expected", self.expected), ("got", self.got)) if text]
        if compared:
            lines.append(", ".join(compared))
        if self.op:
            lines.append(f"op: {self.op}")
        if self.where:
            lines.append(f"at: {self.where}")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n  ".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Subclasses take other arguments than the single one Exception would pass on; the fields are the whole state.
        return _rebuild, (type(self), self.what), self.__dict__


def _rebuild(cls: type[GraphlossError], what: str) -> GraphlossError:
    """Make an error without its class's own constructor; its fields follow from the pickled state."""
    return cls.__new__(cls, what)


def _text(value: object | None) -> str | None:
    """The text of ``value``, taken now: the error must not keep a program alive nor change when that is edited."""
    return None if value is None else str(value)


class ShapeError(GraphlossError, ValueError):
    """A rank, a dimension or a broadcast that does not fit."""


class DtypeError(GraphlossError, TypeError):
    """An element type that an op does not take, or that would lose digits."""


class ArgumentTypeError(GraphlossError, TypeError):
    """A Python argument of the wrong type."""


class AttrError(GraphlossError, ValueError):
    """An attribute or option with a value outside what it allows."""


class ValueRangeError(GraphlossError, ValueError):
    """A data value outside the range that a loss is defined on."""


class IndexRangeError(GraphlossError, IndexError):
    """An index outside what it indexes."""


class LabelError(IndexRangeError, ValueError):
    """A class label outside [0, C), found in the data of a run.

    It is an IndexError, as in PyTorch, and a ValueError, since a label is also a value that was fed.
    """


class FeedError(GraphlossError, ValueError):
    """A feed that is missing, unknown, or does not fit its variable."""


class StoredError(GraphlossError, ValueError):
    """A file that is missing, cannot be written, or does not hold what it should."""


class ClosedError(GraphlossError, RuntimeError):
    """Use of an executor after its ``close()``."""


class UnsupportedError(GraphlossError, RuntimeError):
    """Something that graphloss does not do; the text says why."""


class VerifyError(GraphlossError, ValueError):
    """A program that breaks a rule of the IR."""


class ParseError(GraphlossError, ValueError):
    """Program text that does not follow the grammar.

    Args:
        what: what is wrong, one clause.
        line: number of the line, from 1.
        column: number of the column, from 1.
        source: the line itself, to show with the place underlined.
        width: how many columns to underline.

    Example:
        >>> print(ParseError("unknown op 'sofmax'", line=3, column=6, source="%p = sofmax(%x)", width=6))
        line 3, column 6: unknown op 'sofmax'
          %p = sofmax(%x)
               ^~~~~~
    """

    def __init__(
        self,
        what: str,
        line: int,
        column: int,
        source: str | None = None,
        width: int = 1,
        expected: object | None = None,
        got: object | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what, expected=expected, got=got, hint=hint)
        self.line = line
        self.column = column
        self.source = source
        self.width = width

    def __str__(self) -> str:
        first, *rest = super().__str__().split("\n")
        lines = [f"line {self.line}, column {self.column}: {first}"]
        if self.source is not None:
            mark = "^" + "~" * (max(self.width, 1) - 1)
            lines += [f"  {self.source}", "  " + " " * (self.column - 1) + mark]
        return "\n".join(lines + rest)


class UnknownVariable(GraphlossError, ValueError):
    """A variable name that the program does not have; the hint is the nearest name that it does have.

    Args:
        name: the name asked for.
        known: the names there are.
        what: the first line, where the plain one does not say enough.

    Example:
        >>> print(UnknownVariable("lgits", ["logits", "labels"]))
        unknown variable 'lgits'
          hint: did you mean 'logits'?
    """

    def __init__(
        self,
        name: str,
        known: Iterable[str] = (),
        what: str | None = None,
        op: object | None = None,
        where: object | None = None,
    ) -> None:
        super().__init__(what or f"unknown variable {name!r}", op=op, where=where, hint=nearest_name_hint(name, known))
        self.name = name


def nearest_name_hint(name: str, known: Iterable[str]) -> str | None:
    """A hint that names what ``name`` may have been meant to be; without a near one, the first few there are.

    Example:
        >>> nearest_name_hint("zzz", ["b", "a"])
        "known names: 'a', 'b'"
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return None
    shown = ", ".join(repr(n) for n in names[:8])
    return f"known names: {shown}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")
