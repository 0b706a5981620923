"""Checks a graph against the rules of the IR: names defined once and before use, types that follow from the ops."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from graphloss.errors import GraphlossError, VerifyError
from graphloss.ir.context import ROLES
from graphloss.ir.dims import Equation, Equations
from graphloss.ir.graph import Graph, Op
from graphloss.ir.opdef import OpDef, freeze, get
from graphloss.ir.printer import attr_text, call_text, dim_text, op_text, type_text, value_text
from graphloss.ir.types import TensorType

_Pair: TypeAlias = frozenset[object]


def verify(graph: Graph) -> None:
    """Raises VerifyError, naming the op, unless `graph` is right.

    Right means: each name is defined once, before it is read, and has a type; no type is left over; attributes are
    complete, in the order their op declares them; each op's output types are those that its `infer` gives, as far as
    the graph's equations tell dimensions apart, and every equation that `infer` asks for is one of the graph's or
    follows from them; roles are known; each state is written once at most, and by a value of its type.
    """
    defined: set[str] = set()
    for name in (*graph.feeds, *graph.states):
        _define(graph, name, defined, None)
    equations = Equations(graph.equations)
    stated = {_pair(e.left, e.right) for e in graph.equations}
    for op in graph.ops:
        _check_op(graph, op, defined, equations, stated)
    for name in graph.fetches:
        if name not in defined:
            raise VerifyError(f"fetch {value_text(name)} is not defined")
    _check_writes(graph, defined, equations)
    for name in (n for rows, offsets in graph.sequences for n in (rows, *offsets)):
        if name not in defined:
            raise VerifyError(f"value {value_text(name)} of a line of sequences is not defined")
    left_over = sorted(set(graph.types) - defined)
    if left_over:
        raise VerifyError("a type belongs to no value", got=", ".join(map(value_text, left_over)))


def _define(graph: Graph, name: str, defined: set[str], op: Op | None) -> None:
    text, loc = _place(graph, op)
    if name in defined:
        raise VerifyError(f"value {value_text(name)} is defined twice", op=text, where=loc)
    if name not in graph.types:
        raise VerifyError(f"value {value_text(name)} has no type", op=text, where=loc)
    defined.add(name)


def _check_op(graph: Graph, op: Op, defined: set[str], equations: Equations, stated: set[_Pair]) -> None:
    text, loc = _place(graph, op)
    for name in op.inputs:
        if name not in defined:
            raise VerifyError(f"value {value_text(name)} is read before it is defined", op=text, where=loc)
    if op.role not in ROLES:
        raise VerifyError("unknown role of an op", ", ".join(ROLES), op.role, text, loc)
    try:
        what = get(op.type)
        _check_attrs(op, what, text)
        known = len(equations.recorded)
        types = what.infer([graph.types[n] for n in op.inputs], op.attr, equations)
    except VerifyError:
        raise
    except GraphlossError as error:
        where = error.where or loc
        raise VerifyError(error.what, error.expected, error.got, error.op or text, where, error.hint) from error
    for equation in equations.recorded[known:]:
        if _pair(equation.left, equation.right) not in stated:
            what_is_wrong = "an op needs an equation that the graph does not state"
            raise VerifyError(what_is_wrong, f"where {_shown(equation)}", op=text, where=loc)
    declared = [graph.types.get(n) for n in op.outputs]
    for name in op.outputs:
        _define(graph, name, defined, op)
    if len(types) != len(declared):
        raise VerifyError("an op has another number of outputs", len(types), len(declared), text, loc)
    for have, want in zip(declared, types, strict=True):
        if have is not None and not _same(have, want, equations):
            raise VerifyError("a type does not follow from the op", type_text(want), type_text(have), text, loc)


def _check_attrs(op: Op, what: OpDef, text: str | None) -> None:
    complete = freeze(what.complete(op.attr))
    if complete != op.attrs:
        what_is_wrong = "attributes are not complete and in declared order"
        raise VerifyError(what_is_wrong, _attrs_text(complete), _attrs_text(op.attrs), text, op.loc)


def _check_writes(graph: Graph, defined: set[str], equations: Equations) -> None:
    written: set[str] = set()
    for state, value in graph.writes:
        if value not in defined:
            raise VerifyError(f"value {value_text(value)}, written to {value_text(state)}, is not defined")
        if state in written:
            raise VerifyError(f"state {value_text(state)} is written twice")
        written.add(state)
        if state in graph.states and not _same(graph.types[state], graph.types[value], equations):
            want, have = type_text(graph.types[state]), type_text(graph.types[value])
            raise VerifyError(f"a write changes the type of {value_text(state)}", want, have)


def _same(a: TensorType, b: TensorType, equations: Equations) -> bool:
    return a.dtype == b.dtype and a.rank == b.rank and all(map(equations.same, a.shape, b.shape))


def _pair(left: object, right: object) -> _Pair:
    return frozenset((left, right))


def _shown(equation: Equation) -> str:
    return f"{dim_text(equation.left)} == {dim_text(equation.right)}"


def _attrs_text(attrs: Iterable[tuple[str, object]]) -> str:
    return "{" + ", ".join(f"{k}={attr_text(v)}" for k, v in attrs) + "}"


def _place(graph: Graph, op: Op | None) -> tuple[str | None, object]:
    """The op as text, as far as its types are known, and where the user wrote it."""
    if op is None:
        return None, None
    if all(o in graph.types for o in op.outputs):
        return op_text(op, graph.types), op.loc
    known = [(n, graph.types[n]) for n in op.inputs if n in graph.types]
    return call_text(op.type, known, op.attr), op.loc
