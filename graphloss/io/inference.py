"""Programs stored for use: what some results need, with the values of its parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from graphloss.errors import ArgumentTypeError, FeedError, StoredError, UnsupportedError
from graphloss.io.arrays import path_of, write_file
from graphloss.io.state import read_text
from graphloss.io.variables import check_executor, program_of, read_values, set_values, write_values
from graphloss.ir.mode import ProgramMode
from graphloss.ir.parser import parse_graph
from graphloss.ir.printer import print_graph
from graphloss.ir.program import Program
from graphloss.ir.sequences import levels
from graphloss.ir.tensor import current
from graphloss.ir.variable import Variable
from graphloss.runtime.arguments import state_of
from graphloss.runtime.compiled_program import CompiledProgram
from graphloss.runtime.executor import Executor
from graphloss.runtime.scope import global_scope

MODEL = "__model__"


def save_inference_model(
    dirname: str,
    feeded_var_names: str | Sequence[str],
    target_vars: Variable | Sequence[Variable],
    executor: Executor,
    main_program: Program | CompiledProgram | None = None,
    model_filename: str | None = None,
    params_filename: str | None = None,
    export_for_deployment: bool = True,
    program_only: bool = False,
) -> list[str]:
    """Writes what the targets need of a program, as it is for a test, and the values that it reads from the scope.

    Args:
        dirname: the folder; made where there is none.
        feeded_var_names: inputs of the program; those that the targets need must be among them.
        target_vars: the results.
        executor: an Executor.
        main_program: default: the default main program.
        model_filename: of the program's text; default `__model__`.
        params_filename: one .npz file for all values; None: a file `<name>.npy` for each.
        export_for_deployment: without effect.
        program_only: no values.

    Returns:
        The names of the targets.

    Raises:
        FeedError: an input is missing from feeded_var_names, or a value from `global_scope()`. UnknownVariable: a name
            that is no variable. StoredError: a file cannot be written. UnsupportedError: in eager mode.
            ArgumentTypeError: names that are no str, targets that are no Variables.

    Example:
        >>> import tempfile, numpy as np, graphloss as gl
        >>> main, startup, exe = gl.Program(), gl.Program(), gl.Executor(gl.CPUPlace())
        >>> with gl.program_guard(main, startup):
        ...     x, label = gl.data("x", [None, 2]), gl.data("label", [None, 1])
        ...     y = gl.layers.fc(x, size=1, param_attr=gl.initializer.Constant(2.0))
        ...     updates, pairs = gl.optimizer.SGD(0.1).minimize(gl.layers.mse_loss(y, label))
        >>> with tempfile.TemporaryDirectory() as folder, gl.scope_guard(gl.Scope()):
        ...     _ = exe.run(startup)
        ...     names = gl.io.save_inference_model(folder, ["x"], [y], exe, main)
        ...     program, feeds, targets = gl.io.load_inference_model(folder, exe)
        ...     exe.run(program, feed={"x": np.ones((1, 2), "float32")}, fetch_list=targets)
        [array([[4.]], dtype=float32)]
    """
    where = "save_inference_model"
    if not isinstance(current(), ProgramMode):
        raise UnsupportedError(f"{where} stores a program, and eager mode is on", hint="save_dygraph stores a layer")
    check_executor(executor, where)
    program = program_of(main_program, where)
    feeds = [feeded_var_names] if isinstance(feeded_var_names, str) else feeded_var_names
    targets = [target_vars] if isinstance(target_vars, Variable) else target_vars
    _check_list(feeds, str, f"{where}: feeded_var_names")
    _check_list(targets, Variable, f"{where}: target_vars")
    text = _text(program, feeds, targets)
    graph = parse_graph(text)
    folder = path_of(dirname, "dirname")
    name = MODEL if model_filename is None else path_of(model_filename, "model_filename")
    if not program_only:
        scope = global_scope()
        write_values(folder, params_filename, {n: state_of(scope, n) for n in graph.states})
    encoded = text.encode()
    write_file(os.path.join(folder, name), lambda stream: stream.write(encoded))
    return list(graph.fetches)


def _check_list(values: object, kind: type, what: str) -> None:
    if not isinstance(values, (list, tuple)):
        raise ArgumentTypeError(f"{what} is a list", f"list of {kind.__name__}", type(values).__name__)
    for value in values:
        if not isinstance(value, kind):
            raise ArgumentTypeError(f"{what} is a list", f"list of {kind.__name__}", type(value).__name__)


def _text(program: Program, feeds: Sequence[str], targets: Sequence[Variable]) -> str:
    """The graph of the targets, without writes, whose inputs are `feeds` in their order, then the offsets of these."""
    inputs = [program.var(name) for name in feeds]
    for var in inputs:
        if not var.is_data:
            raise FeedError(f"{var.name!r} is no input of the program", "a variable made by data()", where=var.location)
    inputs += [program.var(name) for v in tuple(inputs) for name in levels(v)]
    divisions = [name for v in targets for name in levels(v) if not program.var(name).is_data]
    snapshot = program.clone(for_test=True).snapshot([*(v.name for v in targets), *divisions])
    # read back, it is a program without the writes; a snapshot of that has only what the targets need
    small = Program.parse_from_string(print_graph(replace(snapshot, writes=()))).snapshot(snapshot.fetches)
    names = dict.fromkeys(v.name for v in inputs)
    absent = [name for name in small.feeds if name not in names]
    if absent:
        raise FeedError(
            f"the targets need the input {absent[0]!r}, which is not in feeded_var_names",
            expected=", ".join(small.feeds), got=", ".join(feeds) or "none", where=program.var(absent[0]).location,
        )  # fmt: skip
    types = {**{v.name: v.type for v in inputs}, **small.types}
    sequences = tuple((n, o) for n, o in program.sequences.items() if types.keys() >= {n, *o})
    fetches = small.fetches[: len(targets)]
    return print_graph(replace(small, feeds=tuple(names), types=types, fetches=fetches, sequences=sequences))


def load_inference_model(
    dirname: str,
    executor: Executor,
    model_filename: str | None = None,
    params_filename: str | None = None,
    pserver_endpoints: object = None,
) -> tuple[Program, list[str], list[Variable]]:
    """The program that `save_inference_model` wrote, the names of its inputs, and its targets.

    The scope gets the values of its parameters.

    Raises:
        StoredError: a folder or file that is missing, or is none of that function. ParseError: the text of the program
            does not follow the grammar. ShapeError, DtypeError: a value that does not fit its variable.
        UnsupportedError: `pserver_endpoints` are given.
    """
    where = "load_inference_model"
    check_executor(executor, where)
    if pserver_endpoints is not None:
        raise UnsupportedError(f"{where} reads files", hint="leave pserver_endpoints out")
    folder = path_of(dirname, "dirname")
    if not os.path.isdir(folder):
        raise StoredError(f"there is no folder {folder!r}")
    text = read_text(os.path.join(folder, MODEL if model_filename is None else path_of(model_filename, "file name")))
    graph = parse_graph(text)
    program = Program.parse_from_string(text)
    kept = [v for v in program.list_vars() if v.persistable]
    set_values(kept, read_values(folder, params_filename, [v.name for v in kept]))
    offsets = {name for _, names in graph.sequences for name in names}
    return program, [n for n in graph.feeds if n not in offsets], [program.var(name) for name in graph.fetches]
