"""What layer functions share: names, activations by name, parameters, scalars of shape [1]."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, UnsupportedError
from graphloss.initializer import Constant, Initializer, Xavier
from graphloss.ir import unique_name
from graphloss.ir.context import Layer
from graphloss.ir.context import layer as layer_context
from graphloss.ir.defaults import default_main_program, default_startup_program
from graphloss.ir.parameter import Parameter
from graphloss.ir.tensor import Tensor
from graphloss.ir.variable import Variable
from graphloss.losses import checks
from graphloss.param_attr import ParamAttr

P = ParamSpec("P")
R = TypeVar("R")

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": ops.relu, "sigmoid": ops.sigmoid, "tanh": ops.tanh, "exp": ops.exp, "abs": ops.abs, "square": ops.square,
    "sqrt": ops.sqrt, "log": ops.log, "softplus": ops.softplus, "logsigmoid": ops.logsigmoid, "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
}  # fmt: skip


def layer_function(fn: Callable[P, R]) -> Callable[P, R]:
    """A layer: what it makes is named `<function>_<n>.tmp_<m>`, or after its argument `name`."""
    located = checks.located(fn)
    signature = inspect.signature(fn)
    position = list(signature.parameters).index("name") if "name" in signature.parameters else None

    @wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        name = kwargs.get("name")
        if name is None and position is not None and len(args) > position:
            name = args[position]
        with layer_context(fn.__name__, name if isinstance(name, str) else None):
            return located(*args, **kwargs)

    return run


def example(name: str, arguments: str, result: str) -> str:
    """The end of a docstring: a run of the layer on arrays, separated by "; ", and what it gives; and its source."""
    arrays = ", ".join(f"gl.dygraph.to_variable(np.array({a}))" for a in arguments.split("; "))
    shown = "numpy().round(4)" if "." in result else "numpy()"
    return f"""

    Source: paddle.fluid.layers.{name}.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.{name}({arrays}).{shown}.tolist()
        {result}
    """


def activated(x: Tensor, act: str | None) -> Tensor:
    """`x` after the activation called `act`; None is no activation."""
    if act is None:
        return x
    if act not in ACTIVATIONS:
        raise AttrError(f"unknown activation {act!r}", expected=", ".join(ACTIVATIONS))
    return ACTIVATIONS[act](x)


def as_vector(scalar: Tensor) -> Tensor:
    """A 0-d value as this dialect has scalars: of shape [1]."""
    return ops.unsqueeze(scalar, (0,)) if scalar.type.rank == 0 else scalar


def into(out: object, value: Tensor) -> Tensor:
    """`value`; where `out` is a variable of a program, that is written and returned instead."""
    if out is None:
        return value
    if not isinstance(out, Variable):
        what = "a result is written to a variable of a program"
        raise ArgumentTypeError(what, "Variable or None", type(out).__name__, hint="use what the function returns")
    default_main_program().current_block().write(out, value)
    return out


def require_program(x: Tensor, where: str, hint: str) -> None:
    """Refuses an eager array where a layer has parameters of a program."""
    if not isinstance(x, Variable):
        raise UnsupportedError(f"{where} has parameters of a program", got="an eager array", hint=hint)


def make_parameter(
    attr: object,
    shape: Sequence[int],
    dtype: str,
    layer: Layer | None,
    is_bias: bool = False,
    default_initializer: Initializer | None = None,
) -> Parameter | None:
    """A parameter of the main program, with its first value in the startup program; None where `attr` is False."""
    described = ParamAttr.of(attr)
    if described is None:
        return None
    kind = "b" if is_bias else "w"
    name = described.name or unique_name.generate(f"{layer.name}.{kind}" if layer else "create_parameter_0." + kind)
    first = described.initializer or default_initializer or (Constant(0.0) if is_bias else Xavier())
    startup = default_startup_program().global_block()
    shared = startup.has_var(name)
    startup.create_parameter(name, shape, dtype, None if shared else first)
    return default_main_program().global_block().create_parameter(
        name, shape, dtype, trainable=described.trainable, optimize_attr={"learning_rate": described.learning_rate},
        regularizer=described.regularizer, do_model_average=described.do_model_average,
    )  # fmt: skip
