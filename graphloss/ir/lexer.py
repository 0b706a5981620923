"""Words of the text form, each with its place."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from graphloss.errors import ParseError

_STRING: Final = r'"(?:[^"\\\n]|\\.)*"'
_WORDS: Final = re.compile(
    rf"""(?P<space>[ \t\r\n]+|;[^\n]*)
       | (?P<value>%(?:[A-Za-z0-9_.@/]+|{_STRING}))
       | (?P<at>@(?:[A-Za-z0-9_.@/]+|{_STRING}))
       | (?P<symbol>\${_STRING})
       | (?P<string>{_STRING})
       | (?P<name>[A-Za-z_][A-Za-z0-9_.@/]*)
       | (?P<float>\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+))
       | (?P<int>\d+)
       | (?P<mark>==|[{{}}()\[\],:=*+-])""",
    re.VERBOSE,
)
_PREFIX: Final = {"value": 1, "at": 1, "symbol": 1}


@dataclass(frozen=True, slots=True)
class Word:
    """`kind` is value, at, symbol, string, name, float, int, mark or end; `text` has neither prefix nor quotes."""

    kind: str
    text: str
    start: int
    length: int


def words(source: str) -> list[Word]:
    """The words of `source`, without spaces and comments; the last is of kind "end"."""
    found: list[Word] = []
    at = 0
    while at < len(source):
        match = _WORDS.match(source, at)
        if match is None or match.lastgroup is None:
            word = Word("mark", source[at], at, 1)
            if source[at] == '"':
                raise error_at(source, word, "a text is not closed", expected='a second " on the line')
            raise error_at(source, word, f"unexpected character {source[at]!r}")
        if match.lastgroup != "space":
            text = match.group()[_PREFIX.get(match.lastgroup, 0) :]
            word = Word(match.lastgroup, text, at, len(match.group()))
            found.append(Word(word.kind, _unquoted(source, word), at, word.length) if text[:1] == '"' else word)
        at = match.end()
    return [*found, Word("end", "", len(source), 1)]


def _unquoted(source: str, word: Word) -> str:
    try:
        return str(json.loads(word.text))
    except ValueError:
        raise error_at(source, word, "a text has an escape that is none", expected="those of JSON") from None


def error_at(
    source: str,
    word: Word,
    what: str,
    expected: object | None = None,
    got: object | None = None,
    hint: str | None = None,
) -> ParseError:
    """The error that points at `word`."""
    line = source.count("\n", 0, word.start) + 1
    begin = source.rfind("\n", 0, word.start) + 1
    end = source.find("\n", begin)
    shown = source[begin:] if end < 0 else source[begin:end]
    return ParseError(what, line, word.start - begin + 1, shown, word.length, expected, got, hint)
