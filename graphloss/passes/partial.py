"""Splitting a graph at its sums over the batch: what one shard computes, and what finishes the results of all shards.

Let the shards cut axis 0 of the feeds. A fetch is either
- a scalar expression of sums, counts and maxima over the shard: these are the partial values, the expression finishes
them; or
- a tensor u·s with s a scalar of that kind and u free of it: a gradient that a mean divided. The shard gives u
unnormalised; u of all
  shards is added (gradients of parameters) or laid end to end (gradients of rows), and s multiplies it at the end.
A fetch that is rounded to a half is rounded at the end: the shard gives what it is rounded from.
Anything else, and a sum that depends on another one, is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from graphloss import dtypes
from graphloss.errors import UnsupportedError
from graphloss.ir import dims, forms
from graphloss.ir.graph import Graph, Op
from graphloss.ir.opdef import get
from graphloss.ir.types import TensorType

COMBINE: Final = {"sum": "sum", "max": "max", "min": "min", "any": "max", "all": "min"}


@dataclass(frozen=True)
class Split:
    """`shard` computes the values `combine` lists with how they combine: "sum", "max", "min", "concat", "same" (equal
    everywhere).

    `finish` takes these values as feeds and computes the original fetches.
    """

    shard: Graph
    combine: Mapping[str, str]
    finish: Graph


def split(graph: Graph) -> Split:
    """Splits a primitive graph; UnsupportedError where a fetch is no finishing of partial sums."""
    return _Splitter(graph).run()


@dataclass
class _Splitter:
    graph: Graph
    combine: dict[str, str] = field(default_factory=dict)
    finish: dict[str, Op] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.batch: frozenset[str] = frozenset()
        for name in self.graph.feeds:
            shape = self.graph.types[name].shape
            if shape:
                self.batch |= dims.symbols(shape[0])
        if not self.batch:
            raise UnsupportedError(
                "partial results need a batch dimension", expected="a feed whose dimension 0 is None"
            )
        self.kinds: dict[str, str] = {}
        self.factors: dict[str, tuple[tuple[str, int], ...]] = {}

    def run(self) -> Split:
        for name in (*self.graph.feeds, *self.graph.states):
            self.kinds[name] = "rows" if self._sharded(name) else "same"
            self.factors[name] = ()
        for op in self.graph.ops:
            for out in op.outputs:
                self._classify(op, out)
        if self.graph.writes:
            raise UnsupportedError(
                "a program that writes state has no partial results", hint="fetch the gradients instead"
            )
        final = {f: self._finish(self._exact(f)) for f in dict.fromkeys(self.graph.fetches)}
        return Split(self._shard(), self.combine, self._finishing(final))

    # --- what each value is: "same", "rows" (axis 0 is the shard's), "final" (a scalar that needs all shards), or why
    # it is neither

    def _sharded(self, name: str) -> bool:
        shape = self.graph.types[name].shape
        return any(self.batch & dims.symbols(n) for n in shape)

    def _scalar(self, name: str) -> bool:
        return all(n == 1 for n in self.graph.types[name].shape)

    def _classify(self, op: Op, out: str) -> None:
        definition = get(op.type)
        types = [self.graph.types[n] for n in op.inputs]
        form = definition.lower(types, [self.graph.types[o] for o in op.outputs], op.attr) if definition.lower else None
        kinds = {self.kinds[n] for n in op.inputs}
        self.factors[out] = ()
        bad = next((k for k in kinds if k.startswith("!")), None)
        if bad is not None:
            self.kinds[out] = bad
        elif isinstance(form, forms.Fill):
            counts = isinstance(form.value, dims.SymDim) and bool(self.batch & dims.symbols(form.value))
            self.kinds[out] = "final" if counts else "same"
        elif isinstance(form, forms.Reduce) and self._over_batch(form, types[0]):
            plain = kinds == {"rows"} and form.kind in COMBINE and not self.factors[op.inputs[0]]
            linear = kinds == {"rows"} and form.kind == "sum"
            self.kinds[out] = (
                ("final" if self._scalar(out) and plain else "sum")
                if plain or linear
                else _why(op, "reduces over the batch")
            )
            self.factors[out] = self.factors[op.inputs[0]] if linear else ()
        elif isinstance(form, forms.Host):
            self._contract(op, out, kinds)
        elif self._scalar(out) and kinds <= {"final", "same"}:
            self.kinds[out] = "final" if "final" in kinds else "same"
        else:
            self._elementwise(op, out)

    def _over_batch(self, form: forms.Reduce, t: TensorType) -> bool:
        return any(self.batch & dims.symbols(t.shape[a]) for a in form.axes)

    def _contract(self, op: Op, out: str, kinds: set[str]) -> None:
        if op.type == "matmul" and kinds <= {"rows", "same"}:
            self.factors[out] = _product(*(self.factors[n] for n in op.inputs))
            if self._sharded(out):
                # rows times what is equal everywhere stays rows; a product of two shards does not split
                self.kinds[out] = "rows" if kinds == {"rows", "same"} else _why(op, "pairs the rows of a shard")
            else:
                self.kinds[out] = "sum" if kinds == {"rows"} else "same"
        elif get(op.type).random and op.attr["seed"] == 0:
            self.kinds[out] = _why(op, "draws other numbers for each shard; give it a seed")
        else:
            self.kinds[out] = "same" if kinds <= {"same"} else _why(op, "runs on the host")

    def _elementwise(self, op: Op, out: str) -> None:
        tensors = [n for n in op.inputs if self.kinds[n] != "final"]
        finals = [n for n in op.inputs if self.kinds[n] == "final"]
        kinds = {self.kinds[n] for n in tensors if not self._zero(n)} or {"same"}
        if kinds == {"rows", "same"} and not self._sharded(out):
            kinds = {"!"}
        kind = (
            "sum"
            if kinds == {"sum", "same"} and op.type in ("mul", "div")
            else "rows"
            if "rows" in kinds
            else min(kinds)
        )
        if "sum" in kinds and ((kinds - {"sum"} and kind != "sum") or "rows" in kinds):
            self.kinds[out] = _why(op, "mixes a sum over the batch with other values")
            return
        self.kinds[out] = kind
        if op.type == "mul":
            self.factors[out] = _product(*(self.factors[n] for n in tensors), *(((n, 1),) for n in finals))
        elif op.type == "div":
            over = self._factor(op.inputs[1])
            self.factors[out] = _product(self._factor(op.inputs[0]), tuple((n, -p) for n, p in over))
        else:
            given = {self._factor(n) for n in op.inputs if not self._zero(n) and self.graph.types[n].dtype != "bool"}
            given |= {self._factor(n) for n in op.inputs if self.graph.types[n].dtype == "bool" and self._factor(n)}
            homogeneous = get(op.type).linear or op.type in ("where", "assign")
            if len(given) == 1 and (homogeneous or given == {()}):
                self.factors[out] = next(iter(given))
            elif given - {()}:
                self.kinds[out] = _why(op, "is not linear in a value that needs all shards")

    def _factor(self, name: str) -> tuple[tuple[str, int], ...]:
        return ((name, 1),) if self.kinds[name] == "final" else self.factors[name]

    def _zero(self, name: str) -> bool:
        op = self.graph.definition.get(name)
        return op is not None and op.type == "fill" and op.attr.get("value") == 0

    # --- the two graphs

    def _exact(self, name: str) -> str:
        """`name`, or what it is rounded from."""
        op = self.graph.definition.get(name)
        rounds = op is not None and op.type == "cast" and dtypes.is_half(self.graph.types[name].dtype)
        return op.inputs[0] if op is not None and rounds else name

    def _finish(self, name: str) -> tuple[str, tuple[tuple[str, int], ...]]:
        kind = self.kinds[name]
        if kind.startswith("!"):
            raise UnsupportedError(
                f"{name!r} has no partial result",
                got=kind[1:] or "an operand of one shard only",
                hint="fetch it without partial=True",
            )
        if kind == "final":
            self._region(name)
            return name, ()
        for scalar, _ in self.factors[name]:
            self._region(scalar)
        self.combine[name] = {"rows": "concat", "sum": "sum", "same": "same"}[kind]
        return name, self.factors[name]

    def _region(self, name: str) -> None:
        stack = [name]
        while stack:
            n = stack.pop()
            if n in self.combine or n in self.finish:
                continue
            op = self.graph.definition.get(n)
            if op is None or self.kinds[n] == "same":
                self.combine[n] = "same"
                continue
            definition = get(op.type)
            types = [self.graph.types[i] for i in op.inputs]
            form = (
                definition.lower(types, [self.graph.types[o] for o in op.outputs], op.attr)
                if definition.lower
                else None
            )
            if isinstance(form, forms.Fill):
                assert isinstance(form.value, dims.SymDim)
                if any(sum(a in self.batch for a in m if isinstance(a, str)) != 1 for m, _ in form.value.terms):
                    raise UnsupportedError(f"the count {form.value} does not add up over shards")
                self.combine[n] = "sum"
            elif isinstance(form, forms.Reduce) and self._over_batch(form, types[0]):
                self.combine[n] = COMBINE[form.kind]
            else:
                self.finish[n] = op
                stack.extend(op.inputs)

    def _shard(self) -> Graph:
        ones = {s for f in self.factors.values() for s, _ in f}
        ops: list[Op] = []
        for op in self.graph.ops:
            if op.outputs[0] in ones and op.outputs[0] not in self.combine:
                continue
            ops.append(op)
        stand_in: dict[str, str] = {}
        types = dict(self.graph.types)
        head: list[Op] = []
        for s in sorted(ones):
            one = f"{s}.one"
            t = types[s]
            types[one] = t
            head.append(Op("fill", (), (one,), (("shape", t.shape), ("dtype", t.dtype), ("value", 1.0))))
            stand_in[s] = one
        ops = [
            replace(op, inputs=tuple(stand_in.get(n, n) for n in op.inputs))
            if self.kinds[op.outputs[0]] != "final"
            else op
            for op in ops
        ]
        graph = self.graph.replace(ops=(*head, *ops), types=types, fetches=tuple(self.combine), writes=())
        needed = graph.needed()
        kept = tuple(op for op in graph.ops if not needed.isdisjoint(op.outputs))
        feeds = tuple(
            n for n in graph.feeds if n in needed or any(dims.symbols(d) & self.batch for d in types[n].shape)
        )
        states = tuple(n for n in graph.states if n in needed)
        names = {*feeds, *states, *(o for op in kept for o in op.outputs)}
        return graph.replace(ops=kept, feeds=feeds, states=states, types={n: t for n, t in types.items() if n in names})

    def _finishing(self, final: Mapping[str, tuple[str, tuple[tuple[str, int], ...]]]) -> Graph:
        types = {n: self.graph.types[n] for n in (*self.combine, *self.finish)}
        ops = [op for op in self.graph.ops if op.outputs[0] in self.finish]
        fetches: list[str] = []
        for name in self.graph.fetches:
            value, factors = final[name]
            exact = self.graph.types[value]
            for k, (scalar, power) in enumerate(factors):
                for j in range(abs(power)):
                    out = f"{name}.finished.{k}.{j}"
                    types[out] = exact
                    ops.append(Op("mul" if power > 0 else "div", (value, scalar), (out,)))
                    value = out
            if types[value].dtype != self.graph.types[name].dtype:
                out = f"{name}.rounded"
                types[out] = self.graph.types[name]
                ops.append(Op("cast", (value,), (out,), (("dtype", types[out].dtype),)))
                value = out
            fetches.append(value)
        return Graph(self.graph.name, tuple(self.combine), (), tuple(ops), types, tuple(fetches))


def _product(*factors: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
    total: dict[str, int] = {}
    for f in factors:
        for name, power in f:
            total[name] = total.get(name, 0) + power
    return tuple(sorted((n, p) for n, p in total.items() if p))


def _why(op: Op, reason: str) -> str:
    return f"!{op.type} {reason}"
