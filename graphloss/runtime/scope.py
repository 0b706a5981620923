"""Scopes: where persistable variables keep their values between runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from graphloss.errors import ArgumentTypeError
from graphloss.runtime.lod import LoDTensor, Stored


class Holder(Stored):
    """A scope variable: a name and an array, or None before the first write; a LoDTensor shows it."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def get_tensor(self) -> LoDTensor:
        return LoDTensor(self)


class Scope:
    """Names with values. A child also sees its parents' names.

    Example:
        >>> import numpy as np
        >>> scope = Scope()
        >>> scope.var("w").get_tensor().set([1.0, 2.0])
        >>> np.array(scope.find_var("w").get_tensor())
        array([1., 2.])
        >>> scope.find_var("b") is None
        True
    """

    def __init__(self, parent: Scope | None = None) -> None:
        self._parent = parent
        self._kids: list[Scope] = []
        self.holders: dict[str, Holder] = {}

    def var(self, name: str) -> Holder:
        """Finds or creates `name` in this scope."""
        _check_name(name)
        return self.holders.setdefault(name, Holder(name))

    def find_var(self, name: str) -> Holder | None:
        """`name` here or in a parent; None where there is none."""
        _check_name(name)
        scope: Scope | None = self
        while scope is not None:
            found = scope.holders.get(name)
            if found is not None:
                return found
            scope = scope._parent
        return None

    def new_scope(self) -> Scope:
        kid = Scope(self)
        self._kids.append(kid)
        return kid

    def drop_kids(self) -> None:
        self._kids.clear()


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise ArgumentTypeError("a scope variable is found by name", expected="str", got=type(name).__name__)


_GLOBAL: Final = Scope()
_current: ContextVar[Scope | None] = ContextVar("graphloss_scope", default=None)


def global_scope() -> Scope:
    """The scope of the innermost `scope_guard`, else the one of the process."""
    return _current.get() or _GLOBAL


@contextmanager
def scope_guard(scope: Scope) -> Iterator[None]:
    """Inside, `global_scope()` is `scope`; other threads do not see it."""
    if not isinstance(scope, Scope):
        raise ArgumentTypeError("scope_guard takes a Scope", expected="Scope", got=type(scope).__name__)
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)
