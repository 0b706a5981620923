"""Losses, compile time and calls, each in a process of its own: ``python -m benchmarks``."""

from __future__ import annotations

import subprocess
import sys

for name in ("losses", "compile_time", "call_overhead"):
    print(f"\n== {name}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], check=True)
