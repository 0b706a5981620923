"""Kernels read and write nothing outside their arrays, and do not write to feeds: the rest is forbidden pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect is called as on Linux")

ROOT = Path(__file__).parents[2]


def guarded(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "tests.runtime.guarded", *arguments]
    environment = dict(os.environ)  # the cache folder of the tests too
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_every_tile_stays_inside_its_arrays() -> None:
    done = guarded()
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-3000:]}"
    assert int(done.stdout.rsplit("runs:", 1)[1]) > 1000


@pytest.mark.parametrize("side", ["after", "before", "write"])
def test_the_guard_bites(side: str) -> None:
    assert guarded(side).returncode == -signal.SIGSEGV
