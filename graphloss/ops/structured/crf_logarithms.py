"""The CRF's recursions in logarithms, for weights of any size: products only where they lose nothing to underflow.

alpha[r, j] is the logarithm of the weight of all ways to tag j in row r, beta[j] that of all ways on from there, both
in float64 and less their maximum in each row.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphloss.ir.loop_builder import Handle, NestBuilder
from graphloss.ir.loops import Expr, Use, cast, const, exp, log, select
from graphloss.ops.structured import chain
from graphloss.ops.structured.chain import ONCE, Pairs, Rows, finite


def _space(b: NestBuilder, p: Pairs) -> tuple[Handle, Handle, Handle]:
    """Weights of a row, those of the next one, exponentials; no part of a recursion stays for the sake of another."""
    K = (p.tags,)
    return b.scratch("last", "float64", K), b.scratch("following", "float64", K), b.scratch("scaled", p.dtype, K)


def forward(b: NestBuilder, p: Pairs, given: Sequence[Handle], alpha: Handle, rows: Rows, stop: Use) -> Use:
    """alpha of each row, less its maximum; the logarithm of the weight of all paths."""
    emission, _, start, end = given[:4]
    last, into, scaled = _space(b, p)
    offset = b.var("offset", const(0, "float64"))
    with b.vector("j", 0, p.tags) as j:
        into[j], last[j] = cast(start[j], "float64"), const(0, "float64")
    with b.loop("r", rows.begin, stop) as r:
        top = b.var("top", const(float("-inf"), "float64"))
        with b.vector("j", 0, p.tags) as j:
            value = b.let("value", cast(emission[r, j], "float64") + into[j])
            last[j] = value
            b.accumulate(top, "max", value)
        shift = b.let("shift", finite(top))
        b.assign(offset, offset + shift)
        with b.vector("j", 0, p.tags) as j:
            value = b.let("value", last[j] - shift)
            last[j], alpha[r, j] = value, value
        with b.loop("more", 0, select(r + 1 < stop, ONCE, 0)):
            chain.log_sums(b, p, last, into, scaled, forward=True)
    top = b.var("top", const(float("-inf"), "float64"))
    with b.vector("j", 0, p.tags) as j:
        b.accumulate(top, "max", last[j] + cast(end[j], "float64"))
    shift, total = b.let("shift", finite(top)), b.var("total", const(0, "float64"))
    with b.vector("j", 0, p.tags) as j:
        b.accumulate(total, "sum", exp(last[j] + cast(end[j], "float64") - shift))
    return b.let("log_z", offset + shift + log(total))


def backward(
    b: NestBuilder, p: Pairs, given: Sequence[Handle], alpha: Handle, d_emission: Handle, d_transition: Handle,
    n: Use, rows: Rows, stop: Use,
) -> None:  # fmt: skip
    """The probabilities of each tag in each row, of each pair of tags summed over the rows."""
    K, dtype = p.tags, p.dtype
    beta, space = b.scratch("beta", "float64", (K,)), _space(b, p)
    products, exact = b.scratch("products", dtype, (K, K)), b.scratch("exact", dtype, (K, K))
    with b.loop("i", 0, K) as i, b.vector("j", 0, K) as j:
        products[i, j], exact[i, j] = const(0, dtype), const(0, dtype)
    with b.vector("j", 0, K) as j:
        beta[j] = cast(given[3][j], "float64")
    with b.loop("r", rows.begin, stop, reverse=True) as r:
        _marginals(b, p, alpha, beta, d_emission, r)
        with b.loop("more", 0, select(r > rows.begin, ONCE, 0)):
            _step_back(b, p, given[0], alpha, beta, (products, exact), space, r)
    with b.loop("i", 0, K) as i, b.vector("j", 0, K) as j:
        d_transition[n, i, j] = products[i, j] * p.by_row[i, j] + exact[i, j]


def _marginals(b: NestBuilder, p: Pairs, alpha: Handle, beta: Handle, out: Handle, r: Use) -> None:
    """out[r] = the probability of each tag in row r, from products that are right but for a common factor."""
    top = b.var("top", const(float("-inf"), "float64"))
    with b.vector("j", 0, p.tags) as j:
        b.accumulate(top, "max", alpha[r, j] + beta[j])
    shift, total = b.let("shift", finite(top)), b.var("total", const(0, "float64"))
    with b.vector("j", 0, p.tags) as j:
        weight = b.let("weight", exp(cast(alpha[r, j] + beta[j] - shift, p.dtype)))
        out[r, j] = weight
        b.accumulate(total, "sum", cast(weight, "float64"))
    scale = b.let("scale_r", cast(1.0 / total, p.dtype))
    with b.vector("j", 0, p.tags) as j:
        out[r, j] = out[r, j] * scale


def _step_back(
    b: NestBuilder, p: Pairs, emission: Handle, alpha: Handle, beta: Handle, sums: Sequence[Handle],
    space: Sequence[Handle], r: Use,
) -> None:  # fmt: skip
    """beta of row r - 1 from that of row r, and the marginals of the pairs in the two rows, added to `sums`."""
    products, exact = sums
    last, back, scaled = space
    K, dtype = p.tags, p.dtype
    factors, weights = b.scratch("factors", dtype, (K,)), b.scratch("weights", dtype, (K,))
    with b.vector("j", 0, K) as j:
        last[j] = cast(emission[r, j], "float64") + beta[j]
    lost = chain.log_sums(b, p, last, back, scaled, factors, forward=False)
    total = b.var("total", const(0, "float64"))
    with b.vector("i", 0, K) as i:
        weight = b.let("weight", exp(cast(alpha[r - 1, i], dtype)))
        weights[i] = weight
        b.accumulate(total, "sum", cast(weight * factors[i], "float64"))
    share = b.let("share", cast(1.0 / total, dtype))
    with b.loop("i", 0, select(lost, 0, K)) as i:
        factor = b.let("factor", weights[i] * share)
        with b.vector("j", 0, K) as j:
            products[i, j] = products[i, j] + factor * scaled[j]
    _exact_pairs(b, p, alpha, last, exact, r, b.let("rows", select(lost, K, 0)))
    top = b.var("top", const(float("-inf"), "float64"))
    with b.vector("i", 0, K) as i:
        b.accumulate(top, "max", back[i])
    shift = b.let("shift", finite(top))
    with b.vector("i", 0, K) as i:
        beta[i] = back[i] - shift


def _exact_pairs(b: NestBuilder, p: Pairs, alpha: Handle, last: Handle, exact: Handle, r: Use, rows: Use) -> None:
    """The marginals of pairs in logarithms: for weights so far apart that products of exponentials underflow."""

    def weight(i: Use, j: Use) -> Expr:
        return alpha[r - 1, i] + cast(p.weights[i, j], "float64") + last[j]

    top, total = b.var("top", const(float("-inf"), "float64")), b.var("total", const(0, "float64"))
    with b.loop("i", 0, rows) as i, b.vector("j", 0, p.tags) as j:
        b.accumulate(top, "max", weight(i, j))
    shift = b.let("shift", finite(top))
    with b.loop("i", 0, rows) as i, b.vector("j", 0, p.tags) as j:
        b.accumulate(total, "sum", exp(weight(i, j) - shift))
    with b.loop("i", 0, rows) as i, b.vector("j", 0, p.tags) as j:
        exact[i, j] = exact[i, j] + cast(exp(weight(i, j) - shift) / total, p.dtype)
