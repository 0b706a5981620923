"""From LLVM IR text to callable addresses: parse, verify, generate code, link into the running process.

No LLVM IR passes run, only code generation at its default level: the emitted vectors need nothing else. Order of the
costs: 1 ms to parse and verify, 15 ms of code generation; from a cached object 0.2 ms in all.

Importing this module loads LLVM's shared library (about 30 ms); nothing is initialised before the first `load`.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache as once
from typing import Any, Final, Protocol, TypeAlias

import llvmlite
import llvmlite.binding as llvm
from llvmlite import ir

from graphloss.errors import UnsupportedError, VerifyError
from graphloss.version import __version__

__all__ = ["Code", "Host", "Loaded", "ObjectCache", "cache_key", "host", "load"]

Code: TypeAlias = str | ir.Module | Callable[[], str | ir.Module]

OPT_LEVEL: Final = 2  # of the code generator

# One lock for every use of LLVM here: it is held across a fork, so that no child starts in the middle of a compilation.
_lock = threading.RLock()
_library_number = itertools.count()
# llvmlite unloads a library when its tracker dies. Were a tracker part of a garbage cycle, the collector would do that
# in any thread at any place: so they are held here, by the library's number, and closed by the next load.
_trackers: dict[int, Any] = {}
_unloadable: deque[int] = deque()  # the libraries of dead `Loaded` values


class ObjectCache(Protocol):
    """Where `load` looks for object code before it makes some; `graphloss.runtime.cache.DiskCache` is one."""

    def get(self, key: str) -> bytes | None: ...

    def put(self, key: str, content: bytes) -> None: ...


@dataclass(frozen=True)
class Host:
    """The machine that code is made for.

    Args:
        triple: LLVM's name of the platform.
        cpu: LLVM's name of the processor.
        features: LLVM's names of what it can do, sorted; only those it has.
        feature_text: all of them with + or -, as LLVM takes them.
    """

    triple: str
    cpu: str
    features: frozenset[str]
    feature_text: str


class Loaded:
    """Machine code in this process; its addresses are valid as long as this value lives.

    Args:
        addresses: address by exported symbol.
        code: the LLVM IR it was made from, or how to make that again.
        from_cache: whether the object code was found in the cache.
    """

    __slots__ = ("__weakref__", "_code", "_library", "addresses", "from_cache")

    def __init__(self, addresses: Mapping[str, int], code: Code, from_cache: bool, library: int) -> None:
        self.addresses = dict(addresses)
        self._code = code
        self.from_cache = from_cache
        self._library = library

    def __getitem__(self, symbol: str) -> int:
        """The address of an exported symbol."""
        return self.addresses[symbol]

    def llvm_ir(self) -> str:
        """The LLVM IR."""
        return _text(self._code)

    def assembly(self) -> str:
        """The assembly text of the machine code, made again from the IR."""
        text = self.llvm_ir()
        with _lock:
            return str(_engine().machine.emit_assembly(_parsed(text)))

    def __del__(self, _unloadable: deque[int] = _unloadable) -> None:  # bound: globals may be gone at exit
        # The collector may run this anywhere, also inside LLVM's own lock or a fork; unloading waits for the next load.
        library = getattr(self, "_library", None)
        if library is not None:
            _unloadable.append(library)


def load(
    code: Code,
    symbols: Sequence[str],
    cache: ObjectCache | None = None,
    imports: Mapping[str, int] | None = None,
    identity: str | None = None,
) -> Loaded:
    """Make ``code`` callable and return the addresses of ``symbols``.

    Args:
        code: LLVM IR, as text or as an llvmlite module, or a function that makes it, always the same.
        symbols: what to export; each must be defined in ``code``.
        cache: where object code is kept between processes.
        identity: what to look for in the cache in place of the text of ``code``; then a function is called only if
            nothing is found.
        imports: addresses of the functions that ``code`` declares and does not define; they are not part of the
            object code, so a cached object serves another process.

    Raises:
        VerifyError: ``code`` is not valid LLVM IR.
        UnsupportedError: a symbol is not defined.

    Example:
        >>> import ctypes
        >>> loaded = load("define i32 @add1(i32 %x) {\\n  %y = add i32 %x, 1\\n  ret i32 %y\\n}", ["add1"])
        >>> ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32)(loaded["add1"])(41)
        42
    """
    if identity is None:
        code = identity = _text(code)
    key = cache_key(identity) if cache is not None else ""
    if cache is not None and (found := cache.get(key)) is not None:
        try:
            return _link(found, symbols, imports, code, from_cache=True)
        except UnsupportedError:
            pass  # an odd object is a miss; if the code itself is at fault, the next link says so
    text = _text(code)
    with _lock:
        object_code = bytes(_engine().machine.emit_object(_parsed(text)))
    loaded = _link(object_code, symbols, imports, code, from_cache=False)
    if cache is not None:
        cache.put(key, object_code)
    return loaded


def cache_key(text: str) -> str:
    """The key of the object code that ``text`` stands for, on this machine and by these versions."""
    target = host()
    parts = (
        text, target.triple, target.cpu, target.feature_text, str(OPT_LEVEL),
        llvmlite.__version__, repr(llvm.llvm_version_info), __version__,
    )  # fmt: skip
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little"))  # so that no two lists of parts run together alike
        digest.update(data)
    return digest.hexdigest()


def _text(code: Code) -> str:
    return str(code() if callable(code) else code)


@once
def host() -> Host:
    """What this process runs on."""
    with _lock:
        table = llvm.get_host_cpu_features()
        return Host(
            triple=str(llvm.get_process_triple()),
            cpu=str(llvm.get_host_cpu_name()),
            features=frozenset(name for name, present in table.items() if present),
            feature_text=str(table.flatten()),
        )


@dataclass(frozen=True)
class _Engine:
    machine: Any  # llvm.TargetMachine
    jit: Any  # llvm.LLJIT
    layout: str


_engines: list[_Engine] = []  # at most one; never disposed, since sleeping workers stay inside its code until the end


def _engine() -> _Engine:
    """The one code generator and linker of this process; call with the lock held."""
    if not _engines:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        target = host()
        machine = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.feature_text, opt=OPT_LEVEL, jit=True,
            codemodel="small",  # constants beside the code are operands of it: a tenth faster than 64-bit addresses
            reloc="pic",  # the code may lie above 2 GB, where an absolute 32-bit address of a table does not reach
        )  # fmt: skip
        # This linker keeps the parts of one object within the reach of the small code model.
        jit = llvm.create_lljit_compiler(machine, use_jit_link=True)
        jit._owned = True  # llvmlite's word for "somebody else disposes of it": nobody does
        _engines.append(_Engine(machine, jit, str(machine.target_data)))
    return _engines[0]


def _parsed(text: str) -> Any:
    """The verified LLVM module of ``text``; call with the lock held."""
    engine = _engine()
    try:
        # A context of its own: what LLVM interns there goes away with the module.
        module = llvm.parse_assembly(text, llvm.create_context())
        module.triple = host().triple
        module.data_layout = engine.layout
        module.verify()
    except RuntimeError as error:
        raise VerifyError("LLVM does not accept the emitted code", got=str(error).strip()) from error
    return module


def _link(
    object_code: bytes, symbols: Sequence[str], imports: Mapping[str, int] | None, code: Code, from_cache: bool
) -> Loaded:
    with _lock:
        while _unloadable:
            if (dead := _trackers.pop(_unloadable.popleft(), None)) is not None:
                dead.close()
        builder = llvm.JITLibraryBuilder().add_object_img(object_code)
        for name, address in (imports or {}).items():
            builder.import_symbol(name, address)
        for name in symbols:
            builder.export_symbol(name)
        try:
            # A library name can never be used again, not even after the library is gone.
            library = next(_library_number)
            tracker = _trackers[library] = builder.link(_engine().jit, f"graphloss-{library}")
        except RuntimeError as error:
            raise UnsupportedError("the machine code does not link", got=str(error).strip()) from error
    return Loaded({name: int(tracker[name]) for name in symbols}, code, from_cache, library)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
