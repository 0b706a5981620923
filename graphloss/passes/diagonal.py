"""The diagonal of ∂g/∂x for a g of x's shape, by one sweep forwards from x: how `jacobian_diag` is expanded.

The diagonal is exact for whatever is made of elementwise ops, reductions over axes of x, softmax and its relatives, and
moves of axes. A matrix product or a gather mixes the elements of x in a way that has no such form; it is refused with
its place.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeAlias

from graphloss import dtypes, ops
from graphloss.ir.builder import GraphBuilder
from graphloss.ir.graph import Graph
from graphloss.ir.opdef import Attrs, OpDef, get
from graphloss.ir.tensor import Tensor, cast, using
from graphloss.ir.types import TensorType
from graphloss.passes.backprop import Applied
from graphloss.passes.cotangents import key_of
from graphloss.passes.jacobian import Jacobian, Mixes, add, full, refusal, start
from graphloss.passes.jacobian_rules import RULES

Tracked: TypeAlias = Mapping[Hashable, Jacobian]


def jacobian_diag(
    applied: Sequence[Applied],
    g: Tensor,
    x: Tensor,
    *,
    stopped: Sequence[Tensor] = (),
    enter: Callable[[Applied], None] | None = None,
) -> Tensor | None:
    """∂g_i/∂x_i; None for zeros. `applied` computes g, in order; builds in the current mode.

    Raises:
        UnsupportedError: an op mixes elements of x in another way; the text names it.
    """
    ends = {key_of(t) for t in stopped}
    known: dict[Hashable, Jacobian] = {key_of(x): start(x)}
    for a in applied:
        if not any(key_of(t) in known for t in a.inputs):
            continue
        if enter is not None:
            enter(a)
        try:
            found = _track(a, known)
        except Mixes as why:
            what = f"{a.op.name} mixes elements of it; {why}"
            raise refusal(what, a.op.name, getattr(a.place, "loc", None)) from None
        if found is not None and key_of(a.outputs[0]) not in ends:
            known[key_of(a.outputs[0])] = found
    last = known.get(key_of(g))
    if last is None:
        return None
    at = last.space.places()
    meets = all(p is None or p == q for p, q in zip(last.at, at, strict=True))
    if last.space.source is not None or not meets:
        raise refusal("the elements of x change places on the way", "jacobian_diag", None)
    own = last.own_at(at, g.type.rank)
    return None if own is None else full(cast(own, x.type.dtype), x.type.shape)


def _track(a: Applied, known: Tracked) -> Jacobian | None:
    """The Jacobian of the op's result; None for zeros."""
    out = a.outputs[0].type
    if not dtypes.is_float(out.dtype):
        return None
    rule = RULES.get(a.op.name)
    if rule is not None:
        j = known.get(key_of(a.inputs[0]))
        return None if j is None else rule(a, j)
    if a.op.vjp is None:
        raise Mixes(f"it has no derivative: {a.op.no_vjp}")
    if elementwise(a.op, tuple(t.type for t in a.inputs), a.attrs):
        return _chained(a, known)
    raise Mixes("this op is neither elementwise nor a reduction")


def _chained(a: Applied, known: Tracked) -> Jacobian | None:
    """An elementwise op: its vjp on operands of the result's shape is also its forward derivative."""
    (out,) = a.outputs
    parts: list[tuple[Jacobian, Callable[[Tensor], Tensor]]] = []
    for k, operand in enumerate(a.inputs):
        j = known.get(key_of(operand))
        if j is None:
            continue
        wide = full(operand, out.type.shape)
        operands = (*a.inputs[:k], wide, *a.inputs[k + 1 :])
        if a.op.vjp is None or a.op.vjp(operands, a.outputs, [ops.ones_like(out)], a.attrs)[k] is None:
            continue  # a function of steps
        parts.append((j, _forward(a, operands, k)))
    return add(parts, out.type.rank) if parts else None


def _forward(a: Applied, operands: Sequence[Tensor], k: int) -> Callable[[Tensor], Tensor]:
    (out,) = a.outputs

    def fn(t: Tensor) -> Tensor:
        assert a.op.vjp is not None
        pulled = a.op.vjp(operands, a.outputs, [full(cast(t, out.type.dtype), out.type.shape)], a.attrs)[k]
        assert pulled is not None
        return cast(pulled, out.type.dtype)

    return fn


def elementwise(op: OpDef, types: Sequence[TensorType], attrs: Attrs) -> bool:
    """Whether each element of the result is a function of the operands' elements there."""
    if op.scalar is not None:
        return True
    if op.expand is None or op.row_axis is not None:
        return False
    names = tuple(f"x{i}" for i in range(len(types)))
    builder = GraphBuilder(Graph("expansion", names, (), (), dict(zip(names, types, strict=True))))
    with using(builder):
        op.expand([builder.value(n) for n in names], attrs)
    return all(
        o.type == "fill" or elementwise(get(o.type), [builder.types[n] for n in o.inputs], o.attr) for o in builder.ops
    )
