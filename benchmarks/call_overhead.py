"""What does a call cost when there is next to nothing to compute: value and gradient of cross entropy at (32, 10)?

    python -m benchmarks.call_overhead [--seconds 5] [--json FILE]

A call of graphloss checks every feed, allocates the results, runs three kernels and looks whether a label was out of
range. PyTorch eager builds its tape and walks it; torch.compile checks its guards. numba makes a new gradient, and
calls a function that believes every label.
"""

from __future__ import annotations

from functools import partial

from benchmarks import compiled
from benchmarks.cases import Case, check
from benchmarks.measure import in_turn, medians, parser, seconds_of, shown, table, verdict, write_json
from benchmarks.peers import numpy_arrays
from benchmarks.peers.worker import workers

CASE = Case("cross entropy (32, 10)", "cross_entropy", (32, 10))
LIMIT = 10e-6


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="time for all together")
    arguments = options.parse_args()
    x, y = CASE.inputs()
    contestants = {}
    for who, module in (("graphloss", compiled), ("NumPy", numpy_arrays)):
        run = module.runner(CASE, x, y)
        check(CASE, x, y, run(), who)
        contestants[who] = partial(seconds_of, run)
    peers = workers(("PyTorch, pages kept", "numba, buffer given"))
    for who, worker in peers.items():
        worker.first(CASE)
        contestants[who] = partial(worker.time, CASE)
    taken = in_turn(contestants, arguments.seconds)
    for worker in peers.values():
        worker.close()
    rows = []
    for who, seconds in medians(taken).items():
        target = (shown(LIMIT), verdict(seconds, LIMIT)) if who == "graphloss" else ("", "")
        rows.append((who, shown(seconds), shown(min(taken[who])), *target))
    print(table((CASE.name, "median", "least", "at most", "reached"), rows))
    write_json(arguments.json, taken)


if __name__ == "__main__":
    main()
