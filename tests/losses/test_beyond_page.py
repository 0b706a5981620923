"""The page of the further losses names each of them, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from graphloss import losses

PAGE = Path(__file__).parent.parent.parent / "docs" / "losses.md"


def test_page_lists_every_loss() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(losses.__all__)


def test_docstrings_say_where_the_definition_is_from() -> None:
    for name in losses.__all__:
        assert "Source: " in getattr(losses, name).__doc__
        assert ">>> " in getattr(losses, name).__doc__
