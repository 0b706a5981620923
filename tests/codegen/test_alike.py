"""Equal kernels share one code: each on its own buffers and sizes, with the bits of a code of its own."""

from __future__ import annotations

import re

import numpy as np
import pytest

import graphloss as gl
from graphloss import ops
from graphloss.codegen import kernel as module
from graphloss.codegen.alike import alike
from graphloss.codegen.table import Table
from graphloss.codegen.target import Target
from graphloss.ir import dims
from graphloss.passes.pipelines import optimise
from graphloss.schedule.plan import schedule
from tests.codegen.test_identity import kernel

OPTIONS = gl.CompileOptions(cache=False)


def defined(text: str) -> list[str]:
    return re.findall(r"define void @\"?(k\d+)", text)


def test_equal_but_for_names() -> None:
    first = kernel()
    other = kernel("logits", "total", dims.symbol("batch.0"), name="k1")
    changed = kernel(scale=3.0, name="k2")
    found = alike([first, other, changed])
    assert found == {"k0": ("k0", Table.build([first])), "k1": ("k0", Table.build([other]))}
    kernels = [first, other, changed]
    text = str(module.emit_module(kernels, Table.build(kernels), Target.host(), [["k0", "k1"], ["k2"]]))
    assert defined(text) == ["k0", "k2"]


def test_kernels_that_run_some_rows_at_a_time_keep_their_own() -> None:
    kernels = [kernel(), kernel("x2", "out2", name="k1"), kernel("x3", "out3", name="k2")]
    segments = [[k.name] for k in kernels]
    text = str(module.emit_module(kernels, Table.build(kernels), Target.host(), segments, {1: dims.symbol("N")}))
    assert defined(text) == ["k0", "k1"]


def several() -> tuple[gl.Program, list[gl.Variable]]:
    """Two losses of equal form on batches of two sizes, the second with labels that are checked in another slot."""
    main = gl.Program()
    fetches = []
    with gl.program_guard(main):
        for name in ("a", "b", "c"):
            x = gl.data(name, [None, 40])
            y = x
            for _ in range(150):
                y = ops.maximum(ops.tanh(y), x * 0.5)
            (g,) = gl.gradients([ops.reduce_mean(y)], [x])
            fetches += [y, g]
    return main, fetches


@pytest.mark.parametrize("threads", [1, 3])
def test_bits_are_those_of_kernels_with_a_code_each(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    main, fetches = several()
    rng = np.random.default_rng(5)
    feed = {n: rng.standard_normal((rows, 40)).astype("float32") for n, rows in (("a", 3), ("b", 700), ("c", 3000))}
    kernels = schedule(optimise(main.snapshot(fetches))).kernels
    shared = alike(kernels)
    assert len(shared) > len(kernels) // 2 and len({first for first, _ in shared.values()}) <= len(shared) // 2
    before = gl.get_num_threads()
    gl.set_num_threads(threads)
    try:
        together = gl.Executor(options=OPTIONS).run(main, feed=feed, fetch_list=fetches)
        monkeypatch.setattr(module, "alike", lambda kernels: {})
        main, fetches = several()
        apart = gl.Executor(options=OPTIONS).run(main, feed=feed, fetch_list=fetches)
    finally:
        gl.set_num_threads(before)
    assert [a.tobytes() for a in together] == [a.tobytes() for a in apart]
