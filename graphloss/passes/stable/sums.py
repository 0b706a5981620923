"""The scaled forms of sums and differences: logsumexp and its relatives, and weighted sums over a common shift."""

from __future__ import annotations

import math
from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.ir.graph import Op
from graphloss.ir.tensor import Tensor
from graphloss.passes.stable.scaled import Lifter, Parts, Scaled, handles, number
from graphloss.passes.stable.terms import as_value, half, opposite
from graphloss.rewrite.rule import Surroundings

# e^x is far from overflow below these.
_LARGE: Final = {"float32": 80.0, "float64": 700.0}


@handles("reduce_sum")
def _sum(lift: Lifter, op: Op) -> Scaled | None:
    a, x = lift.of(op.inputs[0]), lift.graph.type_of(op.inputs[0])
    if a is None or x.rank == 0:
        return None
    given = op.attr["axes"]
    axes = tuple(range(x.rank)) if given is None else tuple(int(i) % x.rank for i in given)  # type: ignore[union-attr,arg-type]
    keepdims = bool(op.attr["keepdims"])

    def make() -> Parts:
        if a.s is None:
            return (None if a.v is None else as_value(ops.reduce_sum(full(a.v), axes, keepdims))), None
        s = full(a.s)
        if a.pure:
            return None, as_value(ops.logsumexp(s, axes, keepdims))
        assert a.v is not None
        v = full(a.v)
        m = finite_shift(ops.reduce_max(ops.where(v != 0.0, s, -math.inf), axes, True))
        total = lift.opaque(ops.reduce_sum(lift.opaque(v * shifted(lift, s, m)), axes, keepdims))
        return total, as_value(m if keepdims else ops.squeeze(m, axes))

    def full(part: Value) -> Value:
        return as_value(ops.broadcast_to(part, x.shape))

    if a.pure and a.s is None:
        return None
    return Scaled(a.coef, a.pure, False, a.depth + 1, make, carried=not a.pure, calm=a.is_calm)


def finite_shift(m: Tensor) -> Tensor:
    """A maximum as a shift: detached, and 0 where there was nothing to take a maximum of."""
    return ops.detach(ops.where(m == -math.inf, 0.0, m))


def shifted(lift: Lifter, s: Value, m: Tensor) -> Value:
    """e^(s-m), where what has weight 0 may lie above the shift: it must stay finite, for its weight to take it out."""
    return lift.opaque(ops.exp(ops.clamp_max(s - m, _LARGE[s.type.dtype])))


@handles("add", "sub")
def _add(lift: Lifter, op: Op) -> Scaled | None:
    a, b = (lift.factor(n) for n in op.inputs)
    if not (a.lifted or b.lifted):
        return None
    sign = -1.0 if op.type == "sub" else 1.0
    depth, dtype = max(a.depth, b.depth) + 1, lift.graph.type_of(op.outputs[0]).dtype
    cb = sign * b.coef
    if a.pure and b.pure:
        low, other, one = (a, b, cb) if a.lifted else (b, a, a.coef)
        if not other.lifted and low.bounded:
            return _complement(lift, low, one, a.coef if low is a else cb, depth, dtype)
        if a.coef > 0 < cb:
            common = a.coef if a.coef == cb else 1.0
            return Scaled(common, True, False, depth, lambda: (None, _log_of_sum(a, b, cb, common, dtype)),
                calm=a.is_calm and b.is_calm)
        if a.coef * cb < 0:
            return _difference(lift, a, b, cb, depth, dtype)
        return None
    if not (a.lifted and b.lifted):
        return None  # data beside an exponential: nothing to gain
    return Scaled(1.0, False, False, depth, lambda: _weighted(lift, a, b, sign, dtype), carried=True,
        calm=a.is_calm and b.is_calm)


def _log_of_sum(a: Scaled, b: Scaled, cb: float, common: float, dtype: str) -> Value:
    x, y = log_times(a, a.coef / common, dtype), log_times(b, cb / common, dtype)
    if x is not None and y is not None:
        return as_value(ops.logaddexp(x, y))
    some = y if x is None else x
    return number(math.log(2), dtype) if some is None else as_value(ops.softplus(some))


def log_times(a: Scaled, coef: float, dtype: str) -> Value | None:
    """s + log coef; None for 0."""
    if a.s is None:
        return None if coef == 1 else number(math.log(coef), dtype)
    return a.s if coef == 1 else as_value(a.s + math.log(coef))


def _complement(lift: Lifter, a: Scaled, one: float, coef: float, depth: int, dtype: str) -> Scaled | None:
    """1 - p and p - 1, for a p that cannot exceed 1; p + eps has no scaled form, it cannot overflow."""
    if (one, coef) not in ((1.0, -1.0), (-1.0, 1.0)):
        return None

    def make() -> Parts:
        return None, complement(a, dtype)

    return Scaled(one, True, True, depth, make)


def complement(a: Scaled, dtype: str) -> Value:
    """log(1 - e^s)."""
    assert a.s is not None
    return as_value(ops.log1mexp(a.s))


def _difference(lift: Lifter, a: Scaled, b: Scaled, cb: float, depth: int, dtype: str) -> Scaled:
    """e^x - e^y = (e^x + e^y)·tanh((x - y)/2)."""

    def make() -> Parts:
        x, y = log_times(a, abs(a.coef), dtype), log_times(b, abs(cb), dtype)
        v = lift.opaque(ops.tanh(_half_difference(lift.graph, x, y)))
        if x is None or y is None:
            s = ops.softplus(x if y is None else y)  # type: ignore[arg-type]
        else:
            s = ops.logaddexp(x, y)
        return v, as_value(s)

    return Scaled(math.copysign(1.0, a.coef), False, False, depth, make, carried=True)


def _half_difference(graph: Surroundings, x: Value | None, y: Value | None) -> Value:
    if y is None:
        assert x is not None
        return half(graph, x)
    if x is None:
        return as_value(-half(graph, y))
    return x if opposite(graph, x.name, y.name) else half(graph, as_value(x - y))


def _weighted(lift: Lifter, a: Scaled, b: Scaled, sign: float, dtype: str) -> Parts:
    """v·e^x + w·e^y, with the larger shift of those whose weight is not 0."""
    v, w = _weight(a, a.coef, dtype), _weight(b, sign * b.coef, dtype)
    x, y = (number(0, dtype) if t.s is None else t.s for t in (a, b))
    m = finite_shift(ops.maximum(ops.where(v != 0.0, x, -math.inf), ops.where(w != 0.0, y, -math.inf)))
    total = lift.opaque(v * shifted(lift, x, m)) + lift.opaque(w * shifted(lift, y, m))
    return lift.opaque(total), as_value(m)


def _weight(a: Scaled, coef: float, dtype: str) -> Value:
    if a.v is None:
        return number(coef, dtype)
    return a.v if coef == 1 else as_value(coef * a.v)
