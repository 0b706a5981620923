"""Fluid's functions that move elements: reshape, slice, gather, concat and their like."""

from __future__ import annotations

from collections.abc import Sequence

from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError
from graphloss.ir.dims import Dim
from graphloss.ir.tensor import Tensor
from graphloss.layers.helper import activated, layer_function
from graphloss.losses import checks

__all__ = [
    "concat",
    "expand",
    "expand_as",
    "flatten",
    "gather",
    "gather_nd",
    "one_hot",
    "reshape",
    "scatter",
    "slice",
    "split",
    "squeeze",
    "stack",
    "transpose",
    "unsqueeze",
    "unstack",
]


@layer_function
def reshape(
    x: Tensor,
    shape: Sequence[int],
    actual_shape: object = None,
    act: str | None = None,
    inplace: bool = False,
    name: str | None = None,
) -> Tensor:
    """The same elements under `shape`: one −1 is worked out, 0 takes x's dimension; a new value always.

    Raises:
        ShapeError: another number of elements. AttrError: `actual_shape` is given; shapes are known when the program
            is built.

    Source: paddle.fluid.layers.reshape.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.reshape(gl.dygraph.to_variable(np.array([[1, 2, 3], [4, 5, 6]])), [-1, 2]).numpy().tolist()
        [[1, 2], [3, 4], [5, 6]]
    """
    if actual_shape is not None:
        raise AttrError("reshape: actual_shape is not supported", hint="None dimensions of x stay free with 0 or -1")
    full: list[Dim] = []
    for i, d in enumerate(shape):
        if d == 0 and i >= x.type.rank:
            raise ShapeError(
                "reshape: 0 takes a dimension that x does not have", expected=f"rank above {i}", got=x.type.rank
            )
        full.append(x.type.shape[i] if d == 0 else int(d))
    return activated(ops.reshape(x, full), act)


@layer_function
def transpose(x: Tensor, perm: Sequence[int], name: str | None = None) -> Tensor:
    """Dimensions in the order `perm`.

    Source: paddle.fluid.layers.transpose.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.transpose(gl.dygraph.to_variable(np.array([[1, 2, 3], [4, 5, 6]])), [1, 0]).numpy().tolist()
        [[1, 4], [2, 5], [3, 6]]
    """
    return ops.transpose(x, perm)


@layer_function
def squeeze(input: Tensor, axes: Sequence[int], name: str | None = None) -> Tensor:
    """Without the dimensions `axes`, which are 1; [] takes all that are declared 1.

    Source: paddle.fluid.layers.squeeze.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.squeeze(gl.dygraph.to_variable(np.array([[[1, 2]]])), [0]).numpy().tolist()
        [[1, 2]]
    """
    return ops.squeeze(input, list(axes) or None)


@layer_function
def unsqueeze(input: Tensor, axes: int | Sequence[int], name: str | None = None) -> Tensor:
    """With dimensions of 1 at the places `axes` of the result.

    Source: paddle.fluid.layers.unsqueeze.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.unsqueeze(gl.dygraph.to_variable(np.array([1, 2])), [1]).numpy().tolist()
        [[1], [2]]
    """
    return ops.unsqueeze(input, axes)


@layer_function
def flatten(x: Tensor, axis: int = 1, name: str | None = None) -> Tensor:
    """A matrix: the dimensions before `axis` as rows, the others as columns.

    Source: paddle.fluid.layers.flatten.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.flatten(gl.dygraph.to_variable(np.array([[[1, 2], [3, 4]]])), axis=2).numpy().tolist()
        [[1, 2], [3, 4]]
    """
    return ops.flatten(x, axis)


@layer_function
def expand(x: Tensor, expand_times: Sequence[int], name: str | None = None) -> Tensor:
    """x laid side by side expand_times[i] times along dimension i.

    Source: paddle.fluid.layers.expand.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.expand(gl.dygraph.to_variable(np.array([[1, 2]])), [2, 2]).numpy().tolist()
        [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    return ops.tile(x, expand_times)


@layer_function
def expand_as(x: Tensor, target_tensor: Tensor, name: str | None = None) -> Tensor:
    """x repeated to the shape of the target, along dimensions of 1.

    Source: paddle.fluid.layers.expand_as.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[1, 2]]))
        ...     y = gl.dygraph.to_variable(np.array([[0, 0], [0, 0]]))
        ...     gl.layers.expand_as(x, y).numpy().tolist()
        [[1, 2], [1, 2]]
    """
    return ops.broadcast_to(x, target_tensor.type.shape)


@layer_function
def concat(input: Sequence[Tensor], axis: int = 0, name: str | None = None) -> Tensor:
    """The Variables side by side along `axis`.

    Source: paddle.fluid.layers.concat.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[1], [2]]))
        ...     y = gl.dygraph.to_variable(np.array([[3], [4]]))
        ...     gl.layers.concat([x, y], axis=1).numpy().tolist()
        [[1, 3], [2, 4]]
    """
    return ops.concat(input, axis)


@layer_function
def split(input: Tensor, num_or_sections: int | Sequence[int], dim: int = -1, name: str | None = None) -> list[Tensor]:
    """Equal parts (so many), or parts of the given lengths (one may be −1), along `dim`.

    Source: paddle.fluid.layers.split.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.split(gl.dygraph.to_variable(np.array([[1, 2, 3, 4]])), 2, dim=1)[1].numpy().tolist()
        [[3, 4]]
    """
    return ops.split(input, num_or_sections, dim)


@layer_function
def stack(x: Sequence[Tensor] | Tensor, axis: int = 0) -> Tensor:
    """The Variables, all of one shape, along a new dimension.

    Source: paddle.fluid.layers.stack.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([1, 2]))
        ...     y = gl.dygraph.to_variable(np.array([3, 4]))
        ...     gl.layers.stack([x, y], axis=1).numpy().tolist()
        [[1, 3], [2, 4]]
    """
    return ops.stack([x] if isinstance(x, Tensor) else x, axis)


@layer_function
def unstack(x: Tensor, axis: int = 0, num: int | None = None) -> list[Tensor]:
    """The slices along `axis`, without it.

    Source: paddle.fluid.layers.unstack.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.unstack(gl.dygraph.to_variable(np.array([[1, 2], [3, 4]])))[1].numpy().tolist()
        [3, 4]
    """
    return ops.unstack(x, axis)


@layer_function
def slice(input: Tensor, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int]) -> Tensor:
    """input[start:end] along each of `axes`, as Python counts.

    Source: paddle.fluid.layers.slice.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[1, 2, 3], [4, 5, 6]]))
        ...     gl.layers.slice(x, axes=[1], starts=[1], ends=[3]).numpy().tolist()
        [[2, 3], [5, 6]]
    """
    return ops.slice_axes(input, axes, starts, ends)


@layer_function
def gather(input: Tensor, index: Tensor, overwrite: bool = True) -> Tensor:
    """The rows of `input` that `index` ([N] or [N, 1]) names; gradients of repeated rows add up.

    Raises:
        LabelError (in the run): an index outside [0, rows).

    Source: paddle.fluid.layers.gather.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[1, 2], [3, 4], [5, 6]]))
        ...     y = gl.dygraph.to_variable(np.array([2, 0]))
        ...     gl.layers.gather(x, y).numpy().tolist()
        [[5, 6], [1, 2]]
    """
    return ops.gather(input, index)


@layer_function
def gather_nd(input: Tensor, index: Tensor, name: str | None = None) -> Tensor:
    """input[index[i, 0], index[i, 1], …].

    Source: paddle.fluid.layers.gather_nd.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[1, 2], [3, 4]]))
        ...     y = gl.dygraph.to_variable(np.array([[0, 1], [1, 0]]))
        ...     gl.layers.gather_nd(x, y).numpy().tolist()
        [2, 3]
    """
    return ops.gather_nd(input, index)


@layer_function
def scatter(input: Tensor, index: Tensor, updates: Tensor, name: str | None = None, overwrite: bool = True) -> Tensor:
    """`input` with the rows that `index` ([N] or [N, 1]) names set to those of `updates`.

    Where a row is named more than once, the last of its updates stands; with overwrite=False it becomes their sum
    (what `input` holds there goes, in both). The gradient goes to what is in the result: an update that another one
    replaced gets 0, and so does a row of `input` that is named.

    Raises:
        LabelError (in the run): an index outside [0, rows). ShapeError: updates is not [N, …] as `input` is [rows, …].
        DtypeError: updates has another dtype than input.

    Source: PaddlePaddle 1.8, layers.scatter; its loop over the index gives the order.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x, u = gl.layers.ones([3, 1], "float32"), gl.layers.assign(np.array([[5.0], [6.0], [7.0]], "float32"))
        ...     i = gl.layers.assign(np.array([2, 0, 2]))
        ...     print(gl.layers.scatter(x, i, u).numpy().tolist())
        ...     print(gl.layers.scatter(x, i, u, overwrite=False).numpy().tolist())
        [[6.0], [1.0], [7.0]]
        [[6.0], [1.0], [12.0]]
    """
    if not isinstance(overwrite, bool):
        raise ArgumentTypeError("scatter: overwrite is a flag", "bool", type(overwrite).__name__)
    operands = (input, "input"), (index, "index"), (updates, "updates")
    x, i, u = (checks.tensor(value, what, "scatter") for value, what in operands)
    return ops.scatter(x, i, u, add=not overwrite)


@layer_function
def one_hot(input: Tensor, depth: int, allow_out_of_range: bool = False) -> Tensor:
    """float32 rows with a 1 at each label: the last dimension, which is 1, becomes `depth`.

    Raises:
        LabelError (in the run): a label outside [0, depth); with allow_out_of_range its row is 0.

    Source: paddle.fluid.layers.one_hot.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.one_hot(gl.dygraph.to_variable(np.array([[2], [0]])), 3).numpy().tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    if input.type.rank == 0 or input.type.shape[-1] != 1:
        raise ShapeError("one_hot: the last dimension of the labels must be 1", expected="[…, 1]", got=input.type)
    return ops.one_hot(ops.squeeze(input, (-1,)), depth, strict=not allow_out_of_range)
