"""Whole training states: of a program by `save` and `load`, of layers and optimisers of eager mode."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from graphloss.errors import ArgumentTypeError, AttrError, StoredError
from graphloss.io.arrays import Array, path_of, read_arrays, read_file, write_arrays, write_file
from graphloss.io.variables import (
    check_executor,
    is_parameter,
    is_persistable,
    picked,
    program_of,
    set_values,
    variables_of,
)
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor
from graphloss.ir.variable import Variable
from graphloss.runtime.arguments import check_program, state_of
from graphloss.runtime.executor import Executor
from graphloss.runtime.scope import global_scope

PARAMETERS, REST, MODEL = ".pdparams", ".pdopt", ".pdmodel"


def save(program: Program, model_path: str) -> None:
    """Writes a program and its values: parameters (.pdparams), all else that the scope keeps (.pdopt), text (.pdmodel).

    Both files of values are NumPy's .npz; `Program.parse_from_string` reads the text.

    Raises:
        FeedError: a variable without a value in `global_scope()`. StoredError: the files cannot be written.
        ArgumentTypeError: no Program. AttrError: a path that ends in a folder.

    Example:
        >>> import tempfile, numpy as np, graphloss as gl
        >>> main, startup, exe = gl.Program(), gl.Program(), gl.Executor(gl.CPUPlace())
        >>> with gl.program_guard(main, startup):
        ...     y = gl.layers.fc(gl.data("x", [None, 2]), size=1, param_attr="w", bias_attr="b")
        >>> with tempfile.TemporaryDirectory() as folder, gl.scope_guard(gl.Scope()):
        ...     _ = exe.run(startup)
        ...     gl.save(main, folder + "/model")
        ...     gl.load(main, folder + "/model", exe)
        ...     sorted(gl.io.load_program_state(folder + "/model"))
        ['b', 'w']
    """
    check_program(program, "save")
    stem = _stem(model_path)
    scope = global_scope()
    kept = [v for v in program.list_vars() if is_persistable(v)]
    values = {v.name: state_of(scope, v.name) for v in kept}
    write_arrays(stem + PARAMETERS, {v.name: values[v.name] for v in kept if is_parameter(v)})
    write_arrays(stem + REST, {v.name: values[v.name] for v in kept if not is_parameter(v)})
    text = program.to_string().encode()
    write_file(stem + MODEL, lambda stream: stream.write(text))


def load(
    program: Program,
    model_path: str,
    executor: Executor | None = None,
    var_list: Sequence[Variable | str] | None = None,
) -> None:
    """Gives the variables of `program` the values that `save` wrote, all or none.

    Args:
        executor: not needed; None or an Executor.
        var_list: only these variables.

    Raises:
        StoredError: no such files, or a variable that they do not hold. ShapeError, DtypeError: a value that does not
            fit.
    """
    check_program(program, "load")
    if executor is not None:
        check_executor(executor, "load")
    chosen = variables_of(program, "load", var_list, is_persistable)
    set_values(chosen, picked(load_program_state(model_path), [v.name for v in chosen], model_path))


def load_program_state(model_path: str, var_list: Sequence[Variable | str] | None = None) -> dict[str, Array]:
    """The arrays that `save` wrote, by name; of `var_list` only where it is given."""
    stem = _stem(model_path)
    state = read_arrays(stem + PARAMETERS)
    if os.path.exists(stem + REST):
        state.update(read_arrays(stem + REST))
    if var_list is None:
        return state
    return picked(state, [v if isinstance(v, str) else v.name for v in var_list], model_path)


def set_program_state(program: Program, state_dict: Mapping[str, Array]) -> None:
    """Gives the program's variables the values of `load_program_state`; names that it does not have are left alone."""
    check_program(program, "set_program_state")
    if not isinstance(state_dict, Mapping):
        raise ArgumentTypeError("state_dict holds arrays by name", "dict", type(state_dict).__name__)
    values = {name: _array(name, value) for name, value in state_dict.items()}
    set_values([v for v in program.list_vars() if v.persistable and v.name in values], values)


def save_dygraph(state_dict: Mapping[str, object], model_path: str) -> None:
    """Writes the `state_dict()` of a layer (to `model_path`.pdparams) or of an optimiser (to `model_path`.pdopt).

    An optimiser's is known by its keys, `<parameter>/<slot>`.

    Raises:
        ArgumentTypeError: no dict of arrays by name. AttrError: it is empty, or the path ends in a folder.
        StoredError: the file cannot be written.

    Example:
        >>> import tempfile, numpy as np, graphloss as gl
        >>> with tempfile.TemporaryDirectory() as folder, gl.dygraph.guard():
        ...     layer = gl.dygraph.Linear(2, 1)
        ...     gl.save_dygraph(layer.state_dict(), folder + "/model")
        ...     parameters, optimizer = gl.load_dygraph(folder + "/model")
        ...     layer.set_dict(parameters)
        ...     sorted(parameters), optimizer
        (['bias', 'weight'], None)
    """
    if not isinstance(state_dict, Mapping):
        raise ArgumentTypeError("state_dict holds arrays by name", "dict", type(state_dict).__name__)
    if not state_dict:
        raise AttrError("the state is empty: there is nothing to save")
    values = {name: _array(name, value) for name, value in state_dict.items()}
    suffix = REST if all("/" in name for name in values) else PARAMETERS
    write_arrays(_stem(model_path) + suffix, values)


def load_dygraph(model_path: str) -> tuple[dict[str, Array] | None, dict[str, Array] | None]:
    """What `save_dygraph` wrote of a layer, and of an optimiser; None for one that was not written.

    Raises:
        StoredError: there is neither.
    """
    stem = _stem(model_path)
    if not os.path.exists(stem + PARAMETERS) and not os.path.exists(stem + REST):
        raise StoredError(f"there is neither {stem + PARAMETERS!r} nor {stem + REST!r}")
    first, second = (read_arrays(stem + s) if os.path.exists(stem + s) else None for s in (PARAMETERS, REST))
    return first, second


def get_program_parameter(program: Program) -> list[Variable]:
    """The program's parameters."""
    return [v for v in program_of(program, "get_program_parameter").list_vars() if is_parameter(v)]


def get_program_persistable_vars(program: Program) -> list[Variable]:
    """The program's variables that the scope keeps."""
    return [v for v in program_of(program, "get_program_persistable_vars").list_vars() if is_persistable(v)]


def read_text(path: str) -> str:
    """The text in a file."""
    with read_file(path) as stream:
        try:
            return stream.read().decode()
        except UnicodeDecodeError:
            raise StoredError(f"{path!r} holds no program", "UTF-8 text") from None


def _array(name: object, value: object) -> Array:
    if isinstance(value, Tensor):
        return value.numpy()
    if not isinstance(name, str) or not isinstance(value, (np.ndarray, np.generic)):
        got = f"{type(name).__name__}: {type(value).__name__}"
        raise ArgumentTypeError("a state holds arrays by name", "str: ndarray or VarBase", got)
    return np.asarray(value)


def _stem(model_path: object) -> str:
    path = path_of(model_path, "model_path")
    for suffix in (PARAMETERS, REST, MODEL):
        path = path.removesuffix(suffix)
    if not os.path.basename(path):
        raise AttrError("model_path ends in a folder", "folder/name", path)
    return path
