"""The thread pool: each chunk exactly once, whoever dispatches, nested, forked, resized or at exit."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from graphloss.codegen import jit
from graphloss.codegen.pool import pool_ir, supported
from graphloss.errors import AttrError
from graphloss.runtime import threads

# A context is three words: where chunk i is counted, a guard that must be zero, and how long a chunk takes.
CODE = """
define void @chunk(ptr %ctx, i64 %b, i64 %e) {
entry:
  %counts = load ptr, ptr %ctx
  %work.at = getelementptr i64, ptr %ctx, i64 2
  %work = load i64, ptr %work.at
  br label %loop
loop:
  %i = phi i64 [ %b, %entry ], [ %i.next, %counted ]
  br label %spin
spin:
  %s = phi i64 [ 0, %loop ], [ %s.next, %spin ]
  %s.next = add i64 %s, 1
  %kept = load volatile i64, ptr %work.at
  %more = icmp slt i64 %s.next, %work
  br i1 %more, label %spin, label %counted
counted:
  %at = getelementptr i64, ptr %counts, i64 %i
  %old = atomicrmw add ptr %at, i64 1 seq_cst
  %guard = getelementptr i64, ptr %ctx, i64 1
  %kept2 = load volatile i64, ptr %guard
  %bad = mul i64 %kept2, 1000000
  %bad.old = atomicrmw add ptr %at, i64 %bad seq_cst
  %i.next = add i64 %i, 1
  %again = icmp slt i64 %i.next, %e
  br i1 %again, label %loop, label %out
out:
  ret void
}

; dispatch, and then spoil the context at once: a worker that still reads it writes a wrong count or crashes
define void @spoiling(ptr %dispatch, ptr %counts, i64 %n, i64 %work, i64 %times) {
entry:
  %ctx = alloca [3 x i64]
  br label %loop
loop:
  %t = phi i64 [ 0, %entry ], [ %t.next, %loop ]
  %guard = getelementptr i64, ptr %ctx, i64 1
  %work.at = getelementptr i64, ptr %ctx, i64 2
  store volatile ptr %counts, ptr %ctx
  store volatile i64 0, ptr %guard
  store volatile i64 %work, ptr %work.at
  call void %dispatch(ptr @chunk, ptr %ctx, i64 %n)
  store volatile ptr inttoptr (i64 8 to ptr), ptr %ctx
  store volatile i64 1, ptr %guard
  %t.next = add i64 %t, 1
  %more = icmp slt i64 %t.next, %times
  br i1 %more, label %loop, label %out
out:
  ret void
}

; a chunk that dispatches 3 chunks itself: its context is {dispatch, inner context}
define void @nesting(ptr %ctx, i64 %b, i64 %e) {
entry:
  %dispatch = load ptr, ptr %ctx
  %inner.at = getelementptr i64, ptr %ctx, i64 1
  %inner = load ptr, ptr %inner.at
  br label %loop
loop:
  %i = phi i64 [ %b, %entry ], [ %i.next, %loop ]
  call void %dispatch(ptr @chunk, ptr %inner, i64 3)
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %e
  br i1 %more, label %loop, label %out
out:
  ret void
}
"""
NativeLoop = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
multi_threaded_fork = pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")


class Code:
    def __init__(self) -> None:
        self.loaded = jit.load(CODE, ["chunk", "spoiling", "nesting"])
        self.chunk = self.loaded["chunk"]
        self.nesting = self.loaded["nesting"]
        self._spoiling = NativeLoop(self.loaded["spoiling"])

    def counts(self, n: int, times: int = 1, work: int = 0, dispatch: int | None = None) -> np.ndarray:
        """How often each of ``n`` chunks ran in ``times`` dispatches."""
        counts = np.zeros(max(n, 1), np.int64)
        self._spoiling(dispatch or threads.dispatch_address(), counts.ctypes.data, n, work, times)
        return counts


@pytest.fixture(scope="module")
def code() -> Code:
    return Code()


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    threads.ensure(4)
    yield
    threads.stop()


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("graphloss")]


@pytest.mark.parametrize("n", [0, -3])
def test_no_chunks_no_call(code: Code, n: int) -> None:
    assert code.counts(n).tolist() == [0]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 17, 1000])
def test_each_chunk_exactly_once(code: Code, n: int) -> None:
    assert (code.counts(n, times=50) == 50).all()


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_any_number_of_threads(code: Code, n: int) -> None:
    for count in (n, 1, n):
        threads.ensure(count)
        assert (code.counts(13, times=100, work=20) == 100).all()


def test_chunks_that_outlast_the_spinning(code: Code) -> None:
    """The dispatching thread goes to sleep on chunks that a worker still has."""
    assert (code.counts(5, times=4, work=3_000_000) == 4).all()


def two_threads_meet() -> bool:
    """Whether a dispatch of two chunks has two threads inside a chunk at once."""
    seen: set[int] = set()
    gate = threading.Barrier(2, timeout=60)

    @threads._Chunks
    def meet(ctx: int, begin: int, end: int) -> None:
        seen.add(threading.get_ident())
        with contextlib.suppress(threading.BrokenBarrierError):
            gate.wait()

    threads.dispatch(ctypes.cast(meet, ctypes.c_void_p).value or 0, 0, 2)
    return len(seen) == 2 and not gate.broken


def test_workers_are_woken() -> None:
    threads.ensure(2)
    for _ in range(3):
        threading.Event().wait(0.01)  # long enough for the worker to fall asleep
        assert two_threads_meet()


def test_dispatch_from_several_python_threads(code: Code) -> None:
    wrong: list[object] = []

    def work(n: int) -> None:
        for _ in range(20):
            counts = code.counts(n, times=25, work=n)
            if not (counts == 25).all():
                wrong.append((n, counts))

    callers = [threading.Thread(target=work, args=(n,)) for n in (2, 3, 7, 31)]
    for caller in callers:
        caller.start()
    for n in (1, 3, 2, 4) * 10:
        threads.ensure(n)
    for caller in callers:
        caller.join()
    assert not wrong


def test_nested_dispatch(code: Code) -> None:
    counts = np.zeros(3, np.int64)
    inner = np.array([counts.ctypes.data, 0, 5], np.int64)
    outer = np.array([threads.dispatch_address(), inner.ctypes.data], np.int64)
    for _ in range(100):
        threads.dispatch(code.nesting, outer.ctypes.data, 11)
    assert counts.tolist() == [1100] * 3


def test_the_address_stays(code: Code) -> None:
    address = threads.dispatch_address()
    threads.stop()
    assert not workers()
    assert (code.counts(9, times=10) == 10).all(), "without workers the caller does it all"
    threads.ensure(3)
    assert len(workers()) == 2
    threads.ensure(5)
    assert len(workers()) == 4
    threads.ensure(2)
    threads.ensure(2)
    assert len(workers()) <= 4, "never two pools"
    assert threads.dispatch_address() == address
    assert (code.counts(9, times=10) == 10).all()


MODE_CODE = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

; chunk i writes float32 1e-30 * 1e-10, a denormal, after a while
define void @denormal(ptr %ctx, i64 %b, i64 %e) {
entry:
  %tiny.at = alloca float
  store volatile float 0x39B4484C00000000, ptr %tiny.at
  br label %loop
loop:
  %i = phi i64 [ %b, %entry ], [ %i.next, %done ]
  br label %spin
spin:
  %s = phi i64 [ 0, %loop ], [ %s.next, %spin ]
  %s.next = add i64 %s, 1
  %tiny = load volatile float, ptr %tiny.at
  %more = icmp slt i64 %s.next, 20000
  br i1 %more, label %spin, label %done
done:
  %r = fmul float %tiny, 0x3DDB7CE000000000
  %at = getelementptr float, ptr %ctx, i64 %i
  store float %r, ptr %at
  %i.next = add i64 %i, 1
  %again = icmp slt i64 %i.next, %e
  br i1 %again, label %loop, label %out
out:
  ret void
}

define void @flushing(ptr %dispatch, ptr %ctx, i64 %n) {
  %old = alloca i32
  %new = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %old)
  %bits = load i32, ptr %old
  %flush = or i32 %bits, 32832
  store i32 %flush, ptr %new
  call void @llvm.x86.sse.ldmxcsr(ptr %new)
  call void %dispatch(ptr @denormal, ptr %ctx, i64 %n)
  call void @llvm.x86.sse.ldmxcsr(ptr %old)
  ret void
}
"""


@pytest.mark.skipif(not jit.host().triple.startswith("x86_64"), reason="written for this processor")
def test_workers_take_the_callers_floating_point_mode() -> None:
    code = jit.load(MODE_CODE, ["denormal", "flushing"])
    flushing = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(code["flushing"])
    results = np.full(64, np.nan, np.float32)
    flushing(threads.dispatch_address(), results.ctypes.data, 64)
    assert (results == 0).all()
    threads.dispatch(code["denormal"], results.ctypes.data, 64)
    assert (results > 0).all()


@pytest.mark.parametrize("n", [0, -1, 5000])
def test_a_number_of_threads_is_checked(n: int) -> None:
    with pytest.raises(AttrError):
        threads.ensure(n)


@needs_fork
@multi_threaded_fork
def test_fork(code: Code) -> None:
    assert (code.counts(9, times=10) == 10).all()
    child = os.fork()
    if child == 0:
        ok = not workers() and bool((code.counts(9, times=10) == 10).all())
        threads.ensure(3)
        ok = ok and len(workers()) == 2 and bool((code.counts(9, times=10, work=1000) == 10).all())
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    threads.ensure(4)
    assert (code.counts(9, times=10) == 10).all()


@needs_fork
@multi_threaded_fork
def test_fork_while_another_thread_dispatches(code: Code) -> None:
    stop = threading.Event()
    wrong: list[object] = []

    def work() -> None:
        while not stop.is_set():
            threads.ensure(4)
            counts = code.counts(40, times=2, work=3_000_000)  # long enough for a fork to come in the middle
            if not (counts == 2).all():
                wrong.append(counts)

    caller = threading.Thread(target=work)
    caller.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                threads.ensure(2)
                os._exit(0 if two_threads_meet() and (code.counts(9, times=20, work=100) == 20).all() else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        caller.join()
    assert not wrong


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "threading.Thread(target=forever, daemon=True).start()"])
def test_exit(ending: str) -> None:
    """The interpreter ends in order with workers asleep, and with a daemon thread in the middle of a dispatch."""
    program = f"""
        import ctypes, sys, threading
        from graphloss.runtime import threads
        @threads._Chunks
        def nothing(ctx, begin, end):
            pass
        where = ctypes.cast(nothing, ctypes.c_void_p).value
        def forever():
            while True:
                threads.ensure(3)
                threads.dispatch(where, 0, 4)
        threads.ensure(3)
        threads.dispatch(where, 0, 4)
        {ending}
        """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_portable_pool(code: Code) -> None:
    pool = threads.PortablePool()
    try:
        for count in (0, 1, 3, 2):
            pool.resize(count)
            for n in (0, 1, 2, 7):
                assert (code.counts(n, times=5, dispatch=pool.address) == (5 if n else 0)).all()
        counts = np.zeros(3, np.int64)
        inner = np.array([counts.ctypes.data, 0, 5], np.int64)
        outer = np.array([pool.address, inner.ctypes.data], np.int64)
        threads._Dispatch(pool.address)(code.nesting, outer.ctypes.data, 11)
        assert counts.tolist() == [11] * 3
    finally:
        pool.stop()
    assert (code.counts(7, times=5, dispatch=pool.address) == 5).all()


@pytest.mark.parametrize(
    ("triple", "native"),
    [
        ("x86_64-unknown-linux-gnu", True),
        ("aarch64-unknown-linux-gnu", True),
        ("x86_64-pc-linux-musl", True),
        ("riscv64-unknown-linux-gnu", False),
        ("x86_64-pc-windows-msvc", False),
        ("arm64-apple-darwin23", False),
    ],
)
def test_platforms(triple: str, native: bool) -> None:
    assert supported(triple) is native


def test_the_pool_compiles_for_both_architectures() -> None:
    llvm = pytest.importorskip("llvmlite.binding")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for arch, barrier in (("x86_64", "pause"), ("aarch64", "isb")):
        triple = f"{arch}-unknown-linux-gnu"
        module = llvm.parse_assembly(pool_ir(triple), llvm.create_context())
        module.verify()
        text = llvm.Target.from_triple(triple).create_target_machine().emit_assembly(module)
        assert barrier in text
