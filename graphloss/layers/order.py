"""Fluid's running sums, sorting and tests of values."""

from __future__ import annotations

from graphloss import ops
from graphloss.errors import AttrError
from graphloss.ir.tensor import Tensor
from graphloss.layers.helper import as_vector, layer_function
from graphloss.losses.labels import stopped

__all__ = ["argsort", "cumsum", "has_inf", "has_nan", "isfinite", "topk"]


@layer_function
def cumsum(x: Tensor, axis: int | None = None, exclusive: bool | None = None, reverse: bool | None = None) -> Tensor:
    """The sum of all elements up to each along `axis` (None: the last); exclusive: before each; reverse: from the end.

    Source: paddle.fluid.layers.cumsum.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([1.0, 2.0, 3.0]))
        ...     gl.layers.cumsum(x).numpy().tolist(), gl.layers.cumsum(x, reverse=True).numpy().tolist()
        ([1.0, 3.0, 6.0], [6.0, 5.0, 3.0])
    """
    return ops.cumsum(x, -1 if axis is None else axis, exclusive=bool(exclusive), reverse=bool(reverse))


@layer_function
def argsort(input: Tensor, axis: int = -1, descending: bool = False, name: str | None = None) -> tuple[Tensor, Tensor]:
    """The elements in order along `axis`, and where they stood, int64; equal ones keep their order.

    The gradient of an element goes back to where it stood.

    Source: paddle.fluid.layers.argsort.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     values, places = gl.layers.argsort(gl.dygraph.to_variable(np.array([2.0, 3.0, 1.0])))
        ...     values.numpy().tolist(), places.numpy().tolist()
        ([1.0, 2.0, 3.0], [2, 0, 1])
    """
    places = stopped(ops.argsort(input, axis, descending))
    return ops.take_along(input, places, axis), places


@layer_function
def topk(input: Tensor, k: int, name: str | None = None) -> tuple[Tensor, Tensor]:
    """The k largest elements of each row, largest first, and where they stand, int64; no gradient flows through them.

    Raises:
        AttrError: k is no positive integer, or more than the row has.

    Source: paddle.fluid.layers.topk.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     values, places = gl.layers.topk(gl.dygraph.to_variable(np.array([[2.0, 3.0, 1.0]])), 2)
        ...     values.numpy().tolist(), places.numpy().tolist()
        ([[3.0, 2.0]], [[1, 0]])
    """
    n = input.type.shape[-1] if input.type.rank else 1
    if isinstance(k, bool) or not isinstance(k, int) or k < 1 or (isinstance(n, int) and k > n):
        raise AttrError("topk: k is out of range", expected=f"1 to {n}", got=repr(k))
    places = ops.slice_axes(ops.argsort(input, -1, True), [input.type.rank - 1], [0], [k])
    return stopped(ops.take_along(input, places, -1)), stopped(places)


@layer_function
def has_inf(x: Tensor) -> Tensor:
    """Whether an element is infinite, of shape [1].

    Source: paddle.fluid.layers.has_inf.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.has_inf(gl.dygraph.to_variable(np.array([1.0, np.inf]))).numpy().tolist()
        [True]
    """
    return as_vector(ops.reduce_any(ops.isinf(x)))


@layer_function
def has_nan(x: Tensor) -> Tensor:
    """Whether an element is NaN, of shape [1].

    Source: paddle.fluid.layers.has_nan.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.has_nan(gl.dygraph.to_variable(np.array([1.0, np.inf]))).numpy().tolist()
        [False]
    """
    return as_vector(ops.reduce_any(ops.isnan(x)))


@layer_function
def isfinite(x: Tensor) -> Tensor:
    """Whether no element is infinite or NaN, of shape [1].

    Source: paddle.fluid.layers.isfinite.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.isfinite(gl.dygraph.to_variable(np.array([1.0, np.inf]))).numpy().tolist()
        [False]
    """
    return as_vector(ops.reduce_all(ops.isfinite(x)))
