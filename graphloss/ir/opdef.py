"""What an op is: one value that holds everything the system knows of it, and the table of all of them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from graphloss import dtypes
from graphloss.errors import ArgumentTypeError, AttrError, DtypeError
from graphloss.ir.dims import Equations
from graphloss.ir.forms import Form
from graphloss.ir.graph import Attr
from graphloss.ir.scalar import Expr
from graphloss.ir.types import TensorType

if TYPE_CHECKING:
    from graphloss.ir.tensor import Tensor

Array: TypeAlias = npt.NDArray[Any]
Attrs: TypeAlias = Mapping[str, Any]
Types: TypeAlias = Sequence[TensorType]

# infer(types, attrs, equations) -> output types; raises ShapeError / DtypeError without op or location (the caller
# adds them)
Infer: TypeAlias = Callable[[Types, Attrs, Equations], tuple[TensorType, ...]]
# reference(arrays, attrs) -> one array per output
Reference: TypeAlias = Callable[[Sequence[Array], Attrs], tuple[Array, ...]]
# scalar(operand expressions, attrs) -> expression of the one output
Scalar: TypeAlias = Callable[[Sequence[Expr], Attrs], Expr]
# lower(operand types, output types, attrs) -> form
Lower: TypeAlias = Callable[[Types, Types, Attrs], Form]
# expand(operands, attrs) -> outputs, written with op constructors in the current mode
Expand: TypeAlias = Callable[[Sequence["Tensor"], Attrs], tuple["Tensor", ...]]
# vjp(operands, outputs, cotangents of the outputs (None: not needed), attrs) -> cotangent per operand (None: no
# gradient)
Vjp: TypeAlias = Callable[
    [Sequence["Tensor"], Sequence["Tensor"], Sequence["Tensor | None"], Attrs], tuple["Tensor | None", ...]
]

REQUIRED = object()


@dataclass(frozen=True, slots=True)
class AttrSpec:
    """A named, typed attribute. `kind`: "int", "float", "bool", "str", "dtype", "ints", "shape", "number", "axis",
    "axes" or "any"."""

    name: str
    kind: str
    default: object = REQUIRED


@dataclass(frozen=True, slots=True)
class Sample:
    """A test point of an op: operands and attributes; `edge` samples are compared on NaN, inf and sign of zero too."""

    inputs: tuple[Array, ...]
    attrs: Mapping[str, object] = field(default_factory=dict)
    edge: bool = False
    differentiable: bool = True


@dataclass(frozen=True)
class OpDef:
    """An op. Exactly one of `scalar` (elementwise), `lower` (other primitive or host call) and `expand` (composite)
    is given.

    An `early` composite is spelling only (scale, mean of squares …): it is expanded before any rule looks at the
    graph; the others
    (softmax, logsumexp …) are what rules and derivatives speak of, and are expanded after them.
    `linear` says that the local derivative is finite whatever the operands (add, reshape, sum …).
    `row_axis` answers which axis the op mixes (softmax …), for passes that ask.
    `measures` says that sizes of its outputs depend on the values of its operands: symbols that only a run binds. Such
    an op is a host call whose function makes its outputs without being told their shapes.
    `variadic`: the last input may repeat. `effect`: must run even if unused (none of the pure ops).
    `halves`: moves elements or converts them and computes nothing, so operands may be float16 or bfloat16. Those of any
    other op are cast to float32 where the op is applied, and its results and the constants in it are no halves.
    """

    name: str
    inputs: tuple[str, ...]
    infer: Infer
    reference: Reference
    attrs: tuple[AttrSpec, ...] = ()
    outputs: tuple[str, ...] = ("out",)
    scalar: Scalar | None = None
    lower: Lower | None = None
    expand: Expand | None = None
    early: bool = False
    vjp: Vjp | None = None
    no_vjp: str = ""
    linear: bool = False
    variadic: bool = False
    halves: bool = False
    random: bool = False
    measures: bool = False
    row_axis: Callable[[Attrs], int] | None = None
    samples: Callable[[np.random.Generator], list[Sample]] | None = None
    ulp: float = 4.0
    summary: str = ""
    formula: str = ""
    source: str = ""
    _dtypes: tuple[str, ...] = field(init=False, repr=False, default=())  # attributes that are one

    def __post_init__(self) -> None:
        given = [k for k in ("scalar", "lower", "expand") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(f"op {self.name}: exactly one of scalar, lower, expand is needed, got {given}")
        if self.vjp is None and not self.no_vjp:
            raise ValueError(f"op {self.name}: vjp is missing and no_vjp does not say why")
        if not self.halves:
            object.__setattr__(self, "infer", _without_halves(self.infer))
        object.__setattr__(self, "_dtypes", tuple(a.name for a in self.attrs if a.kind == "dtype"))

    def computing(self, attrs: dict[str, object]) -> dict[str, object]:
        """`attrs` with float32 in place of a half that is asked for."""
        for name in self._dtypes:
            if attrs[name] in dtypes.HALVES:
                attrs[name] = "float32"
        return attrs

    def complete(self, attrs: Mapping[str, object]) -> dict[str, object]:
        """`attrs` checked and normalised, in declared order, with defaults; AttrError or ArgumentTypeError
        otherwise."""
        known = {a.name for a in self.attrs}
        for name in attrs:
            if name not in known:
                raise AttrError(f"{self.name} has no attribute {name!r}", expected=", ".join(sorted(known)) or "none")
        return {a.name: _normal(self.name, a, attrs.get(a.name, a.default)) for a in self.attrs}


def _without_halves(infer: Infer) -> Infer:
    """`infer`, which refuses a type that nothing is computed in."""

    def checked(types: Types, attrs: Attrs, equations: Equations) -> tuple[TensorType, ...]:
        for t in types:
            if t.dtype in dtypes.HALVES:
                raise _half(t.dtype)
        found = infer(types, attrs, equations)
        for t in found:
            if t.dtype in dtypes.HALVES:
                raise _half(t.dtype)
        return found

    return checked


def _half(dtype: str) -> DtypeError:
    what, hint = f"nothing is computed in {dtype}, which is a type for storage", "cast to float32 before, and back"
    return DtypeError(what, "float32", dtype, hint=hint)


def _normal(op: str, spec: AttrSpec, value: object) -> object:
    if value is REQUIRED:
        raise AttrError(f"{op}: attribute {spec.name!r} is required")
    if value is None and spec.default is None:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    ok: bool
    if spec.kind in ("int", "axis"):
        ok = isinstance(value, int) and not isinstance(value, bool)
    elif spec.kind == "bool":
        ok = isinstance(value, bool)
    elif spec.kind == "float":
        ok = isinstance(value, (int, float)) and not isinstance(value, bool)
        value = float(value) if ok else value  # type: ignore[arg-type]
    elif spec.kind == "number":
        ok = isinstance(value, (int, float, bool))
    elif spec.kind == "str":
        ok = isinstance(value, str)
    elif spec.kind == "dtype":
        return dtypes.canonical(value)
    elif spec.kind in ("ints", "axes"):
        ok = isinstance(value, (tuple, list)) and all(isinstance(v, (int, np.integer)) for v in value)
        value = tuple(int(v) for v in value) if ok else value  # type: ignore[attr-defined]
    elif spec.kind == "shape":  # of integers and symbolic dimensions; kept as they are
        ok = isinstance(value, (tuple, list))
        value = tuple(value) if ok else value  # type: ignore[arg-type]
    else:
        ok = True
    if not ok:
        raise ArgumentTypeError(
            f"{op}: attribute {spec.name!r} has the wrong kind", expected=spec.kind, got=f"{value!r}"
        )
    return value


_REGISTRY: dict[str, OpDef] = {}


def register(op: OpDef) -> OpDef:
    """Adds an op to the table; a second op of the same name is a ValueError."""
    if op.name in _REGISTRY:
        raise ValueError(f"op {op.name} is defined twice")
    _REGISTRY[op.name] = op
    return op


def get(name: str) -> OpDef:
    try:
        return _REGISTRY[name]
    except KeyError:
        near = difflib.get_close_matches(name, _REGISTRY, 1)
        raise AttrError(f"there is no op named {name!r}", hint=f"did you mean {near[0]!r}?" if near else None) from None


def all_ops() -> Iterator[OpDef]:
    return iter(tuple(_REGISTRY.values()))


def freeze(attrs: Mapping[str, object]) -> tuple[tuple[str, Attr], ...]:
    """Attributes as they are stored in an Op; NaN is one object, so that equal ops are equal."""
    return tuple((k, math.nan if v != v else v) for k, v in attrs.items())  # type: ignore[misc]
