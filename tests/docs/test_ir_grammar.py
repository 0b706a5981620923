"""The grammars in docs/ir.md are those that the code states."""

from __future__ import annotations

import textwrap
from pathlib import Path

from graphloss.ir import parser

PAGE = (Path(__file__).parent.parent.parent / "docs" / "ir.md").read_text()


def grammar(docstring: str | None, first_rule: str) -> str:
    """The indented paragraph of a module's docstring that begins with a rule."""
    assert docstring is not None
    paragraphs = [p for p in docstring.split("\n\n") if p.startswith(f"    {first_rule} ")]
    assert len(paragraphs) == 1
    return textwrap.dedent(paragraphs[0])


def test_graph_grammar_is_the_parsers() -> None:
    assert f"```text\n{grammar(parser.__doc__, 'program')}\n```" in PAGE


def test_every_rule_is_a_method_of_the_parser() -> None:
    rules = [line.split("=")[0].strip() for line in grammar(parser.__doc__, "program").splitlines()]
    assert len(rules) > 15
    assert [rule for rule in rules if not hasattr(parser._Parser, rule)] == []
