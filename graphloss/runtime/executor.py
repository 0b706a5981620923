"""The Executor: runs a program with feeds, returns fetches, and commits state when everything succeeded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, overload

import numpy.typing as npt

from graphloss.errors import (
    ArgumentTypeError,
    ClosedError,
    GraphlossError,
)
from graphloss.ir.defaults import default_main_program
from graphloss.ir.place import CPUPlace
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor
from graphloss.ir.variable import Variable
from graphloss.options import CompileOptions
from graphloss.passes.partial import split
from graphloss.passes.pipelines import optimise
from graphloss.runtime.arguments import check_program, check_unused, feeds_of, fetches_of, missing, state_of
from graphloss.runtime.compile import compile_graph
from graphloss.runtime.compiled import Compiled
from graphloss.runtime.compiled_program import CompiledProgram
from graphloss.runtime.diagnose import located
from graphloss.runtime.lod import Carried, LoDTensor, split_feeds
from graphloss.runtime.partial import Partials, partials
from graphloss.runtime.scope import Scope, global_scope

Array = npt.NDArray[Any]
Feeds: TypeAlias = Mapping[str, object] | Sequence[Mapping[str, object]] | None
Fetches: TypeAlias = Sequence[Tensor | str] | Tensor | str | None
_DEFAULT = CompileOptions()


class Executor:
    """Runs programs on the CPU.

    Args:
        place: `CPUPlace()` or None.
        options: compile options of all its runs.

    Raises:
        ArgumentTypeError: another place, or options that are none.

    Example:
        >>> import numpy as np
        >>> import graphloss as gl
        >>> main = gl.Program()
        >>> with gl.program_guard(main):
        ...     x = gl.data(name="x", shape=[None], dtype="float32")
        ...     y = x * 2.0
        >>> gl.Executor(gl.CPUPlace()).run(main, feed={"x": np.ones(3, "float32")}, fetch_list=[y])
        [array([2., 2., 2.], dtype=float32)]
    """

    def __init__(self, place: object = None, options: CompileOptions | None = None) -> None:
        if options is not None and not isinstance(options, CompileOptions):
            raise ArgumentTypeError("options are CompileOptions", expected="CompileOptions", got=type(options).__name__)
        if place is not None and not isinstance(place, CPUPlace):
            raise ArgumentTypeError("an Executor runs on the CPU", expected="CPUPlace() or None", got=repr(place))
        self.place = place
        self.options = options or _DEFAULT
        self._closed = False

    def close(self) -> None:
        """A later `run` is a ClosedError."""
        self._closed = True

    @overload
    def run(
        self,
        program: Program | CompiledProgram | None = ...,
        feed: Feeds = ...,
        fetch_list: Fetches = ...,
        feed_var_name: str = ...,
        fetch_var_name: str = ...,
        scope: Scope | None = ...,
        return_numpy: Literal[True] = ...,
        use_program_cache: bool = ...,
        return_merged: bool = ...,
        use_prune: bool = ...,
        partial: Literal[False] = ...,
    ) -> list[Array]: ...

    @overload
    def run(
        self,
        program: Program | CompiledProgram | None = ...,
        feed: Feeds = ...,
        fetch_list: Fetches = ...,
        feed_var_name: str = ...,
        fetch_var_name: str = ...,
        scope: Scope | None = ...,
        *,
        return_numpy: Literal[False],
        use_program_cache: bool = ...,
        return_merged: bool = ...,
        use_prune: bool = ...,
        partial: Literal[False] = ...,
    ) -> list[LoDTensor]: ...

    @overload
    def run(
        self,
        program: Program | CompiledProgram | None = ...,
        feed: Feeds = ...,
        fetch_list: Fetches = ...,
        feed_var_name: str = ...,
        fetch_var_name: str = ...,
        scope: Scope | None = ...,
        return_numpy: bool = ...,
        use_program_cache: bool = ...,
        return_merged: bool = ...,
        use_prune: bool = ...,
        partial: Literal[False] = ...,
    ) -> list[Array] | list[LoDTensor]: ...

    @overload
    def run(
        self,
        program: Program | CompiledProgram | None = ...,
        feed: Feeds = ...,
        fetch_list: Fetches = ...,
        feed_var_name: str = ...,
        fetch_var_name: str = ...,
        scope: Scope | None = ...,
        return_numpy: bool = ...,
        use_program_cache: bool = ...,
        return_merged: bool = ...,
        use_prune: bool = ...,
        *,
        partial: Literal[True],
    ) -> Partials: ...

    def run(
        self,
        program: Program | CompiledProgram | None = None,
        feed: Feeds = None,
        fetch_list: Fetches = None,
        feed_var_name: str = "feed",
        fetch_var_name: str = "fetch",
        scope: Scope | None = None,
        return_numpy: bool = True,
        use_program_cache: bool = False,
        return_merged: bool = True,
        use_prune: bool = False,
        partial: bool = False,
    ) -> list[Array] | list[LoDTensor] | Partials:
        """Runs `program` and returns the fetched arrays, in order.

        Everything that has an effect runs (writes of optimisers, random ops), and what the fetches need. Persistable
        variables are read from and written to `scope` (default: `global_scope()`); all of them are written together at
        the end, so a run that raises changes nothing.

        Args:
            program: default: the default main program.
            feed: arrays by variable name, or LoDTensors. Checked by name, rank, known dimensions and dtype; converted
                only where nothing is lost.
            fetch_list: variables or names; any intermediate, a gradient `x@GRAD`, the same one twice.
            scope: where persistable variables live.
            feed_var_name, fetch_var_name, return_numpy, use_program_cache, return_merged, use_prune: as in Fluid;
                programs are always cached, and edits are always seen.
                With return_numpy=False each result is a LoDTensor, which has the sequences of its rows.
            partial: return the unfinished sums, counts and maxima of this batch instead, for `combine` over several
                shards.

        Raises:
            ClosedError: after `close()`.
            ArgumentTypeError: an argument of the wrong kind.
            FeedError, ShapeError, DtypeError: a feed that is missing, unknown or does not fit.
            UnknownVariable: a fetch that the program does not have.
            UnsupportedError: a fetch carries sequences, and `return_numpy` is True.
            ValueRangeError: offsets of sequences that do not divide the rows.
            LabelError: an index in the data is out of range; the message names row and value.
        """
        if self._closed:
            raise ClosedError("this executor is closed", hint="make a new Executor")
        options = self.options
        if isinstance(program, CompiledProgram):
            options = program.options(options)
            program = program.program
        elif program is None:
            program = default_main_program()
        else:
            check_program(program, "run", "Program or CompiledProgram")
        if scope is not None and not isinstance(scope, Scope):
            raise ArgumentTypeError("a run keeps its state in a Scope", expected="Scope", got=type(scope).__name__)
        fetches = fetch_list if isinstance(fetch_list, (list, tuple)) else fetches_of(fetch_list)
        feeds = feed if isinstance(feed, dict) else feeds_of(feed)
        if partial:
            return _run_partial(program, fetches_of(fetches), feeds, scope or global_scope(), options)
        if program.sequences or not return_numpy:
            return _run_sequences(program, fetches_of(fetches), feeds, scope, options, return_numpy)
        return _run(program, _compiled(program, fetches, options), feeds, scope)


def _compiled(program: Program, fetch_list: Sequence[object], options: CompileOptions) -> Compiled:
    """What was compiled for these fetches, else it is compiled now."""
    # Variables hash by identity, so that one of another program is never found; and whatever is no fetch is not either.
    try:
        entries = program.compiled.get(("run", *fetch_list))
    except TypeError:  # not hashable
        entries = None
    compiled: Compiled
    if isinstance(entries, list):
        for known, compiled in entries:
            if known is options or known == options:
                return compiled
    fetches = fetches_of(fetch_list)
    graph = program.snapshot(fetches)
    if not graph.ops and not graph.fetches:
        warnings.warn("the program has nothing to run", UserWarning, stacklevel=3)
    edits = program.edits
    compiled = Compiled(compile_graph(graph, options), options)
    if program.edits == edits:  # else another thread changed the program meanwhile
        earlier = entries if isinstance(entries, list) else []
        program.compiled[("run", *fetches)] = [*earlier, (options, compiled)]
    return compiled


def _run_sequences(
    program: Program,
    fetches: Sequence[Variable | str],
    feeds: Mapping[str, object],
    scope: Scope | None,
    options: CompileOptions,
    return_numpy: bool,
) -> list[Array] | list[LoDTensor]:
    """A run whose feeds may be LoDTensors; its results are, unless `return_numpy`."""
    fed = _split(program, feeds)
    carried = Carried(program, fetches, fed)
    if return_numpy:
        carried.check_plain(program, fetches)
        return _run(program, _compiled(program, fetches, options), fed, scope)
    results = _run(program, _compiled(program, [*fetches, *carried.extra], options), fed, scope)
    return carried.tensors(results, fed)


def _split(program: Program, feeds: Mapping[str, object]) -> Mapping[str, object]:
    try:
        return split_feeds(program, feeds)
    except GraphlossError as error:
        raise located(error, program, {}) from None


def _run_partial(
    program: Program,
    fetches: Sequence[Variable | str],
    feeds: Mapping[str, object],
    scope: Scope,
    options: CompileOptions,
) -> Partials:
    key = ("partial", *fetches, options)
    known = program.compiled.get(key)
    if not isinstance(known, tuple):
        parts = split(optimise(program.snapshot(fetches), options))
        compiled = Compiled(compile_graph(parts.shard, options, primitive=parts.shard), options)
        known = program.compiled[key] = (parts, compiled)
    parts, compiled = known
    if program.sequences:
        feeds = _split(program, feeds)
    results = _run(program, compiled, feeds, scope)
    return partials(parts, dict(zip(parts.shard.fetches, results, strict=True)))


def _run(program: Program, compiled: Compiled, feeds: Mapping[str, object], scope: Scope | None) -> list[Array]:
    graph = compiled.code.whole
    values: list[object] = []
    try:
        for name in graph.feeds:
            values.append(feeds[name])
    except KeyError:
        raise missing(program, feeds, graph.feeds) from None
    if len(feeds) != len(graph.feeds):
        check_unused(program, feeds, graph.feeds)
    try:
        if graph.states or graph.writes:
            scope = scope or global_scope()
            values += [state_of(scope, name) for name in graph.states]
        results = compiled.run(values)
    except GraphlossError as error:
        raise located(error, program, dict(zip(compiled.inputs, values, strict=False))) from None
    out = [results[i].copy() if again else results[i] for i, again in compiled.fetched]
    if scope is not None:
        for state, i, shared in compiled.written:
            holder = scope.find_var(state) or scope.var(state)
            holder.value, holder.lod = results[i].copy() if shared else results[i], ()
    return out
