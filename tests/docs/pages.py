"""Reading the pages of the documentation: their code blocks, and the output that a page says they have.

In a page, each ```python block runs, in order, in one namespace. A ```text block under the comment `<!-- output -->` is
what the block before it printed; `...` in it stands for any text. A block under `<!-- raises Name -->` must raise that
error, and its output ends in the error's text.
"""

from __future__ import annotations

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\s*$")
_MARK = re.compile(r"^<!-- (output|raises (\w+)) -->$")


@dataclass(frozen=True)
class Block:
    """A runnable block, with the line of its first code line and what it must print (None: anything) and raise."""

    line: int
    code: str
    output: str | None = None
    raises: str | None = None


def blocks(text: str) -> list[Block]:
    """The runnable blocks of a page; ValueError for a mark that marks nothing and for a fence that is not closed."""
    found: list[Block] = []
    lines = text.splitlines()
    mark: re.Match[str] | None = None
    i = 0
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        if fence is None:
            if mark is not None and lines[i].strip():
                raise ValueError(f"line {i + 1}: {mark.group()} stands before no block")
            mark = _MARK.match(lines[i]) or mark
            i += 1
            continue
        start = i + 1
        end = next((j for j in range(start, len(lines)) if lines[j].rstrip() == "```"), None)
        if end is None:
            raise ValueError(f"line {i + 1}: the block is not closed")
        body = "\n".join(lines[start:end]) + "\n"
        language, output = fence.group(1), mark is not None and mark.group(1) == "output"
        if language == "python" and not output:
            found.append(Block(start + 1, body, raises=mark.group(2) if mark else None))
        elif language == "text" and output and found and found[-1].output is None:
            found[-1] = Block(found[-1].line, found[-1].code, body, found[-1].raises)
        elif mark is not None:
            raise ValueError(f"line {i + 1}: {mark.group()} stands before a {language or 'nameless'} block")
        mark = None
        i = end + 1
    return found


def run(block: Block, path: Path, namespace: dict[str, object]) -> str:
    """Runs a block and returns what it printed; error messages show the page's own line numbers."""
    printed = io.StringIO()
    code = compile("\n" * (block.line - 1) + block.code, str(path), "exec")
    with contextlib.redirect_stdout(printed):
        if block.raises is None:
            exec(code, namespace)
        else:
            try:
                exec(code, namespace)
            except Exception as error:
                if type(error).__name__ != block.raises:
                    raise
                print(error)
            else:
                raise AssertionError(f"{path.name}:{block.line}: {block.raises} was not raised")
    return printed.getvalue()


def matches(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern`, in which `...` stands for anything; blanks at line ends do not count."""
    expected, got = (re.sub(r"[ \t]+$", "", t, flags=re.MULTILINE).strip("\n") for t in (pattern, text))
    return re.fullmatch(".*?".join(map(re.escape, expected.split("..."))), got, re.DOTALL) is not None
