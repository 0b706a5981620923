"""Compilations on disk: found again by the whole text of a graph, the same as made anew, and a miss when in doubt."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphloss as gl
from graphloss.codegen import identity as versions
from graphloss.errors import LabelError
from graphloss.ir import opdef
from graphloss.options import CompileOptions
from graphloss.runtime import compile as module
from graphloss.runtime import saved
from graphloss.runtime.cache import DiskCache

F = gl.nn.functional
Built = tuple[gl.Program, list[Any]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a version that does not change while somebody writes to the sources."""
    monkeypatch.setenv("GRAPHLOSS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(saved, "sources", lambda *names: "this one")
    return tmp_path / "cache"


def refuse(*args: Any, **options: Any) -> Any:
    raise AssertionError("made anew")


def build(of: Callable[[Any, Any], Any], classes: int = 7) -> Built:
    main = gl.Program()
    with gl.unique_name.guard(), gl.program_guard(main, gl.Program()):
        x, y = gl.data("x", [None, classes], "float32"), gl.data("y", [None], "int64")
        loss = of(x, y)
        return main, [loss, *gl.gradients([loss], [x])]


def drawn(x: Any, y: Any) -> Any:
    return F.cross_entropy(x + gl.layers.uniform_random([7], seed=3), y)


def timed(x: Any, y: Any) -> Any:
    """A loop nest: eight rows are four steps of two sequences with one label each."""
    steps, ones = gl.layers.reshape(x, [4, 2, 7]), gl.layers.fill_constant([2], "int64", 1)
    labels = gl.layers.reshape(gl.layers.clip(y, 1, 6), [2, 4])[:, :1]
    return F.ctc_loss(F.log_softmax(steps, -1), labels, ones * 4, ones)


PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {
    "cross entropy": lambda x, y: F.cross_entropy(x, y),
    "two losses": lambda x, y: F.cross_entropy(x, y) + 0.5 * F.mse_loss(x, F.one_hot(y, 7)),
    "matrix product": lambda x, y: F.cross_entropy(gl.layers.matmul(x, gl.layers.transpose(x, [1, 0])) * 0.1, y),
    "literal": lambda x, y: F.cross_entropy(x * gl.layers.assign(np.arange(7, dtype="float32")), y),
    "random": drawn,
    "loop nest": timed,
    "rows by value": lambda x, y: F.cross_entropy(x, y) + gl.layers.mean(gl.layers.gather(x, gl.layers.where(y > 2))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_comes_back_is_what_was_made(name: str, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    main, fetches = build(PROGRAMS[name])
    feed = {"x": rng.standard_normal((8, 7)).astype("float32"), "y": rng.integers(0, 7, 8)}
    made = gl.explain(main, fetches)
    assert ("host" in str(made)) == (name in ("matrix product", "literal", "random", "rows by value"))
    wanted = gl.Executor().run(main, feed, fetches)
    monkeypatch.setattr(module, "optimise", refuse)
    monkeypatch.setattr(module, "schedule", refuse)
    again, fetches = build(PROGRAMS[name])
    found = gl.explain(again, fetches)
    assert found.code is not made.code and found.code.source == made.code.source
    assert str(found).splitlines()[:-1] == str(made).splitlines()[:-1]  # all but the times
    assert (found.before(), found.after(), found.loops()) == (made.before(), made.after(), made.loops())
    assert found.llvm_ir() == made.llvm_ir()
    for got, want in zip(gl.Executor().run(again, feed, fetches), wanted, strict=True):
        np.testing.assert_array_equal(got, want)


def test_equal_programs_on_other_lines_report_their_own() -> None:
    one = build(lambda x, y: F.cross_entropy(x, y))
    two = build(lambda x, y: F.cross_entropy(x, y))
    feed = {"x": np.zeros((2, 7), "float32"), "y": np.array([0, 7])}
    lines = []
    for main, fetches in (one, two, one, two):
        gl.explain(main, fetches)  # makes it, or finds it
        with pytest.raises(LabelError) as caught:
            gl.Executor().run(main, feed, fetches)
        lines.append([line for line in str(caught.value).splitlines() if "test_saved.py" in line])
    assert lines[0] == lines[2] != lines[1] == lines[3]


def test_everything_counts() -> None:
    graph = build(lambda x, y: F.cross_entropy(x, y))
    other = build(lambda x, y: F.cross_entropy(x, y), 8)
    key = saved.key(graph[0].snapshot(graph[1]), CompileOptions())
    keys = {
        key,
        saved.key(other[0].snapshot(other[1]), CompileOptions()),
        saved.key(graph[0].snapshot(graph[1][:1]), CompileOptions()),
        saved.key(graph[0].snapshot(graph[1][::-1]), CompileOptions()),
        saved.key(graph[0].snapshot(graph[1]), CompileOptions(passes=False)),
        saved.key(graph[0].snapshot(graph[1]), CompileOptions(check_values=True)),
    }
    assert None not in keys and len(keys) == 6
    assert saved.key(graph[0].snapshot(graph[1]), CompileOptions()) == key


def test_an_unknown_version_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    main, fetches = build(lambda x, y: F.cross_entropy(x, y))
    monkeypatch.setattr(saved, "sources", lambda *names: None)
    assert saved.key(main.snapshot(fetches), CompileOptions()) is None
    assert gl.explain(main, fetches).rules


def test_an_op_of_somebody_else_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    main, fetches = build(lambda x, y: F.cross_entropy(x, y))
    monkeypatch.setattr(opdef, "_REGISTRY", {**opdef._REGISTRY, "own": opdef.get("exp")})
    assert saved.key(main.snapshot(fetches), CompileOptions()) is None


def test_the_sources_are_all_there() -> None:
    for name in saved._SOURCES:
        assert os.path.exists(os.path.join(versions._ROOT, name)), name


def test_what_is_no_compilation_is_a_miss(folder: Path) -> None:
    main, fetches = build(lambda x, y: F.cross_entropy(x, y))
    key = saved.key(main.snapshot(fetches), CompileOptions())
    assert key is not None
    cache = DiskCache(folder)
    for content in (b"", b"no pickle", b"\x80\x05cgraphloss.no.such\nname\n.", b"\x80\x05K\x01."):
        cache.put(key, content)
        assert cache.get(key) == content
        assert gl.explain(main, fetches).rules
        assert isinstance(saved.find(cache, key), module.Made), "the miss was filled"


def test_what_does_not_travel_is_not_kept(folder: Path) -> None:
    cache = DiskCache(folder)
    saved.keep(cache, "a" * 64, [lambda: None])
    assert cache.get("a" * 64) is None


@pytest.mark.parametrize("options", [CompileOptions(cache=False), CompileOptions(dump="dump")])
def test_nothing_is_looked_up(options: CompileOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(saved, "find", refuse)
    monkeypatch.setattr(saved, "keep", refuse)
    main, fetches = build(lambda x, y: F.cross_entropy(x, y))
    assert gl.explain(main, fetches, options).kernels


def test_code_that_is_gone_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main, fetches = build(lambda x, y: F.cross_entropy(x, y))
    gl.explain(main, fetches)
    key = saved.key(main.snapshot(fetches), CompileOptions())
    for entry in folder.iterdir():
        if entry.stem != key:
            entry.unlink()
    monkeypatch.setattr(module, "optimise", refuse)
    loaded = gl.explain(main, fetches).code.loaded
    assert loaded is not None and not loaded.from_cache
    loaded = gl.explain(main, fetches).code.loaded
    assert loaded is not None and loaded.from_cache
