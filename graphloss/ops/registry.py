"""The table of all ops, with every op module imported."""

from __future__ import annotations

from graphloss.ir.opdef import OpDef, all_ops, get
from graphloss.ops import gradient  # the one that ops/__init__ leaves out

__all__ = ["OpDef", "all_ops", "get", "gradient"]
