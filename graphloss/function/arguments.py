"""The arguments of a compiled function: which are arrays, which are constants, and what tells two calls apart."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphloss import dtypes
from graphloss.errors import ArgumentTypeError, DtypeError
from graphloss.ir.tensor import Tensor

_ndarray = np.ndarray


@dataclass(frozen=True)
class Leaf:
    """The place of an array: what it is called, and its declared type."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Signature:
    """The parameters of a Python function, and how a call gives them values."""

    def __init__(self, fn: Callable[..., object]) -> None:
        # a loss class says in forward what it takes; its call takes anything
        target = getattr(fn, "forward", None) or getattr(fn, "hybrid_forward", None) or fn
        try:
            self._signature = inspect.signature(target)
        except (TypeError, ValueError):
            raise ArgumentTypeError("compile takes a Python function", "a function", type(fn).__name__) from None
        self.name = getattr(fn, "__name__", type(fn).__name__)
        parameters = tuple(self._signature.parameters.values())
        self.plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        self.names = tuple(p.name for p in parameters)
        self._defaults = tuple(p.default for p in parameters)
        self._required = sum(d is inspect.Parameter.empty for d in self._defaults)

    def bind(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> tuple[tuple[str, ...], Sequence[object]]:
        """Names and values of all arguments, defaults included, in the order of the parameters."""
        if self.plain and not kwargs and self._required <= len(args) <= len(self.names):
            return self.names, args if len(args) == len(self.names) else args + self._defaults[len(args) :]
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentTypeError(
                f"{self.name}: {error}", expected=f"{self.name}{self._signature}", hint="see its definition"
            ) from None
        bound.apply_defaults()
        return tuple(bound.arguments), tuple(bound.arguments.values())

    def call(self, fn: Callable[..., object], values: Mapping[str, object]) -> object:
        """fn with these values, which `bind` named."""
        bound = inspect.BoundArguments(self._signature, dict(values))
        return fn(*bound.args, **bound.kwargs)

    def position(self, wrt: object) -> str:
        """The name of the parameter that `wrt`, a position or a name, means."""
        if isinstance(wrt, str) and wrt in self.names:
            return wrt
        if isinstance(wrt, int) and not isinstance(wrt, bool) and -len(self.names) <= wrt < len(self.names):
            return self.names[wrt]
        if isinstance(wrt, (str, int)):
            raise ArgumentTypeError(
                f"{self.name} has no parameter {wrt!r}", expected=" or ".join(map(repr, self.names)), got=repr(wrt)
            )
        raise ArgumentTypeError(
            "wrt names parameters", "a position, a name or a tuple of them", type(wrt).__name__,
            hint=f"the arrays go into the call after it: {self.name}.value_and_grad(wrt=0)(x, …)",
        )  # fmt: skip


def key_of(values: Sequence[object], arrays: list[object]) -> Hashable:
    """What two calls share that may run the same program; the arrays among `values` are appended to `arrays`.

    Of an array these are rank, dtype and which axes after the first have dimension 1: such an axis broadcasts, and is
    declared so. Everything else counts by its value.
    """
    parts: list[Hashable] = []
    for value in values:
        if type(value) is _ndarray:
            arrays.append(value)
            shape = value.shape
            parts.append(value.dtype)
            parts.append(len(shape) if 1 not in shape[1:] else tuple([i == 0 or n != 1 for i, n in enumerate(shape)]))
        else:
            parts.append(_other_key(value, arrays))
    return tuple(parts)


def _other_key(value: object, arrays: list[object]) -> Hashable:
    if is_array(value):
        known = value if isinstance(value, (_ndarray, np.generic)) else np.asarray(value)
        arrays.append(known)
        shape = known.shape
        return known.dtype, len(shape) if 1 not in shape[1:] else tuple([i == 0 or n != 1 for i, n in enumerate(shape)])
    if isinstance(value, (tuple, list)):
        return type(value), key_of(value, arrays)
    if isinstance(value, dict):
        return dict, tuple(value), key_of(tuple(value.values()), arrays)
    if isinstance(value, float):
        return float, repr(value)  # -0.0 is not 0.0, and NaN is NaN
    try:
        hash(value)
    except TypeError:
        return id(value)  # the trace keeps it alive
    return type(value), value


def is_array(value: object) -> bool:
    return isinstance(value, (_ndarray, np.generic)) or (hasattr(value, "__array__") and not isinstance(value, type))


def holds_tensor(value: object) -> bool:
    """Whether some argument is a Variable: then the call is part of another function or program."""
    if isinstance(value, (tuple, list)):
        return any(map(holds_tensor, value))
    if isinstance(value, dict):
        return any(map(holds_tensor, value.values()))
    return isinstance(value, Tensor)


def sizes(kind: str, arrays: Sequence[object]) -> tuple[object, ...]:
    """What a program that declares this `kind` of sizes knows of those of `arrays`; see `declared`."""
    shapes = [a.shape for a in arrays if isinstance(a, (_ndarray, np.generic))]
    if kind == "ones":
        return tuple(s[:1] == (1,) for s in shapes)
    return tuple(s[1:] if kind == "inner" else s for s in shapes)


def declared(name: str, value: object, kind: str) -> object:
    """`value` with a Leaf for each array in it.

    A dimension of 1 after the first axis is declared. Beyond that, `kind` tells what is: "free" nothing, "ones" a first
    axis of 1, "inner" all axes but the first, "all" all.
    """
    if is_array(value):
        array = value if isinstance(value, (_ndarray, np.generic)) else np.asarray(value)
        shape = tuple(
            n if kind == "all" or (i > 0 and (n == 1 or kind == "inner")) or (kind == "ones" and n == 1) else None
            for i, n in enumerate(array.shape)
        )
        try:
            return Leaf(name, dtypes.canonical(array.dtype), shape)
        except TypeError:
            raise DtypeError(
                f"argument {name!r} has a dtype that graphloss does not have",
                expected=", ".join(dtypes.SHORT), got=array.dtype, hint=f"convert it: {name}.astype('float32')",
            ) from None  # fmt: skip
    make = getattr(value, "_make", None)  # of a named tuple
    if isinstance(value, tuple) and make is not None:
        return make([declared(f"{name}_{i}", v, kind) for i, v in enumerate(value)])
    if isinstance(value, (tuple, list)):
        return type(value)([declared(f"{name}_{i}", v, kind) for i, v in enumerate(value)])
    if isinstance(value, dict):
        return {k: declared(f"{name}_{k}", v, kind) for k, v in value.items()}
    return value


def mapped(fn: Callable[[Any], object], value: object, kind: type) -> object:
    """`value` with fn(v) in place of each v of the type `kind` inside it."""
    if isinstance(value, kind):
        return fn(value)
    make = getattr(value, "_make", None)
    if isinstance(value, tuple) and make is not None:
        return make([mapped(fn, v, kind) for v in value])
    if isinstance(value, (tuple, list)):
        return type(value)([mapped(fn, v, kind) for v in value])
    if isinstance(value, dict):
        return {k: mapped(fn, v, kind) for k, v in value.items()}
    return value


def leaves(value: object, kind: type) -> Iterator[Any]:
    """Everything of the type `kind` inside `value`, in order."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from leaves(v, kind)
    elif isinstance(value, dict):
        for v in value.values():
            yield from leaves(v, kind)
