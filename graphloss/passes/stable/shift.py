"""Where the scaled form is used: logarithms, quotients, products, roots and clamped losses of values that carry a
shift."""

from __future__ import annotations

from typing import Final

from graphloss import ops
from graphloss.ir.builder import Value
from graphloss.ir.tensor import Tensor
from graphloss.passes.stable.lifts import exponent
from graphloss.passes.stable.scaled import Scaled, lifter
from graphloss.passes.stable.sums import complement, log_times
from graphloss.passes.stable.terms import as_value, common_shape, operand
from graphloss.rewrite.pattern import op
from graphloss.rewrite.rule import Example, Match, Result, Rule

_X: Final = {"x": "f32[N, C]"}
_XY: Final = {"x": "f32[N, C]", "y": "f32[N, C]"}


def _shaped(m: Match, x: Value) -> Tensor:
    """`x` in the shape of the op's operand, of which it may lack axes that were broadcast."""
    return ops.broadcast_to(x, m.inputs[0].type.shape)


def _log(m: Match) -> Result:
    (x,) = m.inputs
    a = lifter(m.graph).of(x.name)
    if a is None:
        return _log_of_difference(m)
    if a.pure:
        return _shaped(m, a.log(x.type.dtype)) if a.positive else _log_of_difference(m)
    special = _log_of_difference(m)
    if special is not None:
        return special
    v = a.v
    assert v is not None
    factor = ops.log(v if a.coef == 1 else a.coef * v)
    return _shaped(m, as_value(factor if a.s is None else factor + a.s))


def _log_of_difference(m: Match) -> Result:
    """log(e^x - e^y) -> x + log1mexp(y - x); NaN where y > x, as before."""
    (x,) = m.inputs
    inner = operand(m.graph, x.name, "sub")
    if inner is None:
        grown = operand(m.graph, x.name, "expm1")  # log(e^x - 1)
        if grown is None:
            return None
        y = m.graph.value(grown.inputs[0])
        return ops.log1mexp(-y) + y
    a, b = (lifter(m.graph).factor(n) for n in inner.inputs)
    if not (a.lifted or b.lifted) or not (a.positive and b.positive):
        return None
    first, second = (log_times(t, t.coef, x.type.dtype) for t in (a, b))
    if first is None:
        return None if second is None else _shaped(m, as_value(ops.log1mexp(second)))
    gap = -first if second is None else second - first
    return _shaped(m, as_value(first + ops.log1mexp(gap)))


def _log_one_minus(m: Match) -> Result:
    """log(-expm1(s)) -> log1mexp(s)."""
    (x,) = m.inputs
    down = operand(m.graph, x.name, "neg")
    inner = None if down is None else operand(m.graph, down.inputs[0], "expm1")
    return None if inner is None else ops.log1mexp(m.graph.value(inner.inputs[0]))


def _log1p(m: Match) -> Result:
    (x,) = m.inputs
    a = lifter(m.graph).of(x.name)
    if a is None or not a.pure:
        return None
    if a.coef > 0:
        return None if a.bounded else _shaped(m, as_value(ops.softplus(a.log(x.type.dtype))))
    inner = operand(m.graph, x.name, "neg")
    source = None if inner is None else operand(m.graph, inner.inputs[0], "sigmoid")
    if source is not None:
        return -ops.softplus(m.graph.value(source.inputs[0]))
    shift = log_times(a, -a.coef, x.type.dtype)
    return None if shift is None else _shaped(m, as_value(ops.log1mexp(shift)))


def _quotient(m: Match) -> Result:
    x, y = m.inputs
    lift = lifter(m.graph)
    b = lift.of(y.name)
    if b is None:
        return None
    a = lift.factor(x.name)
    if b.alone and not a.lifted:
        return None
    if a.is_calm and b.is_calm and not (a.pure and b.pure):
        return None  # neither side overflows, and weights of their own decide where both vanish
    sa, sb = a.s, b.s
    if sa is not None and sb is not None and sa.name == sb.name and (a.carried or b.carried):
        sa = sb = None
    shift = sb if sa is None else sa if sb is None else as_value(sa - sb)
    if shift is not None and sa is None:
        shift = as_value(-shift)
    return _product(m, a.coef / b.coef, a.v, b.v, shift)


def _product(m: Match, coef: float, v: Value | None, w: Value | None, shift: Value | None) -> Tensor:
    """coef · v / w · e^shift."""
    shape = common_shape(*m.inputs)
    power = None if shift is None else ops.exp(shift)
    if w is not None:
        v = as_value((1.0 if v is None else v) / w)
    if v is None:
        assert power is not None
        result = power
    else:
        result = v if power is None else v * power
    return ops.broadcast_to(result if coef == 1 else coef * result, shape)


def _times(m: Match) -> Result:
    """e^x · e^y, where one may overflow while the other underflows."""
    x, y = m.inputs
    lift = lifter(m.graph)
    a, b = lift.of(x.name), lift.of(y.name)
    if a is None or b is None or (a.is_calm and b.is_calm) or a.alone or b.alone:
        return None
    if a.s is None or b.s is None:
        return None
    v = b.v if a.v is None else a.v if b.v is None else as_value(a.v * b.v)
    return _product(m, a.coef * b.coef, v, None, as_value(a.s + b.s))


def _reciprocal(m: Match) -> Result:
    (x,) = m.inputs
    a = lifter(m.graph).of(x.name)
    if a is None or a.alone or a.s is None:
        return None
    power: Tensor = ops.exp(-a.s)
    if a.v is not None:
        power = power / a.v
    return _shaped(m, as_value(power if a.coef == 1 else power * (1 / a.coef)))


def _root(m: Match) -> Result:
    """(e^s)^k for k < 1, whose derivative overflows where e^s underflows."""
    x = m.inputs[0]
    lift = lifter(m.graph)
    a, k = lift.of(x.name), exponent(lift, m.op)
    if a is None or k is None or k >= 1 or k == 0 or not a.positive or a.s is None:
        return None
    power = ops.exp(k * a.s)
    return _shaped(m, as_value(power if a.coef == 1 else power * a.coef**k))


def _clamped_log(m: Match) -> Result:
    (x,) = m.inputs
    a = lifter(m.graph).of(x.name)
    return None if a is None or not a.positive else _shaped(m, a.log(x.type.dtype))


def _binary_cross_entropy(m: Match) -> Result:
    p, y = m.inputs
    a = lifter(m.graph).of(p.name)
    if a is None or not (a.positive and a.bounded and a.coef == 1):
        return None
    log_p, log_q = ops.broadcast_to(a.log(p.type.dtype), p.type.shape), _log_complement(m, p, a)
    return -(y * log_p + (1.0 - y) * ops.broadcast_to(log_q, p.type.shape))


def _log_complement(m: Match, p: Value, a: Scaled) -> Tensor:
    """log(1 - p)."""
    source = operand(m.graph, p.name, "sigmoid")
    return complement(a, p.type.dtype) if source is None else -ops.softplus(m.graph.value(source.inputs[0]))


def _xlogy(m: Match) -> Result:
    w, x = m.inputs
    a = lifter(m.graph).of(x.name)
    if a is None or not a.positive:
        return None
    s = ops.broadcast_to(a.log(x.type.dtype), x.type.shape)
    return ops.where(ops.logical_and(w == 0.0, ops.logical_not(ops.isnan(s))), 0.0, w * s)


RULES: Final = (
    Rule(
        name="log-of-softmax", formula="log(softmax(x, axis)) -> log_softmax(x, axis)",
        why="softmax underflows to 0 and log gives -inf; one pass over memory fewer", numerics="more_accurate",
        before=lambda x, *, axis: op.log(op.softmax(x, axis=axis)), after=lambda x, axis: op.log_softmax(x, axis=axis),
        fires=(
            Example(_X, lambda x: op.log(op.softmax(x, axis=1)), lambda x: op.log_softmax(x, axis=1)),
            Example(_X, lambda x: op.log(op.softmax(x, axis=0)), lambda x: op.log_softmax(x, axis=0)),
        ),
        stays=(
            Example(_X, lambda x: op.log(op.softmax(x, axis=1) + 1e-6)),
            Example(_XY, lambda x, y: op.softmax(x, axis=1) * op.log(y)),
        ),
    ),
    Rule(
        name="log-of-sigmoid", formula="log(σ(x)) -> -softplus(-x)", why="σ underflows to 0 and log gives -inf",
        numerics="more_accurate",
        before=lambda x: op.log(op.sigmoid(x)), after=lambda x: -op.softplus(-x),
        fires=(Example(_X, lambda x: op.log(op.sigmoid(x)), lambda x: -op.softplus(-x)),),
        stays=(Example(_X, lambda x: op.log(op.sigmoid(x) + 1e-6)),),
    ),
    Rule(
        name="log-of-one-minus-exp", formula="log(-expm1(x)) -> log1mexp(x)",
        why="keeps its digits near 0 and far below",
        numerics="more_accurate", roots=("log",), rewrite=_log_one_minus,
        fires=(Example(_X, lambda x: op.log(-op.expm1(x)), lambda x: op.log1mexp(x)),),
        stays=(Example(_XY, lambda x, y: op.log(y - op.expm1(x))),),
    ),
    Rule(
        name="log-of-scaled", formula="log(c·v·e^s) -> s + log(c·v)",
        why="e^s overflows or underflows where s does not",
        numerics="more_accurate", roots=("log",), rewrite=_log,
        fires=(
            Example(_X, lambda x: op.log(op.exp(x)), lambda x: x),
            Example(
                _X, lambda x: op.log(op.reduce_sum(op.exp(x), axes=(1,), keepdims=True)),
                lambda x: op.logsumexp(x, axis=1, keepdims=True),
            ),
            Example(_XY, lambda x, y: op.log(op.exp(x) + op.exp(y)), lambda x, y: op.logaddexp(x, y)),
            Example(_XY, lambda x, y: op.log(y * op.exp(x)), lambda x, y: op.log(y) + x),
            Example(_X, lambda x: op.log(1.0 + op.exp(x)), lambda x: op.softplus(x)),
            Example(
                {"x": "f32[N, C]", "y": "i64[N]"}, lambda x, y: op.log(op.pick(op.softmax(x, axis=1), y, axis=1)),
                lambda x, y: op.pick(op.log_softmax(x, axis=1), y, axis=1),
            ),
            Example(
                _XY, lambda x, y: op.log(op.exp(x) - op.exp(y)), lambda x, y: x + op.log1mexp(y - x),
            ),
        ),
        stays=(
            Example(_X, lambda x: op.log(op.sigmoid(x) + 1e-6)), Example(_XY, lambda x, y: op.log(x + y)),
            Example(_XY, lambda x, y: op.log(y + op.exp(x))), Example(_X, lambda x: op.log(-op.exp(x))),
        ),
    ),
    Rule(
        name="log1p-of-scaled", formula="log1p(c·e^s) -> softplus(s + log c); log1p(-σ(x)) -> -softplus(x)",
        why="as log-of-scaled",
        numerics="more_accurate", roots=("log1p",), rewrite=_log1p,
        fires=(
            Example(_X, lambda x: op.log1p(op.exp(x)), lambda x: op.softplus(x)),
            Example(_X, lambda x: op.log1p(-op.sigmoid(x)), lambda x: -op.softplus(x)),
            Example(_X, lambda x: op.log1p(-op.softmax(x, axis=1)), lambda x: op.log1mexp(op.log_softmax(x, axis=1))),
        ),
        stays=(Example(_X, lambda x: op.log1p(op.sigmoid(x))), Example(_X, lambda x: op.log1p(x))),
    ),
    Rule(
        name="quotient-of-scaled", formula="v·e^s / w·e^t -> v/w · e^(s-t)",
        why="both sides overflow where the quotient does not",
        numerics="more_accurate", roots=("div",), rewrite=_quotient,
        fires=(
            Example(
                _X, lambda x: op.exp(x) / op.reduce_sum(op.exp(x), axes=(1,), keepdims=True),
                lambda x: op.softmax(x, axis=1),
            ),
            Example(_X, lambda x: 1.0 / (1.0 + op.exp(-x)), lambda x: op.sigmoid(x)),
            Example(_X, lambda x: op.exp(x) / (1.0 + op.exp(x)), lambda x: op.sigmoid(x)),
            Example(_X, lambda x: (op.exp(x) - op.exp(-x)) / (op.exp(x) + op.exp(-x)), lambda x: op.tanh(x)),
        ),
        stays=(
            Example(_XY, lambda x, y: op.exp(x) / y), Example(_X, lambda x: op.softmax(x, axis=1) / 2.0),
            Example(_XY, lambda x, y: (op.sigmoid(x) * y) / (op.sigmoid(x) + op.sigmoid(-x) * y)),
        ),
    ),
    Rule(
        name="product-of-scaled", formula="e^s · e^t -> e^(s+t)", why="one side overflows where the other underflows",
        numerics="more_accurate", roots=("mul",), rewrite=_times,
        fires=(Example(_XY, lambda x, y: op.exp(x) * op.exp(y), lambda x, y: op.exp(x + y)),),
        stays=(Example(_XY, lambda x, y: op.sigmoid(x) * op.sigmoid(y)), Example(_XY, lambda x, y: op.exp(x) * y)),
    ),
    Rule(
        name="reciprocal-of-scaled", formula="1 / (c·e^s) -> e^(-s) / c", why="as quotient-of-scaled",
        numerics="more_accurate",
        roots=("reciprocal",), rewrite=_reciprocal,
        fires=(Example(_X, lambda x: op.reciprocal(1.0 + op.exp(-x)), lambda x: op.sigmoid(x)),),
        stays=(Example(_X, lambda x: op.reciprocal(x)),),
    ),
    Rule(
        name="root-of-scaled", formula="(c·e^s)^k -> c^k · e^(k·s), k < 1",
        why="the derivative overflows where e^s underflows",
        numerics="more_accurate", roots=("sqrt", "rsqrt", "pow"), rewrite=_root,
        fires=(Example(_X, lambda x: op.sqrt(op.exp(x)), lambda x: op.exp(0.5 * x)),),
        stays=(Example(_X, lambda x: op.pow(op.sigmoid(x), 2.0)), Example(_X, lambda x: op.sqrt(x))),
    ),
    Rule(
        name="clamped-log-of-scaled", formula="clamped_log(c·e^s) -> s + log c",
        why="the clamp is for probabilities that are data; where the logits are known the value is exact",
        numerics="more_accurate",
        roots=("clamped_log",), rewrite=_clamped_log,
        fires=(Example(_X, lambda x: op.clamped_log(op.softmax(x, axis=1)), lambda x: op.log_softmax(x, axis=1)),),
        stays=(Example(_X, lambda x: op.clamped_log(x)), Example(_X, lambda x: op.clamped_log(op.sigmoid(x) + 1e-6))),
    ),
    Rule(
        name="binary-cross-entropy-of-scaled", formula="bce(p, y) -> -(y·log p + (1-y)·log(1-p)), with log p = s",
        why="as clamped-log-of-scaled", numerics="more_accurate", roots=("binary_cross_entropy",),
        rewrite=_binary_cross_entropy,
        fires=(
            Example(
                _XY, lambda x, y: op.binary_cross_entropy(op.sigmoid(x), y),
                lambda x, y: -(y * -op.softplus(-x) + (1.0 - y) * -op.softplus(x)),
            ),
        ),
        stays=(Example(_XY, lambda x, y: op.binary_cross_entropy(x, y)),),
    ),
    Rule(
        name="xlogy-of-scaled", formula="xlogy(w, c·e^s) -> w·(s + log c), 0 where w is 0", why="as log-of-scaled",
        numerics="more_accurate",
        roots=("xlogy",), rewrite=_xlogy,
        fires=(
            Example(
                _XY, lambda x, y: op.xlogy(y, op.exp(x)),
                lambda x, y: op.where(op.logical_and(op.equal(y, 0.0), op.logical_not(op.isnan(x))), 0.0, y * x),
            ),
        ),
        stays=(Example(_XY, lambda x, y: op.xlogy(x, y)),),
    ),
)  # fmt: skip
