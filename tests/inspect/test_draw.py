"""Pictures: which boxes and arrows they hold, and that a file is written."""

from __future__ import annotations

from pathlib import Path

import graphloss as gl
from graphloss.inspect import draw
from graphloss.inspect.draw import of_graph, of_plan
from graphloss.ir.parser import parse_graph
from graphloss.options import CompileOptions
from graphloss.runtime.compile import compile_graph


def test_boxes_and_arrows_of_a_graph() -> None:
    graph = parse_graph(
        "program @g { feed %x : f32[N] feed %unused : f32[N] state %w : f32[] "
        "%one = fill() {shape=[], dtype=\"float32\", value=1.0} : f32[] "
        "%a = exp(%x) : f32[N] %b = mul(%a, %a) : f32[N] %c = add(%b, %one) : f32[N] @backward "
        "%n = neg(%w) : f32[] @optimize write %w = %n fetch %c }"
    )  # fmt: skip
    picture = of_graph(graph, "t")
    assert picture.title == "t: 5 ops"
    assert list(picture.labels.values()) == [
        "x\nf32[N]", "w\nf32[]", "exp", "mul", "add", "neg", "c", "write w"
    ]  # fmt: skip
    assert list(picture.kinds.values()) == [
        "input", "input", "forward", "forward", "backward", "optimize", "result", "result"
    ]  # fmt: skip
    named = [(picture.labels[a], picture.labels[b]) for a, b in dict.fromkeys(picture.edges)]
    assert named == [
        ("x\nf32[N]", "exp"), ("exp", "mul"), ("mul", "add"), ("w\nf32[]", "neg"), ("add", "c"), ("neg", "write w")
    ]  # fmt: skip


def test_boxes_and_arrows_of_kernels() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x, w = gl.data("x", [None, 100]), gl.data("w", [100, 8])
        y = gl.layers.softmax(x) @ w
    code = compile_graph(main.snapshot([y]), CompileOptions(cache=False))
    picture = of_plan(code)
    labels = list(picture.labels.values())
    assert picture.title == "what runs: 2 steps, 1 of them kernels"
    assert sorted(labels) == sorted(["x", "w", "k0: x.0 x 100", "matmul", y.name])
    named = [(picture.labels[a], picture.labels[b]) for a, b in picture.edges]
    assert ("x", "k0: x.0 x 100") in named
    assert ("k0: x.0 x 100", "matmul") in named
    assert ("matmul", y.name) in named


def test_boxes_of_loop_nests() -> None:
    main = gl.Program()
    with gl.program_guard(main):
        w, index = gl.data("w", [None, 3]), gl.data("i", [None], "int64")
        (gradient,) = gl.gradients([gl.layers.mean(gl.layers.gather(w, index) ** 2)], [w])
    code = compile_graph(main.snapshot([gradient]), CompileOptions(cache=False))
    picture = of_plan(code)
    named = [(picture.labels[a], picture.labels[b]) for a, b in picture.edges]
    nest = next(label for label in picture.labels.values() if label.endswith(": scatter_add"))
    assert {("i", nest), (nest, gradient.name)} <= set(named)


def test_file_is_written(tmp_path: Path) -> None:
    main = gl.Program()
    with gl.program_guard(main):
        x = gl.data("x", [None, 100])
        loss = gl.layers.mean(x * x)
        gl.gradients([loss], [x])
    draw(main, tmp_path / "graph.png", [loss, "x@GRAD"])
    assert (tmp_path / "graph.png").read_bytes()[:4] == b"\x89PNG"
