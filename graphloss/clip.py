"""Gradient clipping: what an optimiser does to all gradients together before it uses them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

from graphloss import ops
from graphloss.errors import ArgumentTypeError, AttrError
from graphloss.ir.defaults import default_main_program
from graphloss.ir.parameter import Parameter
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor, cast

NeedClip: TypeAlias = Callable[[Tensor], bool]


class GradientClip(ABC):
    """Base: `__call__` gives the clipped gradients, in their order.

    Args:
        need_clip: says of a parameter whether its gradient is clipped; None: all are.
    """

    def __init__(self, need_clip: NeedClip | None = None) -> None:
        if need_clip is not None and not callable(need_clip):
            raise ArgumentTypeError("need_clip says of a parameter whether", "a function", type(need_clip).__name__)
        self.need_clip = need_clip

    def applies(self, parameter: Tensor) -> bool:
        """Whether the gradient of `parameter` is clipped."""
        return self.need_clip is None or bool(self.need_clip(parameter))

    @abstractmethod
    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """The gradients, in their order, each clipped where its parameter `applies`."""


class GradientClipByValue(GradientClip):
    """Each element is moved into [min, max].

    Raises:
        AttrError: min (by default −max) is above max.
    """

    def __init__(self, max: float, min: float | None = None, need_clip: NeedClip | None = None) -> None:
        super().__init__(need_clip)
        low = -max if min is None else min
        if low > max:
            raise AttrError(
                "GradientClipByValue: the bounds are in the wrong order", expected=f"at most {max}", got=low
            )
        self.max, self.min = float(max), float(low)

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        return [ops.clip(g, self.min, self.max) for g in grads]


class GradientClipByNorm(GradientClip):
    """Each gradient is shortened to the norm c where it is longer: g·c / max(c, ‖g‖)."""

    def __init__(self, clip_norm: float, need_clip: NeedClip | None = None) -> None:
        super().__init__(need_clip)
        self.clip_norm = _positive(clip_norm)

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        return [g * (self.clip_norm / ops.clamp_min(ops.sqrt(_squares(g)), self.clip_norm)) for g in grads]


class GradientClipByGlobalNorm(GradientClip):
    """All gradients are shortened by one factor, so that their norm as one vector is at most c.

    `group_name` is there for Fluid's sake: the gradients of one clip are one group.
    """

    def __init__(self, clip_norm: float, group_name: str = "default_group", need_clip: NeedClip | None = None) -> None:
        super().__init__(need_clip)
        self.clip_norm = _positive(clip_norm)

    def __call__(self, grads: Sequence[Tensor]) -> list[Tensor]:
        if not grads:
            return []
        dtype = "float64" if any(g.type.dtype == "float64" for g in grads) else "float32"
        norm = ops.sqrt(ops.sums([cast(_squares(g), dtype) for g in grads]))
        factor = self.clip_norm / ops.clamp_min(norm, self.clip_norm)
        return [g * cast(factor, g.type.dtype) for g in grads]


def set_gradient_clip(
    clip: GradientClip, param_list: Sequence[Parameter | str] | None = None, program: Program | None = None
) -> None:
    """Clips the gradients of parameters (default: all there are by now) wherever an optimiser has no clip of its own.

    Args:
        clip: what is done; to be set before `minimize`.
        param_list: parameters of `program`, or their names.
        program: default: the default main program.

    Raises:
        ArgumentTypeError: an argument of another kind. UnknownVariable: a name that the program does not have.
    """
    if not isinstance(clip, GradientClip):
        raise ArgumentTypeError("set_gradient_clip takes a gradient clip", "GradientClipByNorm", type(clip).__name__)
    owner = default_main_program() if program is None else program
    if not isinstance(owner, Program):
        raise ArgumentTypeError("set_gradient_clip takes a Program", "Program", type(owner).__name__)
    chosen = owner.all_parameters() if param_list is None else param_list
    found = [owner.var(p) if isinstance(p, str) else p for p in chosen]
    for p in found:
        if not isinstance(p, Parameter):
            raise ArgumentTypeError("only gradients of parameters are clipped", "Parameter", type(p).__name__)
        p.gradient_clip = clip


def _squares(g: Tensor) -> Tensor:
    return ops.reduce_sum(ops.square(g))


def _positive(norm: float) -> float:
    if not norm > 0:
        raise AttrError("the norm that gradients are clipped to must be positive", got=norm)
    return float(norm)
