"""The public names of graphloss; nothing else is public."""

from graphloss.ir import mode as _mode  # installs program building as what applying an op means
from graphloss.ir import unique_name
from graphloss.ir.data import data
from graphloss.ir.defaults import default_main_program, default_startup_program, name_scope, program_guard
from graphloss.ir.parameter import Parameter
from graphloss.ir.place import CPUPlace, CUDAPinnedPlace, CUDAPlace, cpu_places, is_compiled_with_cuda
from graphloss.ir.program import Program
from graphloss.ir.variable import Variable
from graphloss.version import __version__

__all__ = [
    "CPUPlace",
    "CUDAPinnedPlace",
    "CUDAPlace",
    "Parameter",
    "Program",
    "Variable",
    "__version__",
    "cpu_places",
    "data",
    "default_main_program",
    "default_startup_program",
    "is_compiled_with_cuda",
    "name_scope",
    "program_guard",
    "unique_name",
]

del _mode
