"""Kernels as text."""

from __future__ import annotations

from dataclasses import replace

from graphloss.ir import dims
from graphloss.schedule.kernel import Buffer, Tile
from graphloss.schedule.kernel_text import print_kernel
from tests.codegen.kernel_runner import Build, E, R, S

N, C = dims.symbol("N"), dims.symbol("C")

SOFTMAX = """\
loops @k0(x: f32[N, C], y: i64[N]) -> (g: f32[N, C], p: f64[K]) {
  tile rows, chunks of 256 along n
  let v0 = reciprocal(f32(N))
  for n in N {
    let v1 = check y[n] in C
    let v2 = x[n, v1]
    var v3: f32 = -inf
    for c in C {  # pass 0
      let v4 = x[n, c]
      v3 max= v4
    }
    var v5: f32 = 0
    for c in C {  # pass 1
      let v4 = x[n, c]
      let v6 = g[n, c] = exp(v4 - v3)
      v5 += v6
    }
    for c in C {  # pass 2
      let v6 = g[n, c]
      let v7 = (v6 / v5) * v0
      g[n, c] = select(c == v1, v7 - v0, v7)
    }
    p[chunk] += log(v5) - (v2 - v3)
  }
}"""


def test_softmax_cross_entropy() -> None:
    b = Build(Tile.ROWS, (N,), C, passes=3, grain=256)
    scale = b.apply("reciprocal", S, [], b.dim(N))
    x = b.load("x", E, [0, 1])
    m = b.reduce("max", 0, x)
    e = b.keep("g", [1, 2], b.apply("exp", E, [1], b.apply("sub", E, [1], x, m)))
    z = b.reduce("sum", 1, e)
    label = b.check(R, [0], b.load("y", R, [0], "int64", (1, 0)), C)
    picked = b.pick("x", R, [0], label, 1, strides=(C, 0))
    loss = b.apply("sub", R, [3], b.apply("log", R, [3], z), b.apply("sub", R, [3], picked, m))
    b.total("sum", R, 3, loss, "p")
    q = b.apply("mul", E, [2], b.apply("div", E, [2], e, z), scale)
    here = b.apply("eq", E, [2], b.iota(E, [2], 1), label, dtype="bool")
    b.store("g", E, [2], b.apply("select", E, [2], here, b.apply("sub", E, [2], q, scale), q))
    buffers = (Buffer("x", "float32", (N, C), "input"), Buffer("y", "int64", (N,), "input"),
               Buffer("g", "float32", (N, C), "output"),
               Buffer("p", "float64", (dims.symbol("K"),), "partial"))  # fmt: skip
    assert print_kernel(replace(b.kernel(), buffers=buffers)) == SOFTMAX


def test_strides_that_are_no_shape_print_as_sums() -> None:
    b = Build(Tile.COLUMNS, (), C, N, grain=1)
    x = b.load("x", E, [0], strides=(1, dims.add(C, 1)), offset=2)
    b.store("y", R, [1], b.reduce("argmax", 0, x, "int64"), (0, 1))
    buffers = (Buffer("x", "float32", (N, C), "input"), Buffer("y", "int64", (N,), "output"))
    assert print_kernel(replace(b.kernel(), buffers=buffers)).splitlines()[1:] == [
        "  tile columns",
        "  for s in N {",
        "    var v0: i64 = none",
        "    for c in C {  # pass 0",
        "      v0 argmax= x[c + (C+1)*s + 2]",
        "    }",
        "    y[s] = v0",
        "  }",
        "}",
    ]
