"""Layers: objects that hold parameters and other layers, and are called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from graphloss import dtypes
from graphloss.dygraph.mode import EAGER, enabled
from graphloss.dygraph.tape import Array
from graphloss.dygraph.varbase import ParamBase, VarBase
from graphloss.errors import ArgumentTypeError, ShapeError, UnknownVariable, UnsupportedError
from graphloss.initializer import Constant, Initializer, Xavier
from graphloss.ir import unique_name
from graphloss.ir.tensor import convert, using
from graphloss.param_attr import ParamAttr

__all__ = ["Layer"]

PreHook = Callable[["Layer", tuple[object, ...]], object]
PostHook = Callable[["Layer", tuple[object, ...], object], object]


class Hook:
    """What registering a hook gives: `remove` takes the hook back."""

    def __init__(self, hooks: dict[int, Callable[..., object]], key: int) -> None:
        self._hooks = hooks
        self._key = key

    def remove(self) -> None:
        self._hooks.pop(self._key, None)


class Layer:
    """Base of layers: subclasses define `forward`; parameters and layers that are set as attributes are found again.

    Args:
        name_scope: stem of its name; by default the class's name.
        dtype: of parameters that are made without one.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> class Scale(gl.dygraph.Layer):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.w = self.create_parameter([1], default_initializer=gl.initializer.Constant(3.0))
        ...     def forward(self, x):
        ...         return x * self.w
        >>> with gl.dygraph.guard():
        ...     scale = Scale()
        ...     scale(gl.dygraph.to_variable(np.ones(2, "float32"))).numpy().tolist(), len(scale.parameters())
        ([3.0, 3.0], 1)
    """

    training = True

    def __init__(self, name_scope: str | None = None, dtype: object = "float32") -> None:
        self._full_name = unique_name.generate(name_scope or type(self).__name__.lower())
        self._dtype = dtypes.canonical(dtype)
        self._parameters: dict[str, ParamBase] = {}
        self._sub_layers: dict[str, Layer] = {}
        self._pre_hooks: dict[int, PreHook] = {}
        self._post_hooks: dict[int, PostHook] = {}

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """What a call computes; a subclass defines it."""
        raise UnsupportedError(f"{type(self).__name__} has no forward", hint="define one in the subclass")

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        for before in tuple(self._pre_hooks.values()):
            changed = before(self, inputs)
            if changed is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
        outputs = self.forward(*inputs, **kwargs)
        for after in tuple(self._post_hooks.values()):
            changed = after(self, inputs, outputs)
            outputs = outputs if changed is None else changed
        return outputs

    def backward(self, *inputs: object) -> None:
        """Not of a layer; call backward() of the loss."""
        raise UnsupportedError("a layer has no backward", hint="call backward() of the loss")

    def full_name(self) -> str:
        """Its unique name."""
        return self._full_name

    # -- parameters and parts -------------------------------------------------------------------------------------

    def create_parameter(
        self,
        shape: Sequence[int],
        attr: object = None,
        dtype: object = None,
        is_bias: bool = False,
        default_initializer: Initializer | None = None,
    ) -> ParamBase | None:
        """An eager parameter, drawn Xavier-uniformly (a bias: 0) unless told otherwise; None for attr=False."""
        described = ParamAttr.of(attr)
        if described is None:
            return None
        if not enabled():
            raise UnsupportedError("a Layer keeps eager parameters", hint="make it inside `with dygraph.guard():`")
        first = described.initializer or default_initializer or (Constant(0.0) if is_bias else Xavier())
        kind = self._dtype if dtype is None else dtypes.canonical(dtype)
        with using(EAGER):
            value = convert(first.value(tuple(shape), kind), kind)
        assert isinstance(value, VarBase)
        return ParamBase(
            value.cell.array,
            name=described.name or unique_name.generate(f"{self._full_name}.{'b' if is_bias else 'w'}"),
            trainable=described.trainable,
            learning_rate=described.learning_rate,
            regularizer=described.regularizer,
        )

    def add_parameter(self, name: str, parameter: ParamBase) -> ParamBase:
        """Takes a parameter in, as the attribute `name`."""
        if not isinstance(parameter, ParamBase):
            raise ArgumentTypeError("add_parameter takes a parameter", "ParamBase", type(parameter).__name__)
        setattr(self, name, parameter)
        return parameter

    def add_sublayer(self, name: str, sublayer: Layer) -> Layer:
        """Takes a layer in, as the attribute `name`."""
        if not isinstance(sublayer, Layer):
            raise ArgumentTypeError("add_sublayer takes a layer", "Layer", type(sublayer).__name__)
        setattr(self, name, sublayer)
        return sublayer

    def __setattr__(self, name: str, value: object) -> None:
        for table, kind in (("_parameters", ParamBase), ("_sub_layers", Layer)):
            found = self.__dict__.get(table)
            if isinstance(value, kind):
                if found is None:
                    raise UnsupportedError(f"{name!r} is set too early", hint="call super().__init__() first")
                found[name] = value
            elif found is not None:
                found.pop(name, None)
        object.__setattr__(self, name, value)

    def sublayers(self, include_self: bool = False) -> list[Layer]:
        """All layers inside, at any depth."""
        inner = [part for layer in self._sub_layers.values() for part in layer.sublayers(include_self=True)]
        return [self, *inner] if include_self else inner

    def named_parameters(self, prefix: str = "", include_sublayers: bool = True) -> Iterator[tuple[str, ParamBase]]:
        """(path, parameter), each parameter once."""
        seen: set[int] = set()
        for path, parameter in self._walk(prefix, include_sublayers):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield path, parameter

    def _walk(self, prefix: str, deep: bool) -> Iterator[tuple[str, ParamBase]]:
        lead = f"{prefix}." if prefix else ""
        for name, parameter in self._parameters.items():
            yield lead + name, parameter
        if deep:
            for name, layer in self._sub_layers.items():
                yield from layer._walk(lead + name, True)

    def parameters(self, include_sublayers: bool = True) -> list[ParamBase]:
        return [p for _, p in self.named_parameters(include_sublayers=include_sublayers)]

    def clear_gradients(self) -> None:
        """Forgets the gradients of all parameters."""
        for p in self.parameters():
            p.clear_gradient()

    def state_dict(self) -> dict[str, Array]:
        """The values of all parameters, by path."""
        return {path: p.numpy() for path, p in self.named_parameters()}

    def set_dict(self, state: Mapping[str, Array]) -> None:
        """Gives the parameters the values of a `state_dict`.

        Raises:
            UnknownVariable: a path that is no parameter. ShapeError, DtypeError: a value that does not fit.
        """
        known = dict(self.named_parameters())
        for path in state:
            if path not in known:
                raise UnknownVariable(path, known, what=f"the layer has no parameter {path!r}")
        missing = [path for path in known if path not in state]
        if missing:
            raise ShapeError("the state lacks parameters", expected=", ".join(known), got=f"no {', '.join(missing)}")
        for path, value in state.items():
            known[path].set_value(np.asarray(value))

    load_dict = set_dict

    # -- modes and hooks ------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Sets `training` of this layer and all inside."""
        for layer in self.sublayers(include_self=True):
            layer.training = True

    def eval(self) -> None:
        """Clears `training` of this layer and all inside."""
        for layer in self.sublayers(include_self=True):
            layer.training = False

    def register_forward_pre_hook(self, hook: PreHook) -> Hook:
        """`hook(layer, inputs)` runs before forward; what it returns, if not None, are the inputs."""
        return _added(self._pre_hooks, hook)

    def register_forward_post_hook(self, hook: PostHook) -> Hook:
        """`hook(layer, inputs, outputs)` runs after forward; what it returns, if not None, is the result."""
        return _added(self._post_hooks, hook)


def _added(hooks: dict[int, Callable[..., object]], hook: Callable[..., object]) -> Hook:
    key = max(hooks, default=-1) + 1
    hooks[key] = hook
    return Hook(hooks, key)
