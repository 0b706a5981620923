"""The meaning of a loop nest: an interpreter on NumPy arrays, which also sees every access that leaves an array."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from graphloss.ir import loops
from graphloss.ir.loops import (
    Accumulate,
    Assign,
    Check,
    Const,
    Expr,
    Let,
    Load,
    Loop,
    Nest,
    Size,
    Statement,
    Store,
    Use,
    Var,
)
from graphloss.ir.opdef import Array
from graphloss.ops import special
from graphloss.ops.owners import Owners

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "max": np.maximum, "min": np.minimum, "mod": np.mod, "floordiv": np.floor_divide, "sign": np.sign,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor, "not": np.logical_not, "select": np.where,
    "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: np.divide(1, x), "floor": np.floor, "ceil": np.ceil, "round": np.rint, "trunc": np.trunc,
    "exp": np.exp, "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "exp2": np.exp2, "log2": np.log2,
    "sigmoid": special.sigmoid, "softplus": special.softplus, "tanh": np.tanh, "erf": special.erf, "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh,
    "cosh": np.cosh, "lgamma": special.lgamma, "digamma": special.digamma, "pow": np.power, "ldexp": special.ldexp,
}  # fmt: skip

_REDUCE: Final[dict[str, Callable[..., Any]]] = {
    "sum": np.sum, "max": np.max, "min": np.min, "any": np.any, "all": np.all
}  # fmt: skip
_COMBINE: Final = {"sum": "add", "max": "max", "min": "min", "any": "or", "all": "and"}


@dataclass(frozen=True)
class Failure:
    """A check that failed: its name in the nest, where in which array, or at which step of which sample, and what was
    found there."""

    name: str
    array: str
    index: tuple[int, ...]
    value: float
    expected: str


@dataclass
class _Run:
    nest: Nest
    sizes: Mapping[str, int]
    memory: dict[str, Array]
    failures: list[Failure] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    lanes: int | None = None  # of the vector loop we are in
    iterations: Owners | None = None  # who touches what is not scratch, of the iterations of the parallel loop
    own_lanes: Owners | None = None  # of those of the vector loop we are in
    overlap: str = ""


def interpret(
    nest: Nest, sizes: Mapping[str, int], inputs: Sequence[Array], *, owners: bool = False
) -> tuple[tuple[Array, ...], tuple[Failure, ...]]:
    """The outputs of `nest` on these inputs, and the checks that failed (lowest index of each first).

    Outputs hold 0 where the nest writes nothing. Raises IndexError for an access that leaves an array: that is an error
    of the nest, whatever the data. With `owners` it raises RuntimeError where iterations of the parallel loop (unless
    a check failed) or of a vector loop touch an element that another one of them writes.
    """
    run = _Run(nest, sizes, {}, iterations=Owners() if owners else None)
    for array, value in zip(nest.of_kind(*loops.GIVEN), inputs, strict=True):
        shape = tuple(int(_value(run, n)) for n in array.shape)
        if value.shape != shape or value.dtype.name != array.dtype:
            raise TypeError(f"{array.name} is {array.dtype}{list(shape)}, got {value.dtype.name}{list(value.shape)}")
        run.memory[array.name] = value.copy() if array.kind == loops.UPDATE else value
    outputs = [_memory(run, a) if a.kind == loops.OUTPUT else run.memory[a.name] for a in nest.of_kind(*loops.MADE)]
    for array in nest.of_kind(loops.SHARED):
        _memory(run, array).fill(99)  # what is read before it is written shows
    with np.errstate(all="ignore"):
        for i in range(int(_value(run, nest.extent))):
            for array in nest.of_kind(loops.SCRATCH):
                _memory(run, array).fill(99)
            run.names = {nest.index: np.int64(i)}
            _statements(run, nest.body)
    if run.overlap and not run.failures:
        raise RuntimeError(run.overlap)
    failures = sorted(run.failures, key=lambda f: (f.array, f.index))
    return tuple(outputs), tuple(failures)


def _memory(run: _Run, array: loops.Array) -> Array:
    shape = tuple(max(int(_value(run, n)), 0) for n in array.shape)
    run.memory[array.name] = np.zeros(shape, array.dtype)
    return run.memory[array.name]


def _statements(run: _Run, body: Sequence[Statement]) -> None:
    for s in body:
        if isinstance(s, (Let, Var, Assign)):
            run.names[s.name] = _value(run, s.value)
        elif isinstance(s, Accumulate):
            _accumulate(run, s)
        elif isinstance(s, Store):
            _store(run, s)
        elif isinstance(s, Check):
            _check(run, s)
        else:
            _loop(run, s)


def _loop(run: _Run, loop: Loop) -> None:
    begin, end = int(_value(run, loop.begin)), int(_value(run, loop.end))
    if loop.kind == loops.VECTOR:
        if begin < end:
            run.lanes, run.own_lanes = end - begin, None if run.iterations is None else Owners()
            run.names[loop.index] = np.arange(begin, end, dtype=np.int64)
            _statements(run, loop.body)
            run.lanes = run.own_lanes = None
        return
    order = range(begin, end) if loop.kind == loops.SEQUENTIAL else range(end - 1, begin - 1, -1)
    for i in order:
        run.names[loop.index] = np.int64(i)
        _statements(run, loop.body)


def _spread(run: _Run, value: Any) -> Array:
    """A value for each iteration of the vector loop."""
    return np.broadcast_to(np.asarray(value), (run.lanes,) if run.lanes is not None else ())


def _accumulate(run: _Run, s: Accumulate) -> None:
    value = _spread(run, _value(run, s.value))
    if s.when is not None:
        value = value[_spread(run, _value(run, s.when))]
    if value.size:
        known = run.names[s.name]
        part = _REDUCE[s.kind](value).astype(known.dtype)
        run.names[s.name] = FUNCTIONS[_COMBINE[s.kind]](known, part)


def _place(run: _Run, name: str, index: Sequence[Expr], when: Any, *, write: bool = False) -> tuple[Any, ...]:
    """The index of an access in NumPy's form; where `when` is false, 0."""
    shape = run.memory[name].shape
    place = []
    for axis, (part, n) in enumerate(zip(index, shape, strict=True)):
        i = np.asarray(_value(run, part))
        bad = ((i < 0) | (i >= n)) & when
        if np.any(bad):
            wrong = np.broadcast_to(i, np.shape(bad))[bad]
            raise IndexError(f"{run.nest.name}: {name} has {n} elements on axis {axis}, index {wrong[:1].tolist()[0]}")
        place.append(np.where(when, i, 0))
    if run.iterations is not None:
        _touch(run, run.iterations, name, tuple(place), when, write)
    return tuple(place)


def _touch(run: _Run, iterations: Owners, name: str, place: tuple[Any, ...], when: Any, write: bool) -> None:
    memory, kind = run.memory[name], run.nest.array(name).kind
    if kind == loops.INPUT or not np.any(when):
        return
    active = _spread(run, when)
    places = _spread(run, np.ravel_multi_index(place, memory.shape))[active]
    iteration, size = int(run.names[run.nest.index]), memory.size
    if run.own_lanes is not None and run.own_lanes.conflict(name, size, places, np.flatnonzero(active), write):
        raise RuntimeError(f"{run.nest.name}: lanes touch elements of {name} that others write")
    if kind != loops.SCRATCH and iterations.conflict(name, size, places, iteration, write):
        run.overlap = f"{run.nest.name}: iterations touch elements of {name} that others write"


def _store(run: _Run, s: Store) -> None:
    value = _value(run, s.value)
    if s.when is None:
        run.memory[s.array][_place(run, s.array, s.index, True, write=True)] = value
        return
    when = _spread(run, _value(run, s.when))
    if not when.any():
        return
    place = tuple(_spread(run, i)[when] for i in _place(run, s.array, s.index, when, write=True))
    run.memory[s.array][place] = _spread(run, value)[when]


def _check(run: _Run, s: Check) -> None:
    value, ok = _value(run, s.value), _value(run, s.ok)
    run.names[s.name] = np.where(ok, value, _value(run, s.other))[()]
    bad = ~_spread(run, ok)
    if bad.any():
        index = s.index if s.step is None else (Use(run.nest.index, "int64"), s.step)
        places = [_spread(run, _value(run, i))[bad] for i in index]
        found = _spread(run, value)[bad]
        for k in range(found.size):
            where = tuple(int(np.atleast_1d(p)[k]) for p in places)
            run.failures.append(Failure(s.name, s.array, where, np.atleast_1d(found)[k].item(), s.expected))


def _value(run: _Run, e: Expr) -> Any:
    if isinstance(e, Const):
        return np.dtype(e.dtype).type(e.value)
    if isinstance(e, Size):
        return np.int64(run.sizes[e.name])
    if isinstance(e, Use):
        return run.names[e.name]
    if isinstance(e, Load):
        return _load(run, e)
    args = [_value(run, a) for a in e.args]
    if e.fn == "cast":
        return np.asarray(args[0]).astype(e.dtype)[()]
    result = np.asarray(FUNCTIONS[e.fn](*map(np.asarray, args)))[()]
    assert result.dtype.name == e.dtype, f"{e.fn}: {result.dtype}, not {e.dtype}"
    return result


def _load(run: _Run, e: Load) -> Any:
    if e.when is None:
        return run.memory[e.array][_place(run, e.array, e.index, True)]
    assert e.other is not None
    when, other = _value(run, e.when), _value(run, e.other)
    if not np.any(when):  # the array may have no element at all
        return np.broadcast_to(np.asarray(other), np.shape(when)).copy()[()]
    return np.where(when, run.memory[e.array][_place(run, e.array, e.index, when)], other)[()]
