"""The page of the further losses names each of them, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from graphloss import losses

PAGE = Path(__file__).parent.parent.parent / "docs" / "losses.md"
FUSION = PAGE.with_name("fusion.md")


def test_page_lists_every_loss() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(losses.__all__)


def test_page_counts_kernels_as_the_measured_table_does() -> None:
    measured = dict(re.findall(r"^\| `losses\.(\w+)` \|[^|]*\|[^|]*\| (\d+)", FUSION.read_text(), re.MULTILINE))
    said = dict(re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", PAGE.read_text(), re.MULTILINE))
    both = said.keys() & measured.keys()
    assert len(both) > 20
    assert {name: said[name] for name in both} == {name: measured[name] for name in both}


def test_docstrings_say_where_the_definition_is_from() -> None:
    for name in losses.__all__:
        assert "Source: " in getattr(losses, name).__doc__
        assert ">>> " in getattr(losses, name).__doc__
