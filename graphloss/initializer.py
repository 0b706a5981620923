"""First values of parameters: ops of the startup program, or arrays in eager mode, from one formula."""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError
from graphloss.ir import unique_name
from graphloss.ir.block import Block
from graphloss.ir.context import layer
from graphloss.ir.defaults import default_main_program, program_guard
from graphloss.ir.mode import ProgramMode
from graphloss.ir.tensor import Tensor, cast, current
from graphloss.ir.variable import Variable
from graphloss.ops import philox

if TYPE_CHECKING:
    import numpy.typing as npt


class Initializer(ABC):
    """Base: `value` gives the first value of a parameter, in the current mode."""

    @abstractmethod
    def value(self, shape: Sequence[int], dtype: str) -> Tensor:
        """A tensor of this shape and dtype."""

    def __call__(self, var: Variable, block: Block) -> None:
        """Appends what gives `var` its first value to `block`."""
        with program_guard(block.program), layer("init", var.name):
            block.write(var, self.value(var.shape, var.dtype))


class Constant(Initializer):
    """One number everywhere.

    Example:
        >>> import graphloss as gl
        >>> with gl.dygraph.guard():
        ...     Constant(2.0).value([3], "float32").numpy().tolist()
        [2.0, 2.0, 2.0]
    """

    def __init__(self, value: float = 0.0, force_cpu: bool = False) -> None:
        self.number = value

    def value(self, shape: Sequence[int], dtype: str) -> Tensor:
        return ops.fill(tuple(shape), self.number, dtype)


class Uniform(Initializer):
    """Numbers drawn evenly from [low, high); seed 0 takes the program's random_seed."""

    def __init__(self, low: float = -1.0, high: float = 1.0, seed: int = 0) -> None:
        if not low <= high:
            raise AttrError("Uniform: low is above high", expected=f"at most {high}", got=low)
        self.low, self.high, self.seed = low, high, seed

    def value(self, shape: Sequence[int], dtype: str) -> Tensor:
        return ops.uniform(tuple(shape), dtype, self.low, self.high, drawn_seed(self.seed))


class Normal(Initializer):
    """Normally distributed numbers with mean `loc` and standard deviation `scale`."""

    def __init__(self, loc: float = 0.0, scale: float = 1.0, seed: int = 0) -> None:
        if not scale >= 0:
            raise AttrError("Normal: scale is negative", got=scale)
        self.loc, self.scale, self.seed = loc, scale, seed

    def value(self, shape: Sequence[int], dtype: str) -> Tensor:
        return ops.normal(tuple(shape), dtype, self.loc, self.scale, drawn_seed(self.seed))


class TruncatedNormal(Initializer):
    """As Normal, but for numbers more than two standard deviations from the mean, which are drawn again."""

    def __init__(self, loc: float = 0.0, scale: float = 1.0, seed: int = 0) -> None:
        if not scale >= 0:
            raise AttrError("TruncatedNormal: scale is negative", got=scale)
        self.loc, self.scale, self.seed = loc, scale, seed

    def value(self, shape: Sequence[int], dtype: str) -> Tensor:
        return ops.truncated_normal(tuple(shape), dtype, self.loc, self.scale, drawn_seed(self.seed))


class Xavier(Initializer):
    """Variance 2 / (fan_in + fan_out): uniform in ±√(6 / (fan_in + fan_out)), or normal.

    A fan that is None is read off the shape: rows and columns of a matrix, each times the size of further dimensions.
    """

    def __init__(
        self, uniform: bool = True, fan_in: float | None = None, fan_out: float | None = None, seed: int = 0
    ) -> None:
        self.uniform, self.fan_in, self.fan_out, self.seed = uniform, fan_in, fan_out, seed

    def value(self, shape: Sequence[int], dtype: str) -> Tensor:
        fan_in, fan_out = fans(shape)
        total = (fan_in if self.fan_in is None else self.fan_in) + (fan_out if self.fan_out is None else self.fan_out)
        return _spread(shape, 2.0 / total if total else 0.0, self.uniform, self.seed, dtype)


class MSRA(Initializer):
    """Variance 2 / fan_in: uniform in ±√(6 / fan_in), or normal; for layers before a relu."""

    def __init__(self, uniform: bool = True, fan_in: float | None = None, seed: int = 0) -> None:
        self.uniform, self.fan_in, self.seed = uniform, fan_in, seed

    def value(self, shape: Sequence[int], dtype: str) -> Tensor:
        fan_in = fans(shape)[0] if self.fan_in is None else self.fan_in
        return _spread(shape, 2.0 / fan_in if fan_in else 0.0, self.uniform, self.seed, dtype)


class NumpyArrayInitializer(Initializer):
    """The elements of an array.

    Raises:
        ArgumentTypeError: no ndarray. ShapeError (when used): of another shape than the parameter.
    """

    def __init__(self, value: npt.NDArray[np.generic]) -> None:
        if not isinstance(value, np.ndarray):
            raise ArgumentTypeError("NumpyArrayInitializer takes an array", "ndarray", type(value).__name__)
        self.array = value.copy()

    def value(self, shape: Sequence[int], dtype: str) -> Tensor:
        if tuple(shape) != self.array.shape:
            raise ShapeError("the array does not have the shape of the parameter", list(shape), list(self.array.shape))
        return cast(ops.literal(self.array), dtype)


ConstantInitializer = Constant
UniformInitializer = Uniform
NormalInitializer = Normal
TruncatedNormalInitializer = TruncatedNormal
XavierInitializer = Xavier
MSRAInitializer = MSRA


def drawn_seed(seed: int) -> int:
    """`seed`, unless it is 0: then one derived from the program's random_seed and the op's place; 0 if that is 0 too.

    A random op of seed 0 draws anew each time it runs.
    """
    program = default_main_program()
    if seed or not program.random_seed:
        return seed
    if isinstance(current(), ProgramMode):
        return philox.fold(program.random_seed, len(program.global_block().ops))
    return philox.fold(program.random_seed, zlib.crc32(unique_name.generate("random").encode()))


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """Inputs and outputs of one unit, for weights of this shape."""
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    field = math.prod(shape[2:])
    if len(shape) == 2:
        return shape[0], shape[1]
    return shape[1] * field, shape[0] * field


def _spread(shape: Sequence[int], variance: float, uniform: bool, seed: int, dtype: str) -> Tensor:
    if uniform:
        limit = math.sqrt(3 * variance)
        return ops.uniform(tuple(shape), dtype, -limit, limit, drawn_seed(seed))
    return ops.normal(tuple(shape), dtype, 0.0, math.sqrt(variance), drawn_seed(seed))
