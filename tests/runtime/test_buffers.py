"""Recycled memory: never under an array that somebody still holds, always the right shape, bounded."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from graphloss.runtime import buffers
from graphloss.runtime.buffers import BufferPool

F32 = np.dtype("float32")
MB = 2**20
BIG = (2, MB)  # 8 MB of float32


@pytest.fixture
def pool() -> BufferPool:
    return BufferPool()


def where(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "int8", "float16"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (7,), (32, 10), (3, 5, 7), (1, 4 * MB), (2049, 4097)])
def test_shape_and_dtype(pool: BufferPool, dtype: str, shape: tuple[int, ...]) -> None:
    for _ in range(2):
        array = pool.empty(shape, np.dtype(dtype))
        assert type(array) is np.ndarray
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.flags.c_contiguous and array.flags.aligned and array.flags.writeable
        array[...] = 1
        assert bool((array == 1).all())
        del array


def test_small_arrays_are_plain(pool: BufferPool) -> None:
    assert pool.empty((MB - 1,), F32).base is None
    assert pool.empty((MB,), F32).base is not None


def test_large_arrays_are_aligned_to_huge_pages(pool: BufferPool) -> None:
    arrays = [pool.empty((MB + n,), F32) for n in range(3)]
    assert [where(array) % (2 * MB) for array in arrays] == [0, 0, 0]


def test_memory_comes_back(pool: BufferPool) -> None:
    first = pool.empty(BIG, F32)
    place = where(first)
    second = pool.empty(BIG, F32)
    assert where(second) != place
    del first
    again = pool.empty((4, MB // 2), F32)
    assert where(again) == place
    assert pool.waiting() == (0, 0)


def view(array: npt.NDArray[Any]) -> object:
    return array[1:, ::2]


def reshaped(array: npt.NDArray[Any]) -> object:
    return array.reshape(-1)[5:6].view(np.uint8)


def exported(array: npt.NDArray[Any]) -> object:
    return memoryview(array)


def base(array: npt.NDArray[Any]) -> object:
    return array.base


def base_of_base(array: npt.NDArray[Any]) -> object:
    assert array.base is not None
    return array.base.base


def dlpack(array: npt.NDArray[Any]) -> object:
    return np.from_dlpack(array)


def pointer(array: npt.NDArray[Any]) -> object:
    return array.ctypes.data_as(ctypes.c_void_p)


def frombuffer(array: npt.NDArray[Any]) -> object:
    return np.frombuffer(array, np.int32)


def cycle(array: npt.NDArray[Any]) -> object:
    ring: list[object] = [array]
    ring.append(ring)
    return ring


HOLDERS = [view, reshaped, exported, base, base_of_base, dlpack, pointer, frombuffer, cycle]


@pytest.mark.parametrize("hold", HOLDERS, ids=lambda hold: hold.__name__)
def test_whoever_holds_it_keeps_it(pool: BufferPool, hold: Any) -> None:
    array = pool.empty(BIG, F32)
    place = where(array)
    holder = hold(array)
    del array
    gc.collect()
    other = pool.empty(BIG, F32)
    assert where(other) != place
    if hold is cycle:
        holder.clear()
    del holder
    gc.collect()
    assert where(pool.empty(BIG, F32)) == place


def test_contents_stay_while_others_come_and_go(pool: BufferPool) -> None:
    rng = np.random.default_rng(0)
    held: dict[int, npt.NDArray[Any]] = {}
    for step in range(120):
        size = int(rng.integers(MB, 3 * MB))
        array = pool.empty((size,), F32)
        array[::1024] = step
        array[-1] = step
        held[step] = array[: size - 1 : 1024] if step % 3 == 0 else array
        del array
        while len(held) > 4:
            held.pop(int(rng.choice(list(held))))
        for mark, kept in held.items():
            assert (kept[:: 1 if mark % 3 == 0 else 1024] == mark).all()


def test_a_block_serves_about_its_size(pool: BufferPool) -> None:
    large = pool.empty((32 * MB,), np.dtype("int8"))
    place = where(large)
    del large
    assert where(pool.empty((8 * MB,), np.dtype("int8"))) != place, "three quarters would lie idle"
    assert where(pool.empty((27 * MB,), np.dtype("int8"))) == place
    assert where(pool.empty((33 * MB,), np.dtype("int8"))) != place, "too small"


def test_the_best_fit_is_taken(pool: BufferPool) -> None:
    arrays = {size: pool.empty((size * MB,), np.dtype("int8")) for size in (40, 36, 38)}
    places = {size: where(array) for size, array in arrays.items()}
    arrays.clear()
    assert where(pool.empty((36 * MB,), np.dtype("int8"))) == places[36]


def test_bounds(pool: BufferPool) -> None:
    pool.max_blocks, pool.max_bytes = 3, 32 * MB
    arrays = [pool.empty((8 * MB,), np.dtype("int8")) for _ in range(6)]
    places = [where(array) for array in arrays]
    while arrays:
        del arrays[0]
    assert pool.waiting() == (3, 24 * MB)
    assert {where(pool.empty((8 * MB,), np.dtype("int8"))) for _ in range(3)} <= set(places[3:])
    arrays = [pool.empty((15 * MB,), np.dtype("int8")) for _ in range(3)]
    arrays.clear()
    assert pool.waiting() == (2, 32 * MB)
    del_me = pool.empty((64 * MB,), np.dtype("int8"))
    del del_me
    assert pool.waiting()[1] <= 32 * MB
    pool.clear()
    assert pool.waiting() == (0, 0)


def test_no_memory(pool: BufferPool) -> None:
    del_me = pool.empty(BIG, F32)
    del del_me
    with pytest.raises(MemoryError):
        pool.empty((2**60,), np.dtype("int8"))
    assert pool.waiting() == (0, 0), "what waited was given back before it failed"


def test_threads(pool: BufferPool) -> None:
    wrong: list[object] = []

    def work(mark: int) -> None:
        for n in range(30):
            array = pool.empty((MB + n * 4096,), F32)
            array[::1024] = mark
            threading.Event().wait(0.0002)
            if not (array[::1024] == mark).all():
                wrong.append((mark, n))
            del array

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pool.waiting()[0] <= pool.max_blocks


def test_an_array_may_die_while_the_lock_is_held(pool: BufferPool) -> None:
    array = pool.empty(BIG, F32)
    with pool._lock:
        del array
    assert pool.waiting()[0] == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_has_its_own_memory() -> None:
    array = buffers.empty(BIG, F32)
    array[...] = 1
    child = os.fork()
    if child == 0:
        array[...] = 2
        other = buffers.empty(BIG, F32)
        other[...] = 3
        os._exit(0 if bool((array == 2).all()) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bool((array == 1).all())
