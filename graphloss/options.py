"""Compile options, and the only place that reads graphloss's environment variables.

Three variables exist:

=======================  ==============================================================================
GRAPHLOSS_CACHE_DIR      folder of the object cache; empty turns the cache off
GRAPHLOSS_NUM_THREADS    threads that a kernel may use, until `set_num_threads` says otherwise
GRAPHLOSS_DUMP           folder that receives each stage of a compilation as text, over those of the one before
=======================  ==============================================================================
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from graphloss.errors import ArgumentTypeError, AttrError

MAX_THREADS: Final = 1024

_num_threads: int | None = None  # what set_num_threads chose; process wide


class RewriteRule(Protocol):
    """What an option says of a rule; `graphloss.rules.Rule` is one."""

    @property
    def name(self) -> str: ...

    @property
    def numerics(self) -> str: ...


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What a compilation may be asked to do differently; a plain value, handed down, part of every cache key.

    Args:
        passes: run the rewriting passes; False compiles the program as it was written.
        dump: folder for the text of each stage, over that of the compilation before; None takes ``GRAPHLOSS_DUMP``.
        threads: threads that a kernel may use; None takes `get_num_threads` at each run.
        check_values: also check data values that have a documented range: targets of a binary cross entropy in
            [0, 1], probabilities that are data, targets of a divergence of at least 0. One outside is a
            `ValueRangeError` that names variable, position and value; NaN passes, ignored elements do not count. A
            check hides what a computed probability is made of from the rules; off, checks cost nothing.
        cache: use the on-disk object cache.
        row_chunk: rows at a time of a large intermediate, the logits between a matrix product and a loss, rounded up to
            what its kernels work on; None takes what suits the sizes. It bounds memory, and changes bits only as matrix
            products and sums over chunks do.

        rules: rewrite rules of your own (`graphloss.rules.Rule`), tried before those that are there, on the program as
            written and on its derivatives; none with `passes=False`. What they change is compiled anew in each process.

    Raises:
        ArgumentTypeError, AttrError: an option of the wrong type, or out of its range.

    Example:
        >>> CompileOptions(threads=2).threads
        2
    """

    passes: bool = True
    dump: str | None = None
    threads: int | None = None
    check_values: bool = False
    cache: bool = True
    row_chunk: int | None = None
    rules: tuple[RewriteRule, ...] = ()

    def __post_init__(self) -> None:
        if self.threads is not None:
            object.__setattr__(self, "threads", _checked_threads(self.threads, "threads"))
        if self.row_chunk is not None:
            object.__setattr__(self, "row_chunk", _checked_int(self.row_chunk, "row_chunk", 2**31))
        object.__setattr__(self, "rules", _checked_rules(self.rules))

    def dump_folder(self) -> Path | None:
        """Where to write the text of each stage, or None."""
        return Path(self.dump) if self.dump else dump_folder()

    def num_threads(self) -> int:
        """Threads that a kernel of this compilation may use now."""
        return get_num_threads() if self.threads is None else self.threads


def set_num_threads(n: int) -> None:
    """Let kernels of this process use up to ``n`` threads, the calling one included.

    The results have the same bits for every ``n``.

    Raises:
        ArgumentTypeError: ``n`` is not an integer.
        AttrError: ``n`` is not in [1, 1024].

    Example:
        >>> before = get_num_threads()
        >>> set_num_threads(2)
        >>> get_num_threads()
        2
        >>> set_num_threads(before)
    """
    global _num_threads
    _num_threads = _checked_threads(n, "the number of threads")


def get_num_threads() -> int:
    """Threads that a kernel may use: `set_num_threads`, else ``GRAPHLOSS_NUM_THREADS``, else the CPUs we may run on."""
    global _num_threads
    if _num_threads is None:
        _num_threads = _threads_of_environment()
    return _num_threads


def cache_folder() -> Path | None:
    """The folder of the object cache: ``GRAPHLOSS_CACHE_DIR``, else the user's cache folder; None if switched off."""
    chosen = os.environ.get("GRAPHLOSS_CACHE_DIR")
    if chosen is not None:
        return Path(chosen) if chosen else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rule: a relative path there is to be ignored.
    if os.path.isabs(base):
        return Path(base) / "graphloss"
    home = os.path.expanduser("~")
    return Path(home) / ".cache" / "graphloss" if os.path.isabs(home) else None


def dump_folder() -> Path | None:
    """The folder that ``GRAPHLOSS_DUMP`` names, or None."""
    chosen = os.environ.get("GRAPHLOSS_DUMP")
    return Path(chosen) if chosen else None


def _threads_of_environment() -> int:
    text = os.environ.get("GRAPHLOSS_NUM_THREADS", "").strip()
    if text:
        try:
            return _checked_threads(int(text), "GRAPHLOSS_NUM_THREADS")
        except ValueError:
            raise AttrError(
                "GRAPHLOSS_NUM_THREADS is no number of threads", f"an integer in [1, {MAX_THREADS}]", repr(text)
            ) from None
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MAX_THREADS)
    return min(os.cpu_count() or 1, MAX_THREADS)


def _checked_rules(rules: object) -> tuple[RewriteRule, ...]:
    found = tuple(rules) if isinstance(rules, Iterable) else (rules,)
    for rule in found:
        if not hasattr(rule, "name") or not hasattr(rule, "numerics"):
            raise ArgumentTypeError("rules are graphloss.rules.Rule values", "Rule", type(rule).__name__)
    return found


def _checked_threads(n: object, what: str) -> int:
    return _checked_int(n, what, MAX_THREADS)


def _checked_int(n: object, what: str, most: int) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise ArgumentTypeError(f"{what} must be an integer", "int", type(n).__name__)
    count = operator.index(n)
    if not 1 <= count <= most:
        raise AttrError(f"{what} is out of range", f"1 to {most}", count)
    return count
