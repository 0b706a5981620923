"""What does a call cost when there is next to nothing to compute: value and gradient of cross entropy at (32, 10)?

    python -m benchmarks.call_overhead [--seconds 5] [--json FILE]

A call of graphloss checks every feed, allocates the results, runs three kernels and looks whether a label was out of
range. PyTorch eager builds its tape and walks it.
"""

from __future__ import annotations

from functools import partial

from benchmarks.measure import in_turn, medians, one_thread, parser, seconds_of, shown, table, verdict, write_json

one_thread()

import torch  # noqa: E402

import graphloss as gl  # noqa: E402
from benchmarks.cases import Case, check, with_numpy  # noqa: E402
from benchmarks.losses import compiled  # noqa: E402
from benchmarks.torch_worker import runner  # noqa: E402

CASE = Case("cross entropy (32, 10)", "cross_entropy", (32, 10))
LIMIT = 10e-6


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="time for all together")
    arguments = options.parse_args()
    torch.set_num_threads(1)
    gl.set_num_threads(1)
    x, y = CASE.inputs()
    eager = runner(CASE, x, y)
    loss, gradient = eager()
    runs = {"graphloss": compiled(CASE, x, y), "NumPy": with_numpy(CASE, x, y)}
    check(CASE, x, y, (loss.detach().numpy(), gradient.numpy()), "PyTorch")
    for who, run in runs.items():
        check(CASE, x, y, run(), who)
    runs["PyTorch"] = eager
    taken = in_turn({who: partial(seconds_of, run) for who, run in runs.items()}, arguments.seconds)
    middle = medians(taken)
    rows = []
    for who, seconds in middle.items():
        target = (shown(LIMIT), verdict(seconds, LIMIT)) if who == "graphloss" else ("", "")
        rows.append((who, shown(seconds), shown(min(taken[who])), *target))
    print(table((CASE.name, "median", "least", "at most", "reached"), rows))
    write_json(arguments.json, taken)


if __name__ == "__main__":
    main()
