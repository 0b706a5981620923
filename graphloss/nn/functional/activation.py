"""PyTorch's activations as functions."""

from __future__ import annotations

from graphloss import dtypes, ops
from graphloss.errors import AttrError
from graphloss.ir.tensor import Tensor, cast
from graphloss.losses import checks

__all__ = ["log_softmax", "logsigmoid", "one_hot", "relu", "sigmoid", "softmax", "softplus", "tanh"]


@checks.located
def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object | None = None) -> Tensor:
    """e^(x−m) / Σ e^(x−m) along `dim`, m the maximum; no `dim` is 0 for rank 0, 1 and 3, else 1.

    Source: torch.nn.functional.softmax.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[0.0, 0.0], [1e4, 0.0]]))
        ...     gl.nn.functional.softmax(x, dim=1).numpy().tolist()
        [[0.5, 0.5], [1.0, 0.0]]
    """
    return ops.softmax(_typed(input, dtype), axis=_axis(input, dim))


@checks.located
def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: object | None = None) -> Tensor:
    """(x−m) − log Σ e^(x−m) along `dim`, m the maximum.

    Source: torch.nn.functional.log_softmax.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([[0.0, 0.0], [1e4, 0.0]]))
        ...     gl.nn.functional.log_softmax(x, dim=1).numpy().round(4).tolist()
        [[-0.6931, -0.6931], [0.0, -10000.0]]
    """
    return ops.log_softmax(_typed(input, dtype), axis=_axis(input, dim))


@checks.located
def logsigmoid(input: Tensor) -> Tensor:
    """−log(1 + e^−x).

    Source: torch.nn.functional.logsigmoid.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([0.0, -1e4]))
        ...     gl.nn.functional.logsigmoid(x).numpy().round(4).tolist()
        [-0.6931, -10000.0]
    """
    return ops.logsigmoid(input)


@checks.located
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(βx)) / β, and x itself where βx > threshold.

    Source: torch.nn.functional.softplus.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([0.0, 30.0]))
        ...     gl.nn.functional.softplus(x).numpy().round(4).tolist()
        [0.6931, 30.0]
    """
    scaled = input if beta == 1 else input * beta
    smooth = ops.softplus(scaled)
    return ops.where(scaled > threshold, input, smooth if beta == 1 else smooth / beta)


@checks.located
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """int64 rows with a 1 at each label; the class count must be given, since it is a part of the type.

    Source: torch.nn.functional.one_hot.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([2, 0]))
        ...     gl.nn.functional.one_hot(x, 3).numpy().tolist()
        [[0, 0, 1], [1, 0, 0]]
    """
    if num_classes < 1:
        raise AttrError("one_hot: num_classes must be given", expected="at least 1", got=num_classes)
    return cast(ops.one_hot(tensor, num_classes), "int64")


@checks.located
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0), with slope 0 at 0; a new value, whatever `inplace` says.

    Source: torch.nn.functional.relu.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([-1.0, 2.0]))
        ...     gl.nn.functional.relu(x).numpy().tolist()
        [0.0, 2.0]
    """
    return ops.relu(input)


@checks.located
def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^−x).

    Source: torch.nn.functional.sigmoid.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([0.0, -1e4]))
        ...     gl.nn.functional.sigmoid(x).numpy().tolist()
        [0.5, 0.0]
    """
    return ops.sigmoid(input)


@checks.located
def tanh(input: Tensor) -> Tensor:
    """(e^x − e^−x) / (e^x + e^−x).

    Source: torch.nn.functional.tanh.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     x = gl.dygraph.to_variable(np.array([0.0, 1e4]))
        ...     gl.nn.functional.tanh(x).numpy().tolist()
        [0.0, 1.0]
    """
    return ops.tanh(input)


def _typed(x: Tensor, dtype: object | None) -> Tensor:
    return x if dtype is None else cast(x, dtypes.canonical(dtype))


def _axis(x: Tensor, dim: int | None) -> int:
    if dim is not None:
        return dim
    return 0 if x.type.rank in (0, 1, 3) else 1
