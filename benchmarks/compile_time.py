"""How long does compiling take: value and gradient of cross entropy, cold, from the cache on disk, and the import?

    python -m benchmarks.compile_time [--times 9] [--json FILE]

"First" is the first program of a fresh process, which also pays for what is set up once; "next" is a program of another
size after it. Every number is a median over fresh processes, each with a cache folder of its own; Python's byte code is
there already. A process's first full garbage collection, of what all imports left, takes 10 ms and is due about then;
it is done before the clock starts. Beside the time by the clock stands the processor's, which other load on the machine
changes less.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from statistics import median

from benchmarks.measure import parser, shown, table, verdict, write_json

QUESTIONS = (
    ("import graphloss, NumPy included", "import", 0.3),
    ("cold compile, first", "cold first", 60e-3),
    ("cold compile, next", "cold next", 60e-3),
    ("from the cache on disk, first", "cached first", 5e-3),
    ("from the cache on disk, next", "cached next", 5e-3),
)


def child() -> None:
    """One fresh process: seconds by the clock and of the processor for the import, the first program and the next."""
    start = _now()
    import graphloss as gl

    taken = [_since(start)]
    gc.collect()
    stages = []
    for classes in (1000, 999):
        main = gl.Program()
        with gl.program_guard(main):
            x, y = gl.data("x", [None, classes], "float32"), gl.data("y", [None], "int64")
            loss = gl.nn.functional.cross_entropy(x, y)
            gradient, = gl.gradients([loss], [x])
        start = _now()
        explanation = gl.explain(main, [loss, gradient])
        taken.append(_since(start))
        stages.append(explanation.code.seconds)
    print(json.dumps([taken, stages]))


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(start: tuple[float, float]) -> tuple[float, float]:
    now = _now()
    return now[0] - start[0], now[1] - start[1]


def asked(folder: str, byte_code: str) -> tuple[list[tuple[float, float]], list[dict[str, float]]]:
    environment = {**os.environ, "GRAPHLOSS_CACHE_DIR": folder, "PYTHONPYCACHEPREFIX": byte_code}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "benchmarks.compile_time", "--child"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    taken, stages = json.loads(done.stdout)
    return taken, stages


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--times", type=int, default=9, help="fresh processes")
    options.add_argument("--child", action="store_true", help="be one of them")
    arguments = options.parse_args()
    if arguments.child:
        child()
        return
    taken: dict[str, list[tuple[float, float]]] = {name: [] for _, name, _ in QUESTIONS}
    stages: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        byte_code = os.path.join(folder, "bytecode")
        asked(os.path.join(folder, "unused"), byte_code)
        for number in range(arguments.times):
            for kind in ("cold", "cached"):
                (imported, *compiled), parts = asked(os.path.join(folder, f"objects-{number}"), byte_code)
                taken["import"].append(imported)
                for which, seconds, part in zip(("first", "next"), compiled, parts, strict=True):
                    taken[f"{kind} {which}"].append(seconds)
                    stages.setdefault(f"{kind} {which}", []).append(part)
    rows = []
    for question, name, limit in QUESTIONS:
        parts = stages.get(name, [])
        names = min(parts, key=len, default={})
        split = ", ".join(f"{stage} {1e3 * median(p.get(stage, 0.0) for p in parts):.1f}" for stage in names)
        clock, processor = (median(values) for values in zip(*taken[name], strict=True))
        rows.append((question, shown(clock), shown(processor), shown(limit), verdict(clock, limit), split))
    print(table(("", "median", "processor", "at most", "reached", "stages by the clock, ms"), rows))
    write_json(arguments.json, taken)


if __name__ == "__main__":
    main()
