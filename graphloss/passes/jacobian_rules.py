"""How a Jacobian passes through each op that is not elementwise; see `jacobian` and `diagonal`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from graphloss import ops
from graphloss.ir.opdef import Attrs
from graphloss.ir.tensor import Tensor
from graphloss.ops import rules
from graphloss.passes.backprop import Applied
from graphloss.passes.jacobian import Jacobian, Mixes, add, elsewhere, full, returned, summed

_Axes: TypeAlias = tuple[int, ...]
_REDUCTIONS: Final = frozenset({"reduce_sum", "reduce_max", "reduce_min", "reduce_prod"})


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
    """p·u' − p·Σp·u': where u' is 1, p − p·p. It needs no further exponential, as an exact 1 − p would."""
    (x,), (p,), axis = a.inputs, a.outputs, _attrs(a)["axis"] % a.inputs[0].type.rank
    weighted = _scaled(j, p)
    total = summed(weighted, x.type.shape, (axis,), True, _sum)
    return add([(weighted, lambda t: t), (total, lambda t: -(p * t))], x.type.rank)


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
    old, new = a.inputs[0].type.shape, a.outputs[0].type.shape

    def move(t: Tensor) -> Tensor:
        return ops.reshape(t, new)

    back = returned(j, old, new, None, move)
    return elsewhere(j, old, new, None, move) if back is None else back


def _sliced(a: Applied, j: Jacobian) -> Jacobian:
    (x,), (out,) = a.inputs, a.outputs
    shape, rank = x.type.shape, x.type.rank
    starts, sizes, steps = (_attrs(a)[k] for k in ("starts", "sizes", "steps"))
    cut = [i for i in range(rank) if (starts[i], sizes[i], steps[i]) != (0, shape[i], 1)]
    own = tuple(i for i in cut if rank - i in j.at)

    def move(t: Tensor) -> Tensor:
        return ops.window(full(t, shape), {i: (starts[i], sizes[i], steps[i]) for i in cut})

    if not own:
        return j.map(move)
    if len(own) < len(cut):
        raise Mixes("it slices axes of x and other ones at once")
    if any(sizes[i] != 1 for i in own):
        if any(step != 1 for step in steps):
            raise Mixes("it leaves out elements of x between others")
        return elsewhere(j, shape, out.type.shape, tuple(starts), move)

    def only(t: Tensor) -> Tensor:  # one element of each row: a sum over the row of what is not zero there
        for i in own:
            here = ops.equal(ops.iota([d if k == i else 1 for k, d in enumerate(shape)], i, "int64"),
                             ops.fill((), starts[i], "int64"))  # fmt: skip
            t = ops.where(here, full(t, shape), 0.0)
        return t

    return summed(j.map(only), shape, own, True, lambda t, axes: move(t) if axes else t)


def _padded(a: Applied, j: Jacobian) -> Jacobian:
    shape, new = a.inputs[0].type.shape, a.outputs[0].type.shape
    low, high, rank = _attrs(a)["low"], _attrs(a)["high"], len(shape)

    def move(t: Tensor) -> Tensor:
        return ops.pad(full(t, shape), low, high)

    if not any((low[i], high[i]) != (0, 0) and rank - i in j.at for i in range(rank)):
        return j.map(move)
    back = returned(j, shape, new, tuple(low), move)
    if back is None:
        raise Mixes("it puts zeros beside elements of x")
    return back


RULES: Final[dict[str, Callable[[Applied, Jacobian], Jacobian]]] = {
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
    "slice": _sliced,
    "pad": _padded,
}
