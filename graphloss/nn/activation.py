"""PyTorch's activations as classes."""

from __future__ import annotations

from graphloss.ir.tensor import Tensor
from graphloss.nn import functional
from graphloss.nn.module import Module

__all__ = ["LogSigmoid", "LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Softplus", "Tanh"]


class ReLU(Module):
    """max(x, 0). See `nn.functional.relu`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.nn.ReLU()(gl.dygraph.to_variable(np.array([-1.0, 2.0]))).numpy().tolist()
        [0.0, 2.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return functional.relu(input)


class Sigmoid(Module):
    """1 / (1 + e^−x). See `nn.functional.sigmoid`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.nn.Sigmoid()(gl.dygraph.to_variable(np.array([0.0, -1e4]))).numpy().tolist()
        [0.5, 0.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return functional.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent. See `nn.functional.tanh`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.nn.Tanh()(gl.dygraph.to_variable(np.array([0.0, 1e4]))).numpy().tolist()
        [0.0, 1.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return functional.tanh(input)


class LogSigmoid(Module):
    """−log(1 + e^−x). See `nn.functional.logsigmoid`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.nn.LogSigmoid()(gl.dygraph.to_variable(np.array([0.0, -1e4]))).numpy().round(4).tolist()
        [-0.6931, -10000.0]
    """

    def forward(self, input: Tensor) -> Tensor:
        return functional.logsigmoid(input)


class Softplus(Module):
    """log(1 + e^(βx)) / β, and x itself where βx > threshold. See `nn.functional.softplus`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.nn.Softplus(beta=2.0)(gl.dygraph.to_variable(np.array([0.0, 30.0]))).numpy().round(4).tolist()
        [0.3466, 30.0]
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = beta
        self.threshold = threshold

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"

    def forward(self, input: Tensor) -> Tensor:
        return functional.softplus(input, self.beta, self.threshold)


class Softmax(Module):
    """e^x / Σ e^x along `dim`. See `nn.functional.softmax`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.nn.Softmax(dim=0)(gl.dygraph.to_variable(np.array([0.0, 0.0]))).numpy().tolist()
        [0.5, 0.5]
    """

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

    def forward(self, input: Tensor) -> Tensor:
        return functional.softmax(input, self.dim)


class LogSoftmax(Module):
    """log(softmax(x)) along `dim`. See `nn.functional.log_softmax`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.nn.LogSoftmax(dim=0)(gl.dygraph.to_variable(np.array([0.0, 0.0]))).numpy().round(4).tolist()
        [-0.6931, -0.6931]
    """

    def __init__(self, dim: int | None = None) -> None:
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"

    def forward(self, input: Tensor) -> Tensor:
        return functional.log_softmax(input, self.dim)
