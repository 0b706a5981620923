"""Where the elements of a value come from: an error about an element names the feed that holds it, where one does."""

from __future__ import annotations

from graphloss import dtypes
from graphloss.ir import forms
from graphloss.ir.graph import Graph, Op
from graphloss.ir.opdef import get
from graphloss.ir.scalar import Expr, arg

_STEPS = 64  # a search of more ops than this is given up


def origin(graph: Graph, name: str, *, whole: bool = False, moved: bool = False) -> str:
    """The value, a feed where possible, whose elements `name` has in their order; or, `moved`, in any order.

    Elements pass through casts that keep the number (if they are `whole`, all do), through reshapes and checks, and
    through a choice between them and a constant: labels of ignored rows are chosen so.
    """
    found: set[str] = set()
    stack, seen = [name], {name}
    while stack:
        n = stack.pop()
        op = graph.definition.get(n)
        passed = None if op is None or len(seen) > _STEPS else _passed(graph, op, moved)
        if passed is None or not all(whole or _keeps(graph, x, n) for x in passed):
            found.add(n)
            continue
        stack += (x for x in passed if x not in seen)
        seen.update(passed)
    if len(found) != 1:
        return name
    (one,) = found
    return one if graph.types[one].size == graph.types[name].size else name


def _keeps(graph: Graph, source: str, result: str) -> bool:
    """Whether a cast between the two keeps the number; a float that becomes an integer does not."""
    kind = graph.types[source].dtype
    return dtypes.is_int(kind) or (dtypes.is_float(kind) and dtypes.is_float(graph.types[result].dtype))


def _passed(graph: Graph, op: Op, moved: bool) -> list[str] | None:
    """The operands whose elements the output has, none for a constant; None where it has others."""
    definition = get(op.type)
    types = [graph.types[x] for x in op.inputs]
    if definition.scalar is not None:
        places = _arguments(definition.scalar([arg(i, t.dtype) for i, t in enumerate(types)], op.attr))
        return None if places is None else [op.inputs[i] for i in places]
    if definition.lower is None:
        return None
    form = definition.lower(types, [graph.types[x] for x in op.outputs], op.attr)
    if isinstance(form, forms.Fill):
        return []
    whole = (forms.Reshape, forms.InRange, forms.Within)
    return [op.inputs[0]] if isinstance(form, (*whole, forms.Transpose) if moved else whole) else None


def _arguments(expr: Expr) -> list[int] | None:
    """The operands that a scalar expression hands through."""
    if expr.fn == "const":
        return []
    if expr.fn == "arg":
        return [expr.index]
    if expr.fn == "cast":
        return _arguments(expr.args[0])
    if expr.fn == "select":
        yes, no = _arguments(expr.args[1]), _arguments(expr.args[2])
        return None if yes is None or no is None else yes + no
    return None
