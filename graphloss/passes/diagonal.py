"""The diagonal of ∂g/∂x for a g of x's shape, by one sweep forwards from x: how `jacobian_diag` is expanded.

The diagonal is exact for whatever is made of elementwise ops, reductions over axes of x, softmax and its relatives, and
moves of axes. A matrix product or a gather mixes the elements of x in a way that has no such form; it is refused with
its place.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Final, TypeAlias

from graphloss import dtypes, ops
from graphloss.ir.builder import GraphBuilder
from graphloss.ir.graph import Graph
from graphloss.ir.opdef import Attrs, OpDef, get
from graphloss.ir.tensor import Tensor, cast, using
from graphloss.ir.types import TensorType
from graphloss.ops import rules
from graphloss.passes.backprop import Applied, key_of
from graphloss.passes.jacobian import Jacobian, Mixes, add, full, refusal, reshaped, start, summed

Tracked: TypeAlias = Mapping[Hashable, Jacobian]
_Axes: TypeAlias = tuple[int, ...]
_REDUCTIONS: Final = frozenset({"reduce_sum", "reduce_max", "reduce_min", "reduce_prod"})


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
    if last.space.parent is not None or not meets:
        raise refusal("the elements of x change places on the way", "jacobian_diag", None)
    own = last.own_at(at, g.type.rank)
    return None if own is None else full(cast(own, x.type.dtype), x.type.shape)


def _track(a: Applied, known: Tracked) -> Jacobian | None:
    """The Jacobian of the op's result; None for zeros."""
    out = a.outputs[0].type
    if not dtypes.is_float(out.dtype):
        return None
    rule = _RULES.get(a.op.name)
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


# Ops that are not elementwise --------------------------------------------------------------------------------------


def _attrs(a: Applied) -> Attrs:
    return a.attrs


def _sum(t: Tensor, axes: _Axes) -> Tensor:
    return ops.reduce_sum(t, axes, True) if axes else t


def _scaled(j: Jacobian, by: Tensor) -> Jacobian:
    return j.map(lambda t: t * by)


def _reduced(a: Applied, j: Jacobian) -> Jacobian:
    """Any reduction: to first order it is a sum, weighted by its own derivative."""
    (x,), (out,) = a.inputs, a.outputs
    axes = rules.axes_of(_attrs(a)["axes"], x.type.rank)
    if a.op.name != "reduce_sum":
        assert a.op.vjp is not None
        weight = a.op.vjp((x,), (out,), [ops.ones_like(out)], a.attrs)[0]
        assert weight is not None
        j = _scaled(j, weight)
    return summed(j, x.type.shape, axes, _attrs(a)["keepdims"], _sum)


def _logsumexp(a: Applied, j: Jacobian) -> Jacobian:
    (x,), axis = a.inputs, _attrs(a)["axis"] % a.inputs[0].type.rank
    return summed(_scaled(j, ops.softmax(x, axis)), x.type.shape, (axis,), _attrs(a)["keepdims"], _sum)


def _log_softmax(a: Applied, j: Jacobian) -> Jacobian:
    (x,), axis = a.inputs, _attrs(a)["axis"] % a.inputs[0].type.rank
    weighted = _scaled(j, ops.softmax(x, axis))
    total = summed(weighted, x.type.shape, (axis,), True, _sum)
    return add([(j, lambda t: t), (total, lambda t: -t)], x.type.rank)


def _softmax(a: Applied, j: Jacobian) -> Jacobian:
    return _scaled(_log_softmax(a, j), a.outputs[0])


def _pick(a: Applied, j: Jacobian) -> Jacobian:
    """A sum over the axis of which one element is left."""
    x, index = a.inputs
    shape, axis = x.type.shape, _attrs(a)["axis"] % x.type.rank

    def picked(t: Tensor, axes: _Axes) -> Tensor:
        return ops.unsqueeze(ops.pick(t, index, axis), (axis,)) if axes else t

    def only(t: Tensor) -> Tensor:
        return ops.place(ops.pick(full(t, shape), index, axis), index, shape[axis], axis)

    if x.type.rank - axis in j.at:  # the axis is x's: what is not picked is zero
        j = j.map(only)
    return summed(j, shape, (axis,), False, picked)


def _place(a: Applied, j: Jacobian) -> Jacobian:
    x, index = a.inputs
    shape, (depth,) = x.type.shape, _attrs(a)["depth"]
    axis = _attrs(a)["axis"] % (x.type.rank + 1)
    at = _grown(j, x.type.rank + 1, (axis,))
    return j.map(lambda t: ops.place(full(t, shape), index, depth, axis), at)


def _transposed(a: Applied, j: Jacobian) -> Jacobian:
    shape, perm = a.inputs[0].type.shape, tuple(_attrs(a)["perm"])
    rank = len(shape)
    at = tuple(None if p is None else rank - perm.index(rank - p) for p in j.at)
    return j.map(lambda t: ops.transpose(full(t, shape), perm), at)


def _squeezed(a: Applied, j: Jacobian) -> Jacobian:
    shape = a.inputs[0].type.shape
    rank, axes = len(shape), rules.axes_of(_attrs(a)["axes"], len(shape))
    if any(p is not None and rank - p in axes for p in j.at):
        raise Mixes("it drops an axis of x that is not declared 1")
    at = tuple(None if p is None else p - sum(b > rank - p for b in axes) for p in j.at)
    return j.map(lambda t: ops.squeeze(full(t, shape), axes), at)


def _unsqueezed(a: Applied, j: Jacobian) -> Jacobian:
    shape = a.inputs[0].type.shape
    rank = len(shape) + len(_attrs(a)["axes"])
    axes = rules.axes_of(_attrs(a)["axes"], rank)
    return j.map(lambda t: ops.unsqueeze(full(t, shape), axes), _grown(j, rank, axes))


def _grown(j: Jacobian, rank: int, new: Sequence[int]) -> tuple[int | None, ...]:
    """Places in a value of this rank, of whose axes `new` were added."""
    old = [rank - a for a in range(rank) if a not in new][::-1]  # the new place of the old places 1, 2, …
    return tuple(None if p is None else old[p - 1] for p in j.at)


def _broadcast(a: Applied, j: Jacobian) -> Jacobian:
    shape = a.outputs[0].type.shape
    return j.map(lambda t: full(t, shape))


def _reshaped(a: Applied, j: Jacobian) -> Jacobian:
    return reshaped(j, a.inputs[0].type.shape, a.outputs[0].type.shape)


_RULES: Final[dict[str, Callable[[Applied, Jacobian], Jacobian]]] = {
    **dict.fromkeys(_REDUCTIONS, _reduced),
    "logsumexp": _logsumexp,
    "log_softmax": _log_softmax,
    "softmax": _softmax,
    "pick": _pick,
    "place": _place,
    "transpose": _transposed,
    "squeeze": _squeezed,
    "unsqueeze": _unsqueezed,
    "broadcast_to": _broadcast,
    "reshape": _reshaped,
}
