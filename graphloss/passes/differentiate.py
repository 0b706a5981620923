"""Expands `grad` and `jacobian_diag` ops into the ops that compute these derivatives, innermost first.

    x@GRAD, … = grad(targets…, inputs…, target gradients…) {n_targets, n_wrt, no_grad}
    d = jacobian_diag(g, x) {n_targets=1, n_wrt=1, no_grad}

`isolate` runs before any rule: a gradient with respect to a value in the middle of the graph, or stopped there, is that
of a copy of the path from this value to the targets. So rules may look through the value where the loss itself is
computed, and whether a fetch is stable never depends on which gradients are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.ir.graph import Attr, Graph, Op
from graphloss.ir.opdef import get
from graphloss.ir.operator import DERIVATIVES, JACOBIAN_DIAG
from graphloss.ir.tensor import Tensor
from graphloss.passes.backprop import Applied, backprop
from graphloss.passes.diagonal import jacobian_diag
from graphloss.rewrite.driver import Rewriter
from graphloss.rewrite.trace import Record, Trace


@dataclass(frozen=True, slots=True)
class Parts:
    """The operands of such an op by their meaning."""

    targets: tuple[str, ...]
    wrt: tuple[str, ...]
    seeds: tuple[str, ...]
    no_grad: tuple[str, ...]


def parts_of(op: Op) -> Parts:
    attr = op.attr
    n, m = cast(int, attr["n_targets"]), cast(int, attr["n_wrt"])
    no_grad = cast("tuple[str, ...]", attr["no_grad"] or ())
    return Parts(op.inputs[:n], op.inputs[n : n + m], op.inputs[n + m :], no_grad)


def has_grad(graph: Graph) -> bool:
    return any(op.type in DERIVATIVES for op in graph.ops)


def pinned(graph: Graph) -> frozenset[str]:
    """Values that rules leave alone until the gradients are expanded: where one starts, and where one ends."""
    names: set[str] = set()
    for op in graph.ops:
        if op.type in DERIVATIVES:
            p = parts_of(op)
            names.update(p.wrt, p.no_grad)
    return frozenset(n for n in names if n in graph.definition)


@dataclass(frozen=True)
class Isolate:
    """Gives each gradient that starts or ends at a computed value its own copy of the path to the targets."""

    name: str = "isolate"

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        if not pinned(graph):
            return graph
        copier = _Copier(graph)
        for op in graph.ops:
            copier.take(op)
        return copier.finish()


class _Copier:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._needed = graph.needed()
        self.ops: list[Op] = []
        self._types = dict(graph.types)
        self._made: dict[str, Op] = {}
        self._count = 0

    def finish(self) -> Graph:
        return self._graph.replace(ops=tuple(self.ops), types=self._types)

    def take(self, op: Op) -> None:
        if op.type not in DERIVATIVES:
            self._emit(op)
            return
        p = parts_of(op)
        stops = tuple(n for n in p.no_grad if n in self._made)
        asked = [i for i, o in enumerate(op.outputs) if o in self._needed]
        leaves = [i for i in asked if p.wrt[i] not in self._made]
        groups = ([leaves] if leaves else []) + [[i] for i in asked if p.wrt[i] in self._made]
        for group in groups:
            starts = tuple(p.wrt[i] for i in group)
            cut = tuple(dict.fromkeys((*stops, *(n for n in starts if n in self._made))))
            renamed = self._copy(cut, p.targets) if cut else {}
            new = Parts(
                tuple(renamed.get(n, n) for n in p.targets),
                tuple(renamed.get(n, n) for n in starts),
                p.seeds,
                tuple(renamed.get(n, n) for n in p.no_grad),
            )
            self._emit(_grad_op(op, new, tuple(op.outputs[i] for i in group)))

    def _copy(self, cut: Sequence[str], targets: Iterable[str]) -> dict[str, str]:
        """Copies of the values of `cut` and of all that lies between them and `targets`: old name -> new."""
        above = _ancestors(self._made, targets)
        renamed: dict[str, str] = {}
        for op in tuple(self.ops):
            if any(o in cut and o in above for o in op.outputs):
                for o in op.outputs:
                    if o in cut and o in above:
                        renamed[o] = self._fresh(o)
                        self._emit(Op("assign", (o,), (renamed[o],), (), op.role, op.loc, op.scope))
            elif any(n in renamed for n in op.inputs) and any(o in above for o in op.outputs):
                if get(op.type).random:
                    continue
                outputs = tuple(self._fresh(o) for o in op.outputs)
                copied = replace(op, inputs=tuple(renamed.get(n, n) for n in op.inputs), outputs=outputs)
                if op.type in DERIVATIVES:
                    p = parts_of(copied)
                    copied = _grad_op(copied, replace(p, no_grad=tuple(renamed.get(n, n) for n in p.no_grad)), outputs)
                renamed.update(zip(op.outputs, outputs, strict=True))
                self._emit(copied)
        for name in cut:  # a value that no target depends on still needs a name of its own
            renamed.setdefault(name, name)
        return renamed

    def _fresh(self, name: str) -> str:
        while True:
            self._count += 1
            new = f"{name}.path{self._count}"
            if new not in self._types:
                self._types[new] = self._types[name]
                return new

    def _emit(self, op: Op) -> None:
        self.ops.append(op)
        self._made.update((o, op) for o in op.outputs)


def _grad_op(op: Op, p: Parts, outputs: tuple[str, ...]) -> Op:
    new: dict[str, Attr] = {"n_targets": len(p.targets), "n_wrt": len(p.wrt), "no_grad": p.no_grad}
    attrs = tuple((k, new.get(k, v)) for k, v in op.attrs)
    return replace(op, inputs=(*p.targets, *p.wrt, *p.seeds), outputs=outputs, attrs=attrs)


def _ancestors(definition: Mapping[str, Op], names: Iterable[str]) -> set[str]:
    stack, seen = list(names), set()
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            op = definition.get(name)
            if op is not None:
                stack.extend(op.inputs)
    return seen


@dataclass(frozen=True)
class Differentiate:
    """Expands each derivative that depends on no other; the others wait for the next round, after a stabilise.

    `thorough` is for graphs that nothing was rewritten in.
    """

    name: str = "differentiate"
    thorough: bool = False

    def __call__(self, graph: Graph, trace: Trace) -> Graph:
        return _Differentiator(graph, self.name, trace, self.thorough).run() if has_grad(graph) else graph


class _Differentiator(Rewriter):
    def __init__(self, graph: Graph, name: str, trace: Trace, thorough: bool) -> None:
        super().__init__(graph, (), trace, name, pinned(graph))
        self._thorough = thorough
        self._later = _after_grad(graph)
        self._record = trace

    def _sweep(self, op: Op) -> None:
        if op.type in DERIVATIVES and op.outputs[0] not in self._later:
            self._expand(op)
        else:
            super()._sweep(op)

    def _expand(self, op: Op) -> None:
        p = parts_of(replace(op, inputs=tuple(self._replaced.get(n, n) for n in op.inputs)))
        above = _ancestors(self._definition, p.targets)
        path = [self._applied(o) for o in self.ops if not above.isdisjoint(o.outputs)]
        start = len(self.ops)
        self.like(op)
        self.role = "backward"
        targets = [self.value(n) for n in p.targets]
        seeds: list[Tensor] = [self.value(n) for n in p.seeds]
        wrt = [self.value(n) for n in p.wrt]
        stopped = [self.value(n) for n in p.no_grad if n in self.types and n not in p.wrt]
        found: list[Tensor | None]
        if op.type == JACOBIAN_DIAG:
            found = [jacobian_diag(path, targets[0], wrt[0], stopped=stopped, enter=self._enter_backward)]
        else:
            pairs = list(zip(targets, seeds or [ops.ones_like(t) for t in targets], strict=True))
            found = backprop(path, pairs, wrt, stopped=stopped, enter=self._enter_backward, thorough=self._thorough)
        self.like(op)
        self.role = "backward"
        names = []
        for x, g in zip(wrt, found, strict=True):
            value = ops.cast(ops.zeros_like(x) if g is None else g, x.type.dtype)
            assert isinstance(value, Value)
            names.append(value.name)
        self._replaced.update(zip(op.outputs, names, strict=True))
        self._record.add(Record(self._name, op.type, op, tuple(self.ops[start:]), op.loc))

    def _applied(self, op: Op) -> Applied:
        inputs = tuple(self.value(n) for n in op.inputs)
        return Applied(get(op.type), inputs, tuple(self.value(n) for n in op.outputs), op.attr, op)

    def _enter_backward(self, a: Applied) -> None:
        assert isinstance(a.place, Op)
        self.like(a.place)
        self.role = "backward"


def _after_grad(graph: Graph) -> frozenset[str]:
    """Values that depend on a grad op, results of a first grad op left out."""
    behind: set[str] = set()  # results of grad ops and all after them
    later: set[str] = set()
    for op in graph.ops:
        depends = any(n in behind for n in op.inputs)
        if depends:
            later.update(op.outputs)
        if depends or op.type in DERIVATIVES:
            behind.update(op.outputs)
    return frozenset(later)
