"""Contrastive losses of a batch: InfoNCE, NT-Xent, supervised contrastive."""

from __future__ import annotations

import math

from graphloss import ops
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import arguments, checks
from graphloss.losses.reduction import Rows, reduced, reduced_rows
from graphloss.losses.similarity import normalized

__all__ = ["info_nce_loss", "nt_xent_loss", "supervised_contrastive_loss"]

# Below this norm a vector is not scaled up to norm 1.
LEAST_NORM = 1e-12


def _similarities(x: Tensor, y: Tensor, temperature: float, normalize: bool) -> Tensor:
    """x·yᵀ/T of the rows, scaled to norm 1 first if asked; the small factor is scaled, not the matrix."""
    if normalize:
        same = x is y
        x = normalized(x, 2, 1, LEAST_NORM)
        y = x if same else normalized(y, 2, 1, LEAST_NORM)
    return ops.matmul(x * (1.0 / temperature), y, False, True)


def _row_numbers(n: Tensor) -> Tensor:
    return ops.iota((n.type.shape[0],), 0)


def _diagonal(s: Tensor) -> Tensor:
    """Whether an element of a square matrix is on its diagonal."""
    n = s.type.shape[0]
    return ops.equal(ops.iota((n, 1), 0), ops.iota((1, n), 1))


@checks.located
def info_nce_loss(
    query: Tensor,
    positive: Tensor,
    temperature: float = 0.07,
    symmetric: bool = False,
    normalize: bool = True,
    reduction: str = "mean",
) -> Tensor:
    """−log softmax(s_i)_i per row, s = query·positiveᵀ/T: the positive of row i is row i, the others are its negatives.

    Args:
        query, positive: (N, D), of one dtype.
        temperature: T > 0.
        symmetric: the mean of both directions (as CLIP): rows of s, and columns.
        normalize: scale each row to norm 1 first, so that s holds cosines; a zero row stays as it is.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" (N,). 0 for a single pair; the mean of no pair is NaN.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018; symmetric:
    Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a = gl.dygraph.to_variable(np.eye(2))
        ...     round(float(gl.losses.info_nce_loss(a, a, temperature=1.0).numpy()), 6)  # log(1 + 1/e)
        0.313262
    """
    where = "info_nce_loss"
    x = arguments.rows(query, "query", where)
    x, y = arguments.pair(x, positive, where, ("query", "positive"))
    heat = arguments.number(temperature, "temperature", where, 0.0, low_open=True)
    s = _similarities(x, y, heat, normalize)
    own = _row_numbers(x)
    loss = -ops.pick(ops.log_softmax(s, 1), own, 1)
    if symmetric:
        loss = 0.5 * (loss - ops.pick(ops.log_softmax(s, 0), own, 0))
    return reduced(loss, reduction)


@checks.located
def nt_xent_loss(
    input: Tensor, other: Tensor, temperature: float = 0.5, normalize: bool = True, reduction: str = "mean"
) -> Tensor:
    """−log softmax of the positive among all 2N − 1 others, for each of the 2N rows of both views.

    With v = [input; other] and s = v·vᵀ/T without its diagonal, the positive of row i is row i + N (mod 2N).

    Args:
        input, other: two views of N samples, (N, D), of one dtype.
        temperature: T > 0.
        normalize: scale each row to norm 1 first; a zero row stays as it is.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" (2N,). 0 for N = 1; the mean of no row is NaN.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual Representations",
    2020.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a = gl.dygraph.to_variable(np.eye(2))
        ...     round(float(gl.losses.nt_xent_loss(a, a, temperature=1.0).numpy()), 6)  # log(1 + 2/e)
        0.551445
    """
    where = "nt_xent_loss"
    x = arguments.rows(input, "input", where)
    x, y = arguments.pair(x, other, where, ("input", "other"))
    heat = arguments.number(temperature, "temperature", where, 0.0, low_open=True)
    if normalize:
        x, y = normalized(x, 2, 1, LEAST_NORM), normalized(y, 2, 1, LEAST_NORM)
    v = ops.concat([x, y], 0)
    s = _similarities(v, v, heat, normalize=False)
    number, n = _row_numbers(v), ops.size((x.type.shape[0],))
    partner = ops.where(number < n, number + n, number - n)
    log_p = ops.log_softmax(ops.where(_diagonal(s), -math.inf, s), 1)
    return reduced(-ops.pick(log_p, partner, 1), reduction)


@checks.located
def supervised_contrastive_loss(
    features: Tensor, labels: Tensor, temperature: float = 0.1, normalize: bool = True, reduction: str = "mean"
) -> Tensor:
    """−(1/|P_i|)·Σ_{p in P_i} log softmax_{a≠i}(s_i)_p per row, P_i the other rows with i's label, s = v·vᵀ/T.

    Args:
        features: v, (N, D).
        labels: integers (N,).
        temperature: T > 0.
        normalize: scale each row to norm 1 first; a zero row stays as it is.
        reduction: "none", "mean" (over the rows that have a positive; 0 where none has) or "sum".

    Returns:
        0-d, or for "none" (N,), 0 for a row that is alone with its label.

    Raises:
        ShapeError, DtypeError, AttrError: at the call.

    Source: Khosla et al., "Supervised Contrastive Learning", 2020, equation 2.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     v = gl.dygraph.to_variable(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        ...     y = gl.dygraph.to_variable(np.array([5, 5, 7]))
        ...     round(float(gl.losses.supervised_contrastive_loss(v, y, temperature=1.0).numpy()), 6)  # log(1 + 1/e)
        0.313262
    """
    where = "supervised_contrastive_loss"
    v = arguments.rows(features, "features", where)
    y = arguments.labels_per_row(labels, v, where)
    heat = arguments.number(temperature, "temperature", where, 0.0, low_open=True)
    s = _similarities(v, v, heat, normalize)
    itself = _diagonal(s)
    same = ops.logical_and(ops.equal(ops.unsqueeze(y, 1), ops.unsqueeze(y, 0)), ops.logical_not(itself))
    log_p = ops.log_softmax(ops.where(itself, -math.inf, s), 1)
    total = ops.reduce_sum(ops.where(same, log_p, 0.0), (1,))
    count = ops.reduce_sum(cast(same, v.type.dtype), (1,))
    some = count > 0.0
    loss = ops.where(some, -total / count, 0.0)
    return reduced_rows(Rows(loss, lambda: cast(some, v.type.dtype)), reduction, "zero")
