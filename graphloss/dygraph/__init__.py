"""Eager mode: ops run at once on arrays, by their NumPy references; gradients by a tape through the same rules."""

from graphloss.dygraph.grad import grad
from graphloss.dygraph.layer import Layer
from graphloss.dygraph.linear import Linear
from graphloss.dygraph.loss import BCELoss, CrossEntropyLoss, L1Loss, MSELoss, NLLLoss
from graphloss.dygraph.mode import disable_dygraph, enable_dygraph, enabled, guard, no_grad, to_variable
from graphloss.dygraph.varbase import ParamBase, VarBase
from graphloss.dygraph.vocabulary import NCE, HSigmoid
from graphloss.io.state import load_dygraph, save_dygraph

__all__ = [
    "NCE",
    "BCELoss",
    "CrossEntropyLoss",
    "HSigmoid",
    "L1Loss",
    "Layer",
    "Linear",
    "MSELoss",
    "NLLLoss",
    "ParamBase",
    "VarBase",
    "disable_dygraph",
    "enable_dygraph",
    "enabled",
    "grad",
    "guard",
    "load_dygraph",
    "no_grad",
    "save_dygraph",
    "to_variable",
]
