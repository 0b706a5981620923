"""Random loop nests that stay inside their arrays, for the interpreter and the machine to agree on."""

from __future__ import annotations

import numpy as np

from graphloss.ir.loop_builder import NestBuilder
from graphloss.ir.loops import Expr, Nest, Use, call, cast, const, equal, maximum, minimum, select


class Maker:
    """Draws statements; `floats` are the names in scope that hold a float of the nest's dtype."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.b = NestBuilder(f"random_{seed}")
        self.N, self.T = self.b.sizes("N", "T")
        self.x = self.b.input("x", dtype, (self.N, self.T))
        self.index = self.b.input("index", str(self.rng.choice(["int64", "int32", "uint8"])), (self.N, self.T))
        self.out = self.b.output("out", dtype, (self.N, self.T))
        self.wide = self.b.output("wide", "float64", (self.N,))
        self.kept = self.b.scratch("kept", dtype, (self.T,))
        self.turned = self.b.shared("turned", dtype, (self.T, self.N))
        self.floats: list[Use] = []

    def pick(self, *choices: object) -> object:
        return choices[int(self.rng.integers(len(choices)))]

    def condition(self, i: Expr, depth: int) -> Expr:
        kind = int(self.rng.integers(4))
        if kind == 0:
            return i < int(self.rng.integers(0, 20))
        if kind == 1:
            return equal(i % int(self.rng.integers(1, 5)), 0)
        if kind == 2:
            return self.value(i, depth) > 0.25
        return ~(self.value(i, depth) <= self.value(i, depth))

    def value(self, i: Expr, depth: int = 2) -> Expr:
        """A float that depends on the loop's index i, 0 <= i < T."""
        kind = int(self.rng.integers(10)) if depth else int(self.rng.integers(3))
        if kind == 0:
            return self.x[self.n, i]
        if kind == 1:
            return cast(i, self.dtype) if not self.floats else self.floats[int(self.rng.integers(len(self.floats)))]
        if kind == 2:
            return const(float(np.float32(self.rng.normal())), self.dtype)
        if kind == 3:
            return self.x.load((self.n, i - 1), i > 0, 1.5)
        if kind == 4:  # any place, clamped
            far = cast(self.index[self.n, i], "int64")
            return self.x[self.n, maximum(minimum(far, self.T - 1), 0)]
        if kind == 5:
            return select(self.condition(i, depth - 1), self.value(i, depth - 1), self.value(i, depth - 1))
        if kind == 6:
            return call("exp", minimum(self.value(i, depth - 1), 2.0))
        fn = str(self.pick("add", "sub", "mul", "max", "min"))
        return call(fn, self.value(i, depth - 1), self.value(i, depth - 1))

    def nest(self) -> Nest:
        b, T = self.b, self.T
        with b.parallel("n", self.N) as n:
            self.n: Use = n
            with b.vector("t", 0, T) as t:
                self.kept[t] = self.value(t)
                self.turned[t, n] = self.value(t)
            for _ in range(int(self.rng.integers(1, 4))):
                self.part()
            total = b.var("total", const(0, "float64"))
            with b.loop("t", 0, T) as t:
                b.assign(total, total * 0.5 + cast(self.kept[t] + self.turned[t, n], "float64"))
            self.wide[n] = total
        return b.nest()

    def part(self) -> None:
        b, T, dtype = self.b, self.T, self.dtype
        kind = int(self.rng.integers(4))
        if kind == 0:  # a recurrence, up or down
            state = b.var("state", const(float(np.float32(self.rng.normal())), dtype))
            with b.loop("t", 0, T, reverse=bool(self.rng.integers(2))) as t:
                b.assign(state, state * 0.5 + minimum(maximum(self.value(t), -9.0), 9.0))
                self.out.store((self.n, t), state, self.condition(t, 1) if self.rng.integers(2) else None)
            self.floats.append(state)
        elif kind == 1:  # reductions over some lanes
            how = str(self.pick("max", "min"))
            best = b.var("best", const(0.5, dtype))
            met = b.var("met", const(False, "bool"))
            begin = int(self.rng.integers(0, 4))
            with b.vector("t", begin, T - int(self.rng.integers(0, 3))) as t:
                value = b.let("value", self.value(t))
                b.accumulate(best, how, value, self.condition(t, 1) if self.rng.integers(2) else None)
                b.accumulate(met, "any", value > 1.0)
            self.floats.append(b.let("chosen", select(met, best, const(-1.0, dtype))))
        elif kind == 2:  # a loop inside the lanes
            with b.vector("t", 0, T) as t:
                inner = b.var("inner", self.value(t, 1))
                with b.loop("s", 0, minimum(T, int(self.rng.integers(1, 6)))) as s:
                    b.assign(inner, minimum(inner, 9.0) * 0.5 + self.x[self.n, s])
                self.out[self.n, t] = inner
        else:  # rows of scratch, places that the data tell
            with b.loop("s", 0, minimum(T, 3)) as s:
                with b.vector("t", 1, T) as t:
                    self.kept.store(t, self.x[self.n, t - 1] + self.kept[t], self.condition(t, 1))
                place = maximum(minimum(cast(self.index[self.n, s], "int64"), T - 1), 0)
                self.kept[place] = self.kept[place] + 1.0


def random_nest(seed: int, dtype: str) -> Nest:
    return Maker(seed, dtype).nest()

