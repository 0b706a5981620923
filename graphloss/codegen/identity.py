"""What identifies the code of some kernels without emitting it: a text of the kernels, and one of the emitter itself.

Two programs that differ only in the names of their variables have the same text, and so the same object code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache as once
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from graphloss.codegen.target import Target
from graphloss.ir.dims import SymDim
from graphloss.schedule.kernel import Access, Buffer, Kernel, Level

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
        self._how: dict[type[Any], Callable[[Any], str]] = {
            **dict.fromkeys((int, str, float, bool, type(None)), repr),
            Level: int.__repr__, tuple: self._tuple, SymDim: self._dim, Access: self._access, Buffer: self._buffer,
        }  # fmt: skip

    def kernel(self, kernel: Kernel) -> str:
        head = [self._value(getattr(kernel, f.name)) for f in fields(kernel) if f.name not in ("name", "nodes")]
        return "\n".join((";".join(head), *map(self._value, kernel.nodes)))

    def _value(self, value: object) -> str:
        kind: type[Any] = type(value)
        how = self._how.get(kind)
        if how is None:
            how = self._how[kind] = self._fields(kind)
        return how(value)

    def _fields(self, kind: type[Any]) -> Callable[[Any], str]:
        """How to write the values of a dataclass, and of anything else."""
        if not is_dataclass(kind):
            return repr
        names = [f.name for f in fields(kind)]
        each = [attrgetter(name) for name in names]
        return lambda value: f"{kind.__name__}({' '.join([self._value(get(value)) for get in each])})"

    def _tuple(self, value: tuple[object, ...]) -> str:
        return f"({' '.join(map(self._value, value))})"

    def _access(self, value: Access) -> str:
        return f"[{self._named(value.buffer)} {self._value(value.offset)} {self._tuple(value.strides)}]"

    def _buffer(self, value: Buffer) -> str:
        return f"{self._named(value.name)}:{value.dtype}{self._tuple(value.shape)}{value.role}"

    def _named(self, buffer: str) -> str:
        return f"@{self._buffers.setdefault(buffer, len(self._buffers))}"

    def _dim(self, dim: SymDim) -> str:
        text = self._dims.get(dim)
        if text is None:
            terms = (f"{n}*{'*'.join(map(self._atom, monomial))}" for monomial, n in dim.terms)
            text = self._dims[dim] = f"<{' + '.join(terms)}>"
        return text

    def _atom(self, atom: Any) -> str:
        if isinstance(atom, str):
            return f"${self._symbols.setdefault(atom, len(self._symbols))}"
        return f"{atom.fn}{self._tuple(atom.args)}"


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
