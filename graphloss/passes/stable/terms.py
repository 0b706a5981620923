"""Small questions about values that the stabiliser's rules ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from graphloss.ir.builder import Value
from graphloss.ir.dims import Dim
from graphloss.ir.graph import Op
from graphloss.ir.opdef import get
from graphloss.ir.tensor import Tensor
from graphloss.rewrite.rule import Surroundings

# Reductions whose result is NaN if one of what they reduce is.
_REDUCTIONS: Final = frozenset({"reduce_max", "reduce_min", "reduce_sum", "logsumexp"})
_TRANSPARENT: Final = frozenset({"detach", "assign", "squeeze", "unsqueeze", "broadcast_to"})
# Elementwise functions of one operand that are NaN where it is.
_FUNCTIONS: Final = frozenset({"neg", "exp", "log", "expm1", "log1p", "log1mexp", "sqrt", "square", "clamped_log"})
_MOVES: Final = frozenset({"pick", "gather", "reshape", "transpose", "squeeze", "unsqueeze", "broadcast_to", "slice",
    "detach", "assign"})


def as_value(x: Tensor) -> Value:
    assert isinstance(x, Value)
    return x


def operand(graph: Surroundings, name: str, *types: str) -> Op | None:
    """The op that defines `name` if it is one of `types`."""
    op = graph.op_of(name)
    return op if op is not None and op.type in types else None


def opposite(graph: Surroundings, a: str, b: str) -> bool:
    """Whether b is neg(a) or a is neg(b)."""
    return any((op := operand(graph, x, "neg")) is not None and op.inputs[0] == y for x, y in ((a, b), (b, a)))


def scaled_operand(graph: Surroundings, name: str) -> tuple[float, Value] | None:
    """(c, x) where the value is c·x for a number c."""
    op = operand(graph, name, "mul", "add")
    if op is None:
        return None
    a, b = op.inputs
    if op.type == "add":
        return (2.0, graph.value(a)) if a == b else None
    for c, x in ((a, b), (b, a)):
        known = graph.number_of(c)
        if known is not None and graph.type_of(x) == graph.type_of(name):
            return float(known), graph.value(x)
    return None


def times(graph: Surroundings, c: float, x: Value) -> Value:
    """c·x; a factor of two that is there already is used."""
    if c == 1:
        return x
    if c == -1:
        return as_value(-x)
    negated = operand(graph, x.name, "neg")
    if negated is not None:
        return as_value(-times(graph, c, graph.value(negated.inputs[0])))
    found = scaled_operand(graph, x.name)
    if found is not None and found[0] * c in (1.0, -1.0):
        return times(graph, found[0] * c, found[1])
    return as_value(c * x)


def half(graph: Surroundings, x: Value) -> Value:
    return times(graph, 0.5, x)


def is_nonpositive(graph: Surroundings, name: str, depth: int = 8) -> bool:
    """Whether no element can be above 0 (one may be NaN)."""
    known = graph.number_of(name)
    if known is not None:
        return known <= 0
    op = graph.op_of(name)
    if op is None or depth == 0:
        return False
    if op.type in ("log_softmax", "log1mexp"):
        return True
    if op.type == "neg":
        inner = graph.op_of(op.inputs[0])
        return inner is not None and inner.type in ("softplus", "square", "abs", "exp", "log_cosh")
    if op.type in _MOVES or op.type in ("reduce_sum", "reduce_max", "reduce_min"):
        return is_nonpositive(graph, op.inputs[0], depth - 1)
    if op.type == "add":
        return all(is_nonpositive(graph, n, depth - 1) for n in op.inputs)
    if op.type == "where":
        return all(is_nonpositive(graph, n, depth - 1) for n in op.inputs[1:])
    if op.type == "mul":
        a, b = op.inputs
        for c, x in ((a, b), (b, a)):
            factor = graph.number_of(c)
            if factor is not None and factor >= 0:
                return is_nonpositive(graph, x, depth - 1)
    return False


def see_through(graph: Surroundings, name: str) -> Iterator[str]:
    """The value, and what it is apart from its shape and from whether a gradient flows through it."""
    yield name
    while (op := operand(graph, name, *_TRANSPARENT)) is not None:
        name = op.inputs[0]
        yield name


def reduction_of(graph: Surroundings, name: str) -> tuple[str, str, tuple[int, ...]] | None:
    """(kind, operand, axes) of a value that is a reduction, apart from its shape; None if it is something else."""
    *_, last = see_through(graph, name)
    op = operand(graph, last, *_REDUCTIONS)
    if op is None:
        return None
    rank = graph.type_of(op.inputs[0]).rank
    attr = op.attr
    given = (attr["axis"],) if "axis" in attr else attr["axes"]
    axes = tuple(range(rank)) if given is None else tuple(sorted(int(a) % rank for a in given))  # type: ignore[union-attr,arg-type]
    *_, source = see_through(graph, op.inputs[0])
    return op.type, source, axes


def is_row_constant_of(graph: Surroundings, c: str, x: str, axis: int) -> bool:
    """Whether c is a reduction of x that does not change along x's `axis`: subtracting it from x shifts each row.

    A NaN in x is in c too, so leaving c out loses none.
    """
    t, rank = graph.type_of(c), graph.type_of(x).rank
    if t.rank > rank:
        return False
    place = axis % rank - (rank - t.rank)
    if place >= 0 and t.shape[place] != 1:
        return False
    found = reduction_of(graph, c)
    *_, source = see_through(graph, x)
    return found is not None and found[1] == source


def same_shift(graph: Surroundings, a: str, b: str) -> bool:
    """Whether two values are one reduction of one operand, apart from dimensions of 1."""
    if a == b:
        return True
    first, second = reduction_of(graph, a), reduction_of(graph, b)
    return first is not None and first == second


def mixes_row(graph: Surroundings, name: str, axis: int, depth: int = 6) -> bool:
    """Whether a NaN anywhere in a row along `axis` is in every element of the row."""
    op = graph.op_of(name)
    if op is None or depth == 0:
        return False
    rank = graph.type_of(name).rank
    row_axis = get(op.type).row_axis
    if row_axis is not None and graph.type_of(op.inputs[0]).rank == rank:
        return row_axis(op.attr) % rank == axis
    if op.type in _FUNCTIONS:
        return mixes_row(graph, op.inputs[0], axis, depth - 1)
    if op.type in ("mul", "add", "sub", "div", "pow"):
        return any(graph.type_of(n).rank == rank and mixes_row(graph, n, axis, depth - 1) for n in op.inputs)
    return False


def common_shape(x: Value, y: Value) -> tuple[Dim, ...]:
    """The shape that two operands broadcast to; their dimensions are known to agree."""
    rank = max(x.type.rank, y.type.rank)
    a, b = ((1,) * (rank - t.type.rank) + t.type.shape for t in (x, y))
    return tuple(q if p == 1 else p for p, q in zip(a, b, strict=True))
