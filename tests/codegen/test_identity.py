"""What identifies code before it is emitted: equal for equal kernels under other names, different for anything else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from graphloss.codegen import identity as module
from graphloss.codegen.identity import identity
from graphloss.codegen.kernel import emit_module
from graphloss.codegen.table import Table
from graphloss.codegen.target import Target
from graphloss.ir import dims
from graphloss.ir.dims import Dim
from graphloss.schedule.kernel import Access, Apply, Buffer, Const, Kernel, Level, Load, Node, RowReduce, Store, Tile

HERE = Target.host()


@pytest.fixture(autouse=True)
def emitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the emitter that does not change while somebody writes to its files."""
    monkeypatch.setattr(module, "sources", lambda *names: "this one")


_listed = module.sources


def _sources(*names: str) -> str | None:
    module._version.cache_clear()
    return _listed(*names)


def kernel(x: str = "x", out: str = "out", n: Dim | None = None, scale: float = 2.0, name: str = "k0") -> Kernel:
    """out[i] = sum over j of scale * x[i, j]."""
    rows = dims.symbol("N") if n is None else n
    element, row = Level.ELEMENT, Level.ROW
    nodes = (
        Node(Load("float32", Access(x, 0, (8, 1))), element, (0,)),
        Node(Const("float32", scale), Level.SCALAR),
        Node(Apply("float32", "mul", (0, 1)), element, (0,)),
        Node(RowReduce("float32", "sum", 2), row, (0,)),
        Node(Store("float32", 3, Access(out, 0, (1, 0))), row, (1,)),
    )
    buffers = (Buffer(x, "float32", (rows, 8), "input"), Buffer(out, "float32", (rows,), "output"))
    return Kernel(name, Tile.ROWS, (rows,), 8, None, 1, nodes, buffers, False, 32)


def text(*kernels: Kernel, target: Target = HERE) -> str | None:
    return identity(kernels, target, [[k.name for k in kernels]])


def emitted(one: Kernel) -> str:
    return str(emit_module([one], Table.build([one]), HERE, [[one.name]]))


def test_names_do_not_count() -> None:
    other = kernel("logits", "total", dims.symbol("batch.0"), name="k7")
    assert text(kernel()) == text(other)
    assert emitted(kernel()) == emitted(other)  # which is why


def changes() -> list[Kernel]:
    base = kernel()
    nodes = list(base.nodes)
    nodes[3] = replace(nodes[3], action=RowReduce("float32", "max", 2))
    return [
        kernel(x="same", out="same"),
        kernel(n=5),
        kernel(n=dims.add(dims.symbol("N"), 1)),
        kernel(n=dims.maximum(dims.symbol("N"), 1)),
        kernel(scale=-2.0),
        kernel(scale=float("nan")),
        kernel(scale=2),
        replace(base, grain=16),
        replace(base, row=16),
        replace(base, passes=2),
        replace(base, split_row=True),
        replace(base, tile=Tile.COLUMNS),
        replace(base, nodes=tuple(nodes)),
    ]


def test_everything_else_counts() -> None:
    texts = [text(kernel()), *map(text, changes()), text(kernel(), kernel(name="k1"))]
    assert None not in texts
    assert len(set(texts)) == len(texts)


def test_signs_of_zero_differ() -> None:
    assert text(kernel(scale=0.0)) != text(kernel(scale=-0.0))


def test_target_and_segments_count() -> None:
    assert text(kernel(), target=replace(HERE, has_fma=not HERE.has_fma)) != text(kernel())
    two = (kernel(), kernel(name="k1"))
    texts = {identity(two, HERE, s) for s in ([["k0", "k1"]], [["k1", "k0"]], [["k0"], ["k1"]])}
    texts |= {identity(two, HERE, [["k0"], ["k1"]], rows) for rows in ({0: 8}, {1: 8}, {0: 8, 1: 8}, {0: 9})}
    assert len(texts) == 7


def test_symbols_and_buffers_are_shared_between_kernels() -> None:
    same = text(kernel(), kernel("out", "last", name="k1"))
    other = text(kernel(), kernel("x", "last", name="k1"))
    assert same != other
    assert text(kernel(), kernel(name="k1")) != text(kernel(), kernel(n=dims.symbol("M"), name="k1"))


def test_the_emitter_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = text(kernel())
    monkeypatch.setattr(module, "sources", lambda *names: "another")
    assert text(kernel()) != before
    monkeypatch.setattr(module, "sources", lambda *names: None)
    assert text(kernel()) is None


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two files, older than this process."""
    for name in ("one.py", "folder/two.py", "folder/deeper/three.py", "folder/__pycache__/two.py", "folder/note.txt"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x = 1\n")
        os.utime(file, (1000, 1000))
    monkeypatch.setattr(module, "_ROOT", str(tmp_path))
    return tmp_path


def test_sources_of_a_version(package: Path) -> None:
    look = _sources
    first = look("one.py", "folder")
    assert first is not None and first == look("one.py", "folder")
    assert first not in (look("folder"), look("one.py"))
    (package / "folder/note.txt").write_text("no source")
    (package / "folder/__pycache__/two.py").write_text("no source")
    assert look("one.py", "folder") == first
    assert look("no/such.py") is None


@pytest.mark.parametrize("name", ["one.py", "folder/two.py", "folder/deeper/three.py"])
def test_a_change_of_the_sources_is_seen(package: Path, name: str) -> None:
    look = _sources
    before = look("one.py", "folder")
    (package / name).write_text("x = 20\n")
    assert look("one.py", "folder") is None, "younger than this process: nobody can tell which text runs"
    os.utime(package / name, (1000, 1000))
    longer = look("one.py", "folder")
    (package / name).write_text("x = 30\n")
    os.utime(package / name, (1001, 1001))
    assert None not in (before, longer)
    assert len({before, longer, look("one.py", "folder")}) == 3
