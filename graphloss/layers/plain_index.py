"""The two functions that Fluid has beside `layers` too: there their indices have no last dimension of 1."""

from __future__ import annotations

from collections.abc import Sequence

from graphloss import ops
from graphloss.ir.tensor import Tensor
from graphloss.layers.helper import layer_function
from graphloss.layers.tables import looked_up
from graphloss.losses import checks


@layer_function
def one_hot(input: Tensor, depth: int, allow_out_of_range: bool = False) -> Tensor:
    """float32 rows with a 1 at each index, along a new last dimension of length `depth`.

    Raises:
        LabelError (in the run): an index outside [0, depth); with allow_out_of_range its row is 0.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.one_hot(gl.dygraph.to_variable(np.array([2, 0])), 3).numpy().tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return ops.one_hot(checks.tensor(input, "input", "one_hot"), depth, strict=not allow_out_of_range)


def embedding(
    input: Tensor,
    size: Sequence[int],
    is_sparse: bool = False,
    is_distributed: bool = False,
    padding_idx: int | None = None,
    param_attr: object = None,
    dtype: object = "float32",
) -> Tensor:
    """The rows of a table, a parameter [rows, width], that `input` [N1, …] names: [N1, …, width].

    Arguments and errors as those of `layers.embedding`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> main, startup, exe = gl.Program(), gl.Program(), gl.Executor(gl.CPUPlace())
        >>> with gl.program_guard(main, startup):
        ...     rows = gl.embedding(gl.data("i", [None], "int64"), (4, 2), param_attr=gl.initializer.Constant(0.5))
        >>> _ = exe.run(startup)
        >>> exe.run(main, feed={"i": np.array([3])}, fetch_list=[rows])
        [array([[0.5, 0.5]], dtype=float32)]
    """
    return looked_up(checks.tensor(input, "input", "embedding"), size, padding_idx, param_attr, dtype)
