"""The scalar functions of kernels on vectors of lanes; those of floats that need a formula are in the math library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llvmlite import ir

from graphloss import dtypes
from graphloss.codegen import math
from graphloss.codegen.math import forms
from graphloss.codegen.values import Lanes
from graphloss.errors import UnsupportedError
from graphloss.ir.scalar import EXPENSIVE, FUNCTIONS

_BITS: Final = {"int8": 8, "uint8": 8, "int16": 16, "int32": 32, "int64": 64}


def apply(
    lanes: Lanes, fn: str, source: str, target: str, args: list[ir.Value], *, inline: bool = True,
    made_by: tuple[str, ...] = (),
) -> ir.Value:
    """fn(args); `source` is the dtype of the operands (of the last one for select), `target` that of the result.

    Without `inline`, long functions become calls. `made_by` names the functions of one operand that made the operand,
    the last one first.
    """
    if fn == "cast":
        return lanes.convert(args[0], source, target)
    if fn == "select":
        return lanes.select(*args)
    if fn in _COMPARISONS:
        return _compare(lanes, fn, source, *args)
    if source == "bool":
        if fn not in _BOOL:
            raise _unsupported(fn, source)
        return _BOOL[fn](lanes, *args)
    if dtypes.is_int(source):
        return _integer(lanes, fn, source, *args)
    if fn in _FLOAT:
        return _FLOAT[fn](lanes, *args)
    form = forms.form(lanes, source, (fn, *made_by))
    return math.emit(lanes, form, source, *args, inline=inline or FUNCTIONS[fn].cost < EXPENSIVE)


def _unsupported(fn: str, dtype: str) -> UnsupportedError:
    return UnsupportedError(f"kernels have no {fn} of {dtype}", hint="cast the operands to a float first")


_COMPARISONS: Final = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def _compare(lanes: Lanes, fn: str, source: str, a: ir.Value, b: ir.Value) -> ir.Value:
    if source in ("bool", "uint8"):
        return lanes.builder.icmp_unsigned(_COMPARISONS[fn], a, b)
    method: Callable[[ir.Value, ir.Value], ir.Value] = getattr(lanes, fn)
    return method(a, b)


def _isinf(lanes: Lanes, x: ir.Value) -> ir.Value:
    return lanes.eq(lanes.abs(x), lanes.const(lanes.dtype_of(x), float("inf")))


def _isfinite(lanes: Lanes, x: ir.Value) -> ir.Value:
    return lanes.lt(lanes.abs(x), lanes.const(lanes.dtype_of(x), float("inf")))


_FLOAT: Final[dict[str, Callable[..., ir.Value]]] = {
    "add": Lanes.add, "sub": Lanes.sub, "mul": Lanes.mul, "div": Lanes.div, "neg": Lanes.neg, "abs": Lanes.abs,
    "max": Lanes.max, "min": Lanes.min, "isnan": Lanes.isnan, "isinf": _isinf, "isfinite": _isfinite,
}  # fmt: skip

_BOOL: Final[dict[str, Callable[..., ir.Value]]] = {
    "and": Lanes.and_, "or": Lanes.or_, "xor": Lanes.xor, "not": Lanes.not_,
    # NumPy's arithmetic on bools
    "abs": lambda lanes, a: a,
    "add": Lanes.or_, "max": Lanes.or_, "mul": Lanes.and_, "min": Lanes.and_,
    "isnan": lambda lanes, a: lanes.const("bool", False), "isinf": lambda lanes, a: lanes.const("bool", False),
    "isfinite": lambda lanes, a: lanes.const("bool", True),
}  # fmt: skip


def _integer(lanes: Lanes, fn: str, dtype: str, *args: ir.Value) -> ir.Value:
    a = args[0]
    unsigned = dtype == "uint8"
    if fn in ("add", "sub", "mul", "neg", "and", "or", "xor", "not"):
        method: Callable[..., ir.Value] = getattr(lanes, fn + "_" if fn in ("and", "or", "not") else fn)
        return method(*args)
    if fn in ("max", "min"):
        less = lanes.ult(a, args[1]) if unsigned else lanes.lt(a, args[1])
        return lanes.select(less, args[1], a) if fn == "max" else lanes.select(less, a, args[1])
    if fn == "abs":
        return a if unsigned else lanes.abs(a)
    if fn == "sign":
        zero, one = lanes.const(dtype, 0), lanes.const(dtype, 1)
        positive = lanes.select(lanes.ne(a, zero), one, zero)
        return positive if unsigned else lanes.select(lanes.lt(a, zero), lanes.const(dtype, -1), positive)
    if fn in ("floor", "ceil", "round", "trunc"):
        return a
    if fn in ("isnan", "isinf", "isfinite"):
        return lanes.const("bool", fn == "isfinite")
    if fn in ("floordiv", "mod"):
        return _floor_division(lanes, fn, dtype, a, args[1])
    raise _unsupported(fn, dtype)


def _floor_division(lanes: Lanes, fn: str, dtype: str, a: ir.Value, b: ir.Value) -> ir.Value:
    # The processor traps on a zero divisor and on lowest / -1, also in lanes that are masked off; NumPy gives 0 for the
    # former, and x / -1 is a negation.
    zero, one = lanes.const(dtype, 0), lanes.const(dtype, 1)
    none = lanes.eq(b, zero)
    if dtype == "uint8":
        safe = lanes.select(none, one, b)
        quotient, rest = lanes.builder.udiv(a, safe), lanes.builder.urem(a, safe)
        return lanes.select(none, zero, quotient if fn == "floordiv" else rest)
    minus = lanes.eq(b, lanes.const(dtype, -1))
    safe = lanes.select(lanes.or_(none, minus), one, b)
    quotient, rest = lanes.div(a, safe), lanes.rem(a, safe)
    down = lanes.and_(lanes.ne(rest, zero), lanes.lt(lanes.xor(rest, safe), zero))
    if fn == "floordiv":
        quotient = lanes.sub(quotient, lanes.select(down, one, zero))
        return lanes.select(none, zero, lanes.select(minus, lanes.neg(a), quotient))
    rest = lanes.select(down, lanes.add(rest, safe), rest)
    return lanes.select(lanes.or_(none, minus), zero, rest)
