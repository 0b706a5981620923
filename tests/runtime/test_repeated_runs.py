"""Running one program again: what is compiled once, what is checked each time, who owns the arrays."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import graphloss as gl
from graphloss.options import CompileOptions


def doubled() -> tuple[gl.Program, gl.Variable]:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 3], "float32")
        y = gl.layers.scale(x, scale=2.0)
    return main, y


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, "float32")


def test_compiles_once_for_equal_options_and_any_batch() -> None:
    main, y = doubled()
    gl.Executor().run(main, {"x": ones(2, 3)}, [y])
    before = {key: list(entries) for key, entries in main.compiled.items()}
    for batch in (1, 0, 50, 2):
        out, = gl.Executor(options=CompileOptions()).run(main, {"x": ones(batch, 3)}, [y])
        np.testing.assert_array_equal(out, 2 * ones(batch, 3))
    assert main.compiled == before
    gl.Executor(options=CompileOptions(passes=False)).run(main, {"x": ones(2, 3)}, [y])
    assert sum(map(len, main.compiled.values())) == 2


def test_a_variable_of_another_program_is_refused_each_time() -> None:
    main, y = doubled()
    with gl.unique_name.guard():
        other, stranger = doubled()
    stranger.name = y.name
    exe = gl.Executor()
    exe.run(main, {"x": ones(2, 3)}, [y])
    with pytest.raises(gl.errors.ArgumentTypeError, match="another program"):
        exe.run(main, {"x": ones(2, 3)}, [stranger])
    assert other is not main


def test_a_variable_of_the_original_means_that_of_the_clone() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None])
        loss = gl.layers.mean(x)
    test = main.clone(for_test=True).clone()
    with gl.program_guard(main):
        later = loss * 2.0
    exe = gl.Executor()
    for fetch in (loss, loss.name, loss):
        assert exe.run(test, {"x": ones(3)}, [fetch])[0].tolist() == [1]
    assert gl.compare(test, feed={"x": ones(3)}, fetch_list=[loss]) is not None
    with pytest.raises(gl.errors.UnknownVariable):
        exe.run(test, {"x": ones(3)}, [later])


@pytest.mark.parametrize("fetch", [[3], [["x"]], [None], 3])
def test_what_is_no_fetch_is_refused_after_a_run_too(fetch: object) -> None:
    main, y = doubled()
    exe = gl.Executor()
    exe.run(main, {"x": ones(2, 3)}, [y])
    with pytest.raises(gl.errors.ArgumentTypeError):
        exe.run(main, {"x": ones(2, 3)}, fetch)  # type: ignore[arg-type]


def test_each_fetch_is_an_array_of_its_own() -> None:
    main, y = doubled()
    exe = gl.Executor()
    a, b, c = exe.run(main, {"x": ones(2, 3)}, [y, y, y.name])
    d, = exe.run(main, {"x": ones(2, 3)}, [y])
    for array in (b, c, d):
        array.fill(7)
    np.testing.assert_array_equal(a, 2 * ones(2, 3))


def test_shapes_and_dtypes_are_checked_in_each_run() -> None:
    main, y = doubled()
    exe = gl.Executor()
    for _ in range(2):
        exe.run(main, {"x": ones(2, 3)}, [y])
        for bad in (ones(2, 4), ones(3), ones(2, 3).astype("float64")):
            with pytest.raises(ValueError, match="'x'"):
                exe.run(main, {"x": bad}, [y])
        with pytest.raises(ValueError, match="'x'"):
            exe.run(main, {}, [y])
        with pytest.raises(ValueError, match="'z'"):
            exe.run(main, {"x": ones(2, 3), "z": ones(1)}, [y])


def test_threads_run_one_program_with_shapes_of_their_own() -> None:
    main, y = doubled()
    exe = gl.Executor()
    faults: list[str] = []

    def work(n: int) -> None:
        for i in range(200):
            x = np.full((n + i % 3, 3), n, "float32")
            out, = exe.run(main, {"x": x}, [y])
            if not np.array_equal(out, 2 * x):
                faults.append(f"thread {n}, run {i}")

    workers = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert faults == []


@pytest.mark.parametrize("enabled", [True, False])
def test_compiling_leaves_the_collector_as_it_was(enabled: bool) -> None:
    main, y = doubled()
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        gl.Executor(options=CompileOptions(cache=False)).run(main, {"x": ones(2, 3)}, [y])
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()
