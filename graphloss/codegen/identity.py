"""What identifies the code of some kernels without emitting it: a digest of the kernels and of the emitter's version.

Two programs that differ only in the names of their variables have the same text, and so the same object code.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache as once
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from graphloss.codegen.target import Target
from graphloss.ir.dims import Dim, SymDim
from graphloss.schedule.kernel import Access, Buffer, Level
from graphloss.schedule.nest import Native, NestKernel

__all__ = ["identity", "kernel_text", "sources"]

_ROOT: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_IMPORTED: Final = time.time()
_IMPORT_SECONDS: Final = 2.0  # how long the modules before this one may have taken
# Whatever else than the kernels decides what is emitted: this package, and what it knows of kernels.
_EMITTER: Final = ("codegen", "schedule", "ir", "dtypes.py")


def identity(
    kernels: Sequence[Native],
    target: Target,
    segments: Iterable[Sequence[str]],
    by_rows: Mapping[int, Dim] = MappingProxyType({}),
) -> str | None:
    """A digest, equal for equal machine code of `emit_module(kernels, table, target, segments, by_rows)` with one table
    per `kernels`; None where nobody can tell which version of the emitter this is.
    """
    emitter = sources(*_EMITTER)
    if emitter is None:
        return None
    numbers = {k.name: n for n, k in enumerate(kernels)}
    calls = [[numbers[name] for name in names] for names in segments]
    write = _Writer()
    rows = [f"{i}:{write.value(n)}" for i, n in sorted(by_rows.items())]
    text = "\n".join((emitter, repr(target), repr(calls), *map(write.kernel, kernels), *rows))
    return hashlib.sha256(text.encode()).hexdigest()


def kernel_text(kernel: Native) -> str:
    """Equal for kernels whose code is equal but for the words of its table."""
    return _Writer().kernel(kernel)


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

    def kernel(self, kernel: Native) -> str:
        if isinstance(kernel, NestKernel):
            return ";".join((repr(kernel.nest), *map(self.value, (kernel.sizes, kernel.buffers, kernel.slots))))
        head = [self.value(getattr(kernel, f.name)) for f in fields(kernel) if f.name not in ("name", "nodes")]
        return "\n".join((";".join(head), *map(self.value, kernel.nodes)))

    def value(self, value: object) -> str:
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
        return lambda value: f"{kind.__name__}({' '.join([self.value(get(value)) for get in each])})"

    def _tuple(self, value: tuple[object, ...]) -> str:
        return f"({' '.join(map(self.value, value))})"

    def _access(self, value: Access) -> str:
        return f"[{self._named(value.buffer)} {self.value(value.offset)} {self._tuple(value.strides)}]"

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


def sources(*names: str) -> str | None:
    """What tells these folders and files of the package from their other versions: names, sizes and times of change, as
    for Python's own byte code.

    None where nobody can tell: they cannot be listed (a package in an archive, say), or one is younger than this
    process, which then runs an older text.
    """
    found = [_version(os.path.join(_ROOT, name)) for name in names]
    return None if None in found else " ".join(map(str, found))


@once
def _version(path: str) -> str | None:
    digest = hashlib.sha256()
    try:
        for file, about in _files(path):
            if about.st_mtime > _IMPORTED - _IMPORT_SECONDS:
                return None
            digest.update(f"{file} {about.st_size} {about.st_mtime_ns}\n".encode())
    except OSError:
        return None
    return digest.hexdigest()


def _files(path: str) -> Iterator[tuple[str, os.stat_result]]:
    if path.endswith(".py"):
        yield path, os.stat(path)
        return
    with os.scandir(path) as listing:
        inside = [e.path for e in listing if e.name.endswith(".py") or (e.is_dir() and e.name != "__pycache__")]
    for each in sorted(inside):
        yield from _files(each)
