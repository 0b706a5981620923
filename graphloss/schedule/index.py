"""Indexing a computed value: `f(x, y)[i]` is `f(x[i], y[i])`, so only loads are ever indexed or sliced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from graphloss.ir import dims as d
from graphloss.ir.dims import Dim
from graphloss.ir.scalar import EXPENSIVE, FUNCTIONS
from graphloss.schedule.atoms import Atoms
from graphloss.schedule.values import Call, Checked, Position, Read, Reduction, Value

# Above this many scalar functions a value is stored and the copy is indexed.
SIZE_LIMIT = 40


class Registry(Protocol):
    atoms: Atoms
    varying: set[int]  # ids of values that are more than one scalar

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
            read = Read(
                0, v.dtype, (index,), tuple(strides), buffer=v.buffer, offset=v.offset, strides=pairs, index_stride=step
            )
            new[v.id] = registry.value(read, ("read", v.id, atom, index.id))
        elif isinstance(v, Position):
            strides = registry.atoms.strides(v.strides)
            if atom not in strides:
                new[v.id] = v
                continue
            if strides[atom] != 1 or len(strides) != 1 or v.start != 0:
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


def rebase(registry: Registry, value: Value, new: Mapping[int, tuple[int, Dim, int]]) -> Value | None:
    """`value` read again at other loop indices: atom a becomes start + step * (new atom), for a -> (new atom, start,
    step).

    None where a second evaluation would cost more than a store: then the value goes through memory.
    """
    order = _cheap(registry, value)
    if order is None:
        return None
    done: dict[int, Value] = {}
    for v in order:
        deps = tuple(done[x.id] for x in v.deps)
        if isinstance(v, Call):
            done[v.id] = registry.call(v.fn, deps, v.dtype)
        elif isinstance(v, (Read, Position)):
            offset: Dim = v.offset if isinstance(v, Read) else v.start
            pairs: list[tuple[int, Dim]] = []
            for a, stride in registry.atoms.strides(v.strides).items():
                atom, start, step = new[a]
                offset = d.add(offset, d.mul(start, stride))
                pairs.append((atom, d.mul(step, stride)))
            own, strides = tuple(a for a, _ in pairs), tuple(pairs)
            if isinstance(v, Read):
                moved: Value = Read(0, v.dtype, (), own, buffer=v.buffer, offset=offset, strides=strides)
            else:
                moved = Position(0, v.dtype, (), own, strides=strides, start=offset)
            done[v.id] = registry.value(moved)
        else:
            done[v.id] = v
    return done[value.id]


def _cheap(registry: Registry, value: Value) -> list[Value] | None:
    """Everything below `value`, operands first, if it is made of loads and a few cheap functions only."""
    found: dict[int, Value] = {}
    stack, cost = [value], 0
    while stack:
        v = stack.pop()
        if v.id in found:
            continue
        found[v.id] = v
        if isinstance(v, (Reduction, Checked)) or (isinstance(v, Read) and v.deps):
            return None
        if v.id in registry.varying:
            cost += FUNCTIONS[v.fn].cost if isinstance(v, Call) else 1
        if cost > EXPENSIVE:
            return None
        stack.extend(v.deps)
    return [found[i] for i in sorted(found)]
