"""Runs every code block of README.md and docs/, and compares what it prints with what the page says it prints."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

import graphloss as gl
from tests.docs.pages import Block, blocks, matches, run

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_page_runs_as_written(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # whatever a block writes stays out of the checkout
    namespace: dict[str, object] = {"__name__": "__main__"}
    main, startup = gl.Program(), gl.Program()
    with gl.unique_name.guard(), gl.program_guard(main, startup):  # names as in a process of the page's own
        for block in blocks(page.read_text()):
            printed = run(block, page, namespace)
            if block.output is not None:
                assert matches(block.output, printed), f"{page.name}:{block.line} prints\n{printed}"


def test_blocks_are_found_with_their_marks() -> None:
    text = (
        "# t\n```python\nprint(1)\n```\n\n<!-- output -->\n\n```text\n1\n```\n```text\nno output\n```\n"
        "```sh\nls\n```\n<!-- raises E -->\n```python\nraise E\n```\n"
    )
    assert blocks(text) == [Block(3, "print(1)\n", "1\n"), Block(19, "raise E\n", None, "E")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```python\nprint(1)\n", "line 1: the block is not closed"),
        ("<!-- output -->\n```text\n1\n```\n", "line 2: <!-- output --> stands before a text block"),
        ("```python\n1\n```\n<!-- output -->\n```python\n1\n```\n", "line 5: <!-- output --> stands before a python"),
        ("<!-- raises E -->\nword\n", "line 2: <!-- raises E --> stands before no block"),
    ],
)
def test_marks_must_mark_something(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        blocks(text)


def test_run_shows_the_pages_own_line() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run(Block(41, "x = 1\n1 / 0\n"), Path("page.md"), {})
    place = traceback.extract_tb(caught.tb)[-1]
    assert (place.filename, place.lineno) == ("page.md", 42)


def test_expected_errors() -> None:
    assert run(Block(1, "print(1)\nraise ValueError('bad')\n", raises="ValueError"), Path("p.md"), {}) == "1\nbad\n"
    with pytest.raises(KeyError):
        run(Block(1, "{}[1]\n", raises="ValueError"), Path("p.md"), {})
    with pytest.raises(AssertionError, match=r"p\.md:1: ValueError was not raised"):
        run(Block(1, "1\n", raises="ValueError"), Path("p.md"), {})


@pytest.mark.parametrize(
    ("pattern", "text", "same"),
    [
        ("a\nb\n", "a  \nb\n\n", True),
        ("a ... c\n", "a b\nb c\n", True),
        ("a.c\n", "abc\n", False),
        ("a\n", "a\nb\n", False),
        ("  a\n", "a\n", False),
    ],
)
def test_output_comparison(pattern: str, text: str, same: bool) -> None:
    assert matches(pattern, text) is same
