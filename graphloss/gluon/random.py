"""Random arrays: one stream per seed, the same on every machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from graphloss import dtypes, ops
from graphloss.gluon.ndarray import at_once
from graphloss.ir.tensor import Tensor
from graphloss.ops.random import chance


class _Stream:
    """Draws are numbered; draw n of a seed is always the same."""

    def __init__(self) -> None:
        self.seed = 0  # until the first draw or `seed`
        self.draws: Iterator[int] = itertools.count()


_STREAM = _Stream()


def seed(seed_state: int) -> None:
    """Begins the stream of a seed.

    Example:
        >>> from graphloss.gluon import nd
        >>> nd.random.seed(0)
        >>> x = nd.random.uniform(shape=(2, 4)).asnumpy()
        >>> nd.random.seed(0)
        >>> bool((nd.random.uniform(shape=(2, 4)).asnumpy() == x).all())
        True
    """
    _STREAM.seed = 2 * int(seed_state) + 1  # not 0, with which an op draws by chance
    _STREAM.draws = itertools.count()


def uniform(
    low: float = 0.0, high: float = 1.0, shape: int | Sequence[int] = (1,), dtype: object = "float32"
) -> Tensor:
    """Numbers spread evenly over [low, high)."""
    with at_once():
        kind = dtypes.canonical(dtype)
        return ops.cast(ops.uniform(_shape(shape), kind, low, high, *_draw()), kind)


def normal(
    loc: float = 0.0, scale: float = 1.0, shape: int | Sequence[int] = (1,), dtype: object = "float32"
) -> Tensor:
    """Numbers of the normal distribution."""
    with at_once():
        kind = dtypes.canonical(dtype)
        return ops.cast(ops.normal(_shape(shape), kind, loc, scale, *_draw()), kind)


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def _draw() -> tuple[int, Tensor]:
    _STREAM.seed = _STREAM.seed or chance()
    return _STREAM.seed, ops.fill((), next(_STREAM.draws), "int64")
