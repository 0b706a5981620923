"""Index atoms: the loops that values share. Elementwise use unifies atoms, reshapes split them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphloss.ir import dims
from graphloss.ir.dims import Dim


class Atoms:
    """A union-find of loop indices with sizes. An atom may be replaced by an ordered tuple of atoms (row-major split).

    Two atoms that index one value side by side are never unified: that would read a diagonal.
    """

    def __init__(self) -> None:
        self.sizes: list[Dim] = []
        self._parent: list[int] = []
        self._parts: dict[int, tuple[int, ...]] = {}
        self._beside: list[set[int]] = []

    def new(self, size: Dim) -> int:
        self.sizes.append(size)
        self._parent.append(len(self._parent))
        self._beside.append(set())
        return len(self._parent) - 1

    def find(self, a: int) -> int:
        while self._parent[a] != a:
            self._parent[a] = self._parent[self._parent[a]]
            a = self._parent[a]
        return a

    def resolve(self, atoms: Iterable[int]) -> tuple[int, ...]:
        """Representatives, with split atoms replaced by their parts."""
        if not self._parts:
            return tuple(map(self.find, atoms))
        out: list[int] = []
        stack = list(atoms)[::-1]
        while stack:
            a = self.find(stack.pop())
            parts = self._parts.get(a)
            if parts is None:
                out.append(a)
            else:
                stack.extend(reversed(parts))
        return tuple(out)

    def strides(self, strides: Iterable[tuple[int, Dim]]) -> dict[int, Dim]:
        """Strides by resolved atom; the parts of a split atom share its stride in row-major order."""
        out: dict[int, Dim] = {}
        for a, stride in strides:
            a = self.find(a)
            if a not in self._parts:
                out[a] = dims.add(out.get(a, 0), stride)
                continue
            parts: list[tuple[int, Dim]] = []
            for part in reversed(self.resolve((a,))):
                parts.append((part, stride))
                stride = dims.mul(stride, self.sizes[part])
            for part, step in reversed(parts):
                out[part] = dims.add(out.get(part, 0), step)
        return out

    def meet(self, atoms: Iterable[int]) -> None:
        """Records that these atoms index one value together."""
        group = set(self.resolve(atoms))
        for a in group:
            if len(self._beside[a]) + 1 < len(group) or not group <= self._beside[a] | {a}:
                self._beside[a] |= group - {a}

    def _together(self, a: int, b: int) -> bool:
        return any(b in self.resolve((x,)) for x in self._beside[a])

    def unify(self, left: Sequence[int], right: Sequence[int]) -> bool:
        """Makes two atom lists of one dimension equal; False (and nothing changed) where they cannot be."""
        a, b = list(self.resolve(left)), list(self.resolve(right))
        joins: list[tuple[int, tuple[int, ...]]] = []
        while a and b:
            if a[0] == b[0]:
                a.pop(0)
                b.pop(0)
                continue
            if self.sizes[a[0]] == self.sizes[b[0]]:
                joins.append((a.pop(0), (b.pop(0),)))
                continue
            head, parts = self._split(a, b)
            if head is None:
                return False
            joins.append((head, parts))
        if a or b:
            return False
        touched: set[int] = set()
        for whole, parts in joins:
            if touched & {whole, *parts} or any(self._together(whole, p) for p in parts):
                return False
            touched |= {whole, *parts}
        for whole, parts in joins:
            self._join(whole, parts)
        return True

    def _split(self, a: list[int], b: list[int]) -> tuple[int | None, tuple[int, ...]]:
        for one, many in ((a, b), (b, a)):
            total: Dim = 1
            for count, atom in enumerate(many, 1):
                total = dims.mul(total, self.sizes[atom])
                if total == self.sizes[one[0]] and count > 1:
                    head, parts = one.pop(0), tuple(many[:count])
                    del many[:count]
                    return head, parts
        return None, ()

    def _join(self, whole: int, parts: tuple[int, ...]) -> None:
        if len(parts) == 1:
            self._parent[whole] = parts[0]
        else:
            self._parts[whole] = parts
        for p in parts:
            self._beside[p] |= self._beside[whole]
            if len(parts) > 1:
                self._beside[p] |= set(parts) - {p}

    def split(self, atom: int, sizes: Sequence[Dim]) -> tuple[int, ...]:
        """Replaces `atom` by new atoms of the given sizes (their product is its size)."""
        parts = tuple(self.new(s) for s in sizes)
        self._join(self.find(atom), parts)
        return parts
