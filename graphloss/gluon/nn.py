"""Gluon's fully connected layer, on the arrays of `nd`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphloss import dtypes, ops
from graphloss.dygraph.apply import recording
from graphloss.errors import ArgumentTypeError, AttrError, UnsupportedError
from graphloss.gluon.ndarray import NDArray, at_once
from graphloss.initializer import Constant, Initializer, Uniform
from graphloss.ir import unique_name
from graphloss.ir.tensor import Tensor

__all__ = ["Dense", "Parameter"]

_ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    "relu": ops.relu, "sigmoid": ops.sigmoid, "tanh": ops.tanh, "softrelu": ops.softplus,
}  # fmt: skip


class Parameter:
    """What a layer trains; it has a value from the first call after `initialize` on, since its shape may follow from
    the input."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: str, init: Initializer) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.init = init
        self._value: NDArray | None = None

    def data(self) -> NDArray:
        """The value.

        Raises:
            UnsupportedError: it has none yet.
        """
        if self._value is None:
            raise UnsupportedError(
                f"parameter {self.name} has no value yet", hint="call initialize() and then the layer, or give in_units"
            )
        return self._value

    def grad(self) -> NDArray:
        """The gradient of the last backward, zeros before the first."""
        return self.data().grad

    def set_data(self, data: NDArray) -> None:
        """Takes another value of the same shape and dtype."""
        self.data().set_value(data)

    def zero_grad(self) -> None:
        """Sets the gradient to 0."""
        self.data().clear_gradient()

    def begin(self) -> None:
        """Draws the first value."""
        with at_once(), recording(False):
            value = ops.cast(self.init.value(self.shape, self.dtype), self.dtype)
        assert isinstance(value, NDArray)
        value.attach_grad()
        self._value = value

    def __repr__(self) -> str:
        return f"Parameter {self.name} (shape={self.shape}, dtype={self.dtype})"


class Dense:
    """activation(x @ weightᵀ + bias).

    Args:
        units: length of the result's last axis.
        activation: "relu", "sigmoid", "tanh", "softrelu" or None.
        use_bias: whether there is a bias.
        flatten: take all axes of x but the first as one.
        dtype: of the parameters.
        weight_initializer, bias_initializer: initialisers; by default uniform in ±0.07, and 0.
        in_units: length of x's last axis; 0 is what the first call has.

    Example:
        >>> from graphloss.gluon import autograd, loss, nd, nn
        >>> net = nn.Dense(1)
        >>> net.initialize()
        >>> with autograd.record():
        ...     l = loss.L2Loss()(net(nd.random.uniform(shape=(2, 4))), nd.ones((2,)))
        >>> l.backward()
        >>> net.weight.grad().shape, net.bias.grad().shape, l.shape
        ((1, 4), (1,), (2,))
    """

    def __init__(
        self,
        units: int,
        activation: str | None = None,
        use_bias: bool = True,
        flatten: bool = True,
        dtype: object = "float32",
        weight_initializer: Initializer | None = None,
        bias_initializer: Initializer | str = "zeros",
        in_units: int = 0,
        prefix: str | None = None,
        params: object = None,
    ) -> None:
        if activation is not None and activation not in _ACTIVATIONS:
            raise AttrError(f"unknown activation {activation!r}", expected=", ".join(_ACTIVATIONS))
        if isinstance(bias_initializer, str) and bias_initializer != "zeros":
            raise ArgumentTypeError("Dense: bias_initializer is an Initializer or 'zeros'", got=repr(bias_initializer))
        prefix = prefix or unique_name.generate("dense") + "_"
        kind = dtypes.canonical(dtype)
        zeros = Constant(0.0) if isinstance(bias_initializer, str) else bias_initializer
        self.weight = Parameter(prefix + "weight", (units, in_units), kind, weight_initializer or Uniform(-0.07, 0.07))
        self.bias = Parameter(prefix + "bias", (units,), kind, zeros) if use_bias else None
        self._units, self._flatten, self._activation = units, flatten, activation
        self._ready = False

    def initialize(self, init: Initializer | None = None, ctx: object = None, force_reinit: bool = False) -> None:
        """Gives the parameters their first values, at once or with the first call."""
        if init is not None:
            self.weight.init = init
        self._ready = True
        if self.weight.shape[1]:
            self._begin()

    def collect_params(self) -> dict[str, Parameter]:
        """The parameters by name."""
        return {p.name: p for p in (self.weight, self.bias) if p is not None}

    def hybridize(self, active: bool = True, **kwargs: object) -> None:
        """Nothing to do."""

    def __call__(self, x: NDArray) -> Tensor:
        return self.forward(x)

    def forward(self, x: NDArray) -> Tensor:
        """The layer at x."""
        if not isinstance(x, NDArray):
            raise ArgumentTypeError("Dense takes an array of nd", "NDArray", type(x).__name__)
        if not self._ready:
            raise UnsupportedError("Dense: the parameters have no values", hint="call initialize() first")
        with at_once():
            rows: Tensor = x
            if self._flatten and x.ndim != 2:
                rows = x.reshape((x.shape[0], -1))
            if not self.weight.shape[1]:
                self.weight.shape = (self._units, int(rows.type.shape[-1]))  # type: ignore[arg-type]  # known in eager
                self._begin()
            y = ops.matmul(rows, self.weight.data(), False, True)
            if self.bias is not None:
                y = y + self.bias.data()
            return y if self._activation is None else _ACTIVATIONS[self._activation](y)

    def _begin(self) -> None:
        for p in self.collect_params().values():
            p.begin()

    def __repr__(self) -> str:
        return f"Dense({self.weight.shape[1] or None} -> {self._units}, {self._activation or 'linear'})"
