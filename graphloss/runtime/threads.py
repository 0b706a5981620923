"""The thread pool of the process: Python threads that live inside a native worker loop.

A worker is a daemon thread of Python that calls, without the interpreter lock, the loop of `graphloss.codegen.pool`; it
comes back only to end. Generated code calls the native ``dispatch`` by its address and meets no Python on the way.

What holds at any time: there is one pool; a dispatch from inside a chunk, or while another thread's job runs, runs
alone on its own thread; workers are ended before a fork and started again by the next `ensure`, in parent and child
alike; at exit they are ended before the interpreter is. Where the native pool cannot be (not Linux), a
ThreadPoolExecutor serves.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final, Protocol

from graphloss.codegen import jit
from graphloss.codegen.pool import SPIN_OFFSET, SYMBOLS, pool_ir, supported
from graphloss.errors import AttrError
from graphloss.options import MAX_THREADS
from graphloss.runtime.cache import default_cache

__all__ = ["dispatch", "dispatch_address", "ensure", "stop"]

SPIN_MICROSECONDS: Final = 20.0  # how long to stay awake for the next job, or for a chunk that a worker still has
_JOIN_SECONDS: Final = 2.0

_Chunks = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_Dispatch = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
_Number = ctypes.CFUNCTYPE(None, ctypes.c_int32)
_LongNumber = ctypes.CFUNCTYPE(None, ctypes.c_int64)
_Nothing = ctypes.CFUNCTYPE(None)


class _Pool(Protocol):
    address: int

    def resize(self, workers: int) -> None:
        """Have ``workers`` threads beside the caller's."""

    def stop(self) -> None:
        """End all workers; a dispatch then runs alone."""

    def after_fork(self) -> None:
        """In a child: no worker lives here, and no job is in progress."""


class NativePool:
    """Workers in the native loop. Not to be made twice: the state is a global of the loaded code."""

    def __init__(self) -> None:
        syscall = ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p).value or 0
        text = pool_ir(jit.host().triple)
        self._code = jit.load(text, SYMBOLS, cache=default_cache(), imports={"syscall": syscall})
        self.address = self._code["graphloss_dispatch"]
        self._worker = _Number(self._code["graphloss_worker"])
        self._set_limit = _Number(self._code["graphloss_set_limit"])
        self._reset = _Nothing(self._code["graphloss_reset"])
        self._threads: dict[int, threading.Thread] = {}
        ctypes.c_int32.from_address(self._code["graphloss_pool"] + SPIN_OFFSET).value = self._turns()

    def resize(self, workers: int) -> None:
        self._set_limit(workers)
        for number in range(workers):
            thread = self._threads.get(number)
            if thread is not None and thread.is_alive():
                continue
            thread = threading.Thread(target=self._worker, args=(number,), name=f"graphloss-{number + 1}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # no more threads to be had, or the interpreter is ending: those there are do the work
            self._threads[number] = thread

    def stop(self) -> None:
        self._set_limit(-1)
        end = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads.values():
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))
        self._threads = {number: thread for number, thread in self._threads.items() if thread.is_alive()}

    def after_fork(self) -> None:
        self._reset()

    def _turns(self) -> int:
        """Turns of the spinning loop in `SPIN_MICROSECONDS`: a pause takes from 1 to 50 ns, as the processor has it."""
        pause = _LongNumber(self._code["graphloss_pause"])
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            pause(500)
            best = min(best, time.perf_counter() - start)
        return max(10, min(int(500 * SPIN_MICROSECONDS * 1e-6 / max(best, 1e-9)), 50_000))


class PortablePool:
    """The same service from a ThreadPoolExecutor: some 100 µs for a dispatch, on any platform."""

    def __init__(self) -> None:
        self._callback = _Dispatch(self._run)
        self.address = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        self._busy = threading.Lock()
        self._workers = 0
        self._executor: ThreadPoolExecutor | None = None

    def resize(self, workers: int) -> None:
        if self._executor is not None and self._workers != workers:
            self.stop()
        self._workers = workers
        if self._executor is None and workers > 0:
            self._executor = ThreadPoolExecutor(workers, thread_name_prefix="graphloss")

    def stop(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=True)

    def after_fork(self) -> None:
        self._busy = threading.Lock()
        self._executor = None

    def _run(self, fn: int, ctx: int | None, n: int) -> None:
        chunks = _Chunks(fn)
        executor = self._executor
        if executor is None or n < 2 or not self._busy.acquire(blocking=False):
            if n > 0:
                chunks(ctx, 0, n)
            return
        try:
            parts = min(self._workers + 1, n)
            ends = [n * part // parts for part in range(parts + 1)]
            waiting = []
            for begin, end in pairwise(ends[1:]):
                try:
                    waiting.append(executor.submit(chunks, ctx, begin, end))
                except RuntimeError:  # the executor was stopped meanwhile, or the interpreter is ending
                    chunks(ctx, begin, end)
            chunks(ctx, 0, ends[1])
            for future in waiting:
                future.result()
        finally:
            self._busy.release()


_lock = threading.Lock()
_pool: _Pool | None = None
_threads_now = 0  # what the last `ensure` asked for; 0: no pool, or its workers were ended


def ensure(n: int) -> None:
    """Let dispatches use ``n`` threads, the caller's included.

    To be called before each run: it costs 0.03 µs if nothing changed, and starts the workers again after a fork. Two
    threads may ask for different numbers at a time: the last one holds for both, and the results are the same.
    """
    if n != _threads_now:
        _change(n)


def dispatch_address() -> int:
    """Address of ``void dispatch(void (*fn)(void *ctx, int64 begin, int64 end), void *ctx, int64 n_chunks)``.

    It calls ``fn`` so that each chunk in [0, n_chunks) is covered exactly once, and returns when all are finished. The
    address is the same for the life of the process; until `ensure` is called all runs on the calling thread.
    """
    return _pool.address if _pool is not None else _made().address


def dispatch(fn: int, ctx: int, n_chunks: int) -> None:
    """Call the native dispatch from Python."""
    _Dispatch(dispatch_address())(fn, ctx, n_chunks)


def stop() -> None:
    """End the workers; the next `ensure` starts them again."""
    global _threads_now
    with _lock:
        if _pool is not None:
            _pool.stop()
        _threads_now = 0


def _change(n: int) -> None:
    global _threads_now
    if not 1 <= n <= MAX_THREADS:
        raise AttrError("the number of threads is out of range", f"1 to {MAX_THREADS}", n)
    with _lock:
        _the_pool().resize(n - 1)
        _threads_now = n


def _made() -> _Pool:
    with _lock:
        return _the_pool()


def _the_pool() -> _Pool:
    """The pool, made at first use; call with the lock held."""
    global _pool
    if _pool is None:
        _pool = NativePool() if supported(jit.host().triple) else PortablePool()
    return _pool


def _before_fork() -> None:
    global _threads_now
    _lock.acquire()
    if _pool is not None:
        _pool.stop()
    _threads_now = 0


def _after_fork_in_child() -> None:
    if _pool is not None:
        _pool.after_fork()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=lambda: _lock.release(), after_in_child=_after_fork_in_child
    )
atexit.register(stop)
