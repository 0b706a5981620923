"""Compiled against unoptimised against eager: how far apart, where, and where the naive form saturates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss import dtypes
from graphloss.ir.graph import Graph
from graphloss.ir.program import Program
from graphloss.ir.variable import Variable
from graphloss.ops.evaluate import evaluate
from graphloss.options import CompileOptions
from graphloss.passes.pipelines import lower_only
from graphloss.runtime.compile import compile_graph
from graphloss.runtime.compiled import Compiled
from graphloss.runtime.scope import Scope, global_scope

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Row:
    """One fetch. `index` is the element where compiled and eager differ most, in units in the last place of the
    fetched dtype.

    `ulp` and `relative` are its distance; elements that are not finite in eager mode are left out. `naive_ulp` is the
    worst distance of the
    unoptimised program. `saturated` counts elements where the unoptimised program gives inf or NaN and the compiled
    one does not.
    """

    name: str
    shape: tuple[int, ...]
    index: tuple[int, ...]
    compiled: float
    eager: float
    ulp: float
    relative: float
    naive_ulp: float
    saturated: int
    first_saturated: tuple[int, ...]


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
                f"{r.compiled!r} against {r.eager!r}; unoptimised {r.naive_ulp:.3g} ULP"
            )
            if r.saturated:
                lines.append(
                    f"    unoptimised saturates in {r.saturated} elements, first at {list(r.first_saturated)}; "
                    "compiled is finite there"
                )
        return "\n".join(lines)


def compare(
    program: Program,
    feed: Mapping[str, Array],
    fetch_list: Sequence[Variable | str],
    scope: Scope | None = None,
    options: CompileOptions | None = None,
) -> Comparison:
    """Runs the fetches compiled, compiled without any rewriting, and eagerly in float64, and compares value by value.

    Nothing is written to the scope.

    Args:
        program: the program.
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
    graph = program.snapshot(list(fetch_list)).replace(writes=())
    options = options or CompileOptions()
    holders = scope or global_scope()
    values: dict[str, Array] = {n: np.asarray(feed[n]) for n in graph.feeds}
    for name in graph.states:
        holder = holders.find_var(name)
        if holder is not None and holder.value is not None:
            values[name] = holder.value
    compiled = _run(graph, values, options)
    naive = _run(graph, values, replace(options, passes=False))
    wide = widened(graph)
    eager = evaluate(lower_only(wide), {n: _widen_array(v) for n, v in values.items()})
    rows = [_row(n, compiled[n], naive[n], eager[n]) for n in dict.fromkeys(graph.fetches)]
    return Comparison(tuple(rows))


def _run(graph: Graph, values: Mapping[str, Array], options: CompileOptions) -> dict[str, Array]:
    unit = Compiled(compile_graph(graph, options), options)
    results = unit.run([values[n] for n in unit.inputs])
    return dict(zip(unit.code.plan.results, results, strict=True))


def widened(graph: Graph) -> Graph:
    """The graph with float64 in place of float32."""

    def wide(value: Any) -> Any:
        return "float64" if value == "float32" else value

    types = {n: t.with_dtype(wide(t.dtype)) for n, t in graph.types.items()}
    ops = tuple(replace(op, attrs=tuple((k, wide(v)) for k, v in op.attrs)) for op in graph.ops)
    return graph.replace(types=types, ops=ops)


def _widen_array(a: Array) -> Array:
    return a.astype(np.float64) if a.dtype == np.float32 else a


def _row(name: str, compiled: Array, naive: Array, eager: Array) -> Row:
    shape = compiled.shape
    if not compiled.size:
        return Row(name, shape, (), 0.0, 0.0, 0.0, 0.0, 0.0, 0, ())
    if not dtypes.is_float(compiled.dtype.name):
        wrong = np.flatnonzero(compiled.ravel() != eager.ravel())
        at = int(wrong[0]) if wrong.size else 0
        distance = float(wrong.size > 0)
        return _made(
            name, shape, at, compiled, eager, distance, distance, float((naive != eager).any()), np.array([], np.int64)
        )
    ulp = ulps(compiled, eager)
    at = int(np.argmax(ulp))
    with np.errstate(all="ignore"):
        error = abs(float(compiled.ravel()[at]) - float(eager.ravel()[at]))
        relative = error / abs(float(eager.ravel()[at])) if eager.ravel()[at] else error
    lost = np.flatnonzero(~np.isfinite(naive.ravel()) & np.isfinite(compiled.ravel()))
    return _made(name, shape, at, compiled, eager, float(ulp[at]), relative, float(ulps(naive, eager).max()), lost)


def _made(
    name: str,
    shape: tuple[int, ...],
    at: int,
    compiled: Array,
    eager: Array,
    ulp: float,
    relative: float,
    naive: float,
    lost: Array,
) -> Row:
    def index(flat: int) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()

    first = index(int(lost[0])) if lost.size else ()
    return Row(
        name,
        shape,
        index(at),
        float(compiled.ravel()[at]),
        float(eager.ravel()[at]),
        ulp,
        relative,
        naive,
        int(lost.size),
        first,
    )


def ulps(got: Array, exact: Array) -> Array:
    """Distance of each element from the exact value in units in the last place of `got`'s dtype; 0 where neither is
    finite or exact is not."""
    with np.errstate(all="ignore"):
        near = exact.astype(got.dtype)
        unit = np.spacing(np.abs(near)).astype(np.float64)
        distance = np.abs(got.astype(np.float64) - exact) / unit
    distance = np.where(np.isfinite(exact) & np.isfinite(near), distance, 0.0)
    return np.asarray(np.nan_to_num(distance, nan=np.inf, posinf=np.inf)).ravel()
