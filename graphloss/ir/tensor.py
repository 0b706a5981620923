"""The common face of everything an op can be applied to: program variables, eager arrays, values inside a pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy.typing as npt

from graphloss import dtypes
from graphloss.errors import ArgumentTypeError, ShapeError, UnsupportedError
from graphloss.ir.location import user_location
from graphloss.ir.opdef import OpDef, all_ops, get
from graphloss.ir.types import TensorType


class Mode(Protocol):
    """What applying an op means: append to a program, compute at once, or build a graph in a pass."""

    def apply(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> tuple[Tensor, ...]: ...


_current: ContextVar[Mode | None] = ContextVar("graphloss_mode", default=None)
_default: list[Mode] = []


def current() -> Mode:
    """The mode of this thread of control: the innermost `using`, else the default (building the default program)."""
    mode = _current.get()
    return _default[0] if mode is None else mode


def set_default_mode(mode: Mode) -> None:
    """Sets what `current()` answers outside every `using` (program building installs itself once)."""
    _default[:] = [mode]


@contextmanager
def using(mode: Mode) -> Iterator[None]:
    token = _current.set(mode)
    try:
        yield
    finally:
        _current.reset(token)


Item: TypeAlias = "int | slice | EllipsisType | None"
Index: TypeAlias = "Item | tuple[Item, ...]"
_indexers: list[Callable[[Tensor, Index], Tensor]] = []


def set_indexer(indexer: Callable[[Tensor, Index], Tensor]) -> None:
    """Says what `v[...]` means on every kind of tensor; the slicing ops do so once, when they are defined."""
    _indexers[:] = [indexer]


class Tensor:
    """Base of handles. `type` is the value's TensorType. Operators build ops through `current()`; hashing is by
    identity.

    == and != build ops, as in Fluid; compare handles by identity. A Tensor has no truth value unless a subclass gives
    it one.
    """

    __slots__ = ()
    __array_priority__ = 1000
    __array_ufunc__ = None

    @property
    def type(self) -> TensorType:
        raise NotImplementedError

    @property
    def shape(self) -> Sequence[int]:
        """The dimensions, -1 where one is known at run time only; `type.shape` has the symbols."""
        return tuple(d if isinstance(d, int) else -1 for d in self.type.shape)

    @property
    def dtype(self) -> str:
        """The element type, as a plain string."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.rank

    def astype(self, dtype: object) -> Tensor:
        """A cast; itself if it has that dtype."""
        return convert(self, dtypes.canonical(dtype))

    def __getitem__(self, index: Index) -> Tensor:
        """Integers drop their axis, slices may have steps, `...` and None mean what they mean in NumPy."""
        return _indexers[0](self, index)

    def __iter__(self) -> Iterator[Tensor]:
        # Without this, Python would ask for v[0], v[1], … for ever, since an index past a symbolic end is no error.
        first = self.type.shape[0] if self.type.shape else None
        if not isinstance(first, int):
            raise ShapeError(
                f"{self._called} cannot be iterated", "a first dimension known when the program is built", self.type,
                where=user_location(), hint="ops work on all rows at once",
            )  # fmt: skip
        return (self[i] for i in range(first))

    @property
    def _called(self) -> str:
        """What an error calls it."""
        return f"a {type(self).__name__}"

    def numpy(self) -> npt.NDArray[Any]:
        """The value; eager arrays have one."""
        raise UnsupportedError(f"a {type(self).__name__} has no value yet")

    def item(self) -> Any:
        """The one element, as a Python number; eager arrays have one."""
        raise UnsupportedError(f"{self._called} has no value yet", hint="fetch it, or use dygraph.guard()")

    def offsets(self) -> Tensor | None:
        """Where the sequences begin that its rows are divided into, int64 [S+1]; None for a plain array."""
        return None

    def divide(self, offsets: Tensor) -> None:
        """Says that `offsets` divide its rows into sequences."""
        raise UnsupportedError(f"a {type(self).__name__} has no sequences")

    def backward(self) -> None:
        """Gradients by the tape; eager arrays have one."""
        raise UnsupportedError(f"a {type(self).__name__} has no tape")

    def gradient(self) -> npt.NDArray[Any] | None:
        """What `backward` brought; eager arrays have it."""
        raise UnsupportedError(f"a {type(self).__name__} has no tape")

    if not TYPE_CHECKING:  # a checker would take it for a promise of every attribute

        def __getattr__(self, name: str) -> object:
            # Few ops are methods; whoever looks for another one is told where it is.
            ops = set() if name.startswith("_") else {op.name for op in all_ops()}
            found = next((f"; there is gl.ops.{op}" for op in (name, f"reduce_{name}") if op in ops), "")
            what = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(what + found, name=name, obj=self)

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        raise ArgumentTypeError(
            f"{self._called} has no truth value while a program is built", where=user_location(),
            hint="gl.ops.where(condition, x, y) chooses element by element; gl.dygraph computes at once",
        )  # fmt: skip

    def __add__(self, other: Operand) -> Tensor:
        return apply_binary("add", self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return apply_binary("add", other, self)

    def __sub__(self, other: Operand) -> Tensor:
        return apply_binary("sub", self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return apply_binary("sub", other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return apply_binary("mul", self, other)

    def __rmul__(self, other: Operand) -> Tensor:
        return apply_binary("mul", other, self)

    def __truediv__(self, other: Operand) -> Tensor:
        return apply_binary("div", self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return apply_binary("div", other, self)

    def __floordiv__(self, other: Operand) -> Tensor:
        return apply_binary("floordiv", self, other)

    def __rfloordiv__(self, other: Operand) -> Tensor:
        return apply_binary("floordiv", other, self)

    def __mod__(self, other: Operand) -> Tensor:
        return apply_binary("mod", self, other)

    def __rmod__(self, other: Operand) -> Tensor:
        return apply_binary("mod", other, self)

    def __pow__(self, other: Operand) -> Tensor:
        return apply_binary("pow", self, other)

    def __rpow__(self, other: Operand) -> Tensor:
        return apply_binary("pow", other, self)

    def __matmul__(self, other: Tensor) -> Tensor:
        return apply_binary("matmul", self, other)

    def __neg__(self) -> Tensor:
        return apply("neg", (self,), {})[0]

    def __lt__(self, other: Operand) -> Tensor:
        return apply_binary("less", self, other)

    def __le__(self, other: Operand) -> Tensor:
        return apply_binary("less_equal", self, other)

    def __gt__(self, other: Operand) -> Tensor:
        return apply_binary("greater", self, other)

    def __ge__(self, other: Operand) -> Tensor:
        return apply_binary("greater_equal", self, other)

    def __eq__(self, other: Operand) -> Tensor:  # type: ignore[override]  # comparison builds an op
        return apply_binary("equal", self, other)

    def __ne__(self, other: Operand) -> Tensor:  # type: ignore[override]  # comparison builds an op
        return apply_binary("not_equal", self, other)


Operand: TypeAlias = Tensor | float | int | bool


def apply(name: str, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> tuple[Tensor, ...]:
    """Applies the op called `name` in the current mode; attributes are checked and completed with their defaults."""
    op = get(name)
    for x in inputs:
        if not isinstance(x, Tensor):
            got = type(x).__name__
            raise ArgumentTypeError(f"{name}: an operand is not a Variable", "a Variable", got, where=user_location())
    complete = op.complete(attrs)
    if not op.halves:
        inputs, complete = [cast(x, x.type.dtype) for x in inputs], op.computing(complete)
    return current().apply(op, tuple(inputs), complete)


def apply_binary(name: str, x: Operand, y: Operand) -> Tensor:
    """A two-operand op where either operand may be a Python number.

    A number takes the tensor's dtype; a non-integral number with an integer tensor is a TypeError, nothing is narrowed.
    Tensors of two dtypes are promoted as NumPy promotes them, by an explicit cast op.
    """
    a, b = unify(name, x, y)
    return apply(name, (a, b), {})[0]


def constant(value: float | int | bool, dtype: str) -> Tensor:
    """A 0-d constant."""
    return apply("fill", (), {"shape": (), "dtype": dtype, "value": value})[0]


def cast(x: Tensor, dtype: str) -> Tensor:
    """`x` in the dtype that values of `dtype` are computed in: where that is a half, float32."""
    return convert(x, dtypes.computed(dtype))


def convert(x: Tensor, dtype: str) -> Tensor:
    """Another element type: floats to integers towards 0, numbers to bool as x != 0, to a half by rounding to even."""
    return x if x.type.dtype == dtype else apply("cast", (x,), {"dtype": dtype})[0]


def as_tensor(value: Operand, dtype: str, op: str) -> Tensor:
    """`value` as a tensor; a number becomes a constant of `dtype` if that loses nothing."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, bool) or (not isinstance(value, (int, float)) and not hasattr(value, "__float__")):
        if not isinstance(value, bool):
            what = f"{op}: an operand is neither a Variable nor a number"
            raise ArgumentTypeError(what, got=type(value).__name__, where=user_location())
        return constant(value, dtype)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # an array, or an integer without end
        what = f"{op}: an operand is neither a Variable nor a number that {dtype} holds"
        hint = "feed an array, or write it into the program with assign"
        raise ArgumentTypeError(what, got=type(value).__name__, where=user_location(), hint=hint) from None
    if dtypes.is_int(dtype):
        if not math.isfinite(number) or number != int(number):
            raise ArgumentTypeError(
                f"{op}: the number {value!r} would be truncated",
                expected=f"an integral number, since the other operand is {dtype}", got=repr(value),
                hint="cast the Variable to a float dtype first",
            )  # fmt: skip
        return constant(int(value), dtype)
    if dtype == "bool":
        raise ArgumentTypeError(f"{op}: the number {value!r} meets a bool Variable", hint="cast the Variable first")
    return constant(number, dtype)


def unify(op: str, x: Operand, y: Operand) -> tuple[Tensor, Tensor]:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        dtype = dtypes.promote(x.type.dtype, y.type.dtype)
        return cast(x, dtype), cast(y, dtype)
    if isinstance(x, Tensor):
        return x, as_tensor(y, x.type.dtype, op)
    if isinstance(y, Tensor):
        return as_tensor(x, y.type.dtype, op), y
    raise ArgumentTypeError(f"{op}: neither operand is a Variable")
