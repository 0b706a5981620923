"""Algebra on primitive ops: what costs less and is the same."""
from __future__ import annotations
RULES = ()
