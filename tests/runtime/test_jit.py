"""Machine code from LLVM IR text: right, cached, kept alive, usable from threads and after a fork."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from pathlib import Path

import pytest
from llvmlite import ir

from graphloss.codegen import jit
from graphloss.errors import UnsupportedError, VerifyError
from graphloss.runtime.cache import DiskCache

ADD = """
define i64 @add(i64 %x) {{
  %y = add i64 %x, {0}
  ret i64 %y
}}
define i64 @twice(i64 %x) {{
  %y = call i64 @add(i64 %x)
  %z = call i64 @add(i64 %y)
  ret i64 %z
}}
"""
Unary = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)


def test_addresses_are_callable() -> None:
    loaded = jit.load(ADD.format(5), ["add", "twice"])
    assert Unary(loaded["add"])(37) == 42
    assert Unary(loaded["twice"])(1) == 11
    assert not loaded.from_cache
    assert set(loaded.addresses) == {"add", "twice"}


def test_takes_an_llvmlite_module() -> None:
    module = ir.Module(name="m")
    word = ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(word, [word]), name="negate")
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(builder.neg(function.args[0]))
    assert Unary(jit.load(module, ["negate"])["negate"])(7) == -7


def test_one_symbol_name_in_many_modules() -> None:
    loaded = [jit.load(ADD.format(n), ["add"]) for n in range(4)]
    assert [Unary(one["add"])(10) for one in loaded] == [10, 11, 12, 13]


def test_code_outlives_other_modules() -> None:
    keep = jit.load(ADD.format(1), ["add"])
    for n in range(5):
        jit.load(ADD.format(n), ["add"])
        gc.collect()
    assert Unary(keep["add"])(1) == 2


def test_the_collector_only_leaves_a_note() -> None:
    """It may run in any thread while another one is inside LLVM; the next load unloads."""
    box: list[object] = [jit.load(ADD.format(1), ["add"])]
    box.append(box)
    (library,) = [n for n in jit._trackers if n == box[0]._library]  # type: ignore[attr-defined]
    del box
    gc.collect()
    assert not jit._trackers[library].closed
    jit.load(ADD.format(2), ["add"])
    assert library not in jit._trackers


def test_texts_on_request() -> None:
    loaded = jit.load(ADD.format(5), ["add"])
    assert loaded.llvm_ir() == ADD.format(5)
    assert "add" in loaded.assembly() and "ret" in loaded.assembly()


def test_imports_are_linked_by_address() -> None:
    @Unary
    def triple(x: int) -> int:
        return 3 * x

    text = "declare i64 @outside(i64)\ndefine i64 @f(i64 %x) {\n  %y = call i64 @outside(i64 %x)\n  ret i64 %y\n}"
    address = ctypes.cast(triple, ctypes.c_void_p).value
    assert address is not None
    assert Unary(jit.load(text, ["f"], imports={"outside": address})["f"])(5) == 15
    with pytest.raises(UnsupportedError, match="does not link"):
        jit.load(text, ["f"])


@pytest.mark.parametrize(
    "text",
    [
        "define i64 @add(i64 %x) {\n  ret i64 %nowhere\n}",
        "define i64 @add(i64 %x) {\n  ret float 1.0\n}",
        "no IR at all",
        "define i64 @add(i64 %x) {\n  br label %a\na:\n  %q = add i64 %p, 1\n  %p = add i64 %x, 1\n  ret i64 %q\n}",
    ],
)
def test_bad_code_is_a_verify_error(text: str) -> None:
    with pytest.raises(VerifyError, match="LLVM does not accept"):
        jit.load(text, ["add"])


def test_missing_symbol() -> None:
    with pytest.raises(UnsupportedError, match="does not link"):
        jit.load(ADD.format(5), ["subtract"])


def test_object_comes_from_the_cache(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "objects")
    first = jit.load(ADD.format(7), ["add"], cache=cache)
    again = jit.load(ADD.format(7), ["add"], cache=DiskCache(tmp_path / "objects"))
    other = jit.load(ADD.format(8), ["add"], cache=cache)
    assert (first.from_cache, again.from_cache, other.from_cache) == (False, True, False)
    assert [Unary(one["add"])(1) for one in (first, again, other)] == [8, 8, 9]
    assert "ret" in again.assembly()


def test_code_is_made_only_if_needed(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return ADD.format(7)

    cache = DiskCache(tmp_path / "objects")
    first = jit.load(make, ["add"], cache=cache, identity="seven")
    assert len(made) == 1
    again = jit.load(make, ["add"], cache=cache, identity="seven")
    assert (len(made), again.from_cache, Unary(again["add"])(1)) == (1, True, 8)
    assert again.llvm_ir() == ADD.format(7) == first.llvm_ir()
    assert not jit.load(make, ["add"], cache=cache, identity="7").from_cache
    assert not jit.load(make, ["add"], cache=cache).from_cache
    assert jit.load(ADD.format(7), ["add"], cache=cache).from_cache  # without an identity it is the text


class OddCache:
    """Returns what is no object file."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return b"not an object file"

    def put(self, key: str, content: bytes) -> None:
        self.kept[key] = content


def test_an_odd_object_is_a_miss() -> None:
    cache = OddCache()
    loaded = jit.load(ADD.format(7), ["add"], cache=cache)
    assert Unary(loaded["add"])(1) == 8 and not loaded.from_cache
    assert list(cache.kept) == [jit.cache_key(ADD.format(7))]


def test_key_depends_on_text_and_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    key = jit.cache_key("a")
    assert key == jit.cache_key("a") != jit.cache_key("b")
    here = jit.host()
    for change in ({"cpu": "other"}, {"feature_text": "+other"}, {"triple": "other"}):
        elsewhere = jit.Host(**{**vars(here), **change})
        monkeypatch.setattr(jit, "host", lambda elsewhere=elsewhere: elsewhere)
        assert jit.cache_key("a") != key
    monkeypatch.setattr(jit, "host", lambda: here)
    monkeypatch.setattr(jit, "__version__", "0.0.0-other")
    assert jit.cache_key("a") != key


def test_host_is_described() -> None:
    here = jit.host()
    assert here.triple and here.cpu and here.features
    for feature in here.features:
        assert f"+{feature}" in here.feature_text.split(",")


def test_loading_from_several_threads() -> None:
    results: dict[int, int] = {}

    def work(n: int) -> None:
        loaded = jit.load(ADD.format(n), ["twice"])
        results[n] = Unary(loaded["twice"])(0)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: 2 * n for n in range(8)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_load() -> None:
    mine = jit.load(ADD.format(1), ["add"])
    child = os.fork()
    if child == 0:
        ok = Unary(mine["add"])(1) == 2 and Unary(jit.load(ADD.format(2), ["add"])["add"])(1) == 3
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert Unary(jit.load(ADD.format(3), ["add"])["add"])(1) == 4
