"""The named type rules that ops share: broadcasting, reduction, axes, element types."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphloss import dtypes
from graphloss.errors import AttrError, DtypeError, ShapeError
from graphloss.ir.dims import Dim, Equations
from graphloss.ir.opdef import Attrs, Infer, Types
from graphloss.ir.types import TensorType

Shape = tuple[Dim, ...]


def axis_of(axis: int, rank: int, what: str = "axis") -> int:
    """`axis` counted from the front; ShapeError outside [-rank, rank)."""
    if not -rank <= axis < rank:
        raise ShapeError(f"{what} is out of range", f"-{rank} <= {what} < {rank}" if rank else "a rank above 0", axis)
    return axis % rank


def axes_of(axes: Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Sorted axes counted from the front; None is all of them."""
    if axes is None:
        return tuple(range(rank))
    found = sorted(axis_of(a, rank) for a in axes)
    if len(set(found)) != len(found):
        raise ShapeError("an axis is named twice", "different axes", tuple(axes))
    return tuple(found)


def show(shape: Shape) -> str:
    return f"[{', '.join(str(d) for d in shape)}]"


def join(a: Dim, b: Dim, equations: Equations, why: str) -> Dim | None:
    """The one dimension that two equal ones are, a number before a symbol; None where they can never be equal.

    Which of the two is returned depends on them alone,
    never on what is known so far: types are the same each time they are inferred.
    """
    if a == b:
        return a
    if equations.equal(a, b, why) is None:
        return None
    return a if isinstance(a, int) else b if isinstance(b, int) else a


def broadcast(shapes: Sequence[Shape], equations: Equations, why: str = "broadcast") -> Shape:
    """The common shape, aligned at the last axis; only a dimension that is the number 1 grows."""
    rank = max((len(s) for s in shapes), default=0)
    out: list[Dim] = []
    for position in range(-rank, 0):
        dim: Dim = 1
        for shape in shapes:
            d: Dim = shape[position] if len(shape) >= -position else 1
            if d == 1:
                continue
            both = d if dim == 1 else join(dim, d, equations, why)
            if both is None:
                text = " and ".join(show(s) for s in shapes)
                raise ShapeError(
                    f"the shapes do not broadcast at axis {position}", f"{dim} or 1 there", text,
                    hint="dimensions are aligned at the last axis; add axes of 1 with unsqueeze",
                )  # fmt: skip
            dim = both
        out.append(dim)
    return tuple(out)


def agree(types: Types) -> str:
    """The element type that all operands have."""
    first = types[0].dtype
    for t in types[1:]:
        if t.dtype != first:
            got = ", ".join(t.dtype for t in types)
            raise DtypeError("the operands have different element types", "one dtype", got, hint="cast one of them")
    return first


def expect(t: TensorType, kind: str, what: str = "the operand") -> None:
    """`kind`: "float", "int", "bool", "number" (float or int) or "any"."""
    ok = {
        "float": dtypes.is_float(t.dtype), "int": dtypes.is_int(t.dtype), "bool": t.dtype == "bool",
        "number": t.dtype != "bool", "any": True,
    }[kind]  # fmt: skip
    if not ok:
        raise DtypeError(f"{what} has the wrong element type", kind, t.dtype, hint="cast it first")


def same(kind: str = "float") -> Infer:
    """One operand; the result has its type."""

    def infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
        expect(types[0], kind)
        return (types[0],)

    return infer


def pointwise(kind: str = "number", result: str | None = None) -> Infer:
    """Operands of one element type that broadcast; the result has that type or `result`."""

    def infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
        dtype = agree(types)
        expect(types[0], kind)
        return (TensorType(result or dtype, broadcast([t.shape for t in types], equations)),)

    return infer


def to_bool(kind: str = "any") -> Infer:
    """One operand; the result is bool of the same shape."""

    def infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
        expect(types[0], kind)
        return (types[0].with_dtype("bool"),)

    return infer


def reduced_shape(shape: Shape, axes: Sequence[int] | None, keepdims: bool) -> Shape:
    gone = axes_of(axes, len(shape))
    if keepdims:
        return tuple(1 if i in gone else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in gone)


def reduction(kind: str = "number", result: str | None = None) -> Infer:
    """One operand with attributes `axes` and `keepdims`."""

    def infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
        expect(types[0], kind)
        shape = reduced_shape(types[0].shape, attrs["axes"], attrs["keepdims"])
        return (TensorType(result or types[0].dtype, shape),)

    return infer


def along_axis(kind: str = "float") -> Infer:
    """One operand with an attribute `axis`; the result has its type."""

    def infer(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
        expect(types[0], kind)
        axis_of(attrs["axis"], types[0].rank)
        return (types[0],)

    return infer


def equal_shapes(a: Shape, b: Shape, equations: Equations, what: str) -> None:
    """The two must be the same shape, dimension by dimension."""
    if len(a) != len(b) or any(join(x, y, equations, what) is None for x, y in zip(a, b, strict=True)):
        raise ShapeError(f"{what}: the shapes differ", show(a), show(b))


def one_of(value: str, allowed: Sequence[str], what: str) -> None:
    if value not in allowed:
        raise AttrError(f"{what} has an unknown value", " or ".join(repr(a) for a in allowed), repr(value))


def checked(infer: Infer, check: Callable[[Attrs], None]) -> Infer:
    """`infer` after a check of the attributes."""

    def both(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
        check(attrs)
        return infer(types, attrs, equations)

    return both
