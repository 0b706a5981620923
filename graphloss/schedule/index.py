"""Indexing a computed value: `f(x, y)[i]` is `f(x[i], y[i])`, so only loads are ever indexed."""

from __future__ import annotations

from typing import Protocol

from graphloss.schedule.atoms import Atoms
from graphloss.schedule.values import Call, Checked, Position, Read, Reduction, Value

# Above this many scalar functions a value is stored and the copy is indexed.
SIZE_LIMIT = 40


class Registry(Protocol):
    atoms: Atoms

    def value(self, value: Value, key: tuple[object, ...] | None = None) -> Value: ...

    def call(self, fn: str, args: tuple[Value, ...], dtype: str) -> Value: ...


def reindex(registry: Registry, value: Value, atom: int, index: Value) -> Value | None:
    """`value` with loop index `atom` replaced by the value `index`; None where it must be stored first."""
    order = _closure(registry, value, atom)
    if order is None:
        return None
    new: dict[int, Value] = {}
    for v in order:
        deps = tuple(new.get(x.id, x) for x in v.deps)
        if isinstance(v, Call):
            new[v.id] = registry.call(v.fn, deps, v.dtype)
        elif isinstance(v, Read):
            strides = registry.atoms.strides(v.strides)
            step = strides.pop(atom, None)
            if step is None:
                new[v.id] = v
                continue
            pairs = tuple(strides.items())
            read = Read(0, v.dtype, (index,), tuple(strides), buffer=v.buffer, offset=v.offset, strides=pairs, index_stride=step)
            new[v.id] = registry.value(read, ("read", v.id, atom, index.id))
        elif isinstance(v, Position):
            strides = registry.atoms.strides(v.strides)
            if strides.get(atom) != 1 or len(strides) != 1 or v.start != 0:
                return None
            new[v.id] = index if index.dtype == v.dtype else registry.call("cast", (index,), v.dtype)
    return new.get(value.id, value)


def _closure(registry: Registry, value: Value, atom: int) -> list[Value] | None:
    """The values below `value` that vary along `atom`, operands first; None if one of them cannot be indexed."""
    found: dict[int, Value] = {}
    stack = [value]
    while stack:
        v = stack.pop()
        if v.id in found:
            continue
        found[v.id] = v
        if len(found) > SIZE_LIMIT:
            return None
        if isinstance(v, Read) and v.index_stride is not None and atom in registry.atoms.resolve(v.own):
            return None
        if isinstance(v, Reduction):
            # a reduction that still varies along the atom reads a whole row per index; one that does not is a row value
            below = _atoms(registry, v)
            if atom in below - set(registry.atoms.resolve(v.over)):
                return None
            continue
        if isinstance(v, Checked) and atom in _atoms(registry, v):
            return None
        stack.extend(v.deps)
    return [found[i] for i in sorted(found)]


def _atoms(registry: Registry, value: Value) -> set[int]:
    seen: set[int] = set()
    atoms: set[int] = set()
    stack = [value]
    while stack:
        v = stack.pop()
        if v.id not in seen:
            seen.add(v.id)
            atoms |= set(registry.atoms.resolve(v.own))
            stack.extend(v.deps)
    return atoms


