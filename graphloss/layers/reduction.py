"""Fluid's reductions: a full reduction has shape [1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.layers.helper import as_vector, layer_function

__all__ = [
    "argmax",
    "argmin",
    "mean",
    "reduce_all",
    "reduce_any",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_sum",
]


def _reduction(name: str, fn: Callable[..., Tensor], what: str, result: str, **attrs: object) -> Callable[..., Tensor]:
    def run(
        input: Tensor, dim: int | Sequence[int] | None = None, keep_dim: bool = False, name: str | None = None
    ) -> Tensor:
        axes = None if dim is None or (not isinstance(dim, int) and len(dim) == 0) else dim
        return as_vector(fn(input, axes, keep_dim, **attrs))

    array = "[[True, False], [True, True]]" if "True" in result else "[[1.0, 2.0], [3.0, 6.0]]"
    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"""{what} over the dimensions `dim` (None: all, giving shape [1]).

    Args:
        input: a Variable.
        dim: a dimension or several, counted from the end where negative.
        keep_dim: keep them, as 1.

    Raises:
        ShapeError: a dimension out of range or named twice.

    Source: paddle.fluid.layers.{name}.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.{name}(gl.dygraph.to_variable(np.array({array})), dim=1).numpy().tolist()
        {result}
    """
    return layer_function(run)


reduce_sum = _reduction("reduce_sum", ops.reduce_sum, "The sum", "[3.0, 9.0]")
reduce_mean = _reduction("reduce_mean", ops.reduce_mean, "The mean (of none NaN)", "[1.5, 4.5]")
reduce_prod = _reduction("reduce_prod", ops.reduce_prod, "The product", "[2.0, 18.0]")
# the whole gradient goes to every maximum
reduce_max = _reduction("reduce_max", ops.reduce_max, "The maximum", "[2.0, 6.0]", tie="all")
reduce_min = _reduction("reduce_min", ops.reduce_min, "The minimum", "[1.0, 3.0]", tie="all")
reduce_all = _reduction("reduce_all", ops.reduce_all, "Whether all hold,", "[False, True]")
reduce_any = _reduction("reduce_any", ops.reduce_any, "Whether any holds,", "[True, True]")


@layer_function
def mean(x: Tensor, name: str | None = None) -> Tensor:
    """The mean of all elements, of shape [1]; NaN of none.

    Source: paddle.fluid.layers.mean.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.mean(gl.dygraph.to_variable(np.array([[1.0, 2.0], [3.0, 6.0]]))).numpy().tolist()
        [3.0]
    """
    return as_vector(ops.reduce_mean(x))


@layer_function
def argmax(x: Tensor, axis: int = 0) -> Tensor:
    """Where the maximum along `axis` is, int64; the lowest index wins.

    Source: paddle.fluid.layers.argmax.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.argmax(gl.dygraph.to_variable(np.array([[1, 5, 5], [7, 0, 2]])), axis=1).numpy().tolist()
        [1, 0]
    """
    return ops.argmax(x, axis)


@layer_function
def argmin(x: Tensor, axis: int = 0) -> Tensor:
    """Where the minimum along `axis` is, int64; the lowest index wins.

    Source: paddle.fluid.layers.argmin.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.argmin(gl.dygraph.to_variable(np.array([[1, 5, 5], [7, 0, 2]])), axis=1).numpy().tolist()
        [0, 1]
    """
    return ops.argmin(x, axis)
