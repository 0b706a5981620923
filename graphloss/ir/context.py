"""What new ops are given by where they are built: role, name scope, and the layer that names their outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from graphloss.errors import AttrError
from graphloss.ir import unique_name

ROLES: Final = ("forward", "backward", "optimize")

_role: ContextVar[str] = ContextVar("graphloss_role", default="forward")
_scope: ContextVar[str] = ContextVar("graphloss_name_scope", default="/")


class Layer:
    """A layer under construction: `name` is unique, its temporaries are `<name>.tmp_0`, `<name>.tmp_1`, …"""

    __slots__ = ("_count", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._count = 0

    def temporary(self) -> str:
        n = self._count
        self._count = n + 1
        return f"{self.name}.tmp_{n}"


_layer: ContextVar[Layer | None] = ContextVar("graphloss_layer", default=None)


def current_role() -> str:
    return _role.get()


def current_scope() -> str:
    return _scope.get()


@contextmanager
def op_role(role: str) -> Iterator[None]:
    """New ops have this role: "forward", "backward" or "optimize"."""
    if role not in ROLES:
        raise AttrError("unknown role of an op", ", ".join(ROLES), repr(role))
    token = _role.set(role)
    try:
        yield
    finally:
        _role.reset(token)


@contextmanager
def entered_scope(path: str) -> Iterator[None]:
    token = _scope.set(path)
    try:
        yield
    finally:
        _scope.reset(token)


@contextmanager
def layer(kind: str, name: str | None = None) -> Iterator[Layer]:
    """Inside, op outputs are named after one layer, as Fluid's LayerHelper names them; yields the layer.

    Args:
        kind: the layer function, `fc`; its name becomes `fc_0`.
        name: the name the user gave, taken as it is.
    """
    made = Layer(unique_name.generate(kind) if name is None else name)
    token = _layer.set(made)
    try:
        yield made
    finally:
        _layer.reset(token)


def output_names(op: str, count: int, taken: Callable[[str], bool]) -> tuple[str, ...]:
    """Fresh names for the outputs of an op: `softmax_0.tmp_0`, …; inside a `layer`, that layer's next names."""
    made = _layer.get()
    while True:
        at = made or Layer(unique_name.generate(op))
        names: list[str] = []
        while len(names) < count:
            name = at.temporary()
            if not taken(name):
                names.append(name)
            elif made is None:
                break  # counters were reset by a guard: take the next number of the op instead
        if len(names) == count:
            return tuple(names)
