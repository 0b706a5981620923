"""Building a graph op by op inside a pass: op constructors work on its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from graphloss.errors import GraphlossError
from graphloss.ir.dims import Equations
from graphloss.ir.graph import Graph, Op
from graphloss.ir.location import Location
from graphloss.ir.opdef import OpDef, freeze
from graphloss.ir.tensor import Tensor
from graphloss.ir.types import TensorType


class Value(Tensor):
    """A name in the graph under construction."""

    __slots__ = ("_type", "name")

    def __init__(self, name: str, type: TensorType) -> None:
        self.name = name
        self._type = type

    @property
    def type(self) -> TensorType:
        return self._type

    def __repr__(self) -> str:
        return f"%{self.name} : {self._type}"


class GraphBuilder:
    """A Mode that appends to a graph: `with using(builder): y = ops.exp(x)`.

    `ops`, `types` and `equations` are what was built so far. `role`, `loc`, `scope` are given to new ops: a rewrite
    sets them from
    the op that it replaces.
    """

    def __init__(self, graph: Graph, *, keep_ops: bool = False) -> None:
        self.source = graph
        self.ops: list[Op] = list(graph.ops) if keep_ops else []
        self.types: dict[str, TensorType] = dict(graph.types)
        self.equations = Equations(graph.equations)
        self._taken = set(graph.types)
        self._count: dict[str, int] = {}
        self.role = "forward"
        self.loc: Location | None = None
        self.scope = ""

    def value(self, name: str) -> Value:
        return Value(name, self.types[name])

    def fresh(self, stem: str) -> str:
        """An unused name that begins with `stem`."""
        n = self._count.get(stem, 0)
        while True:
            name = f"{stem}.{n}"
            n += 1
            if name not in self._taken:
                break
        self._count[stem] = n
        self._taken.add(name)
        return name

    def like(self, op: Op) -> None:
        """New ops take role, location and scope of `op`."""
        self.role, self.loc, self.scope = op.role, op.loc, op.scope

    def apply(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> tuple[Tensor, ...]:
        names = []
        for x in inputs:
            if not isinstance(x, Value):
                raise TypeError(f"{op.name}: a pass mixes values of two modes ({type(x).__name__})")
            names.append(x.name)
        types = op.infer([self.types[n] for n in names], attrs, self.equations)
        outputs = tuple(self.fresh(op.name) for _ in types)
        self.types.update(zip(outputs, types, strict=True))
        self.ops.append(Op(op.name, tuple(names), outputs, freeze(attrs), self.role, self.loc, self.scope))
        return tuple(Value(n, t) for n, t in zip(outputs, types, strict=True))

    def append(self, op: Op) -> None:
        """Copies an op of the source graph as it is."""
        self.ops.append(op)

    def finish(self, *, ops: Iterable[Op] | None = None, **changes: object) -> Graph:
        """The graph built, with types of dead names dropped."""
        kept = tuple(self.ops if ops is None else ops)
        names = {*self.source.feeds, *self.source.states, *(o for op in kept for o in op.outputs)}
        types = {n: t for n, t in self.types.items() if n in names}
        return self.source.replace(ops=kept, types=types, equations=tuple(self.equations.recorded), **changes)


def located(error: GraphlossError, op: Op) -> GraphlossError:
    """`error` with the text and place of `op`, where it has none yet."""
    return error.with_op(str(op.type), op.loc)
