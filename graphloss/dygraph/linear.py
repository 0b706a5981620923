"""The fully connected layer of eager mode."""

from __future__ import annotations

from graphloss import ops
from graphloss.dygraph.layer import Layer
from graphloss.errors import ArgumentTypeError, AttrError
from graphloss.ir.tensor import Tensor
from graphloss.losses import checks

__all__ = ["Linear"]


class Linear(Layer):
    """x @ weight + bias, with its own parameters.

    Args:
        input_dim, output_dim: sizes of the last axis of x and of the result.
        param_attr, bias_attr: as of `layers.fc`; bias_attr=False is no bias.
        act: "relu", "sigmoid", "tanh", "softmax" or None.
        dtype: of the parameters.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.dygraph.Linear(4, 2)(gl.dygraph.to_variable(np.ones((3, 4), "float32"))).shape
        [3, 2]
    """

    _ACTIVATIONS = {"relu": ops.relu, "sigmoid": ops.sigmoid, "tanh": ops.tanh, "softmax": ops.softmax}  # noqa: RUF012

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        param_attr: object = None,
        bias_attr: object = None,
        act: str | None = None,
        dtype: object = "float32",
    ) -> None:
        super().__init__(dtype=dtype)
        if act is not None and act not in self._ACTIVATIONS:
            raise AttrError(f"unknown activation {act!r}", expected=", ".join(self._ACTIVATIONS))
        weight = self.create_parameter([input_dim, output_dim], param_attr)
        if weight is None:
            raise ArgumentTypeError("Linear: the weights cannot be left out", got="param_attr=False")
        self.weight = weight
        self.bias = self.create_parameter([output_dim], bias_attr, is_bias=True)
        self._act = act

    def forward(self, input: Tensor) -> Tensor:
        """The layer at x."""
        x = checks.tensor(input, "input", "Linear")
        y = ops.matmul(x, self.weight)
        if self.bias is not None:
            y = y + self.bias
        return y if self._act is None else self._ACTIVATIONS[self._act](y)
