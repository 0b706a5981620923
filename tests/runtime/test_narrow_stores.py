"""A row whose last vector holds one element ends where it ends, also where it was narrowed before the store."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from graphloss import ops
from graphloss.ir.data import data
from graphloss.ir.defaults import program_guard
from graphloss.ir.program import Program
from graphloss.options import CompileOptions
from graphloss.runtime import buffers
from graphloss.runtime.compile import compile_graph
from graphloss.runtime.compiled import Compiled

NARROW = (
    ("float32", "bfloat16"), ("float32", "float16"), ("float64", "float16"), ("int32", "int8"), ("int64", "int32"),
    ("int64", "int16"), ("float32", "uint8"), ("float32", "bool"), ("float64", "float32"),
)  # fmt: skip


@pytest.mark.parametrize("wide", [17, 33])
@pytest.mark.parametrize(("dtype", "stored"), NARROW)
def test_nothing_behind_a_row_is_written(dtype: str, stored: str, wide: int, monkeypatch: pytest.MonkeyPatch) -> None:
    main = Program()
    with program_guard(main):
        x = data("x", [None, wide], dtype)
        out = ops.cast(x + ops.reduce_max(x, 1, keepdims=True), stored)
    options = CompileOptions(cache=False, threads=1)
    unit = Compiled(compile_graph(main.snapshot([out.name]), options), options)  # type: ignore[attr-defined]
    behind: list[npt.NDArray[np.uint8]] = []

    def empty(shape: tuple[int, ...], kind: npt.DTypeLike) -> npt.NDArray[Any]:
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        raw = np.full(size + 64, 0x5A, np.uint8)
        behind.append(raw[size:])
        return raw[:size].view(kind).reshape(shape)

    monkeypatch.setattr(buffers, "THRESHOLD", 0)
    monkeypatch.setattr(buffers, "empty", empty)
    (got,) = unit.run([np.ones((1, wide), dtype)])
    assert np.all(got == np.asarray(2).astype(stored))
    assert behind and all(np.all(b == 0x5A) for b in behind)
