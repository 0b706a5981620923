"""PyTorch's linear layer, and its cross entropy with the last layer inside: modules that hold parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphloss import dtypes, ops
from graphloss.dygraph.layer import Layer
from graphloss.dygraph.mode import enabled
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError, UnsupportedError
from graphloss.initializer import Uniform
from graphloss.ir import unique_name
from graphloss.ir.tensor import Tensor
from graphloss.layers.creation import create_parameter
from graphloss.losses import checks
from graphloss.nn import functional
from graphloss.nn.module import Loss, Module

__all__ = ["Linear", "LinearCrossEntropyLoss"]


class Linear(Module):
    """x @ weightᵀ + bias, with its own parameters; see `nn.functional.linear`.

    Both start uniform in ±1/√in_features. Under `dygraph.guard()` they are eager parameters, else parameters of the
    default main program, which the startup program sets.

    Args:
        in_features, out_features: sizes of the last axis of x and of the result.
        bias: whether there is one.
        device: None or "cpu".
        dtype: of the parameters; None is float32.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     Linear(4, 2)(gl.dygraph.to_variable(np.ones((3, 4), "float32"))).shape
        [3, 2]
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: object = None, dtype: object = None
    ) -> None:
        self.in_features = _size(in_features, "in_features", 0)
        self.out_features = _size(out_features, "out_features", 0)
        if device is not None and str(device) != "cpu":
            raise UnsupportedError(f"{type(self).__name__}: no such device", expected="None or cpu", got=device)
        kind = "float32" if dtype is None else dtypes.canonical(dtype)
        stem = unique_name.generate("linear")
        self.weight = self._parameter(f"{stem}.w_0", (out_features, in_features), kind)
        self.bias = self._parameter(f"{stem}.b_0", (out_features,), kind) if bias else None

    def _parameter(self, name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        bound = 1 / math.sqrt(max(self.in_features, 1))
        first = Uniform(-bound, bound)
        made: Tensor | None
        if enabled():
            made = Layer("linear", dtype).create_parameter(shape, name, default_initializer=first)
        else:
            made = create_parameter(shape, dtype, name, default_initializer=first)
        assert made is not None
        return made

    def parameters(self) -> list[Tensor]:
        """The weight, and the bias if there is one."""
        return [self.weight] if self.bias is None else [self.weight, self.bias]

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class LinearCrossEntropyLoss(Loss):
    """Cross entropy of a linear layer of its own; see `nn.functional.linear_cross_entropy`.

    The layer is the attribute `linear`, its weight (C·d1·…·dK, F).

    Args:
        in_features: F, the width of the input.
        num_classes: C.
        out_features: (d1, …, dK) for a loss of K dimensions.
        bias, device, dtype: as of `Linear`.
        reduction, weight, ignore_index, label_smoothing, options: as of `nn.functional.linear_cross_entropy`.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     loss = LinearCrossEntropyLoss(4, 10)
        ...     x = gl.dygraph.to_variable(np.zeros((3, 4), "float32"))
        ...     round(float(loss(x, gl.dygraph.to_variable(np.array([0, 5, 9]))).numpy()), 6)  # log 10
        2.302585
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: Sequence[int] = (),
        bias: bool = False,
        device: object = None,
        dtype: object = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: None = None,
    ) -> None:
        super().__init__(reduction=reduction)
        where = type(self).__name__
        self.num_classes = _size(num_classes, "num_classes")
        self.out_features = tuple(_size(n, "out_features") for n in out_features)
        self.weight = checks.optional_tensor(weight, "weight", where)
        if self.weight is not None and tuple(self.weight.type.shape) != (num_classes,):
            raise ShapeError(
                f"{where}: weight must hold one number per class", expected=f"[{num_classes}]",
                got=checks.shape_text(self.weight),
            )  # fmt: skip
        checks.require_unit_interval(label_smoothing, "label_smoothing", where)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.options = options
        self.linear = Linear(in_features, math.prod(self.out_features, start=num_classes), bias, device, dtype)

    def parameters(self) -> list[Tensor]:
        """Those of `linear`."""
        return self.linear.parameters()

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        w, b = self.linear.weight, self.linear.bias
        if self.out_features:
            shape = (self.num_classes, *self.out_features)
            w = ops.reshape(w, (*shape, self.linear.in_features))
            b = None if b is None else ops.reshape(b, shape)
        return functional.linear_cross_entropy(
            input, w, target, linear_bias=b, weight=self.weight, reduction=self.reduction,
            ignore_index=self.ignore_index, label_smoothing=self.label_smoothing, options=self.options,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}"
        )


def _size(n: object, name: str, least: int = 1) -> int:
    if isinstance(n, bool) or not isinstance(n, int):
        raise ArgumentTypeError(f"{name} must be an integer", expected="int", got=type(n).__name__)
    if n < least:
        raise AttrError(f"{name} must be positive", expected=f"{least} or more", got=n)
    return n
