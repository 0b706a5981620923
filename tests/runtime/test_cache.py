"""The on-disk cache: whole entries or none, only from a private folder, bounded."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from graphloss.runtime import cache as module
from graphloss.runtime.cache import DiskCache

KEYS = [f"{n:064x}" for n in range(64)]
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "deep" / "objects")


def entry(cache: DiskCache, key: str) -> Path:
    return cache.folder / (key + ".o")


def test_content_comes_back(cache: DiskCache) -> None:
    assert cache.get(KEYS[0]) is None
    assert not cache.folder.exists(), "reading makes no folder"
    cache.put(KEYS[0], b"code\0\xff")
    cache.put(KEYS[1], b"")
    cache.put(KEYS[0], b"code\0\xfe")
    assert cache.get(KEYS[0]) == b"code\0\xfe"
    assert cache.get(KEYS[1]) == b""
    assert cache.get(KEYS[2]) is None
    assert DiskCache(cache.folder).get(KEYS[0]) == b"code\0\xfe"
    assert (cache.hits, cache.misses) == (2, 2)
    cache.clear()
    assert cache.get(KEYS[0]) is None


@posix
def test_files_are_private(cache: DiskCache) -> None:
    old = os.umask(0)
    try:
        cache.put(KEYS[0], b"code")
    finally:
        os.umask(old)
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert entry(cache, KEYS[0]).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in cache.folder.iterdir()] == [KEYS[0] + ".o"], "no temporary file stays"


@pytest.mark.parametrize("key", ["", "short", "../" + "a" * 61, "A" * 64, "g" * 64, "a" * 64 + "\n", "a" * 65])
def test_a_key_is_64_digits(cache: DiskCache, key: str) -> None:
    cache.put(key, b"code")
    assert cache.get(key) is None
    assert not cache.folder.exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "longer", "magic", "other key"])
def test_damage_is_a_miss(cache: DiskCache, damage: str) -> None:
    cache.put(KEYS[0], b"some object code")
    path = entry(cache, KEYS[0])
    data = path.read_bytes()
    if damage == "flip":
        path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    elif damage == "cut":
        path.write_bytes(data[:-1])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "longer":
        path.write_bytes(data + b"x")
    elif damage == "magic":
        path.write_bytes(b"X" + data[1:])
    else:
        path.rename(entry(cache, KEYS[1]))
    assert cache.get(KEYS[0]) is None
    assert cache.get(KEYS[1]) is None
    cache.put(KEYS[0], b"new")
    assert cache.get(KEYS[0]) == b"new"


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o720])
def test_a_folder_that_others_may_write_is_not_used(cache: DiskCache, mode: int) -> None:
    cache.put(KEYS[0], b"code")
    cache.folder.chmod(mode)
    assert cache.get(KEYS[0]) is None
    cache.put(KEYS[1], b"code")
    assert not entry(cache, KEYS[1]).exists()
    cache.folder.chmod(0o700)
    assert cache.get(KEYS[0]) == b"code"


@posix
def test_a_file_that_others_may_write_is_a_miss(cache: DiskCache) -> None:
    cache.put(KEYS[0], b"code")
    entry(cache, KEYS[0]).chmod(0o620)
    assert cache.get(KEYS[0]) is None


@posix
def test_somebody_elses_is_not_used(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put(KEYS[0], b"code")
    someone = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: someone)
    assert cache.get(KEYS[0]) is None


@posix
def test_links_are_not_followed(cache: DiskCache, tmp_path: Path) -> None:
    cache.put(KEYS[0], b"code")
    alias = tmp_path / "alias"
    alias.symlink_to(cache.folder)
    through = DiskCache(alias)
    assert through.get(KEYS[0]) is None
    through.put(KEYS[1], b"code")
    assert cache.get(KEYS[1]) is None
    entry(cache, KEYS[0]).rename(tmp_path / "elsewhere")
    entry(cache, KEYS[0]).symlink_to(tmp_path / "elsewhere")
    assert cache.get(KEYS[0]) is None


@posix
def test_a_pipe_does_not_block(cache: DiskCache) -> None:
    cache.put(KEYS[1], b"code")
    os.mkfifo(entry(cache, KEYS[0]), 0o600)
    assert cache.get(KEYS[0]) is None


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file")
    for folder in (tmp_path / "objects", tmp_path / "objects" / "deeper"):
        blocked = DiskCache(folder)
        blocked.put(KEYS[0], b"code")
        assert blocked.get(KEYS[0]) is None
        blocked.clear()


def test_size_is_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "objects", limit=20_000)
    cache.put(KEYS[0], b"x" * 6_000)
    assert cache.get(KEYS[0]) is None, "one entry never takes more than a quarter"
    for n, key in enumerate(KEYS):
        cache.put(key, bytes(1_000))
        if n == 0:
            os.utime(entry(cache, key), (1, 1))
        else:
            os.utime(entry(cache, key), (1000 + n, 1000 + n))
        assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 20_000
    left = [key for key in KEYS if cache.get(key) is not None]
    assert left == KEYS[-len(left) :] and len(left) >= 10


def test_reading_keeps_an_entry_young(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "objects", limit=20_000)
    for n, key in enumerate(KEYS[:15]):
        cache.put(key, bytes(1_000))
        os.utime(entry(cache, key), (1000 + n, 1000 + n))
    assert cache.get(KEYS[0]) is not None
    for key in KEYS[15:25]:
        cache.put(key, bytes(1_000))
    assert cache.get(KEYS[0]) is not None
    assert cache.get(KEYS[1]) is None


def test_the_bound_counts_what_others_wrote(tmp_path: Path) -> None:
    first, second = (DiskCache(tmp_path / "objects", limit=20_000) for _ in range(2))
    for n, key in enumerate(KEYS):
        (first if n % 2 else second).put(key, bytes(1_000))
    first.put("f" * 64, bytes(4_000))
    total = sum(path.stat().st_size for path in first.folder.iterdir())
    assert total <= 2 * 20_000, "each process is at most one limit behind"


def test_stale_temporary_files_go(cache: DiskCache) -> None:
    cache.put(KEYS[0], b"code")
    stale, fresh = cache.folder / ".tmp-dead", cache.folder / ".tmp-alive"
    stale.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(stale, (1, 1))
    DiskCache(cache.folder).put(KEYS[1], b"code")
    assert not stale.exists() and fresh.exists()


def test_writers_and_readers_at_once(cache: DiskCache) -> None:
    wrong: list[object] = []

    def work(mark: int) -> None:
        for n in range(40):
            key = KEYS[n % 4]
            cache.put(key, bytes([n % 4]) * (1000 + mark))
            found = cache.get(key)
            if found is not None and set(found) != {n % 4}:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(cache.get(key) is not None for key in KEYS[:4])


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHLOSS_CACHE_DIR", str(tmp_path / "mine"))
    chosen = module.default_cache()
    assert chosen is not None and chosen.folder == tmp_path / "mine"
    assert module.default_cache() is chosen
    monkeypatch.setenv("GRAPHLOSS_CACHE_DIR", "")
    assert module.default_cache() is None
    monkeypatch.delenv("GRAPHLOSS_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    chosen = module.default_cache()
    assert chosen is not None and chosen.folder == tmp_path / "xdg" / "graphloss"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    chosen = module.default_cache()
    assert chosen is not None and chosen.folder == tmp_path / "home" / ".cache" / "graphloss"
