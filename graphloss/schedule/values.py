"""Values of the scheduler: scalar functions, loads and reductions over index atoms, and what must be stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from graphloss.ir.dims import Dim
from graphloss.ir.forms import Host, Within
from graphloss.ir.graph import Attr
from graphloss.ir.location import Location
from graphloss.ir.loops import Nest
from graphloss.ir.opdef import get
from graphloss.ir.types import TensorType
from graphloss.schedule.kernel import CheckSite

Dims: TypeAlias = tuple[tuple[int, ...], ...]  # per dimension of a tensor the atoms that index it; () for a dimension 1

# What an op makes its form from: types of operands and results, attributes.
Source: TypeAlias = tuple[tuple[TensorType, ...], tuple[TensorType, ...], tuple[tuple[str, Attr], ...]]


@dataclass(eq=False, slots=True)
class Value:
    """Base: `id` grows in topological order; `deps` are operands; `own` are atoms that the value itself brings in
    (loads, iota)."""

    id: int
    dtype: str
    deps: tuple[Value, ...] = ()
    own: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class Constant(Value):
    value: float | int | bool = 0


@dataclass(eq=False, slots=True)
class Extent(Value):
    """A dimension as a number."""

    dim: Dim = 0


@dataclass(eq=False, slots=True)
class Position(Value):
    """Sum of atom * stride over `strides`."""

    strides: tuple[tuple[int, Dim], ...] = ()
    start: Dim = 0


@dataclass(eq=False, slots=True)
class Read(Value):
    """buffer[offset + sum of atom * stride (+ value of deps[0] * index_stride)]."""

    buffer: str = ""
    offset: Dim = 0
    strides: tuple[tuple[int, Dim], ...] = ()
    index_stride: Dim | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A check as the graph states it: of an index, or with `interval` of a number.

    `strides` leads from atoms to the checked tensor's linear position.
    """

    op: str
    variable: str
    loc: Location | None
    limit: Dim
    shape: tuple[Dim, ...]
    strides: tuple[tuple[int, Dim], ...]
    interval: Within | None = None


@dataclass(eq=False, slots=True)
class Checked(Value):
    """deps[0] as an index that must lie in [0, site.limit), or as a number that must lie in site.interval."""

    site: Site | None = None


@dataclass(eq=False, slots=True)
class Call(Value):
    fn: str = ""


@dataclass(eq=False, slots=True)
class Reduction(Value):
    kind: str = ""
    over: tuple[int, ...] = ()


@dataclass(eq=False, slots=True)
class Root:
    """A value written to a buffer: element (i…) of a tensor whose dimensions are indexed by `dims`."""

    value: Value
    buffer: str
    offset: Dim
    strides: tuple[tuple[int, Dim], ...]


@dataclass(eq=False, slots=True)
class Opaque:
    """A step of its own between kernels, from whole buffers to whole buffers."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(eq=False, slots=True)
class HostCall(Opaque):
    """A NumPy call; its op made `form` from `source`."""

    form: Host
    source: Source

    def __reduce__(self) -> tuple[object, ...]:
        # a function of its own does not pickle; its op makes it again
        return _host_call, (self.op, self.inputs, self.outputs, self.source)


def _host_call(op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], source: Source) -> HostCall:
    lower = get(op).lower
    types, results, attrs = source
    form = None if lower is None else lower(types, results, dict(attrs))
    assert isinstance(form, Host)
    return HostCall(op, inputs, outputs, form, source)


@dataclass(eq=False, slots=True)
class NestCall(Opaque):
    """A loop nest. `arrays` are the buffers of its arrays, in order; `sites` explain its checks, by their names.

    One that works `in_place` changes the memory of a state: everything else comes before it.
    """

    nest: Nest
    sizes: tuple[Dim, ...]
    arrays: tuple[str, ...]
    sites: dict[str, CheckSite]
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor: a value and how the tensor's dimensions run along atoms (the value may not vary along all of them)."""

    value: Value
    dims: Dims

    @property
    def atoms(self) -> tuple[int, ...]:
        return tuple(a for d in self.dims for a in d)
