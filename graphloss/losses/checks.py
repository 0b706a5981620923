"""What public losses do first: arguments are checked; errors name the call, its arguments and the user's line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Final, ParamSpec, TypeVar

import numpy as np

from graphloss import dtypes
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError, GraphlossError, LabelError, ShapeError
from graphloss.ir.dims import Dim
from graphloss.ir.location import user_location
from graphloss.ir.tensor import Tensor

# What class labels may be of; PyTorch's manner takes bytes too.
LABELS: Final = ("int64", "int32")
LABELS_OR_BYTES: Final = (*LABELS, "uint8")

P = ParamSpec("P")
R = TypeVar("R")


def located(fn: Callable[P, R], name: str | None = None) -> Callable[P, R]:
    """`fn`, whose errors say what was called, and where in the user's code."""

    @wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return fn(*args, **kwargs)
        except LabelError as error:
            argument = _label_argument(fn, args, kwargs)
            if argument is not None:  # eager mode knows the op's name of it only
                error.what = _renamed(error.what, "index", argument)
            error.with_op(name or fn.__name__, user_location())
            raise
        except GraphlossError as error:
            error.with_op(name or fn.__name__, user_location())
            raise
        except (AttributeError, TypeError, ValueError):
            wrong = _no_tensor(fn, args, kwargs, name or fn.__name__)
            if wrong is None:
                raise
            raise wrong from None

    return run


def _no_tensor(
    fn: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object], called: str
) -> ArgumentTypeError | None:
    """The error of an array where a Variable belongs, found after a call failed: a call that succeeds costs nothing."""
    signature = inspect.signature(fn)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:  # of the call itself, which says all
        return None
    for name, value in given.items():
        takes = str(signature.parameters[name].annotation)
        values = value if "Sequence[Tensor" in takes and isinstance(value, (list, tuple)) else (value,)
        if re.search("Tensor|Operand", takes) and (wrong := [x for x in values if isinstance(x, (np.ndarray, list))]):
            error = _not_a_variable(wrong[0], name, called, None)
            error.with_op(called, user_location())
            return error
    return None


@contextmanager
def calling(**operands: str) -> Iterator[None]:
    """Inside, errors of an eager op call its operands by these names, those of the arguments."""
    try:
        yield
    except LabelError as error:
        name = operands.get(error.variable or "")
        if name is not None:
            error.what = _renamed(error.what, str(error.variable), name)
            error.variable = name
        raise


def _renamed(what: str, old: str, new: str) -> str:
    """What went wrong, with another name of the operand that it is about."""
    return re.sub(rf"\b{old}(?=\[| =)", new, what, count=1)


def _label_argument(fn: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> str | None:
    """Which argument holds the labels: the one called so, else the only one of integers."""
    given = inspect.signature(fn).bind(*args, **kwargs).arguments
    integers = [name for name, x in given.items() if isinstance(x, Tensor) and dtypes.is_int(x.type.dtype)]
    called = [name for name in integers if name in ("label", "target", "labels")]
    return called[0] if called else integers[0] if len(integers) == 1 else None


def tensor(value: object, name: str, where: str, hint: str | None = None) -> Tensor:
    """`value` if it is a Variable or an eager array, else ArgumentTypeError."""
    if isinstance(value, Tensor):
        return value
    raise _not_a_variable(value, name, where, hint)


def _not_a_variable(value: object, name: str, where: str, hint: str | None) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"{where}: {name} is not a Variable",
        expected="a Variable of a program, or a VarBase under dygraph.guard()",
        got=type(value).__name__,
        hint=hint or "make one with gl.data, gl.layers.assign or gl.dygraph.to_variable; gl.compile takes NumPy arrays",
    )


def optional_tensor(value: object, name: str, where: str) -> Tensor | None:
    """`value` if it is None or a Variable: an array would otherwise be ignored or copied in silence."""
    return None if value is None else tensor(value, name, where)


def may_be_equal(a: Dim, b: Dim) -> bool:
    """Whether two dimensions can be the same: known ones are compared, an unknown one may be any but a declared 1."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return a != 1 and b != 1


def same_shape(x: Tensor, y: Tensor) -> bool:
    return _same_dims(x.type.shape, y.type.shape)


def _same_dims(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> bool:
    return len(a) == len(b) and all(may_be_equal(m, n) for m, n in zip(a, b, strict=True))


def require_same_shape(x: Tensor, y: Tensor, where: str, name: str = "target") -> None:
    if not same_shape(x, y):
        raise ShapeError(f"{where}: {name} and input have different shapes", expected=shape_text(x), got=shape_text(y))


def require_same_dtype(x: Tensor, y: Tensor, where: str, name: str = "target") -> None:
    """Halves are computed in float32, so they may meet one."""
    if dtypes.computed(x.type.dtype) != dtypes.computed(y.type.dtype):
        raise DtypeError(f"{where}: {name} and input have different dtypes", expected=x.type.dtype, got=y.type.dtype)


def require_float(x: Tensor, where: str, name: str = "input") -> None:
    if not dtypes.is_float(x.type.dtype):
        raise DtypeError(f"{where}: {name} must be of a float dtype", expected="float32 or float64", got=x.type.dtype)


def require_class_dtype(label: Tensor, where: str, allowed: tuple[str, ...] = LABELS) -> None:
    if label.type.dtype not in allowed:
        raise DtypeError(
            f"{where}: class labels have the wrong dtype",
            expected=" or ".join(allowed),
            got=label.type.dtype,
            hint="cast the labels",
        )


def require_labels_of(x: Tensor, label: Tensor, axis: int, where: str) -> None:
    """The shape of `label` must be that of `x` without `axis`."""
    want = tuple(d for a, d in enumerate(x.type.shape) if a != axis % x.type.rank)
    got = label.type.shape
    if not _same_dims(want, got):
        hint = None
        if len(got) == len(want) + 1 and got[-1] == 1:
            hint = "labels have one dimension less than the input: squeeze the last one"
        raise ShapeError(
            f"{where}: labels do not fit the input {shape_text(x)}",
            expected=dims_text(want),
            got=dims_text(got),
            hint=hint,
        )


def class_weight(value: object, x: Tensor, axis: int, where: str) -> Tensor | None:
    """A weight per class: a Variable of shape [C] and of the input's dtype, or None."""
    weight = optional_tensor(value, "weight", where)
    if weight is None:
        return None
    classes = x.type.shape[axis]
    if weight.type.rank != 1 or (not may_be_equal(weight.type.shape[0], classes) and classes != 1):
        raise ShapeError(
            f"{where}: weight must hold one number per class", expected=f"[{classes}]", got=shape_text(weight)
        )
    require_same_dtype(x, weight, where, "weight")
    return weight


def require_unit_interval(value: float, name: str, where: str) -> None:
    if not 0 <= value <= 1:
        raise AttrError(f"{where}: {name} is out of range", expected="0 to 1", got=value)


def axis_in_range(axis: int, rank: int, where: str) -> int:
    """`axis` counted from the front."""
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise ArgumentTypeError(f"{where}: axis must be an integer", got=type(axis).__name__)
    if not -rank <= axis < rank:
        raise AttrError(f"{where}: axis is out of range", expected=f"{-rank} to {rank - 1}", got=axis)
    return axis % rank


def shape_text(x: Tensor) -> str:
    return dims_text(x.type.shape)


def dims_text(dims: tuple[Dim, ...]) -> str:
    return f"[{', '.join(str(d) for d in dims)}]"
