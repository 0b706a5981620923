"""What all optimisers share: steps that change parameters by their gradients, as ops of a program or at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from graphloss import dtypes, ops
from graphloss.clip import GradientClip
from graphloss.dygraph.apply import recording
from graphloss.dygraph.mode import EAGER, enabled
from graphloss.dygraph.tape import Array, Cell
from graphloss.dygraph.varbase import ParamBase, VarBase
from graphloss.errors import ArgumentTypeError, AttrError, ShapeError, UnknownVariable, UnsupportedError
from graphloss.initializer import Constant
from graphloss.ir import unique_name
from graphloss.ir.context import layer, op_role
from graphloss.ir.defaults import default_startup_program, program_guard
from graphloss.ir.operator import Operator
from graphloss.ir.parameter import Parameter
from graphloss.ir.program import Program
from graphloss.ir.tensor import Tensor, cast, convert, using
from graphloss.ir.variable import Variable
from graphloss.ops.gradient import append_backward
from graphloss.regularizer import Regularizer

Pairs: TypeAlias = list[tuple[Variable, Variable]]
State: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Slot:
    """What an optimiser keeps: its first value, and whether it has its parameter's shape or is one number."""

    first: float
    like_parameter: bool = True


@dataclass(slots=True)
class Step:
    """The new values of a parameter and of what is kept for it."""

    parameter: Tensor
    state: State = field(default_factory=dict)


class Optimizer(ABC):
    """Base of optimisers.

    Args:
        learning_rate: a number, or a Variable (a VarBase in eager mode) of one element.
        parameter_list: what it trains; needed in eager mode, else by default all trainable parameters that the loss
            depends on.
        regularization: weight decay for all parameters that have none of their own.
        grad_clip: clips gradients before that.
        name: stem of the names of what it keeps.

    Raises:
        ArgumentTypeError: an argument of the wrong type. AttrError: a learning rate that is not finite.
    """

    slots: Mapping[str, Slot] = {}

    def __init__(
        self,
        learning_rate: float | Tensor,
        parameter_list: Sequence[ParamBase | Variable | str] | None = None,
        regularization: Regularizer | None = None,
        grad_clip: GradientClip | None = None,
        name: str | None = None,
    ) -> None:
        if isinstance(learning_rate, bool) or not isinstance(learning_rate, (int, float, Tensor)):
            raise ArgumentTypeError(
                "the learning rate is a number or a Variable", "float", type(learning_rate).__name__
            )
        if not isinstance(learning_rate, Tensor) and not math.isfinite(learning_rate):
            raise AttrError("the learning rate is not finite", got=learning_rate)
        if regularization is not None and not isinstance(regularization, Regularizer):
            raise ArgumentTypeError("regularization is a weight decay", "L2Decay", type(regularization).__name__)
        if grad_clip is not None and not isinstance(grad_clip, GradientClip):
            raise ArgumentTypeError("grad_clip is a gradient clip", "GradientClipByNorm", type(grad_clip).__name__)
        self._learning_rate = learning_rate
        self._parameters = None if parameter_list is None else list(parameter_list)
        self._regularization = regularization
        self._clip = grad_clip
        self._name = name or type(self).__name__.lower()
        self._rates: dict[int, tuple[Program, Variable]] = {}
        self._kept: dict[str, dict[str, Array]] = {}  # eager: parameter -> slot -> value

    @abstractmethod
    def step(self, parameter: Tensor, grad: Tensor, rate: Tensor, state: Mapping[str, Tensor]) -> Step:
        """The rule, in ops: new values of a parameter and of its slots."""

    # -- programs -------------------------------------------------------------------------------------------------

    def minimize(
        self,
        loss: Tensor,
        startup_program: Program | None = None,
        parameter_list: Sequence[Variable | str] | None = None,
        no_grad_set: Collection[Variable | str] | None = None,
    ) -> tuple[list[Operator], Pairs]:
        """Appends gradients and updates to the loss's program, and first values of what is kept to the startup program.

        In eager mode it uses the gradients that backward() has brought, at once.

        Returns:
            The ops of the updates, and (parameter, gradient) for each parameter; both empty in eager mode.

        Raises:
            ShapeError: the loss is not one number. AttrError: it depends on no trainable parameter.
            ArgumentTypeError: `loss` is no Variable.
        """
        if enabled():
            self._eager_step()
            return [], []
        pairs = self.backward(loss, startup_program, parameter_list, no_grad_set)
        assert isinstance(loss, Variable)
        with program_guard(loss.block.program, startup_program):
            return self.apply_gradients(pairs), pairs

    def backward(
        self,
        loss: Tensor,
        startup_program: Program | None = None,
        parameter_list: Sequence[Variable | str] | None = None,
        no_grad_set: Collection[Variable | str] | None = None,
    ) -> Pairs:
        """The first half of `minimize`: the gradients."""
        if not isinstance(loss, Variable):
            raise ArgumentTypeError("minimize takes a loss", "a Variable of a program", type(loss).__name__)
        if loss.type.size != 1:
            raise ShapeError(
                "the loss to minimise is not one number",
                expected="shape [1] or []",
                got=loss.type,
                where=loss.location,
                hint="reduce it first, as with layers.mean(loss)",
            )
        chosen = parameter_list
        if chosen is None and self._parameters is not None:
            chosen = [p for p in self._parameters if isinstance(p, (Variable, str))]
        pairs = append_backward(loss, chosen, no_grad_set)
        if not pairs:
            raise AttrError("the loss depends on no trainable parameter", got=loss.name, where=loss.location)
        return pairs

    def apply_gradients(self, params_grads: Pairs) -> list[Operator]:
        """The second half of `minimize`: clips, regularises, updates; in the default main program."""
        pairs = sorted(params_grads, key=lambda pair: pair[0].name)
        program = pairs[0][0].block.program
        block = program.global_block()
        first = len(block.ops)
        with program_guard(program), op_role("optimize"), layer(self._name):
            rate = self._rate(program, "float64" if any(p.dtype == "float64" for p, _ in pairs) else "float32")
            grads = self._clipped([p for p, _ in pairs], [g for _, g in pairs])
            shared = self._shared(program, [p for p, _ in pairs])
            for (p, _), grad in zip(pairs, grads, strict=True):
                state: dict[str, Variable] = {**shared, **self._own(program, p)}
                done = self.step(p, self._regularised(p, grad), self._scaled(rate, p), state)
                block.write(p, done.parameter)
                for name, value in done.state.items():
                    if self.slots[name].like_parameter:
                        block.write(state[name], value)
            for name, value in self.advance(shared).items():
                block.write(shared[name], value)
        return block.ops[first:]

    def advance(self, shared: Mapping[str, Tensor]) -> State:
        """New values of the slots that all parameters share."""
        return {}

    def _own(self, program: Program, p: Variable) -> dict[str, Variable]:
        made = {}
        for name, slot in self.slots.items():
            if slot.like_parameter:
                kind = dtypes.computed(p.dtype)
                made[name] = _persistable(program, f"{p.name}_{name}", p.shape, kind, slot.first)
        return made

    def _shared(self, program: Program, parameters: Sequence[Variable]) -> dict[str, Variable]:
        names = [name for name, slot in self.slots.items() if not slot.like_parameter]
        return {n: _persistable(program, f"{self._name}_{n}", (1,), "float64", self.slots[n].first) for n in names}

    def _rate(self, program: Program, dtype: str) -> Variable:
        """The learning rate as a Variable, made once for each program."""
        if isinstance(self._learning_rate, Variable):
            return self._learning_rate
        if isinstance(self._learning_rate, Tensor):
            raise ArgumentTypeError("an eager learning rate does not go into a program", "float or Variable", "VarBase")
        known = self._rates.get(id(program))
        if known is None:
            made = _persistable(program, "learning_rate", (1,), dtype, float(self._learning_rate))
            known = self._rates[id(program)] = (program, made)
        return known[1]

    def _clipped(self, parameters: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
        """The gradients after this optimiser's clip, or where it has none, after those that the parameters carry."""
        found = list(grads)
        clips = [self._clip or getattr(p, "gradient_clip", None) for p in parameters]
        for clip in {id(c): c for c in clips if isinstance(c, GradientClip)}.values():
            due = [i for i, p in enumerate(parameters) if clips[i] is clip and clip.applies(p)]
            for i, grad in zip(due, clip([found[i] for i in due]), strict=True):
                found[i] = grad
        return found

    def _scaled(self, rate: Tensor, p: Variable | ParamBase) -> Tensor:
        factor = p.optimize_attr["learning_rate"] if isinstance(p, (Parameter, ParamBase)) else 1.0
        own = cast(rate, p.type.dtype)
        return own if factor == 1 else own * factor

    def _regularised(self, p: Tensor, grad: Tensor) -> Tensor:
        own = getattr(p, "regularizer", None)
        decay = self._regularization if own is None else own
        return decay(p, grad) if isinstance(decay, Regularizer) else grad

    # -- eager mode -----------------------------------------------------------------------------------------------

    def _trained(self) -> list[ParamBase]:
        if self._parameters is None:
            raise UnsupportedError(
                "in eager mode an optimiser is told what it trains", hint="pass parameter_list=layer.parameters()"
            )
        found = [p for p in self._parameters if isinstance(p, ParamBase)]
        if len(found) != len(self._parameters):
            raise ArgumentTypeError("parameter_list holds something else than eager parameters", "ParamBase")
        return found

    def _eager_step(self) -> None:
        due = [p for p in self._trained() if p.trainable and p.cell.sink.grad is not None]
        with using(EAGER), recording(False):
            given = [VarBase(Cell(g), True) for p in due if (g := p.cell.sink.grad) is not None]
            grads = self._clipped(due, given)
            shared = self._values("", None)
            for p, grad in zip(due, grads, strict=True):
                state = {**shared, **self._values(p.name, p)}
                done = self.step(p, self._regularised(p, grad), self._scaled(self._eager_rate(), p), state)
                p.set_value(_array(convert(done.parameter, p.dtype)))
                own = {n: _array(v) for n, v in done.state.items() if self.slots[n].like_parameter}
                self._kept.setdefault(p.name, {}).update(own)
            self._kept.setdefault("", {}).update({n: _array(v) for n, v in self.advance(shared).items()})

    def _values(self, key: str, p: ParamBase | None) -> dict[str, Tensor]:
        """What is kept for a parameter, or (None) for all together, from its first value on."""
        kept = self._kept.setdefault(key, {})
        for name, slot in self.slots.items():
            if slot.like_parameter == (p is not None) and name not in kept:
                shape, dtype = ((1,), "float64") if p is None else (p.cell.array.shape, dtypes.computed(p.dtype))
                kept[name] = np.full(shape, slot.first, dtype)
        return {name: VarBase(Cell(array), True) for name, array in kept.items()}

    def _eager_rate(self) -> Tensor:
        if isinstance(self._learning_rate, VarBase):
            return ops.reshape(self._learning_rate, (1,))
        return ops.fill((1,), float(self.current_step_lr()), "float64")

    def current_step_lr(self) -> float:
        """The learning rate of the next eager step."""
        rate = self._learning_rate
        if isinstance(rate, Variable):
            raise UnsupportedError("this learning rate is a variable of a program", hint="fetch it")
        return float(rate.item()) if isinstance(rate, VarBase) else float(rate)  # type: ignore[arg-type]

    def set_lr(self, value: float) -> None:
        """Another learning rate for the eager steps that follow."""
        self._learning_rate = float(value)

    def clear_gradients(self) -> None:
        """Forgets the gradients of all trained parameters."""
        for p in self._trained():
            p.clear_gradient()

    def state_dict(self) -> dict[str, Array]:
        """What is kept in eager mode, by `<parameter>/<slot>`."""
        return {f"{p}/{name}": v.copy() for p, kept in self._kept.items() for name, v in kept.items()}

    def set_dict(self, state: Mapping[str, Array]) -> None:
        """Takes a `state_dict` over."""
        for key, value in state.items():
            p, _, name = key.rpartition("/")
            if name not in self.slots:
                raise UnknownVariable(name, self.slots, what=f"{type(self).__name__} keeps no {name!r}")
            self._kept.setdefault(p, {})[name] = np.array(value)


def _persistable(program: Program, key: str, shape: Sequence[int], dtype: str, first: float) -> Variable:
    """A kept variable of `program`, given its first value by the startup program."""
    name = unique_name.generate(key)
    startup = default_startup_program().global_block()
    Constant(first)(startup.create_var(name, shape, dtype, persistable=True), startup)
    return program.global_block().create_var(name, shape, dtype, persistable=True, stop_gradient=True)


def _array(x: Tensor) -> Array:
    assert isinstance(x, VarBase)
    return x.cell.array
