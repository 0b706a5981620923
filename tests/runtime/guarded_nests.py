"""Runs every loop nest of every op on arrays beside pages that nobody may touch, also with integers that mean nothing.

A program of its own, as `guarded`: ``python -m tests.runtime.guarded_nests``. Linux only.
"""

from __future__ import annotations

import faulthandler
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss.ir import loops
from graphloss.ir.loop_live import checks
from graphloss.ir.loops import Nest
from graphloss.ops.interpret import Failure, interpret
from tests.codegen.nest_runner import NativeNest, cases, shape_of
from tests.codegen.random_nests import random_nest
from tests.runtime.guarded import Guarded

Array = npt.NDArray[Any]
Sizes = Mapping[str, int]

WILD_RUNS = 10_000
INTERPRETED = 97  # one in so many malformed runs is compared with the interpreter; so are those that no check reports
EXTREMES = (2**63 - 1, -(2**63), 2**62, -(2**62), 2**40, 2**31, -(2**31), 2**31 - 1)


class Nests:
    """Nests, each compiled once."""

    def __init__(self) -> None:
        self.memory = Guarded(64)
        self.compiled: dict[int, NativeNest] = {}  # by identity: a nest takes long to hash
        self.inputs: dict[Nest, list[tuple[dict[str, int], list[Array]]]] = {}
        self.names: dict[Nest, str] = {}
        for op, nest, sizes, inputs in cases():
            self.names[nest] = op.name
            self.inputs.setdefault(nest, []).append((sizes, inputs))

    def native(self, nest: Nest) -> NativeNest:
        if id(nest) not in self.compiled:
            self.compiled[id(nest)] = NativeNest(nest)  # which holds the nest
        return self.compiled[id(nest)]

    def inside(self, nest: Nest, sizes: Sizes, inputs: Sequence[Array], at_end: bool) -> tuple[list[Array], Any]:
        """A run whose arrays, scratch included, each touch a forbidden page; inputs cannot be written."""
        self.memory.at_end = at_end
        return self.native(nest).run(sizes, inputs, self.memory.empty, self.memory.feed)

    def compare(self, nest: Nest, sizes: Sizes, inputs: Sequence[Array]) -> int:
        want, failed = self.native(nest).run(sizes, inputs)
        for at_end in (True, False):
            got, known = self.inside(nest, sizes, inputs, at_end)
            assert known == failed, (nest.name, sizes)
            for g, w in zip(got, want, strict=True):
                assert g.tobytes() == w.tobytes(), (nest.name, sizes)
        return 2

    def wild(self, nest: Nest, sizes: Sizes, inputs: Sequence[Array], rng: np.random.Generator, ask: bool) -> bool:
        """A run on malformed integers stays inside; whether a check reported them.

        If none does they must have done no harm: the interpreter, which sees every access that leaves an array, finds
        nothing either, and the results are the same. So it is asked then, and if `ask`.
        """
        bad = list(malformed(nest, inputs, rng))
        got, failed = self.inside(nest, sizes, bad, bool(rng.integers(2)))
        if failed and not ask:
            return True
        want, failures = interpret(nest, sizes, bad)
        assert {f.name for f in failures} == set(failed), (nest.name, sizes, bad)
        for name, (position, value) in failed.items():
            places = {linear(nest, sizes, f): int(f.value) for f in failures if f.name == name}
            assert (min(places), places[min(places)]) == (position, value), (nest.name, name)
        if not failed:
            for g, w in zip(got, want, strict=True):
                near = 1e-3 if g.dtype == np.float32 else 1e-9
                np.testing.assert_allclose(g, w, rtol=near, atol=near, err_msg=nest.name)
        return bool(failed)


def linear(nest: Nest, sizes: Sizes, failure: Failure) -> int:
    """The position that a check reported: that of the element, row-major, or of the step in a sample."""
    shape = shape_of(nest.array(failure.array), sizes)
    if any(check.name == failure.name and check.step is not None for check in checks(nest.body)):
        sample, step = failure.index
        return sample * int(np.prod(shape)) + step
    return int(np.ravel_multi_index(failure.index, shape))


def malformed(nest: Nest, inputs: Sequence[Array], rng: np.random.Generator) -> Iterator[Array]:
    """Copies of the inputs, with some integers of some of them changed for the worse."""
    integers = [k for k, x in enumerate(inputs) if x.dtype.kind in "iu" and x.size]
    chosen = set(rng.choice(integers, int(rng.integers(1, min(3, len(integers)) + 1)), replace=False).tolist())
    for k, x in enumerate(inputs):
        if k in chosen:
            x = x.copy()
            flat = x.reshape(-1)
            for place in rng.integers(0, flat.size, int(rng.choice([1, 1, 2, flat.size]))):
                limits = np.iinfo(x.dtype)
                near = int(flat[place]) + int(rng.choice([-1, 1, 2, 7]))
                value = int(rng.choice([near, -1, int(rng.choice(EXTREMES)), int(rng.integers(-3, 12))]))
                flat[place] = min(max(value, limits.min), limits.max)
        yield x


def run_cases(nests: Nests) -> int:
    """All samples of all ops, and random nests."""
    count = 0
    for nest, runs in nests.inputs.items():
        print(nests.names[nest], flush=True)
        count += sum(nests.compare(nest, sizes, inputs) for sizes, inputs in runs)
    for seed in range(24):
        nest = random_nest(seed, ("float32", "float64")[seed % 2])
        print("random nest", seed, flush=True)
        rng = np.random.default_rng(seed)
        index = nest.array("index").dtype
        for n, t in ((1, 1), (2, 15), (3, 16), (1, 17), (0, 5), (34, 33)):
            x = rng.normal(size=(n, t)).astype(nest.array("x").dtype)
            count += nests.compare(nest, {"N": n, "T": t}, [x, rng.integers(0, t + 3, (n, t)).astype(index)])
    return count


def run_wild(nests: Nests) -> tuple[int, int]:
    """(runs on malformed integers, those that a check reported)."""
    rng = np.random.default_rng(17)
    takes = [
        (nest, sizes, inputs)
        for nest, runs in nests.inputs.items()
        for sizes, inputs in runs
        if any(x.dtype.kind in "iu" and x.size for x in inputs)
    ]
    assert {a.kind for nest, _, _ in takes for a in nest.arrays} >= {loops.SCRATCH, loops.SHARED, loops.UPDATE}
    reported = 0
    for count, (nest, sizes, inputs) in zip(range(WILD_RUNS), itertools.cycle(takes)):
        if count % 1000 == 0:
            print("malformed", count, flush=True)
        reported += nests.wild(nest, sizes, inputs, rng, count % INTERPRETED == 0)
    return WILD_RUNS, reported


if __name__ == "__main__":
    faulthandler.enable()
    everything = Nests()
    print("runs:", run_cases(everything))
    print("malformed runs, reported:", *run_wild(everything))
