"""The graph: a frozen program in SSA form, which every pass takes and returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

from graphloss.ir.dims import Equation, SymDim, symbols
from graphloss.ir.location import Location
from graphloss.ir.types import TensorType

Attr: TypeAlias = None | bool | int | float | str | SymDim | tuple["Attr", ...]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: `type` names an OpDef; `attrs` holds all its attributes in declared order.

    `role` is "forward", "backward" or "optimize"; `loc` is where the user wrote it. Neither takes part in equality.
    `scope` is the name scope, for display.
    """

    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: tuple[tuple[str, Attr], ...] = ()
    role: str = field(default="forward", compare=False)
    loc: Location | None = field(default=None, compare=False)
    scope: str = field(default="", compare=False)

    @property
    def attr(self) -> dict[str, Attr]:
        return dict(self.attrs)


@dataclass(frozen=True)
class Graph:
    """Values are names; every name is defined once: a feed, a state (read from the scope) or an op's output.

    `types` gives the type of every name. `writes` lists (state, value): what a run commits to the scope when all of
    it succeeded.
    `equations` hold between dimensions; they are checked before any kernel runs.
    `sequences` name the offsets that divide the rows of a value, for whoever feeds and fetches; no pass asks.
    """

    name: str
    feeds: tuple[str, ...]
    states: tuple[str, ...]
    ops: tuple[Op, ...]
    types: Mapping[str, TensorType]
    fetches: tuple[str, ...] = ()
    writes: tuple[tuple[str, str], ...] = ()
    equations: tuple[Equation, ...] = ()
    sequences: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", MappingProxyType(dict(self.types)))

    def __reduce__(self) -> tuple[object, ...]:
        # a mapping proxy does not pickle, and what is cached need not travel
        values = [getattr(self, f) for f in self.__dataclass_fields__]
        return type(self), tuple(dict(v) if isinstance(v, MappingProxyType) else v for v in values)

    @cached_property
    def definition(self) -> Mapping[str, Op]:
        """The op that defines each name (feeds and states are absent)."""
        return {out: op for op in self.ops for out in op.outputs}

    @cached_property
    def users(self) -> Mapping[str, tuple[Op, ...]]:
        """The ops that read each name."""
        found: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                found.setdefault(name, []).append(op)
        return {name: tuple(ops) for name, ops in found.items()}

    @property
    def results(self) -> tuple[str, ...]:
        """What must be computed: fetches, then written values; each once."""
        return tuple(dict.fromkeys((*self.fetches, *(value for _, value in self.writes))))

    def replace(self, **changes: object) -> Graph:
        values = {f: getattr(self, f) for f in self.__dataclass_fields__}
        values.update(changes)
        return Graph(**values)

    def needed(self, names: Iterable[str] | None = None) -> frozenset[str]:
        """All names that `names` (default: the results) depend on, themselves included."""
        stack = list(self.results if names is None else names)
        seen: set[str] = set()
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                op = self.definition.get(name)
                if op is not None:
                    stack.extend(op.inputs)
        return frozenset(seen)


def attr_symbols(value: Attr) -> Iterator[str]:
    """The symbols in the dimensions that an attribute holds."""
    if isinstance(value, SymDim):
        yield from symbols(value)
    elif isinstance(value, tuple):
        for v in value:
            yield from attr_symbols(v)
