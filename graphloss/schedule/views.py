"""Shapes as loops: how a tensor's dimensions run along atoms after broadcasting, reshaping and slicing."""

from __future__ import annotations

from graphloss.ir import dims as d
from graphloss.ir import forms
from graphloss.ir.dims import Dim
from graphloss.ir.types import TensorType
from graphloss.schedule.index import rebase
from graphloss.schedule.values import Dims, Ref
from graphloss.schedule.workspace import Workspace, row_major


class Views(Workspace):
    """Views cost nothing: a broadcast, transposed, merged or split axis is other atoms, a slice another load."""

    def fresh(self, shape: tuple[Dim, ...]) -> Dims:
        index: Dims = tuple(() if n == 1 else (self.atoms.new(n),) for n in shape)
        self.atoms.meet(a for x in index for a in x)
        return index

    def align(
        self, index: list[tuple[int, ...] | None], ref: Ref, shape: tuple[Dim, ...], out: tuple[Dim, ...]
    ) -> bool:
        shift = len(out) - len(shape)
        pairs = [(i + shift, ref.dims[i]) for i, n in enumerate(shape) if n != 1 or out[i + shift] == 1]
        mine: list[int] = []
        theirs: list[int] = []
        for i, atoms in pairs:
            known = index[i]
            if known is not None and (known or atoms):
                if self.atoms.resolve(known) == self.atoms.resolve(atoms):
                    continue
                # unifying dimension by dimension could join an axis with one beside it; the whole list is tried at once
                mine += known
                theirs += atoms
        if mine and not self.atoms.unify(mine, theirs):
            return False
        result = [a for i, x in enumerate(index) for a in (x if x is not None else ())]
        for i, atoms in pairs:
            if index[i] is None:
                if set(self.atoms.resolve(atoms)) & set(self.atoms.resolve(result)):
                    return False
                result += atoms
        for i, atoms in pairs:
            if index[i] is None:
                index[i] = atoms
        self.atoms.meet(a for x in index if x is not None for a in x)
        return True

    def expanded(self, index: Dims, shape: tuple[Dim, ...], out: tuple[Dim, ...]) -> Dims:
        shift = len(out) - len(shape)
        result: list[tuple[int, ...]] = []
        for i, n in enumerate(out):
            old = i - shift
            if old >= 0 and (shape[old] != 1 or n == 1):
                result.append(index[old])
            else:
                result.append(() if n == 1 else (self.atoms.new(n),))
        self.atoms.meet(a for x in result for a in x)
        return tuple(result)

    def reshaped(self, index: Dims, old: tuple[Dim, ...], new: tuple[Dim, ...]) -> Dims | None:
        """The atoms of the reshaped dimensions, where whole axes merge or split; None where they interleave."""
        atoms = list(self.atoms.resolve(a for x in index for a in x))
        result: list[tuple[int, ...]] = []
        if any(n == 0 for n in new):
            return None
        for position, n in enumerate(new):
            taken: list[int] = []
            size: Dim = 1
            while size != n:
                if not atoms:
                    return None
                a = atoms[0]
                grown = d.mul(size, self.atoms.sizes[a])
                rest = d.exact_div(self.atoms.sizes[a], d.floordiv(n, size)) if not taken else None
                if grown == n or d.exact_div(n, grown) is not None:
                    taken.append(atoms.pop(0))
                    size = grown
                elif rest is not None and not taken:
                    parts = self.atoms.split(a, (n, rest))
                    atoms[0:1] = list(parts)
                else:
                    return None
            del position
            result.append(tuple(taken))
        return None if atoms else tuple(result)

    def slice(self, ref: Ref, form: forms.Slice, shape: tuple[Dim, ...], out: TensorType) -> Ref:
        moved = self.moved(ref, form, out.shape)
        if moved is not None:
            return moved
        buffer = self.materialise(ref, shape)
        steps = row_major(shape)
        offset: Dim = 0
        for start, step in zip(form.starts, steps, strict=True):
            offset = d.add(offset, d.mul(start, step))
        return self.read(buffer, out.shape, offset, [d.mul(a, b) for a, b in zip(form.steps, steps, strict=True)])

    def moved(self, ref: Ref, form: forms.Slice, out: tuple[Dim, ...]) -> Ref | None:
        """The slice as loads at other places, where the operand is cheap to evaluate there."""
        new: dict[int, tuple[int, Dim, int]] = {}
        index: list[tuple[int, ...]] = []
        for x, start, step, n in zip(ref.dims, form.starts, form.steps, out, strict=True):
            atoms = self.atoms.resolve(x)
            whole = start == 0 and step == 1 and n == d.product(tuple(self.atoms.sizes[a] for a in atoms))
            if (len(atoms) > 1 and not whole) or (not atoms and n != 1):
                return None
            sizes = [self.atoms.sizes[a] for a in atoms] if whole else [n] * len(atoms)
            fresh = tuple(self.atoms.new(size) for size in sizes)
            new.update({a: (f, start, step) for a, f in zip(atoms, fresh, strict=True)})
            index.append(fresh)
        value = rebase(self, ref.value, new)
        if value is None:
            return None
        kept = tuple(() if n == 1 else x for x, n in zip(index, out, strict=True))
        self.atoms.meet(a for x in index for a in x)
        return Ref(value, kept) if all(len(x) == len(k) for x, k in zip(index, kept, strict=True)) else None
