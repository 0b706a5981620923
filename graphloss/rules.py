"""Rewrite rules of your own: values that `CompileOptions(rules=...)` takes."""

from __future__ import annotations

from graphloss.rewrite.check import check
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Rule

__all__ = ["Example", "Match", "Rule", "check", "op"]
