"""Names that nobody has used yet: `fc_0`, `fc_1`, counted for each key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from graphloss.errors import ArgumentTypeError

__all__ = ["UniqueNames", "generate", "guard", "switch"]


class UniqueNames:
    """Counters of names, one for each key; `prefix` begins every name."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self._count: dict[str, int] = {}
        self._lock = threading.Lock()

    def generate(self, key: str) -> str:
        with self._lock:
            n = self._count.get(key, 0)
            self._count[key] = n + 1
        return f"{self.prefix}{key}_{n}"


_PROCESS: Final = UniqueNames()
_current: ContextVar[UniqueNames | None] = ContextVar("graphloss_unique_names", default=None)


def _generator() -> UniqueNames:
    return _current.get() or _PROCESS


def generate(key: str) -> str:
    """The next name of `key`.

    Example:
        >>> with guard():
        ...     generate("fc"), generate("fc"), generate("mean")
        ('fc_0', 'fc_1', 'mean_0')
    """
    return _generator().generate(key)


def switch(new_generator: UniqueNames | None = None) -> UniqueNames:
    """Makes `new_generator` (default: fresh counters) the one of this thread of control; returns the one before."""
    old = _generator()
    _current.set(UniqueNames() if new_generator is None else new_generator)
    return old


@contextmanager
def guard(new_generator: UniqueNames | str | None = None) -> Iterator[None]:
    """Inside, names are counted anew; a text is the prefix of each name.

    Example:
        >>> with guard("a_"):
        ...     generate("fc")
        'a_fc_0'
    """
    if new_generator is None or isinstance(new_generator, str):
        new_generator = UniqueNames(new_generator or "")
    elif not isinstance(new_generator, UniqueNames):
        raise ArgumentTypeError(
            "unique_name.guard takes a prefix or a generator", "str or UniqueNames", type(new_generator).__name__
        )
    token = _current.set(new_generator)
    try:
        yield
    finally:
        _current.reset(token)
