"""The table of all ops, with every op module imported."""

from __future__ import annotations

from graphloss.ir.opdef import OpDef, all_ops, get

__all__ = ["OpDef", "all_ops", "get"]
