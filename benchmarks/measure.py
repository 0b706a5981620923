"""Timing contestants in turn, and showing the numbers."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median


def seconds_of(
    call: Callable[[], object], at_least: float = 2e-3, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds of one call: the median of as many calls as take `at_least`; results are freed outside the clock.

    The median, since a call during which another process had the processor says nothing. `time.thread_time` is a clock
    that stands still meanwhile, for what runs on one thread.
    """
    taken: list[float] = []
    while sum(taken) < at_least:
        start = clock()
        result = call()
        taken.append(clock() - start)
        del result
    return median(taken)


def in_turn(
    contestants: Mapping[str, Callable[[], float]], budget: float, least: int = 7, warm: int = 2
) -> dict[str, list[float]]:
    """Rounds in which each contestant gives its seconds once, until `budget` seconds are spent; `warm` rounds before.

    Whatever slows the machine for a while slows all of them alike.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(warm):
        for one in contestants.values():
            one()
    end = time.perf_counter() + budget
    rounds = 0
    while rounds < least or (time.perf_counter() < end and rounds < 200):
        for name, one in contestants.items():
            taken[name].append(one())
        rounds += 1
    return taken


def medians(taken: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: median(values) for name, values in taken.items()}


def shown(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1 or unit == "us":
            return f"{seconds * scale:.3g} {unit}"
    return ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest entry, the first one to the left."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = []
    for row in (head, ["-" * w for w in widths], *rows):
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def verdict(value: float, limit: float, *, at_least: bool = False) -> str:
    """Whether a target was reached."""
    return "yes" if (value >= limit if at_least else value <= limit) else "NO"


def parser(description: str | None) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write every number to FILE")
    return options


def write_json(file: Path | None, results: object) -> None:
    if file is not None:
        about = {"machine": platform.machine(), "python": platform.python_version(), "cpus": os.cpu_count()}
        file.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n", encoding="utf-8")
