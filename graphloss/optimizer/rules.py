"""The optimisers' rules, and their long names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphloss import ops
from graphloss.clip import GradientClip
from graphloss.dygraph.varbase import ParamBase
from graphloss.errors import AttrError
from graphloss.ir.tensor import Tensor, cast
from graphloss.ir.variable import Variable
from graphloss.optimizer.base import Optimizer, Slot, State, Step
from graphloss.regularizer import Regularizer


class SGD(Optimizer):
    """w ← w − η·g.

    Source: paddle.fluid.optimizer.SGD.

    Example:
        >>> import graphloss as gl
        >>> with gl.program_guard(gl.Program(), gl.Program()):
        ...     x = gl.data("x", [None, 4])
        ...     loss = gl.layers.mean(gl.layers.fc(x, size=1))
        ...     updates, pairs = gl.optimizer.SGD(learning_rate=0.1).minimize(loss)
        >>> len(pairs)
        2
    """

    def step(self, parameter: Tensor, grad: Tensor, rate: Tensor, state: Mapping[str, Tensor]) -> Step:
        return Step(parameter - rate * grad)


class Momentum(Optimizer):
    """v ← μ·v + g; w ← w − η·v, or with use_nesterov w ← w − η·(g + μ·v).

    Source: Sutskever et al., On the importance of initialization and momentum in deep learning, 2013;
    paddle.fluid.optimizer.Momentum.
    """

    slots: Mapping[str, Slot] = {"velocity": Slot(0.0)}

    def __init__(
        self,
        learning_rate: float | Tensor,
        momentum: float,
        parameter_list: Sequence[ParamBase | Variable | str] | None = None,
        use_nesterov: bool = False,
        regularization: Regularizer | None = None,
        grad_clip: GradientClip | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, parameter_list, regularization, grad_clip, name)
        self._momentum = float(momentum)
        self._nesterov = use_nesterov

    def step(self, parameter: Tensor, grad: Tensor, rate: Tensor, state: Mapping[str, Tensor]) -> Step:
        velocity = self._momentum * state["velocity"] + grad
        move = grad + self._momentum * velocity if self._nesterov else velocity
        return Step(parameter - rate * move, {"velocity": velocity})


class Adagrad(Optimizer):
    """m ← m + g²; w ← w − η·g/(√m + ε).

    Source: Duchi, Hazan, Singer, Adaptive subgradient methods, 2011; paddle.fluid.optimizer.Adagrad.
    """

    def __init__(
        self,
        learning_rate: float | Tensor,
        epsilon: float = 1e-6,
        parameter_list: Sequence[ParamBase | Variable | str] | None = None,
        regularization: Regularizer | None = None,
        grad_clip: GradientClip | None = None,
        name: str | None = None,
        initial_accumulator_value: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, parameter_list, regularization, grad_clip, name)
        self._epsilon = float(epsilon)
        self.slots = {"moment": Slot(float(initial_accumulator_value))}

    def step(self, parameter: Tensor, grad: Tensor, rate: Tensor, state: Mapping[str, Tensor]) -> Step:
        moment = state["moment"] + ops.square(grad)
        return Step(parameter - rate * (grad / (ops.sqrt(moment) + self._epsilon)), {"moment": moment})


class DecayedAdagrad(Optimizer):
    """m ← d·m + (1−d)·g²; w ← w − η·g/(√m + ε).

    Source: paddle.fluid.optimizer.DecayedAdagrad.
    """

    slots: Mapping[str, Slot] = {"moment": Slot(0.0)}

    def __init__(
        self,
        learning_rate: float | Tensor,
        decay: float = 0.95,
        epsilon: float = 1e-6,
        parameter_list: Sequence[ParamBase | Variable | str] | None = None,
        regularization: Regularizer | None = None,
        grad_clip: GradientClip | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, parameter_list, regularization, grad_clip, name)
        self._decay, self._epsilon = _share("DecayedAdagrad: decay", decay), float(epsilon)

    def step(self, parameter: Tensor, grad: Tensor, rate: Tensor, state: Mapping[str, Tensor]) -> Step:
        moment = _mixed(self._decay, state["moment"], ops.square(grad))
        return Step(parameter - rate * (grad / (ops.sqrt(moment) + self._epsilon)), {"moment": moment})


class RMSProp(Optimizer):
    """s ← ρs + (1−ρ)g²; u ← μu + η·g/√(s + ε); w ← w − u; centered: √(s − ḡ² + ε) with ḡ ← ρḡ + (1−ρ)g.

    Source: paddle.fluid.optimizer.RMSProp.
    """

    def __init__(
        self,
        learning_rate: float | Tensor,
        rho: float = 0.95,
        epsilon: float = 1e-6,
        momentum: float = 0.0,
        centered: bool = False,
        parameter_list: Sequence[ParamBase | Variable | str] | None = None,
        regularization: Regularizer | None = None,
        grad_clip: GradientClip | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, parameter_list, regularization, grad_clip, name)
        self._rho, self._epsilon, self._momentum = _share("RMSProp: rho", rho), float(epsilon), float(momentum)
        self.slots = {n: Slot(0.0) for n in ("mean_square", "momentum", *(["mean_grad"] if centered else []))}

    def step(self, parameter: Tensor, grad: Tensor, rate: Tensor, state: Mapping[str, Tensor]) -> Step:
        new = {"mean_square": _mixed(self._rho, state["mean_square"], ops.square(grad))}
        variance = new["mean_square"]
        if "mean_grad" in state:
            new["mean_grad"] = _mixed(self._rho, state["mean_grad"], grad)
            variance = variance - ops.square(new["mean_grad"])
        new["momentum"] = self._momentum * state["momentum"] + rate * (grad / ops.sqrt(variance + self._epsilon))
        return Step(parameter - new["momentum"], new)


class Adadelta(Optimizer):
    """s ← ρs + (1−ρ)g²; d = g·√((u + ε)/(s + ε)); u ← ρu + (1−ρ)d²; w ← w − d. The learning rate is not used.

    Source: Zeiler, ADADELTA: an adaptive learning rate method, 2012; paddle.fluid.optimizer.Adadelta.
    """

    slots: Mapping[str, Slot] = {"squared_grad": Slot(0.0), "squared_update": Slot(0.0)}

    def __init__(
        self,
        learning_rate: float | Tensor,
        epsilon: float = 1e-6,
        rho: float = 0.95,
        parameter_list: Sequence[ParamBase | Variable | str] | None = None,
        regularization: Regularizer | None = None,
        grad_clip: GradientClip | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, parameter_list, regularization, grad_clip, name)
        self._rho, self._epsilon = _share("Adadelta: rho", rho), float(epsilon)

    def step(self, parameter: Tensor, grad: Tensor, rate: Tensor, state: Mapping[str, Tensor]) -> Step:
        squares = _mixed(self._rho, state["squared_grad"], ops.square(grad))
        move = grad * ops.sqrt((state["squared_update"] + self._epsilon) / (squares + self._epsilon))
        updates = _mixed(self._rho, state["squared_update"], ops.square(move))
        return Step(parameter - move, {"squared_grad": squares, "squared_update": updates})


class Adam(Optimizer):
    """m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; w ← w − η·√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + ε).

    ε is added to √v as it is, not to the bias-corrected one. `lazy_mode` is accepted for old programs.

    Source: Kingma and Ba, Adam: a method for stochastic optimization, 2015; paddle.fluid.optimizer.Adam.
    """

    slots: Mapping[str, Slot] = {
        "moment1": Slot(0.0),
        "moment2": Slot(0.0),
        "beta1_pow": Slot(1.0, like_parameter=False),
        "beta2_pow": Slot(1.0, like_parameter=False),
    }

    def __init__(
        self,
        learning_rate: float | Tensor = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        parameter_list: Sequence[ParamBase | Variable | str] | None = None,
        regularization: Regularizer | None = None,
        grad_clip: GradientClip | None = None,
        name: str | None = None,
        lazy_mode: bool = False,
    ) -> None:
        super().__init__(learning_rate, parameter_list, regularization, grad_clip, name)
        self._beta1, self._beta2 = _share("Adam: beta1", beta1), _share("Adam: beta2", beta2)
        self._epsilon = float(epsilon)

    def advance(self, shared: Mapping[str, Tensor]) -> State:
        return {"beta1_pow": shared["beta1_pow"] * self._beta1, "beta2_pow": shared["beta2_pow"] * self._beta2}

    def step(self, parameter: Tensor, grad: Tensor, rate: Tensor, state: Mapping[str, Tensor]) -> Step:
        powers = self.advance(state)
        correction = ops.sqrt(1.0 - powers["beta2_pow"]) / (1.0 - powers["beta1_pow"])
        moment1 = _mixed(self._beta1, state["moment1"], grad)
        moment2 = _mixed(self._beta2, state["moment2"], ops.square(grad))
        move = moment1 / (ops.sqrt(moment2) + self._epsilon)
        new = parameter - rate * cast(correction, parameter.type.dtype) * move
        return Step(new, {"moment1": moment1, "moment2": moment2})


class Adamax(Optimizer):
    """m ← β₁m + (1−β₁)g; u ← max(β₂u + ε, |g|); w ← w − η/(1−β₁ᵗ)·m/u.

    Source: Kingma and Ba, Adam: a method for stochastic optimization, 2015; paddle.fluid.optimizer.Adamax.
    """

    slots: Mapping[str, Slot] = {
        "moment": Slot(0.0),
        "inf_norm": Slot(0.0),
        "beta1_pow": Slot(1.0, like_parameter=False),
    }

    def __init__(
        self,
        learning_rate: float | Tensor = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        parameter_list: Sequence[ParamBase | Variable | str] | None = None,
        regularization: Regularizer | None = None,
        grad_clip: GradientClip | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, parameter_list, regularization, grad_clip, name)
        self._beta1, self._beta2 = _share("Adamax: beta1", beta1), _share("Adamax: beta2", beta2)
        self._epsilon = float(epsilon)

    def advance(self, shared: Mapping[str, Tensor]) -> State:
        return {"beta1_pow": shared["beta1_pow"] * self._beta1}

    def step(self, parameter: Tensor, grad: Tensor, rate: Tensor, state: Mapping[str, Tensor]) -> Step:
        moment = _mixed(self._beta1, state["moment"], grad)
        norm = ops.maximum(self._beta2 * state["inf_norm"] + self._epsilon, ops.abs(grad))
        correction = 1.0 / (1.0 - self.advance(state)["beta1_pow"])
        new = parameter - rate * cast(correction, parameter.type.dtype) * (moment / norm)
        return Step(new, {"moment": moment, "inf_norm": norm})


def _share(what: str, value: float) -> float:
    if not 0 <= value < 1:
        raise AttrError(f"{what} is out of range", expected="0 <= x < 1", got=value)
    return float(value)


def _mixed(share: float, old: Tensor, new: Tensor) -> Tensor:
    return share * old + (1.0 - share) * new


SGDOptimizer = SGD
MomentumOptimizer = Momentum
AdagradOptimizer = Adagrad
DecayedAdagradOptimizer = DecayedAdagrad
RMSPropOptimizer = RMSProp
AdadeltaOptimizer = Adadelta
AdamOptimizer = Adam
AdamaxOptimizer = Adamax
