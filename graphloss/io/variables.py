"""Persistable variables of a program between the scope and files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import quote

from graphloss.errors import ArgumentTypeError, DtypeError, ShapeError, StoredError, UnknownVariable
from graphloss.io.arrays import Array, path_of, read_array, read_arrays, write_array, write_arrays
from graphloss.ir.defaults import default_main_program
from graphloss.ir.parameter import Parameter
from graphloss.ir.program import Program
from graphloss.ir.variable import Variable
from graphloss.runtime.arguments import check_program, state_of
from graphloss.runtime.compiled_program import CompiledProgram
from graphloss.runtime.executor import Executor
from graphloss.runtime.scope import global_scope

Chosen: TypeAlias = Callable[[Variable], bool]


def is_parameter(var: Variable) -> bool:
    """Whether an optimiser trains it."""
    return isinstance(var, Parameter)


def is_persistable(var: Variable) -> bool:
    """Whether the scope keeps it between runs."""
    return var.persistable


def save_vars(
    executor: Executor,
    dirname: str,
    main_program: Program | CompiledProgram | None = None,
    vars: Sequence[Variable | str] | None = None,
    predicate: Chosen | None = None,
    filename: str | None = None,
) -> None:
    """Writes the scope's values of some variables to the folder `dirname`.

    Args:
        executor: an Executor.
        dirname: the folder; made where there is none.
        main_program: the variables' program; default: the default main program.
        vars: which variables, or their names; None: all that `predicate` says True of.
        predicate: see `vars`; None: all that are persistable.
        filename: one .npz file for all; None: a file `<name>.npy` for each, other letters of a name written %XX.

    Raises:
        FeedError: a variable without a value in `global_scope()`. UnknownVariable, ArgumentTypeError: at the call.
        StoredError: the files cannot be written.

    Example:
        >>> import tempfile, numpy as np, graphloss as gl
        >>> main, exe = gl.Program(), gl.Executor(gl.CPUPlace())
        >>> w = main.global_block().create_parameter("w", [2], "float32")
        >>> with tempfile.TemporaryDirectory() as folder, gl.scope_guard(gl.Scope()):
        ...     tensor = gl.global_scope().var("w").get_tensor()
        ...     tensor.set(np.ones(2, "float32"))
        ...     gl.io.save_vars(exe, folder, main, vars=[w])
        ...     tensor.set(np.zeros(2, "float32"))
        ...     gl.io.load_vars(exe, folder, main, vars=[w])
        ...     np.array(tensor)
        array([1., 1.], dtype=float32)
    """
    chosen = _chosen("save_vars", executor, main_program, vars, predicate)
    scope = global_scope()
    write_values(dirname, filename, {var.name: state_of(scope, var.name) for var in chosen})


def load_vars(
    executor: Executor,
    dirname: str,
    main_program: Program | CompiledProgram | None = None,
    vars: Sequence[Variable | str] | None = None,
    predicate: Chosen | None = None,
    filename: str | None = None,
) -> None:
    """Gives some variables the values that `save_vars` wrote; arguments as there. All are read before any is set.

    Raises:
        StoredError: a file that is missing, or is none of `save_vars`; a variable that it does not hold.
        ShapeError, DtypeError: a value that does not fit its variable.
    """
    chosen = _chosen("load_vars", executor, main_program, vars, predicate)
    set_values(chosen, read_values(dirname, filename, [var.name for var in chosen]))


def _of_all(act: Callable[..., None], predicate: Chosen, name: str, what: str) -> Callable[..., None]:
    """`act`, which is save_vars or load_vars, of all variables that `predicate` chooses."""

    def run(
        executor: Executor,
        dirname: str,
        main_program: Program | CompiledProgram | None = None,
        filename: str | None = None,
    ) -> None:
        act(executor, dirname, main_program, None, predicate, filename)

    run.__name__ = run.__qualname__ = name
    run.__doc__ = f"`{act.__name__}` of {what}; arguments and errors as there."
    return run


_EVERYTHING = "everything that the scope keeps: parameters, and what optimisers keep of them"
save_params = _of_all(save_vars, is_parameter, "save_params", "all parameters")
load_params = _of_all(load_vars, is_parameter, "load_params", "all parameters")
save_persistables = _of_all(save_vars, is_persistable, "save_persistables", _EVERYTHING)
load_persistables = _of_all(load_vars, is_persistable, "load_persistables", _EVERYTHING)


def program_of(program: object, what: str) -> Program:
    """The program that an argument names; None is the default main program."""
    if isinstance(program, CompiledProgram):
        return program.program
    if program is None:
        return default_main_program()
    check_program(program, what, "Program or CompiledProgram")
    assert isinstance(program, Program)
    return program


def check_executor(executor: object, what: str) -> None:
    if not isinstance(executor, Executor):
        raise ArgumentTypeError(f"{what} takes an Executor", "Executor", type(executor).__name__)


def _chosen(
    what: str, executor: object, program: object, vars: Sequence[Variable | str] | None, predicate: Chosen | None
) -> list[Variable]:
    check_executor(executor, what)
    return variables_of(program_of(program, what), what, vars, predicate or is_persistable)


def variables_of(
    program: Program, what: str, vars: Sequence[Variable | str] | None, predicate: Chosen
) -> list[Variable]:
    """The variables that a list names, by name in `program`; for None those that the predicate chooses."""
    if vars is None:
        return [v for v in program.list_vars() if predicate(v)]
    if isinstance(vars, (str, Variable)):
        raise ArgumentTypeError(f"{what} takes a list of variables", "list", type(vars).__name__)
    found = []
    for var in vars:
        if not isinstance(var, (str, Variable)):
            raise ArgumentTypeError(f"{what} takes a list of variables", "Variable or str", type(var).__name__)
        found.append(program.var(var if isinstance(var, str) else var.name))
    for var in found:
        if not var.persistable:
            raise UnknownVariable(
                var.name, what=f"{var.name!r} is not persistable: the scope holds no value", where=var.location
            )
    return found


def _file_of(folder: str, name: str) -> str:
    return os.path.join(folder, quote(name, safe="@") + ".npy")


def write_values(dirname: str, filename: str | None, values: Mapping[str, Array]) -> None:
    folder = path_of(dirname, "dirname")
    if filename is not None:
        write_arrays(os.path.join(folder, path_of(filename, "filename")), values)
        return
    for name, array in values.items():
        write_array(_file_of(folder, name), array)


def read_values(dirname: str, filename: str | None, names: Iterable[str]) -> dict[str, Array]:
    folder = path_of(dirname, "dirname")
    if not os.path.isdir(folder):
        raise StoredError(f"there is no folder {folder!r}")
    if filename is None:
        return {name: read_array(_file_of(folder, name)) for name in names}
    path = os.path.join(folder, path_of(filename, "filename"))
    return picked(read_arrays(path), names, path)


def picked(stored: Mapping[str, Array], names: Iterable[str], path: str) -> dict[str, Array]:
    """The arrays called `names`; StoredError where one is not among those stored."""
    wanted = list(names)
    absent = [name for name in wanted if name not in stored]
    if absent:
        raise StoredError(f"{path!r} does not hold {absent[0]!r}", ", ".join(wanted), ", ".join(stored) or "none")
    return {name: stored[name] for name in wanted}


def set_values(variables: Iterable[Variable], values: Mapping[str, Array]) -> None:
    """Sets the scope's values of variables, all or none."""
    chosen = list(variables)
    for var in chosen:
        check_fits(var, values[var.name])
    scope = global_scope()
    for var in chosen:
        (scope.find_var(var.name) or scope.var(var.name)).get_tensor().set(values[var.name])


def check_fits(var: Variable, array: Array) -> None:
    """ShapeError or DtypeError where `array` is no value of `var`."""
    shape, dtype = var.type.shape, var.type.dtype
    what = f"what is stored does not fit variable {var.name!r}"
    if array.dtype.name != dtype:
        raise DtypeError(what, dtype, array.dtype.name, where=var.location)
    if len(shape) != array.ndim or any(isinstance(d, int) and d != n for d, n in zip(shape, array.shape, strict=True)):
        raise ShapeError(what, list(var.shape), list(array.shape), where=var.location)
