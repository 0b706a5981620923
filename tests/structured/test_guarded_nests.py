"""Nests read and write nothing outside their arrays, whatever labels and lengths say: the rest is forbidden pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect is called as on Linux")


def test_labels_and_lengths_of_all_kinds() -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.structured.guarded"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, cwd=root, env=dict(os.environ), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-3000:]}"
    assert int(done.stdout.rsplit("runs:", 1)[1]) == 5 * 500
