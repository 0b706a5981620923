"""What programs name of Fluid's `core`: its error, its element types, its places, scopes and tensors."""

from __future__ import annotations

from typing import Final

from graphloss.dygraph.varbase import VarBase
from graphloss.errors import GraphlossError as EnforceNotMet
from graphloss.ir.place import CPUPlace, CUDAPinnedPlace, CUDAPlace, is_compiled_with_cuda
from graphloss.runtime.lod import LoDTensor
from graphloss.runtime.scope import Scope

__all__ = [
    "CPUPlace",
    "CUDAPinnedPlace",
    "CUDAPlace",
    "EnforceNotMet",
    "LoDTensor",
    "Scope",
    "VarBase",
    "VarDesc",
    "is_compiled_with_cuda",
]


class VarDesc:
    """The class around `VarType`."""

    class VarType:
        """Element types, as the texts that `Variable.dtype` and each dtype argument have.

        Example:
            >>> import graphloss as gl
            >>> with gl.program_guard(gl.Program()):
            ...     x = gl.data("x", [None], gl.core.VarDesc.VarType.FP64)
            >>> x.dtype == gl.core.VarDesc.VarType.FP64
            True
        """

        BOOL: Final = "bool"
        INT8: Final = "int8"
        UINT8: Final = "uint8"
        INT16: Final = "int16"
        INT32: Final = "int32"
        INT64: Final = "int64"
        FP16: Final = "float16"
        BF16: Final = "bfloat16"
        FP32: Final = "float32"
        FP64: Final = "float64"
        LOD_TENSOR: Final = "lod_tensor"  # what all variables are; `layers.data` takes it as its type
