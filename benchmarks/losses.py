"""How fast are value and gradient of losses, against what else one would write: one thread each?

    python -m benchmarks.losses [--only TEXT] [--without NAME ...] [--seconds 8] [--json FILE]

Contestants, in `peers/`: NumPy, PyTorch eager, torch.compile, JAX and loops written by hand for numba; what is not
installed is left out, and named. Every result is checked against float64 first; then all run in turn, and medians are
compared. The first eight losses are ready-made in graphloss and PyTorch; "own" ones are written out in all.

Each peer has a process of its own, and of its processor time follows that it ran one thread. PyTorch eager runs as it
comes and with an allocator that keeps freed pages, which is how torch.compile and JAX run, too; of numba's two one
makes a new gradient in each call, and one is given a buffer. `memcpy` copies the first input into memory that was
touched before. First calls compile, with empty caches; numba compiles a function once, for all sizes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from os import environ

import numpy as np

from benchmarks import compiled
from benchmarks.cases import CASES, Case, check
from benchmarks.measure import in_turn, medians, parser, seconds_of, shown, table, verdict, write_json
from benchmarks.peers import numpy_arrays
from benchmarks.peers.worker import ONE, Worker, workers

SHORT = {"PyTorch, pages kept": "pages kept", "numba, buffer given": "given"}
EAGER = ("PyTorch", "PyTorch, pages kept")


def measured(case: Case, peers: dict[str, Worker], budget: float) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each contestant, and of its first call."""
    x, y = case.inputs()
    runs = {"graphloss": compiled.runner(case, x, y), "NumPy": numpy_arrays.runner(case, x, y)}
    first = {}
    for who, run in runs.items():
        start = time.perf_counter()
        result = run()
        first[who] = time.perf_counter() - start
        check(case, x, y, result, who)
        del result
    first.update((who, worker.first(case)) for who, worker in peers.items())
    target = np.zeros_like(x)
    contestants: dict[str, Callable[[], float]] = {who: partial(seconds_of, run) for who, run in runs.items()}
    contestants.update((who, partial(worker.time, case)) for who, worker in peers.items())
    contestants["memcpy"] = partial(seconds_of, partial(np.copyto, target, x))
    return medians(in_turn(contestants, budget)), first


def times(s: dict[str, float]) -> dict[str, float]:
    """How many times as long the others take as graphloss; of PyTorch eager the better one."""
    ratios = {who: seconds / s["graphloss"] for who, seconds in s.items() if who not in ("graphloss", "memcpy")}
    eager = [ratios.pop(who) for who in EAGER if who in ratios]
    return {"NumPy": ratios.pop("NumPy"), **({"PyTorch": min(eager)} if eager else {}), **ratios}


def against(case: Case, s: dict[str, float]) -> list[str]:
    """Ratios, and what was asked of them."""
    ratios, copies = times(s), s["graphloss"] / s["memcpy"]
    goal = limit = ""
    if case.needed is not None and "PyTorch" in ratios:
        goal = f"{case.needed} {verdict(ratios['PyTorch'], case.needed, at_least=True)}"
    if case.copies is not None:
        limit = f"{case.copies} {verdict(copies, case.copies)}"
    return [*(f"{ratio:.2f}" for ratio in ratios.values()), goal, f"{copies:.2f}", limit]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", default="", metavar="TEXT", help="only losses whose name contains TEXT")
    options.add_argument("--without", nargs="*", default=(), metavar="NAME", help="leave out contestants of that name")
    options.add_argument("--seconds", type=float, default=8.0, help="time for each loss")
    arguments = options.parse_args()
    cases = [case for case in CASES if arguments.only in case.name]
    peers = workers(arguments.without)
    found, results = [], []
    with tempfile.TemporaryDirectory() as folder:
        environ["GRAPHLOSS_CACHE_DIR"] = folder
        for case in cases:
            seconds, first = measured(case, peers, arguments.seconds)
            found.append((case.name, seconds, first))
            results.append({"loss": case.name, "seconds": seconds, "first": first, "times": times(seconds)})
    threads = {who: worker.threads() for who, worker in peers.items()}
    for worker in peers.values():
        worker.close()
    _show(cases, found)
    print("\nprocessor seconds per second: " + ", ".join(f"{who} {share:.2f}" for who, share in threads.items()))
    write_json(arguments.json, results)
    many = [who for who, share in threads.items() if share > ONE]
    if many:
        raise SystemExit(f"more than one thread: {', '.join(many)}")


def _show(cases: list[Case], found: list[tuple[str, dict[str, float], dict[str, float]]]) -> None:
    if not found:
        return
    names = [who for who in found[0][1] if who != "memcpy"]
    first = [who for who in names if who not in ("NumPy", *EAGER, "numba, buffer given")]
    ratios = times(found[0][1])
    print(table(("value and gradient", *(SHORT.get(n, n) for n in names)),
                [(loss, *(shown(s[n]) for n in names)) for loss, s, _ in found]))  # fmt: skip
    print()
    print(table(("times as long", *(SHORT.get(n, n) for n in ratios), "needed", "memcpys", "at most"),
                [(case.name, *against(case, s)) for case, (_, s, _) in zip(cases, found, strict=True)]))  # fmt: skip
    print()
    print(table(("first call", *first), [(loss, *(shown(f[n]) for n in first)) for loss, _, f in found]))


if __name__ == "__main__":
    main()
