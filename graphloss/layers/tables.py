"""Fluid's constants that count, matrices of one diagonal, sizes, and rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

from graphloss import dtypes, ops
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError, UnsupportedError
from graphloss.ir.context import layer as layer_context
from graphloss.ir.tensor import Tensor, apply, convert
from graphloss.ir.variable import Variable
from graphloss.layers.helper import as_vector, layer_function, make_parameter
from graphloss.losses import checks
from graphloss.losses.labels import stopped
from graphloss.losses.similarity import norm

__all__ = ["clip_by_norm", "diag", "embedding", "eye", "linspace", "range", "shape", "size"]


@layer_function
def range(start: float, end: float, step: float, dtype: object) -> Tensor:
    """start, start + step, … before end; the numbers are Python's, since the length is a part of the type.

    Source: paddle.fluid.layers.range.

    Example:
        >>> import graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.range(0, 1, 0.25, "float32").numpy().tolist()
        [0.0, 0.25, 0.5, 0.75]
    """
    for value, name in ((start, "start"), (end, "end"), (step, "step")):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ArgumentTypeError(f"range: {name} is no number", "int or float", type(value).__name__)
    if step == 0:
        raise AttrError("range: step is 0")
    kind = dtypes.canonical(dtype)
    count = max(0, int(-((start - end) // step)))
    whole = dtypes.is_int(kind)
    places = ops.iota((count,), 0, "int64" if whole else "float64")
    steps = int(step) if whole else float(step)
    return convert(places * steps + (int(start) if whole else float(start)), kind)


@layer_function
def linspace(start: float, stop: float, num: int, dtype: object = "float32") -> Tensor:
    """`num` numbers from start to stop, both among them, evenly apart.

    Source: paddle.fluid.layers.linspace.

    Example:
        >>> import graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.linspace(0.0, 1.0, 5).numpy().round(4).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if isinstance(num, bool) or not isinstance(num, int) or num < 1:
        raise AttrError("linspace: num must be a positive integer", got=repr(num))
    share = ops.iota((num,), 0, "float64") / float(max(num - 1, 1))
    return convert(float(start) * (1.0 - share) + float(stop) * share, dtypes.canonical(dtype))


@layer_function
def eye(
    num_rows: int, num_columns: int | None = None, batch_shape: Sequence[int] | None = None, dtype: object = "float32"
) -> Tensor:
    """1 on the diagonal, 0 elsewhere; the same matrix at each place of `batch_shape`.

    Source: paddle.fluid.layers.eye.

    Example:
        >>> import graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.eye(2).numpy().tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    columns = num_rows if num_columns is None else num_columns
    one = convert(ops.equal(ops.iota((num_rows, 1), 0), ops.iota((1, columns), 1)), dtypes.canonical(dtype))
    return ops.broadcast_to(one, (*batch_shape, num_rows, columns)) if batch_shape else one


@layer_function
def diag(diagonal: Tensor) -> Tensor:
    """A matrix with the vector on its diagonal, 0 elsewhere.

    Source: paddle.fluid.layers.diag.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.diag(gl.dygraph.to_variable(np.array([1.0, 2.0]))).numpy().round(4).tolist()
        [[1.0, 0.0], [0.0, 2.0]]
    """
    if diagonal.type.rank != 1:
        raise ShapeError("diag takes a vector", expected="rank 1", got=checks.shape_text(diagonal))
    n = diagonal.type.shape[0]
    here = ops.equal(ops.iota((n, 1), 0), ops.iota((1, n), 1))
    return ops.where(here, ops.unsqueeze(diagonal, (1,)), 0)


@layer_function
def shape(input: Tensor) -> Tensor:
    """The dimensions, int32 of shape [rank].

    Source: paddle.fluid.layers.shape.

    Example:
        >>> import graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.shape(gl.layers.zeros([2, 3], "float32")).numpy().tolist()
        [2, 3]
    """
    dims = checks.tensor(input, "input", "shape").type.shape
    if not dims:
        raise ShapeError("shape: a scalar has no dimensions", "rank 1 or more", "rank 0")
    return stopped(ops.stack([ops.size((d,), "int32") for d in dims]))


@layer_function
def size(input: Tensor) -> Tensor:
    """How many elements there are, int64 of shape [1].

    Source: paddle.fluid.layers.size.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.size(gl.dygraph.to_variable(np.array([[1, 2, 3]]))).numpy().tolist()
        [3]
    """
    return as_vector(stopped(ops.size(input.type.shape)))


@layer_function
def clip_by_norm(x: Tensor, max_norm: float, name: str | None = None) -> Tensor:
    """x, scaled down to ‖x‖₂ = max_norm where it is longer.

    Source: paddle.fluid.layers.clip_by_norm.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.clip_by_norm(gl.dygraph.to_variable(np.array([3.0, 4.0])), 1.0).numpy().round(4).tolist()
        [0.6, 0.8]
    """
    if not max_norm > 0:
        raise AttrError("clip_by_norm: max_norm must be above 0", got=max_norm)
    length = norm(ops.reshape(x, (x.type.size,)), 2, 0)
    return ops.where(length > max_norm, x * (max_norm / ops.clamp_min(length, max_norm)), x)


def embedding(
    input: Tensor,
    size: Sequence[int],
    is_sparse: bool = False,
    is_distributed: bool = False,
    padding_idx: int | None = None,
    param_attr: object = None,
    dtype: object = "float32",
) -> Tensor:
    """The rows of a table, a parameter [rows, width], that `input` [N1, …, 1] names: [N1, …, width].

    Args:
        input: int64 or int32; the last dimension is 1.
        size: (rows, width).
        is_sparse, is_distributed: without effect.
        padding_idx: index whose row counts as 0 and gets no gradient; counted from the end where negative.
        param_attr, dtype: of the table.

    Raises:
        LabelError (in the run): an index outside [0, rows). UnsupportedError: in eager mode. ShapeError, DtypeError,
        ArgumentTypeError, AttrError: at the call.

    Source: paddle.fluid.layers.embedding.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> main, startup = gl.Program(), gl.Program()
        >>> with gl.program_guard(main, startup):
        ...     word = gl.data("word", [None, 1], "int64")
        ...     row = gl.layers.embedding(word, [5, 2], param_attr=gl.initializer.Constant(0.5))
        >>> exe = gl.Executor()
        >>> _ = exe.run(startup)
        >>> exe.run(main, feed={"word": np.array([[4]])}, fetch_list=[row])[0].tolist()
        [[0.5, 0.5]]
    """
    x = checks.tensor(input, "input", "embedding")
    if x.type.rank < 1 or x.type.shape[-1] != 1:
        raise ShapeError("embedding: the last dimension of the indices must be 1", "[…, 1]", checks.shape_text(x))
    return looked_up(ops.squeeze(x, (x.type.rank - 1,)), size, padding_idx, param_attr, dtype)


def looked_up(index: Tensor, size: Sequence[int], padding_idx: int | None, param_attr: object, dtype: object) -> Tensor:
    """The rows of a new table that `index` names, along a new last axis."""
    where = "embedding"
    if not isinstance(index, Variable):
        raise UnsupportedError(f"{where} makes a parameter of a program", got="an eager array")
    checks.require_class_dtype(index, where)
    if len(size) != 2:
        raise AttrError(f"{where}: size is (rows, width)", got=list(size))
    rows, width = size
    with layer_context(where, None) as made:
        table = make_parameter(param_attr, [rows, width], dtypes.canonical(dtype), made)
        if table is None:
            raise AttrError(f"{where}: the table cannot be left out", got="param_attr=False")
        found = apply("gather", (table, index), {})[0]
        if padding_idx is None:
            return found
        if not -rows <= padding_idx < rows:
            raise AttrError(f"{where}: padding_idx is out of range", f"{-rows} to {rows - 1}", padding_idx)
        pad = ops.equal(index, padding_idx % rows)
        return ops.where(ops.unsqueeze(pad, (index.type.rank,)), 0.0, found)
