"""Memory for the arrays that a run returns: large ones are recycled, since touching new memory is what costs.

An array of 4 MB or more lies in a block of its own, aligned to 2 MB and asking for huge pages. When nobody holds the
array any more, nor a view, a memoryview or anything else made from it, its block waits for the next array of about its
size.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections import deque
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["BufferPool", "empty"]

THRESHOLD: Final = 4 * 2**20
HUGE_PAGE: Final = 2 * 2**20
_SLACK: Final = 4  # a block serves an array that leaves at most a quarter of it unused

_np_empty = np.empty


class _Block:
    """Some memory: ``size`` bytes from ``address`` on, a multiple of the size of a huge page."""

    __slots__ = ("_memory", "address", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        memory: Any
        if hasattr(mmap, "MAP_PRIVATE") and hasattr(mmap, "MAP_ANONYMOUS"):
            # Private: a forked child gets its own copy. (The default of this module is shared memory.)
            try:
                memory = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            except (OSError, OverflowError, ValueError) as error:
                raise MemoryError(f"no memory for an array of {size} bytes") from error
            if hasattr(mmap, "MADV_HUGEPAGE"):
                try:
                    memory.madvise(mmap.MADV_HUGEPAGE)
                except OSError:
                    pass  # a kernel without huge pages: small ones serve
            start = np.frombuffer(memory, np.uint8).ctypes.data
        else:
            memory = _np_empty(size + HUGE_PAGE, np.uint8)
            start = memory.ctypes.data
        self._memory = memory  # unmapped when the block goes
        self.address = start + -start % HUGE_PAGE


class _Lease:
    """What stands at the end of the ``base`` chain of an array in a block; when it goes, nobody holds the array."""

    __slots__ = ("__array_interface__", "_block", "_pool")

    def __init__(self, pool: BufferPool, block: _Block, nbytes: int) -> None:
        self._pool = pool
        self._block = block
        self.__array_interface__ = {
            "data": (block.address, False), "shape": (nbytes,), "typestr": "|u1", "version": 3,
        }  # fmt: skip

    def __del__(self) -> None:
        self._pool._give_back(self._block)


class BufferPool:
    """Recycles the memory of large arrays.

    Args:
        max_bytes: bound on the memory that waits for reuse; None takes 2 GB or an eighth of the machine's.
        max_blocks: bound on the number of blocks that wait. Beyond either, the one unused for longest goes first.

    Example:
        >>> pool = BufferPool()
        >>> a = pool.empty((1024, 2048), np.dtype("float32"))
        >>> where = a.ctypes.data
        >>> del a
        >>> pool.empty((2048, 1024), np.dtype("float32")).ctypes.data == where
        True
    """

    def __init__(self, max_bytes: int | None = None, max_blocks: int = 16) -> None:
        self.max_bytes = min(2 * 2**30, _memory_of_machine() // 8) if max_bytes is None else max_bytes
        self.max_blocks = max_blocks
        self._free: list[_Block] = []  # the one unused for longest first
        self._lock = threading.Lock()
        # Arrays die in any thread at any place, also while this one holds the lock: so they only leave a note.
        self._returned: deque[_Block] = deque()

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """A new C-contiguous array with arbitrary contents.

        Raises:
            MemoryError: there is no memory of that size.
        """
        nbytes = prod(shape) * dtype.itemsize
        if nbytes < THRESHOLD:
            return _np_empty(shape, dtype)
        size = -(-nbytes // HUGE_PAGE) * HUGE_PAGE
        block = self._take(size)
        if block is None:
            try:
                block = _Block(size)
            except MemoryError:
                self.clear()
                block = _Block(size)
        array: npt.NDArray[Any] = np.asarray(_Lease(self, block, nbytes))
        return array.view(dtype).reshape(shape)

    def clear(self) -> None:
        """Give all waiting memory back to the system."""
        with self._lock:
            self._returned.clear()
            self._free.clear()

    def waiting(self) -> tuple[int, int]:
        """Blocks that wait for reuse, and their bytes."""
        with self._lock:
            self._settle()
            return len(self._free), sum(block.size for block in self._free)

    def _take(self, size: int) -> _Block | None:
        with self._lock:
            self._settle()
            best = None
            for block in reversed(self._free):  # of equal ones the last used: it may still be in a cache
                fits = size <= block.size <= size + size // _SLACK + HUGE_PAGE
                if fits and (best is None or block.size < best.size):
                    best = block
            if best is not None:
                self._free.remove(best)
            return best

    def _give_back(self, block: _Block) -> None:
        self._returned.append(block)
        if self._lock.acquire(blocking=False):  # else whoever holds it, or the next one, does it
            try:
                self._settle()
            finally:
                self._lock.release()

    def _settle(self) -> None:
        """Put what came back on the list and keep the bounds; call with the lock held."""
        while self._returned:
            self._free.append(self._returned.popleft())
        total = sum(block.size for block in self._free)
        while self._free and (len(self._free) > self.max_blocks or total > self.max_bytes):
            total -= self._free.pop(0).size


def _memory_of_machine() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30  # not to be had here: a modest guess


_pool = BufferPool()
empty = _pool.empty  # of the pool of the process

if hasattr(os, "register_at_fork"):
    # Another thread may hold the lock at a fork; the child has no such thread to let it go.
    os.register_at_fork(
        before=_pool._lock.acquire, after_in_parent=_pool._lock.release, after_in_child=_pool._lock.release
    )
