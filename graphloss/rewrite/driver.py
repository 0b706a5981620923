"""The driver: applies rules to a graph until none fires any more.

One sweep in topological order is enough. A rule looks only at an op and at what defines its operands, and all of these
have been
rewritten before; what a rule builds goes through the same rules before it is emitted. So the sweep ends at a fixed
point and its
cost is linear in the ops that it emits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NoReturn, TypeAlias

from graphloss.errors import UnsupportedError, VerifyError
from graphloss.ir.builder import GraphBuilder, Value
from graphloss.ir.dims import Dim
from graphloss.ir.graph import Attr, Graph, Op
from graphloss.ir.opdef import OpDef, freeze, get
from graphloss.ir.tensor import Tensor, using
from graphloss.ir.types import TensorType
from graphloss.rewrite.rule import Match, Rule
from graphloss.rewrite.trace import Record, Trace

# Rules that feed each other nest; far fewer than this many are ever needed, and a circle reaches it at once.
MAX_DEPTH: Final = 60
# Firings for one op of the source graph.
MAX_FIRINGS: Final = 2000

_Key: TypeAlias = tuple[str, tuple[str, ...], tuple[tuple[str, object], ...]]


def rewrite(
    graph: Graph, rules: Iterable[Rule], trace: Trace | None = None, name: str = "rewrite", pinned: Collection[str] = ()
) -> Graph:
    """`graph` with `rules` applied to a fixed point; the first rule that fits an op wins.

    Equal ops become one. `pinned` values are neither replaced nor looked through. Fetches keep their places: one whose
    value now is
    another name's is renamed. Ops that nothing needs any more are left to `dce`.

    Raises:
        UnsupportedError: rules undo each other; the text names them.
        VerifyError: a rule changes the type of a value.
    """
    return Rewriter(graph, rules, trace, name, pinned).run()


class Rewriter(GraphBuilder):
    """The graph under reconstruction: the Mode in which rules build, and what their conditions ask."""

    def __init__(
        self,
        graph: Graph,
        rules: Iterable[Rule],
        trace: Trace | None = None,
        name: str = "rewrite",
        pinned: Collection[str] = (),
    ) -> None:
        super().__init__(graph)
        self._rules = _by_root(tuple(rules))
        self._trace = trace
        self._name = name
        self._pinned = frozenset(pinned)
        self._definition: dict[str, Op] = {}
        self._numbers: dict[str, float | int | bool] = {}
        self._known: dict[_Key, tuple[str, ...]] = {}
        self._replaced: dict[str, str] = {}
        self._active: list[str] = []
        self._firings = 0
        self._values: dict[str, Value] = {}
        self._notes: dict[object, object] = {}

    # What rules ask ------------------------------------------------------------------------------------------------

    def op_of(self, name: str) -> Op | None:
        return None if name in self._pinned else self._definition.get(name)

    def number_of(self, name: str) -> float | int | bool | None:
        return self._numbers.get(name)

    def type_of(self, name: str) -> TensorType:
        return self.types[name]

    def value(self, name: str) -> Value:
        found = self._values.get(name)
        if found is None:
            found = self._values[name] = super().value(name)
        return found

    def same_dim(self, a: Dim, b: Dim) -> bool:
        return self.equations.same(a, b)

    @property
    def notes(self) -> dict[object, object]:
        return self._notes

    # Building ------------------------------------------------------------------------------------------------------

    def run(self) -> Graph:
        with using(self):
            for op in self.source.ops:
                self._sweep(op)
        return self._finished()

    def apply(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> tuple[Tensor, ...]:
        names = []
        for x in inputs:
            if not isinstance(x, Value):
                raise TypeError(f"{op.name}: a pass mixes values of two modes ({type(x).__name__})")
            names.append(x.name)
        frozen = freeze(attrs)
        key = None if op.random else _key(op.name, tuple(names), frozen)
        outputs = None if key is None else self._known.get(key)
        if outputs is None:
            types = op.infer([self.types[n] for n in names], attrs, self.equations)
            draft = Op(op.name, tuple(names), tuple(f"?{i}" for i in range(len(types))), frozen, self.role, self.loc,
                self.scope)
            outputs = self._attempt(draft, types)
            if outputs is None:
                outputs = tuple(self.fresh(op.name) for _ in types)
                self.types.update(zip(outputs, types, strict=True))
                self._emit(_rebuilt(draft, draft.inputs, outputs))
            if key is not None:
                self._known[key] = outputs
        return tuple(self.value(n) for n in outputs)

    def _sweep(self, op: Op) -> None:
        self.like(op)
        self._firings = 0
        if not self._replaced.keys().isdisjoint(op.inputs):
            op = _rebuilt(op, tuple([self._replaced.get(n, n) for n in op.inputs]), op.outputs)
        if not self._pinned.isdisjoint(op.outputs):
            self._emit(op)
            return
        key = None if get(op.type).random else _key(op.type, op.inputs, op.attrs)
        found = None if key is None else self._known.get(key)
        if found is None:
            found = self._attempt(op, [self.types[n] for n in op.outputs])
        if found is None:
            self._emit(op)
            found = op.outputs
        else:
            self._replaced.update(zip(op.outputs, found, strict=True))
        if key is not None:
            self._known[key] = found

    def _attempt(self, op: Op, types: Sequence[TensorType]) -> tuple[str, ...] | None:
        """Fires the first rule that fits `op`, which is not emitted yet; answers what replaces its outputs, or None."""
        rules = self._rules.get(op.type)
        if not rules:
            return None
        plain = Match(self, op)
        for rule in rules:
            for m in rule.matches(plain):
                start = len(self.ops)
                self._active.append(rule.name)
                built = rule.build(m) if len(self._active) <= MAX_DEPTH else self._endless(op, rule)
                self._active.pop()
                if built is None:
                    continue
                self._firings += 1
                if self._firings > MAX_FIRINGS:
                    self._endless(op, rule)
                names = self._checked(rule, op, built, types)
                if self._trace is not None:
                    self._trace.add(Record(self._name, rule.name, op, tuple(self.ops[start:]), op.loc))
                return names
        return None

    def _endless(self, op: Op, rule: Rule) -> NoReturn:
        circle = ", ".join(sorted({*self._active[-12:], rule.name}))
        raise UnsupportedError(
            f"rewriting does not end: the rules {circle} undo each other",
            op=op.type, where=op.loc, hint="leave one of these rules out of the pipeline",
        )  # fmt: skip

    def _checked(self, rule: Rule, op: Op, built: Sequence[Tensor], types: Sequence[TensorType]) -> tuple[str, ...]:
        names = []
        for value, wanted in zip(built, types, strict=True):
            assert isinstance(value, Value)
            if not self._same_type(value.type, wanted):
                raise VerifyError(
                    f"rule {rule.name} changes the type of a value", expected=wanted, got=value.type, op=op.type,
                    where=op.loc
                )
            names.append(value.name)
        return tuple(names)

    def _same_type(self, a: TensorType, b: TensorType) -> bool:
        if a == b:
            return True
        return a.dtype == b.dtype and a.rank == b.rank and all(map(self.equations.same, a.shape, b.shape))

    def _emit(self, op: Op) -> None:
        self.ops.append(op)
        for name in op.outputs:
            self._definition[name] = op
        if op.type == "fill":
            value = op.attr["value"]
            if isinstance(value, (int, float)):  # and not a dimension, which is another number in each run
                self._numbers[op.outputs[0]] = value
        elif op.type in ("broadcast_to", "reshape", "unsqueeze", "squeeze") and op.inputs[0] in self._numbers:
            self._numbers[op.outputs[0]] = self._numbers[op.inputs[0]]

    # The end -------------------------------------------------------------------------------------------------------

    def _finished(self) -> Graph:
        """The new graph; a value built in place of a named one takes over that name."""
        own = {n for op in self.ops for n in op.outputs} - set(self.source.types)
        rename: dict[str, str] = {}
        for old, new in self._replaced.items():
            if new in own and new not in rename:
                rename[new] = old
        final = {old: rename.get(new, new) for old, new in self._replaced.items()}
        ops = [_renamed(op, rename) for op in self.ops] if rename else self.ops
        for new, old in rename.items():
            self.types[old] = self.types[new]
        return self.finish(
            ops=ops,
            fetches=tuple(final.get(n, n) for n in self.source.fetches),
            writes=tuple((state, final.get(n, n)) for state, n in self.source.writes),
        )


_sorted: dict[int, tuple[tuple[Rule, ...], dict[str, list[Rule]]]] = {}


def _by_root(rules: tuple[Rule, ...]) -> dict[str, list[Rule]]:
    """The rules by the op types they look at; a pass comes with the same tuple each time."""
    known = _sorted.get(id(rules))
    if known is not None and known[0] is rules:
        return known[1]
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        for root in rule.root_types():
            found.setdefault(root, []).append(rule)
    if len(_sorted) >= 64:
        _sorted.clear()
    _sorted[id(rules)] = rules, found
    return found


def _renamed(op: Op, rename: Mapping[str, str]) -> Op:
    if rename.keys().isdisjoint(op.inputs) and rename.keys().isdisjoint(op.outputs):
        return op
    return _rebuilt(op, tuple([rename.get(n, n) for n in op.inputs]), tuple([rename.get(n, n) for n in op.outputs]))


def _rebuilt(op: Op, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Op:
    """`op` on other names; `dataclasses.replace` takes four times as long, and this runs for most ops of each pass."""
    return Op(op.type, inputs, outputs, op.attrs, op.role, op.loc, op.scope)


def _key(op: str, inputs: tuple[str, ...], attrs: tuple[tuple[str, Attr], ...]) -> _Key:
    # 0.0 and -0.0 are equal and hash alike, but are two constants; a NaN is not equal to itself
    return op, inputs, tuple([(k, repr(v) if _has_float(v) else v) for k, v in attrs])


def _has_float(v: Attr) -> bool:
    return isinstance(v, float) or (isinstance(v, tuple) and len(v) > 0 and isinstance(v[0], float))
