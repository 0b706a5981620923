"""Runs compiled programs on arrays that end, or begin, at a page that nobody may touch: one step too far is a crash.

A program of its own: ``python -m tests.runtime.guarded``. Feeds lie in pages that cannot be written either. Linux only.
"""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import mmap
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

import graphloss as gl
from graphloss import ops
from graphloss.errors import LabelError
from graphloss.nn import functional as F
from graphloss.options import CompileOptions
from graphloss.runtime import buffers
from graphloss.runtime.compile import compile_graph
from graphloss.runtime.compiled import Compiled
from tests.property.programs import random_program

Array = npt.NDArray[Any]

PAGE = mmap.PAGESIZE
REGION = 64 * PAGE
NOTHING, READ, READ_WRITE = 0, 1, 3  # PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE

_libc = ctypes.CDLL(None, use_errno=True)


def protect(address: int, size: int, how: int) -> None:
    if _libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_int(how)) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


class Guarded:
    """Regions of memory with a forbidden page on either side, used in turn."""

    def __init__(self, count: int) -> None:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._maps = [mmap.mmap(-1, REGION + 2 * PAGE, flags=private) for _ in range(count)]
        starts = [np.frombuffer(m, np.uint8).ctypes.data for m in self._maps]
        for start in starts:
            protect(start, PAGE, NOTHING)
            protect(start + PAGE + REGION, PAGE, NOTHING)
        self._regions = itertools.cycle([start + PAGE for start in starts])
        self.at_end = True

    @contextmanager
    def in_use(self, at_end: bool) -> Iterator[None]:
        """Results and what lies between kernels come from here, the small ones too."""
        self.at_end = at_end
        limit, plain = buffers.THRESHOLD, buffers.empty
        buffers.THRESHOLD, buffers.empty = 0, self.empty  # type: ignore[misc]
        try:
            yield
        finally:
            buffers.THRESHOLD, buffers.empty = limit, plain  # type: ignore[misc]

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array that touches the forbidden page after it (`at_end`), else the one before it."""
        address, size = self._place(shape, dtype)
        protect(address - address % PAGE, -(-size // PAGE) * PAGE or PAGE, READ_WRITE)
        return self._array(address, size, shape, dtype)

    def feed(self, value: Array) -> Array:
        """A copy of `value` in such a place, on pages that can only be read."""
        made = self.empty(value.shape, value.dtype)
        made[...] = value
        address, size = made.ctypes.data, max(made.nbytes, 1)
        first = address - address % PAGE
        protect(first, -(-(address + size - first) // PAGE) * PAGE if made.nbytes else PAGE, READ)
        return made

    def _place(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> tuple[int, int]:
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if size > REGION:
            raise MemoryError(f"an array of {size} bytes needs a larger region")
        region = next(self._regions)
        protect(region, REGION, READ_WRITE)
        return (region + REGION - size if self.at_end else region), size

    def _array(self, address: int, size: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        raw = (ctypes.c_char * max(size, 1)).from_address(address if size else address - 1 + (not self.at_end))
        return np.frombuffer(raw, np.uint8, count=size).view(dtype).reshape(shape)


Formula = Callable[..., tuple[Any, ...]]
Inputs = dict[str, tuple[list[int | None], str]]
SIZES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33)


def cases() -> Iterator[tuple[str, Inputs, Formula, list[dict[str, tuple[int, ...]]]]]:
    """Name, inputs, formula, and the shapes to run it on."""

    def entropy(x: Any, y: Any) -> tuple[Any, ...]:
        each = F.cross_entropy(x, y, reduction="none")
        return each, gl.gradients([each], [x])[0], F.cross_entropy(x, y)

    for dtype in ("float32", "float64"):
        for classes in (1, 2, 3, 5, 10, 15, 16, 17, 31, 33, 40, 100):
            inputs: Inputs = {"x": ([None, classes], dtype), "y": ([None], "int64")}
            yield f"CE {classes} {dtype}", inputs, entropy, [{"x": (n, classes), "y": (n,)} for n in (*SIZES, 100)]
        inputs = {"x": ([None, 3, None], dtype), "y": ([None, None], "int64")}
        sizes = [(n, s) for n in (0, 1, 2, 5) for s in (*SIZES, 255, 256, 257, 300)]
        yield f"channels {dtype}", inputs, entropy, [{"x": (n, 3, s), "y": (n, s)} for n, s in sizes]

        def sums(a: Any, b: Any) -> tuple[Any, ...]:
            c = ops.mul(ops.exp(a), b)
            return c, ops.reduce_sum(c, axis=[0]), ops.reduce_max(ops.add(a, 1.0), axis=[1]), ops.reduce_mean(c), a > b

        pairs = [(n, m) for n in SIZES for m in SIZES if m]
        inputs = {"a": ([None, None], dtype), "b": ([None, None], dtype)}
        yield f"sums {dtype}", inputs, sums, [{"a": p, "b": p} for p in pairs]

        def views(a: Any, b: Any) -> tuple[Any, ...]:
            turned = ops.transpose(a, perm=[1, 0])
            return turned, ops.concat([a, b], axis=1), ops.mul(turned, 2.0), ops.reduce_sum(turned, axis=[1]), a[:, 1:]

        yield f"views {dtype}", inputs, views, [{"a": p, "b": p} for p in pairs]

    for dtype in ("float16", "bfloat16"):
        for classes in (3, 5, 17, 40):
            inputs = {"x": ([None, classes], dtype), "y": ([None], "int64")}
            yield f"CE {classes} {dtype}", inputs, entropy, [{"x": (n, classes), "y": (n,)} for n in SIZES]
        inputs = {"a": ([None, None], dtype), "b": ([None, None], dtype)}
        yield f"views {dtype}", inputs, views, [{"a": p, "b": p} for p in pairs]

    def rows(w: Any, i: Any) -> tuple[Any, ...]:
        found = ops.gather(w, i)
        return found, ops.reduce_sum(ops.mul(found, found), axis=[1]), gl.gradients([found], [w])[0]

    for width in (1, 3, 16, 17):
        inputs = {"w": ([None, width], "float32"), "y": ([None], "int64")}
        yield f"gather {width}", inputs, rows, [{"w": (9, width), "y": (n,)} for n in SIZES]

    def small_types(a: Any, b: Any) -> tuple[Any, ...]:
        wide = ops.cast(b, dtype="int64")
        return a + b, ops.equal(a, b), ops.cast(a, dtype="float32"), ops.reduce_sum(wide, axis=[1])

    for dtype in ("int8", "uint8", "int16", "int32", "int64"):
        inputs = {"a": ([None, None], dtype), "b": ([None, None], dtype)}
        yield f"integers {dtype}", inputs, small_types, [{"a": (n, m), "b": (n, m)} for n in (1, 2, 17) for m in SIZES]


def values(rng: np.random.Generator, name: str, shape: tuple[int, ...], dtype: str, limit: int) -> Array:
    if name == "y":
        return rng.integers(0, limit, shape)
    if "float" in dtype:
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 50, shape).astype(dtype)


def run_all() -> int:
    memory = Guarded(48)
    rng = np.random.default_rng(11)
    count = 0
    for name, inputs, formula, shapes in cases():
        print(name, flush=True)
        main = gl.Program()
        with gl.program_guard(main, gl.Program()):
            fetches = formula(*(gl.data(n, shape, dtype) for n, (shape, dtype) in inputs.items()))
        names = [v.name for v in fetches]
        limit = (inputs["x"][0][1] if "x" in inputs else None) or 9
        exe, fresh = gl.Executor(options=CompileOptions(threads=1)), main.clone()
        for at_end, sizes in itertools.product((True, False), shapes):
            feed = {n: values(rng, n, sizes[n], dtype, limit) for n, (_, dtype) in inputs.items()}
            want = exe.run(main, feed, fetches)
            with memory.in_use(at_end):
                placed = {n: memory.feed(v) for n, v in feed.items()}
                got = exe.run(fresh, placed, names)
                for g, w in zip(got, want, strict=True):
                    assert g.tobytes() == w.tobytes(), (name, sizes)
                if "y" in feed and feed["y"].size:
                    wild(exe, fresh, placed, names, memory, rng)
            count += 1
    return count


def run_random(programs: int) -> int:
    """Random programs, as they are and optimised."""
    memory, count = Guarded(64), 0
    for seed in range(programs):
        print("random program", seed, flush=True)
        graph, feeds = random_program(seed)
        options = CompileOptions(passes=seed % 3 > 0, threads=1)
        code = compile_graph(graph, options)
        want = Compiled(code, options).run([feeds[n] for n in code.graph.feeds])
        for at_end in (True, False):
            with memory.in_use(at_end):
                got = Compiled(code, options).run([memory.feed(feeds[n]) for n in code.graph.feeds])
                for g, w in zip(got, want, strict=True):
                    assert g.tobytes() == w.tobytes()
            count += 1
    return count


def wild(
    exe: gl.Executor,
    main: gl.Program,
    feed: dict[str, Array],
    fetches: list[str],
    memory: Guarded,
    rng: np.random.Generator,
) -> None:
    """A label that would lead anywhere is an error."""
    y = feed["y"].copy()
    y.reshape(-1)[rng.integers(y.size)] = rng.choice(np.array([2**62, -(2**62), 2**63 - 1, -(2**63), 2**40, -1]))
    try:
        exe.run(main, {**feed, "y": memory.feed(y)}, fetches)
    except LabelError:
        return
    raise AssertionError(f"accepted the labels {y}")


def bite(side: str) -> None:
    """What the guard is there for."""
    memory = Guarded(1)
    memory.at_end = side != "before"
    array = memory.empty((5,), np.float32)
    if side == "write":
        ctypes.memset(memory.feed(array).ctypes.data, 1, 1)
    else:
        ctypes.string_at(array.ctypes.data + (array.nbytes if memory.at_end else -1), 1)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        bite(sys.argv[1])
    else:
        faulthandler.enable()
        print("runs:", run_all() + run_random(150))
