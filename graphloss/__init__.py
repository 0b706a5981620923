"""The public names of graphloss; nothing else is public."""

from graphloss import clip, dygraph, gluon, initializer, layers, nn, optimizer, regularizer
from graphloss.ir import unique_name
from graphloss.ir.data import data
from graphloss.ir.defaults import default_main_program, default_startup_program, name_scope, program_guard
from graphloss.ir.mode import ProgramMode
from graphloss.ir.parameter import Parameter
from graphloss.ir.place import CPUPlace, CUDAPinnedPlace, CUDAPlace, cpu_places, is_compiled_with_cuda
from graphloss.ir.program import Program
from graphloss.ir.tensor import set_default_mode
from graphloss.ir.variable import Variable
from graphloss.ops import gradient as backward
from graphloss.ops.gradient import append_backward, gradients
from graphloss.param_attr import ParamAttr
from graphloss.version import __version__

__all__ = [
    "CPUPlace",
    "CUDAPinnedPlace",
    "CUDAPlace",
    "ParamAttr",
    "Parameter",
    "Program",
    "Variable",
    "__version__",
    "append_backward",
    "backward",
    "clip",
    "cpu_places",
    "data",
    "default_main_program",
    "default_startup_program",
    "dygraph",
    "gluon",
    "gradients",
    "initializer",
    "is_compiled_with_cuda",
    "layers",
    "name_scope",
    "nn",
    "optimizer",
    "program_guard",
    "regularizer",
    "unique_name",
]

# Outside every other mode, applying an op appends it to the default main program.
set_default_mode(ProgramMode())
