"""What identifies the code of some kernels without emitting it: a text of the kernels, and one of the emitter itself.

Two programs that differ only in the names of their variables have the same text, and so the same object code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache as once
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from graphloss.codegen.target import Target
from graphloss.ir.dims import SymDim
from graphloss.schedule.kernel import Access, Buffer, Kernel

__all__ = ["identity"]

# Whatever else than the kernels decides what is emitted: this package, and what it knows of kernels.
_SOURCES: Final = ("codegen", "schedule/kernel.py", "ir/dims.py", "ir/scalar.py", "dtypes.py")


def identity(kernels: Sequence[Kernel], target: Target, segments: Iterable[Sequence[str]]) -> str | None:
    """A text that is equal for equal machine code of `emit_module(kernels, table, target, segments)`, for one table per
    `kernels`; None where the sources of the emitter cannot be read, so that nobody can tell.
    """
    emitter = _emitter()
    if emitter is None:
        return None
    numbers = {k.name: n for n, k in enumerate(kernels)}
    calls = [[numbers[name] for name in names] for names in segments]
    write = _Writer()
    return "\n".join((emitter, repr(target), repr(calls), *map(write.kernel, kernels)))


class _Writer:
    """Values as text; buffers and symbols by the order in which they first come."""

    def __init__(self) -> None:
        self._buffers: dict[str, int] = {}
        self._symbols: dict[str, int] = {}
        self._dims: dict[SymDim, str] = {}

    def kernel(self, kernel: Kernel) -> str:
        head = [self.value(getattr(kernel, f.name)) for f in fields(kernel) if f.name not in ("name", "nodes")]
        return "\n".join((";".join(head), *map(self.value, kernel.nodes)))

    def value(self, value: object) -> str:
        if isinstance(value, SymDim):
            return self._dim(value)
        if isinstance(value, tuple):
            return f"({' '.join(map(self.value, value))})"
        if isinstance(value, Access):
            return f"[{self._buffer(value.buffer)} {self.value(value.offset)} {self.value(value.strides)}]"
        if isinstance(value, Buffer):
            return f"{self._buffer(value.name)}:{value.dtype}{self.value(value.shape)}{value.role}"
        kind: Any = type(value)
        parts = _parts(kind)
        return repr(value) if parts is None else f"{kind.__name__}{self.value(parts(value))}"

    def _buffer(self, name: str) -> str:
        return f"@{self._buffers.setdefault(name, len(self._buffers))}"

    def _dim(self, dim: SymDim) -> str:
        text = self._dims.get(dim)
        if text is None:
            terms = (f"{n}*{'*'.join(map(self._atom, monomial))}" for monomial, n in dim.terms)
            text = self._dims[dim] = f"<{' + '.join(terms)}>"
        return text

    def _atom(self, atom: Any) -> str:
        if isinstance(atom, str):
            return f"${self._symbols.setdefault(atom, len(self._symbols))}"
        return f"{atom.fn}{self.value(atom.args)}"


@once
def _parts(kind: Any) -> Any:
    """How to get the fields of a dataclass as a tuple; None for another type."""
    if not is_dataclass(kind):
        return None
    names = [f.name for f in fields(kind)]
    if len(names) == 1:
        get = attrgetter(names[0])
        return lambda value: (get(value),)
    return attrgetter(*names)


@once
def _emitter() -> str | None:
    """A digest of the emitter's sources, so that code that an older one made is never taken for its own."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    try:
        for name in _SOURCES:
            path = root / name
            for file in sorted(path.rglob("*.py")) if path.is_dir() else (path,):
                content = file.read_bytes()
                digest.update(f"{file.relative_to(root)} {len(content)}\n".encode())
                digest.update(content)
    except OSError:  # a package in an archive, say
        return None
    return digest.hexdigest()
