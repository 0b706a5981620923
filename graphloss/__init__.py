"""The public names of graphloss; nothing else is public."""

from graphloss import (
    clip,
    core,
    data_feeder,
    dygraph,
    framework,
    gluon,
    initializer,
    inspect,
    io,
    layers,
    losses,
    metrics,
    nn,
    ops,
    optimizer,
    regularizer,
    rules,
)
from graphloss.data_feeder import DataFeeder
from graphloss.dygraph import disable_dygraph, enable_dygraph
from graphloss.dygraph import enabled as in_dygraph_mode
from graphloss.framework import device_guard, get_flags, require_version, set_flags
from graphloss.function import Derivative, Function, compile
from graphloss.inspect.compare import compare
from graphloss.inspect.explain import explain
from graphloss.io import load, load_dygraph, save, save_dygraph
from graphloss.ir import unique_name
from graphloss.ir.data import data
from graphloss.ir.defaults import default_main_program, default_startup_program, name_scope, program_guard
from graphloss.ir.mode import ProgramMode
from graphloss.ir.parameter import Parameter
from graphloss.ir.place import CPUPlace, CUDAPinnedPlace, CUDAPlace, cpu_places, is_compiled_with_cuda
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor, set_default_mode
from graphloss.ir.variable import Variable
from graphloss.layers.plain_index import embedding, one_hot
from graphloss.ops import gradient as backward
from graphloss.ops.gradient import append_backward, gradients, hessian_diag
from graphloss.options import CompileOptions, get_num_threads, set_num_threads
from graphloss.param_attr import ParamAttr
from graphloss.runtime.compiled_program import BuildStrategy, CompiledProgram, ExecutionStrategy
from graphloss.runtime.executor import Executor
from graphloss.runtime.lod import LoDTensor, create_lod_tensor, create_random_int_lodtensor
from graphloss.runtime.partial import Partials, combine
from graphloss.runtime.scope import Scope, global_scope, scope_guard
from graphloss.version import __version__

__all__ = [
    "BuildStrategy",
    "CPUPlace",
    "CUDAPinnedPlace",
    "CUDAPlace",
    "CompileOptions",
    "CompiledProgram",
    "DataFeeder",
    "Derivative",
    "ExecutionStrategy",
    "Executor",
    "Function",
    "LoDTensor",
    "ParamAttr",
    "Parameter",
    "Partials",
    "Program",
    "Scope",
    "Tensor",
    "Variable",
    "__version__",
    "append_backward",
    "backward",
    "clip",
    "combine",
    "compare",
    "compile",
    "core",
    "cpu_places",
    "create_lod_tensor",
    "create_random_int_lodtensor",
    "data",
    "data_feeder",
    "default_main_program",
    "default_startup_program",
    "device_guard",
    "disable_dygraph",
    "dygraph",
    "embedding",
    "enable_dygraph",
    "explain",
    "framework",
    "get_flags",
    "get_num_threads",
    "global_scope",
    "gluon",
    "gradients",
    "hessian_diag",
    "in_dygraph_mode",
    "initializer",
    "inspect",
    "io",
    "is_compiled_with_cuda",
    "layers",
    "load",
    "load_dygraph",
    "losses",
    "metrics",
    "name_scope",
    "nn",
    "one_hot",
    "ops",
    "optimizer",
    "program_guard",
    "regularizer",
    "require_version",
    "rules",
    "save",
    "save_dygraph",
    "scope_guard",
    "set_flags",
    "set_num_threads",
    "unique_name",
]

# Outside every other mode, applying an op appends it to the default main program.
set_default_mode(ProgramMode())
