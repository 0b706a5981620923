"""Compiled against unoptimised against eager: how far apart, where, and where the naive form saturates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss import dtypes
from graphloss.errors import GraphlossError
from graphloss.ir.graph import Graph
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor
from graphloss.ops.evaluate import evaluate
from graphloss.ops.random import fixed
from graphloss.options import CompileOptions
from graphloss.passes.pipelines import lower_only, optimise
from graphloss.runtime.arguments import check_unused, feeds_of, fetches_of, missing, state_of
from graphloss.runtime.compile import compile_graph
from graphloss.runtime.compiled import Compiled
from graphloss.runtime.compiled_program import CompiledProgram, uncompiled
from graphloss.runtime.diagnose import located
from graphloss.runtime.lod import split_feeds
from graphloss.runtime.scope import Scope, global_scope

Array = npt.NDArray[Any]


# Two float64 values further apart than this are not rounded differently, one of them is wrong.
_APART = 1e-6


@dataclass(frozen=True)
class Row:
    """One fetch. `index` is the element where the compiled value is furthest from the reference, in units in the last
    place of the fetched dtype; `ulp` and `relative` are that distance.

    The reference is the eager float64 value. Where the formula as written saturates, cancels or clamps even in float64
    (`eager_off` elements, the first at `first_off`), it is the stable formula in eager float64. `naive_ulp` is the
    worst
    distance of the unoptimised program; `saturated` counts elements where that is inf or NaN and the compiled value
    is not.
    """

    name: str
    shape: tuple[int, ...]
    index: tuple[int, ...]
    compiled: float
    reference: float
    ulp: float
    relative: float
    naive_ulp: float
    saturated: int
    first_saturated: tuple[int, ...]
    eager_off: int
    first_off: tuple[int, ...]
    eager_there: float
    reference_there: float


@dataclass(frozen=True)
class Comparison:
    rows: tuple[Row, ...]

    @property
    def worst_ulp(self) -> float:
        return max((r.ulp for r in self.rows), default=0.0)

    def __str__(self) -> str:
        lines = ["compiled against eager float64; distance in ULP of the fetched dtype"]
        for r in self.rows:
            place = f" at {list(r.index)}" if r.index else ""
            lines.append(
                f"  {r.name} {list(r.shape)}: worst {r.ulp:.3g} ULP ({r.relative:.2e} relative){place}: "
                f"{r.compiled!r} against {r.reference!r}; unoptimised {r.naive_ulp:.3g} ULP"
            )
            if r.saturated:
                lines.append(
                    f"    unoptimised saturates in {r.saturated} elements, first at {list(r.first_saturated)}; "
                    "compiled is finite there"
                )
            if r.eager_off:
                lines.append(
                    f"    as written, float64 itself is off in {r.eager_off} elements, first at {list(r.first_off)}: "
                    f"{r.eager_there!r}, where the stable formula gives {r.reference_there!r}"
                )
        return "\n".join(lines)


def compare(
    program: Program | CompiledProgram,
    feed: Mapping[str, object],
    fetch_list: Sequence[Tensor | str],
    scope: Scope | None = None,
    options: CompileOptions | None = None,
) -> Comparison:
    """Runs the fetches compiled, compiled without any rewriting, and eagerly in float64, and compares value by value.

    Nothing is written to the scope. Random ops without a seed get one, so that all draw the same numbers.

    Args:
        program: the program, or a CompiledProgram.
        feed: arrays by name, as for `Executor.run`.
        fetch_list: what to compare.
        scope: where persistable variables are read.

    Example:
        >>> import numpy as np, graphloss as gl
        >>> main = gl.Program()
        >>> with gl.program_guard(main):
        ...     x = gl.data("x", [None, 3])
        ...     y = gl.layers.log(gl.layers.softmax(x))
        >>> report = gl.compare(main, {"x": np.array([[0, 1e4, 2]], "float32")}, [y])
        >>> report.rows[0].saturated
        2
    """
    program, options = uncompiled(program, options, "compare")
    graph = fixed(program.snapshot(fetches_of(fetch_list)).replace(writes=()))
    holders = scope or global_scope()
    fed = split_feeds(program, feeds_of(feed))
    if any(n not in fed for n in graph.feeds):
        raise missing(program, fed, graph.feeds)
    check_unused(program, fed, graph.feeds)
    values: dict[str, Array] = {n: np.asarray(fed[n]) for n in graph.feeds}
    try:
        values.update((n, state_of(holders, n)) for n in graph.states)
        compiled = _run(graph, values, options)
    except GraphlossError as error:
        raise located(error, program, values) from None
    naive = _run(graph, values, replace(options, passes=False))
    wide = widened(graph)
    given = {n: _widen_array(v) for n, v in values.items()}
    written, stable = _eager(lower_only(wide), given), _eager(optimise(wide, CompileOptions()), given)
    names = dict(enumerate(graph.fetches))
    rows = {n: _row(n, compiled[i], naive[i], written[i], stable[i]) for i, n in names.items()}
    return Comparison(tuple(rows.values()))


def _run(graph: Graph, values: Mapping[str, Array], options: CompileOptions) -> list[Array]:
    unit = Compiled(compile_graph(graph, options), options)
    results = dict(zip(unit.code.plan.results, unit.run([values[n] for n in unit.inputs]), strict=True))
    return [results[n] for n in unit.code.graph.fetches]


def _eager(graph: Graph, values: Mapping[str, Array]) -> list[Array]:
    with np.errstate(all="ignore"):
        found = evaluate(graph, {n: values[n] for n in (*graph.feeds, *graph.states)})
    return [found[n] for n in graph.fetches]


def widened(graph: Graph) -> Graph:
    """The graph with float64 in place of float32."""

    def wide(value: Any) -> Any:
        return "float64" if value == "float32" else value

    types = {n: t.with_dtype(wide(t.dtype)) for n, t in graph.types.items()}
    ops = tuple(replace(op, attrs=tuple((k, wide(v)) for k, v in op.attrs)) for op in graph.ops)
    return graph.replace(types=types, ops=ops)


def _widen_array(a: Array) -> Array:
    return a.astype(np.float64) if a.dtype == np.float32 else a


def _row(name: str, compiled: Array, naive: Array, written: Array, stable: Array) -> Row:
    shape = compiled.shape
    if not compiled.size:
        return Row(name, shape, (), 0.0, 0.0, 0.0, 0.0, 0.0, 0, (), 0, (), 0.0, 0.0)
    got, plain, eager, exact = (a.ravel() for a in (compiled, naive, written, stable))
    if not dtypes.is_float(compiled.dtype.name):
        ulp, naive_ulp = (got != eager).astype(float), float((plain != eager).any())
        off = lost = np.array([], np.int64)
        reference = eager
    else:
        with np.errstate(all="ignore"):
            close = np.abs(eager - exact) <= _APART * np.abs(exact) + 1e-12
        off = np.flatnonzero(~close & ~(np.isnan(eager) & np.isnan(exact)) & (eager != exact))
        reference = eager.copy()
        reference[off] = exact[off]
        ulp, naive_ulp = ulps(got, reference), float(ulps(plain, reference).max())
        lost = np.flatnonzero(~np.isfinite(plain) & np.isfinite(got))
    at = int(np.argmax(ulp))
    value, wanted = float(got[at]), float(reference[at])
    relative = abs(value - wanted) / abs(wanted) if wanted else abs(value - wanted)

    def index(flat: Array) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(int(flat[0]), shape)) if flat.size and shape else ()

    there = int(off[0]) if off.size else 0
    return Row(
        name, shape, index(np.array([at])), value, wanted, float(ulp[at]), relative, naive_ulp,
        int(lost.size), index(lost), int(off.size), index(off), float(eager[there]), float(reference[there]),
    )  # fmt: skip


def ulps(got: Array, exact: Array) -> Array:
    """Distance of each element from the exact value in units in the last place of `got`'s dtype; 0 where neither is
    finite or exact is not."""
    with np.errstate(all="ignore"):
        near = exact.astype(got.dtype)
        unit = np.spacing(np.abs(near)).astype(np.float64)
        distance = np.abs(got.astype(np.float64) - exact) / unit
    distance = np.where(np.isfinite(exact) & np.isfinite(near), distance, 0.0)
    return np.asarray(np.nan_to_num(distance, nan=np.inf, posinf=np.inf)).ravel()
