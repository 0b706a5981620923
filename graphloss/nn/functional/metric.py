"""PyTorch's functional similarities, and the losses of embeddings that are built on them."""

from __future__ import annotations

from collections.abc import Callable

from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks, embedding, similarity
from graphloss.losses.reduction import check_reduction, reduced
from graphloss.nn.arguments import numbers, reduction_of, require_same_rank

__all__ = [
    "cosine_embedding_loss",
    "cosine_similarity",
    "normalize",
    "pairwise_distance",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


@checks.located
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1·x2 / (max(‖x1‖, ε)·max(‖x2‖, ε)) along `dim`; 0 where one is the zero vector.

    Args:
        x1, x2: of one shape, or broadcasting.
        dim: the axis of the vectors.
        eps: ε, the least norm that is divided by; the gradient takes no notice of it.

    Returns:
        The common shape without `dim`.

    Raises:
        ShapeError, DtypeError, AttrError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.cosine_similarity.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, b = (gl.dygraph.to_variable(np.array(v)) for v in ([[3.0, 4.0]], [[4.0, 3.0]]))
        ...     gl.nn.functional.cosine_similarity(a, b).numpy().round(7).tolist()
        [0.96]
    """
    where = "cosine_similarity"
    a, b = numbers(where, x1=x1, x2=x2)
    axis = checks.axis_in_range(dim, max(a.type.rank, b.type.rank), where)
    a, b = _broadcast(a, b)
    return similarity.cosine_of_bounded_norms(a, b, axis, float(eps))


@checks.located
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """‖x1 − x2 + ε‖_p along the last axis.

    Args:
        x1, x2: (N, D) or (D,), or broadcasting.
        p: the norm, 0 to ∞; the gradient at the zero vector is 0.
        eps: ε, added to each signed difference.
        keepdim: keep the last axis, with size 1.

    Returns:
        (N,), or 0-d for two vectors; with keepdim (N, 1) or (1,).

    Raises:
        ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.pairwise_distance.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, b = (gl.dygraph.to_variable(np.array(v)) for v in ([[3.0, 4.0]], [[0.0, 0.0]]))
        ...     gl.nn.functional.pairwise_distance(a, b).numpy().round(5).tolist()
        [5.0]
    """
    where = "pairwise_distance"
    a, b = numbers(where, x1=x1, x2=x2)
    _require_vectors(where, a, b)
    return similarity.pairwise_distance(a, b, float(p), float(eps), keepdim)


@checks.located
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    """x / max(‖x‖_p, ε) along `dim`; the zero vector stays 0.

    Args:
        input: x, any shape.
        p: the norm, 0 to ∞.
        dim: the axis of the vectors.
        eps: ε.
        out: not supported; must be None.

    Raises:
        AttrError: `dim` out of range, `out` given. DtypeError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.normalize.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.nn.functional.normalize(gl.dygraph.to_variable(np.array([[3.0, 4.0]]))).numpy().round(7).tolist()
        [[0.6, 0.8]]
    """
    where = "normalize"
    if out is not None:
        raise AttrError(f"{where}: a result is always a new value", expected="out=None")
    (x,) = numbers(where, input=input)
    return similarity.normalized(x, float(p), checks.axis_in_range(dim, x.type.rank, where), float(eps))


@checks.located
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 − cos where y = 1, max(0, cos − margin) where y = −1, else 0; cos = x1·x2 / √((x1·x1 + ε)(x2·x2 + ε)).

    ε = 1e-12, so the cosine of a zero vector is 0. The gradient passes where cos = margin.

    Args:
        input1, input2: x1 and x2, (N, D) with a target (N,), or (D,) with a 0-d one.
        target: y; gets no gradient.
        margin: −1 to 1.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" an array of y's shape.

    Raises:
        ShapeError, DtypeError, AttrError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.cosine_embedding_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, b, y = (gl.dygraph.to_variable(np.array(v)) for v in ([[3.0, 4.0]], [[4.0, 3.0]], [1.0]))
        ...     round(float(gl.nn.functional.cosine_embedding_loss(a, b, y).numpy()), 7)
        0.04
    """
    where = "cosine_embedding_loss"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    a, b, y = numbers(where, input1=input1, input2=input2, target=target)
    _require_vectors(where, a, b)
    checks.require_same_shape(a, b, where, "input2")
    checks.require_labels_of(a, y, a.type.rank - 1, where)
    cos = similarity.cosine_of_shifted_squares(a, b, a.type.rank - 1, 1e-12)
    return reduced(embedding.cosine_embedding(cos, y, float(margin), at_zero=True), reduction)


@checks.located
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + d(a, p) − d(a, n)), d(u, v) = ‖u − v + ε‖_p; the gradient passes at slack 0.

    Args:
        anchor, positive, negative: (N, D) or (D,), of one rank.
        margin: above 0.
        p: the norm, 0 to ∞.
        eps: ε, added to each signed difference.
        swap: d(p, n) takes the place of d(a, n) where it is smaller; where they are equal the gradient is halved.
        size_average, reduce, reduction: as in `mse_loss`.

    Returns:
        0-d, or for "none" (N,), 0-d for one triplet.

    Raises:
        AttrError: margin ≤ 0. ShapeError, DtypeError, ArgumentTypeError: at the call.

    Source:
        Balntas, Riba, Ponsa and Mikolajczyk, Learning shallow convolutional feature descriptors with triplet losses,
        2016; torch.nn.functional.triplet_margin_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     a, p, n = (gl.dygraph.to_variable(np.array(v)) for v in ([[0.0, 0.5]], [[0.5, 0.0]], [[1.0, 0.2]]))
        ...     round(float(gl.nn.functional.triplet_margin_loss(a, p, n).numpy()), 7)
        0.6630768
    """

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return similarity.pairwise_distance(x, y, float(p), float(eps))

    where = "triplet_margin_loss"
    reduction = check_reduction(reduction_of(size_average, reduce, reduction))
    a, b, c = _triplet(anchor, positive, negative, margin, where)
    _require_vectors(where, a, b, c)
    return reduced(embedding.triplet(a, b, c, float(margin), distance, swap), reduction)


@checks.located
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + d(a, p) − d(a, n)) for any function d of two Variables; without one `pairwise_distance`.

    Args:
        anchor, positive, negative: of one rank, whatever d takes.
        distance_function: d; it is compiled into the loss.
        margin, swap: as in `triplet_margin_loss`.
        reduction: "none", "mean" or "sum".

    Returns:
        0-d, or for "none" what d returns.

    Raises:
        AttrError: margin ≤ 0. ShapeError: different ranks. DtypeError, ArgumentTypeError: at the call.

    Source:
        torch.nn.functional.triplet_margin_with_distance_loss.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> from graphloss.nn import functional as F
        >>> with gl.dygraph.guard():
        ...     a, p, n = (gl.dygraph.to_variable(np.array(v)) for v in ([[0.0, 0.5]], [[0.5, 0.0]], [[1.0, 0.2]]))
        ...     loss = F.triplet_margin_with_distance_loss(
        ...         a, p, n, distance_function=lambda u, v: 1 - F.cosine_similarity(u, v), margin=0.5)
        ...     round(float(loss.numpy()), 7)
        0.6961161
    """
    where = "triplet_margin_with_distance_loss"
    check_reduction(reduction)
    a, b, c = _triplet(anchor, positive, negative, margin, where)
    if distance_function is not None and not callable(distance_function):
        raise ArgumentTypeError(f"{where}: distance_function is not callable", got=type(distance_function).__name__)
    return reduced(embedding.triplet(a, b, c, float(margin), distance_function or pairwise_distance, swap), reduction)


def _triplet(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float, where: str) -> tuple[Tensor, ...]:
    if not margin > 0:
        raise AttrError(f"{where}: margin must be above 0", got=margin)
    found = numbers(where, anchor=anchor, positive=positive, negative=negative)
    require_same_rank(where, *found)
    return found


def _require_vectors(where: str, *given: Tensor) -> None:
    for x in given:
        if x.type.rank == 0:
            raise ShapeError(f"{where}: a vector is needed", expected="(D,) or (N, D)", got="0-d")


def _broadcast(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both in their common shape; a norm along a broadcast axis counts each repeated element."""
    if a.type.shape == b.type.shape:
        return a, b
    shape = (a + b).type.shape
    return ops.broadcast_to(a, shape), ops.broadcast_to(b, shape)
