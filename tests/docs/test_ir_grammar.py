"""The grammars in docs/ir.md are those that the code states."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from graphloss import dtypes
from graphloss.ir import loop_parser, parser
from graphloss.ir.loop_text import CALLS, INFIX, STEPS, print_nest
from graphloss.ir.scalar import FUNCTIONS
from tests.codegen.nest_runner import cases
from tests.codegen.random_nests import random_nest

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


def test_loop_nest_grammar_is_the_parsers() -> None:
    assert f"```text\n{grammar(loop_parser.__doc__, 'nest')}\n```" in PAGE


def test_loop_nest_grammar_has_the_words_of_nests_and_no_others() -> None:
    """The nests of all ops and random ones, whose texts are parsed back, are made of the grammar's words."""
    text = grammar(loop_parser.__doc__, "nest")
    terminals = set(re.findall(r'"([^"]+)"', text))
    nests = {nest for _, nest, _, _ in cases()} | {random_nest(seed, "float32") for seed in range(30)}
    printed = re.sub(r"'[^']*'", "''", "\n".join(map(print_nest, nests)))
    tokens = set(re.findall(r"[|&]=|max=|min=|[-+*/%<>=!&|.]+|[(){}\[\]:,]|\b[a-zA-Z_]\w*", printed))
    names = {a.name for n in nests for a in n.arrays} | {s for n in nests for s in n.sizes} | {n.name for n in nests}
    names |= set(re.findall(r"(?:let|var|check|parallel|loop|reverse|vector) (\w+)", printed))
    names |= {CALLS.get(f, f) for f in FUNCTIONS} | set(dtypes.LONG) | {"."}  # the point of a number
    assert tokens - names <= terminals
    assert {symbol for symbol, _ in INFIX.values()} | set(STEPS.values()) <= terminals
    rules = dict(line.split(" = ", 1) for line in re.sub(r" +", " ", text).splitlines())
    used = set(re.findall(r"(?<![\"\w])[a-z]+(?![\"\w])", " ".join(rules.values())))
    assert used - set(rules) == {"name", "dtype", "string", "function", "digits", "float"}
    assert set(rules) - used == {"nest"}
