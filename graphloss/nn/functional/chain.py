"""Linear chains on tensors: the CRF and its decoding, batch first."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import ShapeError
from graphloss.ir.dims import Dim
from graphloss.ir.tensor import Tensor
from graphloss.losses import chain, checks
from graphloss.losses.labels import stopped

__all__ = ["crf_viterbi", "linear_chain_crf"]


@checks.located
def linear_chain_crf(
    emission: Tensor,
    label: Tensor,
    transition: Tensor,
    start: Tensor | None = None,
    end: Tensor | None = None,
    length: object = None,
) -> Tensor:
    """−ln p(label) of each sequence in a linear-chain conditional random field: ln Z − score.

    score(y) = start[y_1] + Σ_t emission[t, y_t] + Σ_t transition[y_t, y_t+1] + end[y_T]; Z sums e^score over all tags.
    The gradients are the marginals less what the label tells, also by single inputs.

    Args:
        emission: (B, T, K), or (T, K) for one sequence.
        label: tags in [0, K), (B, T).
        transition: (K, K), of tag j after tag i at [i, j]; −inf forbids it.
        start, end: (K,), 0 by default.
        length: how many steps of each sequence count, (B,) or a tuple; all by default.

    Returns:
        (B,); 0-d for one sequence.

    Raises:
        LabelError (in the run): a tag or a length out of range, with its place.
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Lafferty, McCallum and Pereira, Conditional random fields, 2001.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, y, w = (gl.dygraph.to_variable(v) for v in (
        ...         np.zeros((1, 3, 2)), np.array([[0, 1, 1]]), np.zeros((2, 2))))
        ...     gl.nn.functional.linear_chain_crf(x, y, w).numpy().round(4)
        array([2.0794])
    """
    where = "linear_chain_crf"
    x, y = checks.tensor(emission, "emission", where), checks.tensor(label, "label", where)
    single = x.type.rank == 2
    if single:
        x = ops.unsqueeze(x, (0,))
        y = ops.unsqueeze(y, (0,))
    w, a, b = _weights(x, transition, start, end, where)
    chain.require_tags(y, x, where)
    rows = chain.padded(x, length, where)
    cost = ops.linear_chain_crf(rows.emission, w, a, b, rows.rows(y), rows.offsets, rows.length)
    return ops.squeeze(cost, (0,)) if single else cost


@checks.located
def crf_viterbi(
    emission: Tensor,
    transition: Tensor,
    start: Tensor | None = None,
    end: Tensor | None = None,
    length: object = None,
) -> tuple[Tensor, Tensor]:
    """The most probable tags of each sequence, and their score as `linear_chain_crf` defines it.

    Args:
        emission, transition, start, end, length: as there.

    Returns:
        (tags int64 (B, T), 0 behind the end of a sequence; scores (B,)); of equal scores the lowest tags. (T,) and 0-d
        for one sequence.

    Raises:
        LabelError (in the run): a length out of range. ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Viterbi, Error bounds for convolutional codes and an asymptotically optimum decoding algorithm, 1967.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, w = (gl.dygraph.to_variable(v) for v in (
        ...         np.array([[[0.0, 1.0], [2.0, 0.0]]]), np.array([[0.0, 0.0], [-5.0, 0.0]])))
        ...     [r.numpy().tolist() for r in gl.nn.functional.crf_viterbi(x, w)]
        [[[0, 0]], [2.0]]
    """
    where = "crf_viterbi"
    x = checks.tensor(emission, "emission", where)
    single = x.type.rank == 2
    if single:
        x = ops.unsqueeze(x, (0,))
    w, a, b = _weights(x, transition, start, end, where)
    rows = chain.padded(x, length, where)
    path, score = ops.crf_viterbi(rows.emission, w, a, b, rows.offsets, rows.length)
    path = rows.shaped(path)
    if single:
        path, score = ops.squeeze(path, (0,)), ops.squeeze(score, (0,))
    return stopped(path), stopped(score)


def _weights(
    x: Tensor, transition: Tensor, start: Tensor | None, end: Tensor | None, where: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Transitions, start and end weights as tensors that fit the emissions [B, T, K]."""
    checks.require_float(x, where, "emission")
    if x.type.rank != 3:
        raise ShapeError(f"{where}: emissions have the wrong rank", "(B, T, K) or (T, K)", checks.shape_text(x))
    tags = x.type.shape[2]
    w = _fitting(checks.tensor(transition, "transition", where), x, (tags, tags), "transition", where)
    none = ops.fill((tags,), 0.0, x.type.dtype)
    a = none if start is None else _fitting(checks.tensor(start, "start", where), x, (tags,), "start", where)
    b = none if end is None else _fitting(checks.tensor(end, "end", where), x, (tags,), "end", where)
    return w, a, b


def _fitting(v: Tensor, x: Tensor, shape: tuple[Dim, ...], name: str, where: str) -> Tensor:
    checks.require_same_dtype(x, v, where, name)
    if not chain.fits(v.type.shape, shape):
        raise ShapeError(f"{where}: {name} does not fit the emissions", checks.dims_text(shape), checks.shape_text(v))
    return v
