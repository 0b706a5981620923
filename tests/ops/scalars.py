"""A NumPy evaluator of scalar expressions, independent of the references of the ops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import mpmath
import numpy as np
import numpy.typing as npt

from graphloss.ir.scalar import Expr

Array = npt.NDArray[np.generic]


def _mp(fn: Callable[[mpmath.mpf], mpmath.mpf]) -> Callable[[Array], Array]:
    def one(v: float) -> float:
        try:
            return float(mpmath.re(fn(mpmath.mpf(v))))
        except ValueError:  # a pole
            return math.inf

    return lambda x: np.array([one(float(v)) for v in x.ravel()], np.float64).reshape(x.shape).astype(x.dtype)


def _sigmoid(x: Array) -> Array:
    e = np.exp(np.minimum(x, 0))
    return np.where(x > 0, 1 / (1 + np.exp(-x)), e / (1 + e))


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "max": np.maximum, "min": np.minimum, "mod": np.mod, "floordiv": np.floor_divide, "sign": np.sign,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor, "not": np.logical_not, "select": np.where,
    "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: np.divide(1, x), "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc,
    "exp": np.exp, "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "exp2": np.exp2, "log2": np.log2,
    "sigmoid": _sigmoid,
    "softplus": lambda x: np.logaddexp(0, x), "tanh": np.tanh, "erf": _mp(mpmath.erf), "sin": np.sin, "cos": np.cos,
    "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "lgamma": _mp(mpmath.loggamma), "digamma": _mp(mpmath.digamma), "pow": np.power,
    "ldexp": lambda x, n: np.ldexp(x, n.astype(np.int64)),
}  # fmt: skip


def evaluate(e: Expr, operands: Sequence[Array]) -> Array:
    """The value of `e` for arrays that broadcast; dtypes must be what the expression says."""
    if e.fn == "arg":
        assert operands[e.index].dtype.name == e.dtype
        return operands[e.index]
    if e.fn == "const":
        return np.asarray(e.value, e.dtype)
    args = [evaluate(a, operands) for a in e.args]
    with np.errstate(all="ignore"):
        out = args[0].astype(e.dtype) if e.fn == "cast" else np.asarray(FUNCTIONS[e.fn](*args))
    assert out.dtype.name == e.dtype, f"{e}: {out.dtype}, not {e.dtype}"
    return out
