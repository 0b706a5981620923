"""The values and buffers of a graph under scheduling: making them, sharing equal ones, going through memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphloss.ir import dims as d
from graphloss.ir.dims import Dim
from graphloss.ir.graph import Graph
from graphloss.ir.location import Location
from graphloss.ir.scalar import Expr
from graphloss.ir.types import TensorType
from graphloss.schedule.atoms import Atoms
from graphloss.schedule.index import rebase
from graphloss.schedule.kernel import Buffer
from graphloss.schedule.spelling import one_spelling
from graphloss.schedule.values import Call, Constant, Opaque, Read, Reduction, Ref, Root, Site, Value


@dataclass(frozen=True, slots=True)
class NonEmpty:
    """A maximum over `extent` elements: none at all is an error, unless there is no result either."""

    op: str
    variable: str
    loc: Location | None
    extent: Dim
    results: Dim


@dataclass
class Lowered:
    """All values of a graph, the buffers between them and what is delivered."""

    atoms: Atoms = field(default_factory=Atoms)
    values: list[Value | Opaque | Root] = field(default_factory=list)  # in topological order
    buffers: dict[str, Buffer] = field(default_factory=dict)
    sites: list[Site] = field(default_factory=list)
    nonempty: list[NonEmpty] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)  # graph value -> buffer
    in_place: dict[str, str] = field(default_factory=dict)  # graph value -> the state whose memory it takes


class Workspace:
    """What is known while a graph is lowered; `refs` holds what each graph value is."""

    def __init__(self, graph: Graph) -> None:
        self.written = graph
        self.graph = one_spelling(graph)
        self.out = Lowered()
        self.atoms = self.out.atoms
        self.refs: dict[str, Ref] = {}
        self._shared: dict[tuple[object, ...], Value] = {}
        self._depth: dict[int, int] = {}
        self._rows: dict[int, tuple[tuple[int, ...], int]] = {}
        self._next = 0
        self.varying: set[int] = set()

    # --- values

    def value(self, value: Value, key: tuple[object, ...] | None = None) -> Value:
        """Registers a new value; equal keys share one."""
        if key is not None:
            known = self._shared.get(key)
            if known is not None:
                return known
            self._shared[key] = value
        value.id = self._next
        self._next += 1
        self._depth[value.id] = 1 + max((self._depth[x.id] for x in value.deps), default=0)
        if (rows := self._reduced(value)) is not None:
            self._rows[value.id] = rows
        if value.own or any(x.id in self.varying for x in value.deps):
            self.varying.add(value.id)
        self.out.values.append(value)
        return value

    def _reduced(self, value: Value) -> tuple[tuple[int, ...], int] | None:
        """Along which loops `value` was reduced last, and how often one after the other below it."""
        found = max((self._rows[x.id] for x in value.deps if x.id in self._rows), key=lambda r: r[1], default=None)
        if not isinstance(value, Reduction):
            return found
        over = self.atoms.resolve(value.over)
        return over, 1 + (found[1] if found is not None and self.atoms.resolve(found[0]) == over else 0)

    def reduced_along(self, value: Value, over: Sequence[int]) -> int:
        """How many reductions along `over` follow each other below `value`."""
        along, count = self._rows.get(value.id, ((), 0))
        return count if self.atoms.resolve(along) == self.atoms.resolve(over) else 0

    def constant(self, value: float | int | bool, dtype: str) -> Value:
        # the sign of zero and the type of a number are part of the key
        return self.value(Constant(0, dtype, value=value), ("const", dtype, type(value), repr(value)))

    def call(self, fn: str, args: tuple[Value, ...], dtype: str) -> Value:
        return self.value(Call(0, dtype, args, fn=fn), ("call", fn, dtype, *(a.id for a in args)))

    def expression(self, expr: Expr, operands: Sequence[Value]) -> Value:
        if expr.fn == "arg":
            return operands[expr.index]
        if expr.fn == "const":
            return self.constant(expr.value, expr.dtype)
        return self.call(expr.fn, tuple(self.expression(a, operands) for a in expr.args), expr.dtype)

    # --- memory

    def buffer(self, t: TensorType, role: str, name: str | None) -> str:
        key = name if name is not None else f"{role}.{len(self.out.buffers)}"
        self.out.buffers[key] = Buffer(key, t.dtype, t.shape, role)
        return key

    def read(self, buffer: str, shape: tuple[Dim, ...], offset: Dim = 0, strides: Sequence[Dim] | None = None) -> Ref:
        """A fresh view of a buffer (row-major unless strides are given), with atoms of its own."""
        steps = row_major(shape) if strides is None else tuple(strides)
        index: list[tuple[int, ...]] = [() if n == 1 else (self.atoms.new(n),) for n in shape]
        pairs = tuple((a[0], s) for a, s in zip(index, steps, strict=True) if a)
        self.atoms.meet(a for a, _ in pairs)
        value = Read(
            0,
            self.out.buffers[buffer].dtype,
            own=tuple(a for a, _ in pairs),
            buffer=buffer,
            offset=offset,
            strides=pairs,
        )
        return Ref(self.value(value), tuple(index))

    def store(
        self, ref: Ref, buffer: str, shape: tuple[Dim, ...], offset: Dim = 0, strides: Sequence[Dim] | None = None
    ) -> None:
        steps = row_major(shape) if strides is None else tuple(strides)
        pairs = [p for atoms, step in zip(ref.dims, steps, strict=True) for p in spread(self.atoms, atoms, step)]
        root = Root(ref.value, buffer, offset, tuple(pairs))
        self.out.values.append(root)

    def materialise(self, ref: Ref, shape: tuple[Dim, ...]) -> str:
        """The buffer that holds `ref` in row-major order; inputs are used as they are."""
        value = ref.value
        if isinstance(value, Read) and self._is_whole(value, ref, shape):
            return value.buffer
        key = ("buffer", value.id, tuple(self.atoms.resolve(x) for x in ref.dims))
        known = self._shared.get(key)
        if isinstance(known, Read):
            return known.buffer
        buffer = self.buffer(TensorType(value.dtype, shape), "temp", None)
        self.store(ref, buffer, shape)
        self._shared[key] = Read(-1, value.dtype, buffer=buffer)
        return buffer

    def _is_whole(self, value: Read, ref: Ref, shape: tuple[Dim, ...]) -> bool:
        if value.index_stride is not None or value.offset != 0 or self.out.buffers[value.buffer].shape != shape:
            return False
        steps = self.atoms.strides(value.strides)
        want = self.atoms.strides([
            (a, s) for x, step in zip(ref.dims, row_major(shape), strict=True)
            for a, s in spread(self.atoms, x, step)
        ])  # fmt: skip
        return steps == want

    def reread(self, ref: Ref, shape: tuple[Dim, ...]) -> Ref:
        """The same tensor with atoms of its own: evaluated again where that is cheap, otherwise loaded."""
        old = self.atoms.resolve(ref.atoms)
        fresh = {a: self.atoms.new(self.atoms.sizes[a]) for a in old}
        again = rebase(self, ref.value, {a: (n, 0, 1) for a, n in fresh.items()})
        if again is None:
            return self.read(self.materialise(ref, shape), shape)
        self.atoms.meet(fresh.values())
        return Ref(again, tuple(tuple(fresh[a] for a in self.atoms.resolve(x)) for x in ref.dims))

    def respelled(self, ref: Ref, shape: tuple[Dim, ...], out: tuple[Dim, ...]) -> tuple[Ref, tuple[Dim, ...]]:
        """`ref` with the sizes of `out`, to which it broadcasts, for loops to be shared.

        Sizes that are equal in each run may look different here: no symbol can be solved from a.0 * a.1 == 6 * b.0.
        """
        shift = len(out) - len(shape)
        new = tuple(n if n == 1 else out[i + shift] for i, n in enumerate(shape))
        return (ref, shape) if new == shape else (self.read(self.materialise(ref, shape), new), new)

    def shape(self, name: str) -> tuple[Dim, ...]:
        return self.graph.types[name].shape


def row_major(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    steps: list[Dim] = []
    step: Dim = 1
    for n in reversed(shape):
        steps.append(step)
        step = d.mul(step, n)
    return tuple(reversed(steps))


def spread(atoms: Atoms, index: Sequence[int], step: Dim) -> list[tuple[int, Dim]]:
    out: list[tuple[int, Dim]] = []
    for a in reversed(atoms.resolve(index)):
        out.append((a, step))
        step = d.mul(step, atoms.sizes[a])
    return out[::-1]
