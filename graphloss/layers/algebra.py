"""Fluid's matrix products and the fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphloss import ops
from graphloss.errors import AttrError, ShapeError, UnsupportedError
from graphloss.ir import context
from graphloss.ir.tensor import Tensor
from graphloss.ir.variable import Variable
from graphloss.layers.helper import activated, layer_function, make_parameter
from graphloss.losses import checks

__all__ = ["fc", "matmul", "mul"]


@layer_function
def matmul(
    x: Tensor,
    y: Tensor,
    transpose_x: bool = False,
    transpose_y: bool = False,
    alpha: float = 1.0,
    name: str | None = None,
) -> Tensor:
    """alpha·x @ y, each with its last two dimensions exchanged first where asked; leading dimensions broadcast.

    Source: paddle.fluid.layers.matmul.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[1.0, 2.0]]))
        ...     y = gl.dygraph.to_variable(np.array([[3.0, 4.0]]))
        ...     gl.layers.matmul(x, y, transpose_y=True).numpy().round(4).tolist()
        [[11.0]]
    """
    product = ops.matmul(x, y, transpose_x, transpose_y)
    return product if alpha == 1 else alpha * product


@layer_function
def mul(x: Tensor, y: Tensor, x_num_col_dims: int = 1, y_num_col_dims: int = 1, name: str | None = None) -> Tensor:
    """x @ y as matrices: the first *_num_col_dims dimensions are the rows, the others the columns.

    Source: paddle.fluid.layers.mul.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[1.0, 2.0]]))
        ...     y = gl.dygraph.to_variable(np.array([[3.0], [4.0]]))
        ...     gl.layers.mul(x, y).numpy().round(4).tolist()
        [[11.0]]
    """
    return ops.mul_flat(x, y, x_num_col_dims, y_num_col_dims)


@checks.located
def fc(
    input: Tensor | Sequence[Tensor],
    size: int,
    num_flatten_dims: int = 1,
    param_attr: object = None,
    bias_attr: object = None,
    act: str | None = None,
    name: str | None = None,
) -> Tensor:
    """act(Σ_i x_i @ w_i + b), a fully connected layer.

    Args:
        input: x, or several; dimensions from num_flatten_dims on are flattened to the columns of a matrix, and must
            be known.
        size: columns of w, length of b.
        num_flatten_dims: how many dimensions stay in front.
        param_attr: of the weights: None, ParamAttr, a name, an initialiser; by default Xavier-uniform, `<name>.w_0`.
            A list gives one for each input.
        bias_attr: of the bias: the same, or False for none; by default zeros, `<name>.b_0`.
        act: name of an activation.
        name: of the layer.

    Returns:
        [d1, …, d_num_flatten_dims, size].

    Raises:
        ShapeError: unknown columns. AttrError, ArgumentTypeError: other arguments. UnsupportedError: in eager mode.

    Source: paddle.fluid.layers.fc.

    Example:
        >>> import graphloss as gl
        >>> with gl.program_guard(gl.Program(), gl.Program()), gl.unique_name.guard():
        ...     x = gl.data("x", [None, 64])
        ...     y = gl.layers.fc(x, size=10)
        ...     [p.name for p in gl.default_main_program().all_parameters()], y.shape
        (['fc_0.w_0', 'fc_0.b_0'], (-1, 10))
    """
    xs = [input] if isinstance(input, Tensor) else list(input)
    if not xs:
        raise AttrError("fc takes at least one input", got="none")
    with context.layer("fc", name) as layer:
        total: Tensor | None = None
        for i, x in enumerate(xs):
            attr = param_attr[i] if isinstance(param_attr, (list, tuple)) else param_attr
            w = make_parameter(attr, [_columns(x, num_flatten_dims), size], x.type.dtype, layer)
            if w is None:
                raise AttrError("fc: the weights cannot be left out", got="param_attr=False")
            product = ops.matmul(x, w) if x.type.rank == 2 else ops.mul_flat(x, w, num_flatten_dims, 1)
            total = product if total is None else total + product
        assert total is not None
        b = make_parameter(bias_attr, [size], total.type.dtype, layer, is_bias=True)
        return activated(total if b is None else total + b, act)


def _columns(x: Tensor, first: int) -> int:
    """How many columns the dimensions from `first` on make."""
    if not isinstance(checks.tensor(x, "input", "fc"), Variable):
        raise UnsupportedError("fc makes parameters of a program", hint="in eager mode a dygraph.Linear keeps its own")
    checks.require_float(x, "fc")
    if not 1 <= first < x.type.rank:
        raise AttrError("fc: num_flatten_dims is out of range", expected=f"1 to {x.type.rank - 1}", got=first)
    known = [d for d in x.type.shape[first:] if isinstance(d, int)]
    if len(known) != x.type.rank - first:
        raise ShapeError("fc: the flattened dimensions must be known", expected="numbers", got=checks.shape_text(x))
    return math.prod(known)
