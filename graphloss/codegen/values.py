"""Vector values: the one interface through which kernels and the math library emit instructions."""

from __future__ import annotations

from llvmlite import ir

from graphloss.codegen.arithmetic import FORMATS, FloatFormat
from graphloss.codegen.constants import Splat
from graphloss.codegen.memory import LaneMemory
from graphloss.codegen.target import Target

__all__ = ["FORMATS", "FloatFormat", "Lanes", "Splat", "Target"]


class Lanes(LaneMemory):
    """An IRBuilder seen as a machine of `width` lanes on one target.

    Arithmetic, comparison, rounding, conversion: `arithmetic.py`; loads, stores, lanes, reductions: `memory.py`.
    """

    def with_width(self, width: int) -> Lanes:
        """The same builder, module and target with another number of lanes."""
        return self if width == self.width else Lanes(self.builder, self.module, width, self.target)

    def with_builder(self, builder: ir.IRBuilder) -> Lanes:
        """The same width, module and target at another place of emission."""
        return Lanes(builder, self.module, self.width, self.target)
