"""Program building: the mode in which applying an op appends it to the default main program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphloss.ir.defaults import default_main_program
from graphloss.ir.opdef import OpDef
from graphloss.ir.tensor import Tensor


class ProgramMode:
    """Appends each op to the current block of the default main program; what is in force outside every other mode."""

    def apply(self, op: OpDef, inputs: Sequence[Tensor], attrs: Mapping[str, object]) -> tuple[Tensor, ...]:
        return default_main_program().current_block().append(op, inputs, attrs)
