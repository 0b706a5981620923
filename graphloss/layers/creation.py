"""Fluid's functions that make Variables: constants, copies, parameters, inputs, random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphloss import dtypes, ops
from graphloss.errors import ArgumentTypeError, UnsupportedError
from graphloss.initializer import Constant, Initializer, drawn_seed
from graphloss.ir import unique_name
from graphloss.ir.data import layers_data as data
from graphloss.ir.defaults import default_main_program, default_startup_program
from graphloss.ir.parameter import Parameter
from graphloss.ir.tensor import Tensor, convert
from graphloss.ir.variable import Variable
from graphloss.layers.helper import into, layer_function, make_parameter
from graphloss.losses import checks
from graphloss.param_attr import ParamAttr

__all__ = [
    "assign",
    "cast",
    "create_global_var",
    "create_parameter",
    "data",
    "fill_constant",
    "gaussian_random",
    "ones",
    "ones_like",
    "uniform_random",
    "zeros",
    "zeros_like",
]


def _full(shape: Sequence[int], value: float | int | bool, dtype: object) -> Tensor:
    kind = dtypes.canonical(dtype)
    return convert(ops.fill(tuple(shape), value, kind), kind)


@layer_function
def fill_constant(
    shape: Sequence[int], dtype: object, value: float | int | bool, force_cpu: bool = False, out: Variable | None = None
) -> Tensor:
    """`value` everywhere; with `out`, that Variable is written.

    Source: paddle.fluid.layers.fill_constant.

    Example:
        >>> import graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.fill_constant([2], "float32", 0.5).numpy().tolist()
        [0.5, 0.5]
    """
    return into(out, _full(shape, value, dtype))


@layer_function
def ones(shape: Sequence[int], dtype: object, force_cpu: bool = False) -> Tensor:
    """1 everywhere.

    Source: paddle.fluid.layers.ones.

    Example:
        >>> import graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.ones([2], "int64").numpy().tolist()
        [1, 1]
    """
    return _full(shape, 1, dtype)


@layer_function
def zeros(shape: Sequence[int], dtype: object, force_cpu: bool = False) -> Tensor:
    """0 everywhere.

    Source: paddle.fluid.layers.zeros.

    Example:
        >>> import graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.zeros([2], "int64").numpy().tolist()
        [0, 0]
    """
    return _full(shape, 0, dtype)


@layer_function
def ones_like(x: Tensor, out: Variable | None = None) -> Tensor:
    """1 everywhere, in the shape and dtype of x.

    Source: paddle.fluid.layers.ones_like.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.ones_like(gl.dygraph.to_variable(np.array([5.0, 6.0]))).numpy().round(4).tolist()
        [1.0, 1.0]
    """
    return into(out, convert(ops.ones_like(x), x.type.dtype))


@layer_function
def zeros_like(x: Tensor, out: Variable | None = None) -> Tensor:
    """0 everywhere, in the shape and dtype of x.

    Source: paddle.fluid.layers.zeros_like.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.zeros_like(gl.dygraph.to_variable(np.array([5.0, 6.0]))).numpy().round(4).tolist()
        [0.0, 0.0]
    """
    return into(out, convert(ops.zeros_like(x), x.type.dtype))


@layer_function
def assign(input: Tensor | np.ndarray[tuple[int, ...], np.dtype[np.generic]], output: Variable | None = None) -> Tensor:
    """A copy of a Variable, or a constant with the elements of an array; with `output`, that Variable is written.

    Raises:
        ArgumentTypeError: neither a Variable nor an array.

    Source: paddle.fluid.layers.assign.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.assign(np.array([1, 2])).numpy().tolist()
        [1, 2]
    """
    if isinstance(input, Tensor):
        return into(output, ops.assign(input))
    if not isinstance(input, np.ndarray):
        raise ArgumentTypeError("assign copies a Variable or an array", "Variable or ndarray", type(input).__name__)
    return into(output, ops.literal(input))


@layer_function
def cast(x: Tensor, dtype: object) -> Tensor:
    """x in another element type.

    Source: paddle.fluid.layers.cast.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.cast(gl.dygraph.to_variable(np.array([1.7, -1.7])), "int64").numpy().tolist()
        [1, -1]
    """
    return convert(checks.tensor(x, "x", "cast"), dtypes.canonical(dtype))


@layer_function
def uniform_random(
    shape: Sequence[int],
    dtype: object = "float32",
    min: float = -1.0,
    max: float = 1.0,
    seed: int = 0,
    name: str | None = None,
) -> Tensor:
    """Numbers drawn evenly from [min, max); seed 0 takes the program's random_seed.

    Source: paddle.fluid.layers.uniform_random.

    Example:
        >>> import graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.uniform_random([2, 3], seed=1).shape
        [2, 3]
    """
    kind = dtypes.canonical(dtype)
    return convert(ops.uniform(tuple(shape), kind, min, max, drawn_seed(seed)), kind)


@layer_function
def gaussian_random(
    shape: Sequence[int], mean: float = 0.0, std: float = 1.0, seed: int = 0, dtype: object = "float32"
) -> Tensor:
    """Normally distributed numbers; seed 0 takes the program's random_seed.

    Source: paddle.fluid.layers.gaussian_random.

    Example:
        >>> import graphloss as gl
        >>> with gl.dygraph.guard():
        ...     gl.layers.gaussian_random([2, 3], seed=1).shape
        [2, 3]
    """
    kind = dtypes.canonical(dtype)
    return convert(ops.normal(tuple(shape), kind, mean, std, drawn_seed(seed)), kind)


def create_parameter(
    shape: Sequence[int],
    dtype: object,
    name: str | None = None,
    attr: object = None,
    is_bias: bool = False,
    default_initializer: Initializer | None = None,
) -> Parameter:
    """A trainable parameter of the default main program, given its first value by the startup program.

    Args:
        attr: as param_attr of `fc`; `name` is its name where attr gives none.
        is_bias: starts at 0 instead of Xavier-uniform.
        default_initializer: its first value where attr has none.

    Raises:
        ArgumentTypeError: attr=False, which is no parameter. AttrError, ShapeError: the name or shape does not do.

    Source: paddle.fluid.layers.create_parameter.

    Example:
        >>> import graphloss as gl
        >>> main, startup = gl.Program(), gl.Program()
        >>> with gl.program_guard(main, startup):
        ...     w = gl.layers.create_parameter([2, 3], "float32")
        >>> w.shape, w.trainable
        ((2, 3), True)
    """
    described = ParamAttr.of(attr)
    if described is not None and described.name is None and name is not None:
        described = described.named(name)
    made = make_parameter(
        False if described is None else described,
        shape,
        dtypes.canonical(dtype),
        None,
        is_bias,
        default_initializer,
    )
    if made is None:
        raise ArgumentTypeError("create_parameter: attr=False is no parameter")
    return made


def create_global_var(
    shape: Sequence[int],
    value: float,
    dtype: object,
    persistable: bool = False,
    force_cpu: bool = False,
    name: str | None = None,
) -> Variable:
    """A Variable that the startup program sets to `value`; with `persistable` the scope keeps it from then on.

    Raises:
        UnsupportedError: not persistable, so that nothing would carry the value to the main program.

    Source: paddle.fluid.layers.create_global_var.

    Example:
        >>> import graphloss as gl
        >>> main, startup = gl.Program(), gl.Program()
        >>> with gl.program_guard(main, startup):
        ...     step = gl.layers.create_global_var([1], value=3.0, dtype="float32", persistable=True)
        >>> exe = gl.Executor()
        >>> _ = exe.run(startup)
        >>> exe.run(main, fetch_list=[step])[0].tolist()
        [3.0]
    """
    if not persistable:
        raise UnsupportedError(
            "create_global_var: only a persistable variable lives from the startup program to the main one",
            hint="pass persistable=True, or use fill_constant",
        )
    name = name or unique_name.generate("global_var")
    element = dtypes.canonical(dtype)
    startup = default_startup_program().global_block()
    Constant(value)(startup.create_var(name, shape, element, persistable=True), startup)
    return default_main_program().global_block().create_var(name, shape, element, persistable=True, stop_gradient=True)
