"""The cache on disk, of object code and of compilations: a folder of small files, private to its owner or not used.

An entry is one file, readable by its owner only: a magic word, the SHA-256 of key and content, the content. It is
written to a temporary file and renamed, so that a reader sees a whole entry or none. Whatever is odd (a folder that
others may write, a short file, a wrong digest, a full disk) is a miss, never an error: the cache can only make a
compilation faster.

Only files of ours in a folder of ours that nobody else can write are trusted, since an entry becomes machine code here,
or is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
import threading
from pathlib import Path
from typing import Final

from graphloss.options import cache_folder

__all__ = ["DiskCache", "default_cache"]

MAGIC: Final = b"graphloss-object-1\n"
SUFFIX: Final = ".o"
DEFAULT_LIMIT: Final = 256 * 2**20
_KEY = re.compile(r"[0-9a-f]{64}\Z")
_DIGEST_SIZE: Final = hashlib.sha256().digest_size
# O_NONBLOCK: opening a pipe that somebody put here must not wait for a writer.
_OPEN: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_STALE_SECONDS: Final = 3600.0  # a temporary file older than this was left by a process that died


class DiskCache:
    """Content by key in one folder, bounded in size; the entries used longest ago go first.

    Args:
        folder: where the entries are; made on the first `put`, with mode 0700.
        limit: bound on the bytes of all entries.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = DiskCache(Path(folder) / "objects")
        ...     cache.put("a" * 64, b"code")
        ...     cache.get("a" * 64), cache.get("b" * 64)
        (b'code', None)
    """

    def __init__(self, folder: Path | str, limit: int = DEFAULT_LIMIT) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.limit = limit
        self.hits = 0
        self.misses = 0
        self._size: int | None = None  # bytes of all entries as far as this process knows; None: not counted yet
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The content under ``key`` (64 hexadecimal digits), or None."""
        content = self._read(key)
        if content is None:
            self.misses += 1
        else:
            self.hits += 1
        return content

    def put(self, key: str, content: bytes) -> None:
        """Keep ``content`` under ``key``; does nothing where that cannot be done safely."""
        if not _KEY.match(key) or len(content) > self.limit // 4:
            return
        entry = MAGIC + _digest(key, content) + content
        try:
            if not self._usable(make=True):
                return
            handle, temporary = tempfile.mkstemp(prefix=".tmp-", dir=self.folder)  # mode 0600, O_EXCL
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(entry)
                os.replace(temporary, self.folder / (key + SUFFIX))
            except BaseException:
                os.unlink(temporary)
                raise
            self._bound(len(entry))
        except OSError:
            return

    def clear(self) -> None:
        """Remove every entry."""
        with self._lock:
            self._size = None
            try:
                if self._usable(make=False):
                    for path, _ in self._entries():
                        path.unlink(missing_ok=True)
            except OSError:
                return

    def _read(self, key: str) -> bytes | None:
        if not _KEY.match(key):
            return None
        path = self.folder / (key + SUFFIX)
        try:
            if not self._usable(make=False):
                return None
            handle = os.open(path, _OPEN)
            with os.fdopen(handle, "rb") as file:
                about = os.fstat(handle)
                # A pipe or device is no entry, and nothing bigger than the bound was ever written.
                if not stat.S_ISREG(about.st_mode) or about.st_size > self.limit:
                    return None
                if not _private(about):
                    return None
                entry = file.read()
        except OSError:
            return None
        start = len(MAGIC) + _DIGEST_SIZE
        content = entry[start:]
        if not entry.startswith(MAGIC) or entry[len(MAGIC) : start] != _digest(key, content):
            return None
        with contextlib.suppress(OSError):  # a read-only folder serves as well
            os.utime(path)  # mark as used, for eviction
        return content

    def _usable(self, make: bool) -> bool:
        """Whether the folder exists (``make`` it if not), is a real folder, ours, and writable by nobody else."""
        if make:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
        try:
            about = os.lstat(self.folder)
        except OSError:
            return False
        return stat.S_ISDIR(about.st_mode) and _private(about)

    def _entries(self) -> list[tuple[Path, os.stat_result]]:
        found = []
        with os.scandir(self.folder) as listing:
            for item in listing:
                if item.name.endswith(SUFFIX) or item.name.startswith(".tmp-"):
                    try:
                        found.append((Path(item.path), item.stat(follow_symlinks=False)))
                    except FileNotFoundError:
                        continue  # another process removed it just now
        return found

    def _bound(self, added: int) -> None:
        """Count ``added`` bytes; above the limit, remove the entries used longest ago until 3/4 of it is left."""
        with self._lock:
            if self._size is not None and self._size + added <= self.limit:
                self._size += added
                return
            # The count is only this process's; look at the folder before anything is removed.
            entries = sorted(self._entries(), key=lambda entry: entry[1].st_mtime, reverse=True)
            newest = entries[0][1].st_mtime if entries else 0.0
            kept, full = 0, sum(about.st_size for _, about in entries) > self.limit
            for path, about in entries:
                stale = path.name.startswith(".tmp-") and newest - about.st_mtime > _STALE_SECONDS
                if stale or (full and kept + about.st_size > self.limit * 3 // 4):
                    path.unlink(missing_ok=True)
                else:
                    kept += about.st_size
            self._size = kept


def _private(about: os.stat_result) -> bool:
    """Whether a file or folder is ours and nobody else may write it."""
    if not hasattr(os, "getuid"):
        return True  # Windows: the profile folder is private by its access list
    return about.st_uid == os.getuid() and about.st_mode & 0o022 == 0


def _digest(key: str, content: bytes) -> bytes:
    # With the key in it, an entry under another's name is as bad as a damaged one.
    return hashlib.sha256(key.encode() + content).digest()


_caches: dict[Path, DiskCache] = {}


def default_cache() -> DiskCache | None:
    """The cache in the folder that the environment names now, or None if it is switched off."""
    folder = cache_folder()
    if folder is None:
        return None
    if folder not in _caches:
        _caches[folder] = DiskCache(folder)
    return _caches[folder]
