"""Short ways to write an OpDef: what all ops, and all elementwise ops, have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from graphloss.ir import scalar
from graphloss.ir.opdef import (
    Array,
    Attrs,
    AttrSpec,
    Expand,
    Infer,
    Lower,
    OpDef,
    Reference,
    Sample,
    Scalar,
    Vjp,
    register,
)  # fmt: skip
from graphloss.ir.scalar import Expr
from graphloss.ir.tensor import Operand, Tensor, apply, apply_binary
from graphloss.ops import rules

__all__ = ["unbroadcast"]

Samples: TypeAlias = Callable[[np.random.Generator], list[Sample]]
# g -> cotangent of x, given (x, out, g, attrs); None where the derivative is 0 everywhere
UnaryVjp: TypeAlias = Callable[[Tensor, Tensor, Tensor, Attrs], "Tensor | None"]
BinaryVjp: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor, Attrs], "tuple[Tensor | None, Tensor | None]"]

# The constructor of an elementwise op.
Unary: TypeAlias = Callable[[Tensor], Tensor]
Binary: TypeAlias = Callable[[Operand, Operand], Tensor]


def quiet(reference: Reference) -> Reference:
    """`reference` without NumPy's floating-point warnings, its results as arrays (NumPy makes scalars of 0-d ones)."""

    def run(arrays: Sequence[Array], attrs: Attrs) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            return tuple(np.asarray(a) for a in reference(arrays, attrs))

    return run


def define(
    name: str, inputs: tuple[str, ...], infer: Infer, reference: Callable[..., Array | tuple[Array, ...]], *,
    attrs: tuple[AttrSpec, ...] = (), scalar: Scalar | None = None, lower: Lower | None = None,
    expand: Expand | None = None,
    early: bool = False, vjp: Vjp | None = None, no_vjp: str = "", linear: bool = False, variadic: bool = False,
    halves: bool = False, random: bool = False, measures: bool = False,
    row_axis: Callable[[Attrs], int] | None = None, samples: Samples | None = None, ulp: float = 4.0,
    outputs: tuple[str, ...] = ("out",),
    summary: str = "", formula: str = "", source: str = "",
) -> OpDef:  # fmt: skip
    """Registers an op, of one output unless `outputs` names several.

    `reference` is called with the arrays one by one, then the attributes by name.
    """

    def call(arrays: Sequence[Array], values: Attrs) -> tuple[Array, ...]:
        out = reference(*arrays, **values)
        return out if isinstance(out, tuple) else (out,)

    return register(
        OpDef(
            name, inputs, infer, quiet(call), attrs, outputs, scalar=scalar, lower=lower, expand=expand, early=early,
            vjp=vjp, no_vjp=no_vjp, linear=linear, variadic=variadic, halves=halves, random=random, measures=measures,
            row_axis=row_axis, samples=samples, ulp=ulp, summary=summary, formula=formula, source=source,
        )
    )  # fmt: skip


def function(name: str) -> Scalar:
    """The scalar function of the same operands in the same order."""
    return lambda operands, attrs: scalar.call(name, *operands)


def unary(
    name: str, fn: Callable[..., Any], vjp: UnaryVjp | None, *, code: Scalar | None = None, kind: str = "float",
    infer: Infer | None = None, attrs: tuple[AttrSpec, ...] = (), samples: Samples | None = None, no_vjp: str = "",
    linear: bool = False, halves: bool = False, expand: Expand | None = None, early: bool = False, ulp: float = 4.0,
    summary: str = "", formula: str = "", source: str = "",
) -> Unary:  # fmt: skip
    """An elementwise op of one operand, and its constructor; its scalar function has its name, or is `code`."""

    def pull(
        operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], a: Attrs
    ) -> tuple[Tensor | None, ...]:
        assert vjp is not None and g[0] is not None
        return (vjp(operands[0], outputs[0], g[0], a),)

    define(
        name, ("x",), infer or rules.same(kind), fn, attrs=attrs, vjp=None if vjp is None else pull, no_vjp=no_vjp,
        scalar=None if expand else code or function(name), expand=expand, early=early, samples=samples or points(),
        linear=linear, halves=halves, ulp=ulp, summary=summary, formula=formula, source=source,
    )  # fmt: skip

    def construct(x: Tensor) -> Tensor:
        return apply(name, (x,), {})[0]

    construct.__name__ = construct.__qualname__ = name
    construct.__doc__ = "\n\n".join(t for t in (summary, formula and f"``{formula}``, element by element.") if t)
    return construct


def binary(
    name: str, fn: Callable[..., Any], vjp: BinaryVjp, *, code: Scalar | None = None, kind: str = "number",
    infer: Infer | None = None, attrs: tuple[AttrSpec, ...] = (), samples: Samples | None = None, linear: bool = False,
    expand: Expand | None = None, ulp: float = 4.0, summary: str = "", formula: str = "", source: str = "",
) -> Binary:  # fmt: skip
    """An elementwise op of two operands, and its constructor; cotangents are summed over broadcast axes here."""

    def pull(
        operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], a: Attrs
    ) -> tuple[Tensor | None, ...]:
        x, y = operands
        assert g[0] is not None
        gx, gy = vjp(x, y, outputs[0], g[0], a)
        return (None if gx is None else unbroadcast(gx, x), None if gy is None else unbroadcast(gy, y))

    define(
        name, ("x", "y"), infer or rules.pointwise(kind), fn, attrs=attrs, vjp=pull,
        scalar=None if expand else code or function(name),
        expand=expand, samples=samples or pairs(), linear=linear, ulp=ulp, summary=summary, formula=formula,
        source=source,
    )  # fmt: skip

    def construct(x: Operand, y: Operand) -> Tensor:
        return apply_binary(name, x, y)

    construct.__name__ = construct.__qualname__ = name
    construct.__doc__ = f"{summary}\n\n``{formula}``; either operand may be a number."
    return construct


def unbroadcast(g: Tensor, x: Tensor) -> Tensor:
    """`g` summed over the axes along which `x` was broadcast, so that it has x's shape."""
    target, shape = x.type.shape, g.type.shape
    lead = len(shape) - len(target)
    grown = [lead + i for i, d in enumerate(target) if d == 1 and shape[lead + i] != 1]
    if grown:
        g = apply("reduce_sum", (g,), {"axes": tuple(grown), "keepdims": True})[0]
    if lead:
        g = apply("reduce_sum", (g,), {"axes": tuple(range(lead)), "keepdims": False})[0]
    return g


def zero(*_: object) -> None:
    """The derivative of a function of steps."""
    return None


def zeros(*_: object) -> tuple[None, None]:
    return None, None


def no_gradient(
    operands: Sequence[Tensor], outputs: Sequence[Tensor], g: Sequence[Tensor | None], attrs: Attrs
) -> tuple[None, ...]:
    """The vjp of an op whose derivative is 0 everywhere, or whose operands have none."""
    return (None,) * len(operands)


def constants(dtype: str, *values: float) -> tuple[Expr, ...]:
    """Scalar constants; an integer type takes whole numbers."""
    whole = dtype.startswith(("int", "uint"))
    return tuple(scalar.const(int(v) if whole else float(v), dtype) for v in values)


EDGES = (0.0, -0.0, 1.0, -1.0, 1e4, -1e4, 1e-30, np.inf, -np.inf, np.nan)


def points(
    low: float = -3.0, high: float = 3.0, *, edges: Sequence[float] = EDGES, attrs: Sequence[Attrs] = ({},)
) -> Samples:
    """Samples of a function of one operand: numbers in [low, high), none at all, and edge values."""

    def make(rng: np.random.Generator) -> list[Sample]:
        found = []
        for a in attrs:
            found += [Sample((rng.uniform(low, high, shape),), dict(a)) for shape in ((3, 5), (), (0, 4))]
            found.append(Sample((np.array(edges),), dict(a), edge=True, differentiable=False))
        return found

    return make


def pairs(
    low: float = -3.0, high: float = 3.0, *, second: tuple[float, float] | None = None, edges: Sequence[float] = EDGES,
    attrs: Sequence[Attrs] = ({},),
) -> Samples:  # fmt: skip
    """Samples of a function of two operands: broadcasting both ways, empty, and every pair of edge values."""

    def make(rng: np.random.Generator) -> list[Sample]:
        found = []
        shapes = (((3, 5), (3, 5)), ((3, 1), (5,)), ((), (2, 3)), ((0, 4), (4,)))
        for a in attrs:
            found += [
                Sample((rng.uniform(low, high, s), rng.uniform(*(second or (low, high)), t)), dict(a))
                for s, t in shapes
            ]
            e = np.array(edges)
            found.append(Sample((e[:, None], e), dict(a), edge=True, differentiable=False))
        return found

    return make
