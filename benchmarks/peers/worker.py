"""A contestant in a process of its own: its threads, its allocator and what it imports are nobody else's.

The parent writes a case per line, as JSON; the answer is a line of numbers: first the seconds of the first call, whose
result is checked; then those of one value and gradient, and what the clock and the processor counted meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.util import find_spec

from benchmarks.cases import Case, check
from benchmarks.measure import seconds_of

KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
ONE = 1.1  # seconds of the processor per second of the clock that are still one thread


@dataclass(frozen=True)
class Peer:
    """`module` under benchmarks.peers, of whose `runner` the last argument is `given`, if it has one."""

    name: str
    module: str
    package: str
    keep_pages: bool = False
    given: bool | None = None
    tool: str = ""

    def missing(self) -> str:
        """What it needs and this machine does not have, or nothing."""
        if find_spec(self.package) is None:
            return f"{self.package} is not installed"
        return f"there is no {self.tool}" if self.tool and shutil.which(self.tool) is None else ""


PEERS = (
    Peer("PyTorch", "torch_eager", "torch"),
    Peer("PyTorch, pages kept", "torch_eager", "torch", keep_pages=True),
    Peer("torch.compile", "torch_compiled", "torch", keep_pages=True, tool="g++"),
    Peer("JAX", "jax_jit", "jax", keep_pages=True),
    Peer("numba", "numba_loops", "numba", given=False),
    Peer("numba, buffer given", "numba_loops", "numba", given=True),
)


@dataclass
class Worker:
    """The other end, in the parent."""

    peer: Peer
    _process: subprocess.Popen[str] = field(init=False)
    _clock: float = 0.0
    _processor: float = 0.0

    def __post_init__(self) -> None:
        environment = {**os.environ, **(KEEP_PAGES if self.peer.keep_pages else {})}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peers.worker", json.dumps(asdict(self.peer))], env=environment,
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def first(self, case: Case) -> float:
        """Checks the result; seconds of the first call."""
        return self._asked(case)[0]

    def time(self, case: Case) -> float:
        seconds, clock, processor = self._asked(case)
        self._clock += clock
        self._processor += processor
        return seconds

    def threads(self) -> float:
        """Seconds of the processor per second of the clock, over all that was timed."""
        return self._processor / self._clock if self._clock else 0.0

    def _asked(self, case: Case) -> list[float]:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(asdict(case)), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the process of {self.peer.name} ended")
        return [float(number) for number in answer.split()]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def workers(without: Collection[str] = ()) -> dict[str, Worker]:
    """One for each peer that can run here; the others are named."""
    found = {}
    for peer in PEERS:
        if peer.name in without:
            continue
        missing = peer.missing()
        if missing:
            print(f"left out: {peer.name}, since {missing}")
        else:
            found[peer.name] = Worker(peer)
    return found


def main() -> None:
    peer = Peer(**json.loads(sys.argv[1]))
    runner = import_module(f"benchmarks.peers.{peer.module}").runner
    current, run = "", None
    for line in sys.stdin:
        if line != current:
            run = None  # frees the inputs of the case before
            case = Case(**json.loads(line))
            x, y = case.inputs()
            extra = () if peer.given is None else (peer.given,)
            current, run = line, runner(case, x, y, *extra)
            start = time.perf_counter()
            result = run()
            taken = time.perf_counter() - start
            check(case, x, y, result, peer.name)
            del result
            print(taken, flush=True)
            continue
        assert run is not None
        start, processor = time.perf_counter(), time.process_time()
        seconds = seconds_of(run)
        print(seconds, time.perf_counter() - start, time.process_time() - processor, flush=True)


if __name__ == "__main__":
    main()
