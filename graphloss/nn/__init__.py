"""The losses under PyTorch's names, argument order, defaults and reductions."""

from graphloss.nn import (
    activation,
    adaptive,
    functional,
    linear,
    loss,
    loss_likelihood,
    loss_margin,
    loss_metric,
    loss_sequences,
    module,
)
from graphloss.nn.activation import *
from graphloss.nn.adaptive import *
from graphloss.nn.linear import *
from graphloss.nn.loss import *
from graphloss.nn.loss_likelihood import *
from graphloss.nn.loss_margin import *
from graphloss.nn.loss_metric import *
from graphloss.nn.loss_sequences import *
from graphloss.nn.module import *

__all__ = [
    "functional",
    *activation.__all__,
    *adaptive.__all__,
    *linear.__all__,
    *loss.__all__,
    *loss_likelihood.__all__,
    *loss_margin.__all__,
    *loss_metric.__all__,
    *loss_sequences.__all__,
    *module.__all__,
]
