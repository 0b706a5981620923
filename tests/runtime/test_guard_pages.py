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


def guarded(*arguments: str, program: str = "guarded") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", f"tests.runtime.{program}", *arguments]
    environment = dict(os.environ)  # the cache folder of the tests too
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_every_tile_stays_inside_its_arrays() -> None:
    done = guarded()
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-3000:]}"
    assert int(done.stdout.rsplit("runs:", 1)[1]) > 1000


def test_every_loop_nest_stays_inside_its_arrays() -> None:
    """Also on 10,000 malformed inputs, nearly all of which a check reports."""
    done = guarded(program="guarded_nests")
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-3000:]}"
    runs, reported = map(int, done.stdout.rsplit("reported:", 1)[1].split())
    assert runs == 10_000 and reported > 8_000
    assert int(done.stdout.split("runs:")[1].split()[0]) > 300


def test_malformed_sequences_are_errors() -> None:
    done = guarded(program="guarded_sequences")
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-3000:]}"
    counts = [line.split() for line in done.stdout.splitlines()]
    assert {name for name, *_ in counts} >= {"linear_chain_crf", "warpctc", "ctc_greedy_decoder", "edit_distance"}
    assert sum(int(errors) for *_, errors in counts) > 1_500


@pytest.mark.parametrize("side", ["after", "before", "write"])
def test_the_guard_bites(side: str) -> None:
    assert guarded(side).returncode == -signal.SIGSEGV
