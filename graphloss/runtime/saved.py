"""Compilations on disk: what passes and scheduler made of a graph, found again by the text of that graph.

The text has everything of the graph, names and source lines too, so that what comes back is what would be made anew.
An entry is pickled; it is read from the folder of the object cache only, whose entries are trusted as code anyway.
"""

from __future__ import annotations

import io
import pickle
import sys
from dataclasses import fields, is_dataclass
from functools import cache as once
from typing import Any, Final

from graphloss.codegen.identity import sources
from graphloss.codegen.jit import cache_key
from graphloss.ir.graph import Graph
from graphloss.ops.registry import all_ops
from graphloss.options import CompileOptions
from graphloss.runtime.cache import DiskCache

__all__ = ["find", "keep", "key"]

# Whatever decides what becomes of a graph.
_SOURCES: Final = ("ir", "ops", "rewrite", "passes", "schedule", "codegen", "runtime", "dtypes.py")
_OWN_OPS: Final = tuple(all_ops())


def key(graph: Graph, options: CompileOptions, primitive: bool = False) -> str | None:
    """The key of what is made of `graph`, which may be in `primitive` ops already.

    None where nobody can tell: of an unknown version of this package, after somebody has defined an op, or under rules
    of the user's own.
    """
    version = sources(*_SOURCES)
    if version is None or options.rules or tuple(all_ops()) != _OWN_OPS:
        return None
    return cache_key("\n".join((version, sys.version, repr((options, primitive)), repr(graph))))


def find(cache: DiskCache, key: str) -> object:
    """What was kept under `key`, or None."""
    content = cache.get(key)
    if content is None:
        return None
    try:
        return pickle.loads(content)
    except Exception:  # whatever is odd is a miss
        return None


def keep(cache: DiskCache, key: str, value: object) -> None:
    """Keep `value` under `key`; does nothing where it holds what does not travel, such as a function of its own."""
    content = io.BytesIO()
    try:
        _Pickler(content, pickle.HIGHEST_PROTOCOL).dump(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        return
    cache.put(key, content.getvalue())


class _Pickler(pickle.Pickler):
    """Writes a dataclass as a call with its fields: read in half the time of what slots have by themselves."""

    def reducer_override(self, value: Any) -> Any:
        kind: Any = type(value)
        names = _arguments(kind)
        if names is None:
            return NotImplemented
        return kind, tuple([getattr(value, name) for name in names])


@once
def _arguments(kind: Any) -> tuple[str, ...] | None:
    """The fields of a dataclass that is made from all of them; None of anything else."""
    if not is_dataclass(kind) or kind.__reduce__ is not object.__reduce__:
        return None
    names = tuple(f.name for f in fields(kind))
    return names if getattr(kind, "__match_args__", None) == names else None
