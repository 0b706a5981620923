"""Fluid's layer functions: ops and losses under its names and with its shapes."""

from graphloss.layers import (
    activation,
    algebra,
    arrange,
    creation,
    elementwise,
    loss,
    loss_alignment,
    loss_binary,
    loss_chain,
    loss_metric,
    loss_rank,
    loss_region,
    loss_vocabulary,
    metric,
    order,
    reduction,
    tables,
)
from graphloss.layers.activation import *
from graphloss.layers.algebra import *
from graphloss.layers.arrange import *
from graphloss.layers.creation import *
from graphloss.layers.elementwise import *
from graphloss.layers.loss import *
from graphloss.layers.loss_alignment import *
from graphloss.layers.loss_binary import *
from graphloss.layers.loss_chain import *
from graphloss.layers.loss_metric import *
from graphloss.layers.loss_rank import *
from graphloss.layers.loss_region import *
from graphloss.layers.loss_vocabulary import *
from graphloss.layers.metric import *
from graphloss.layers.order import *
from graphloss.layers.reduction import *
from graphloss.layers.tables import *

__all__ = [
    *activation.__all__,
    *algebra.__all__,
    *arrange.__all__,
    *creation.__all__,
    *elementwise.__all__,
    *loss.__all__,
    *loss_alignment.__all__,
    *loss_binary.__all__,
    *loss_chain.__all__,
    *loss_metric.__all__,
    *loss_rank.__all__,
    *loss_region.__all__,
    *loss_vocabulary.__all__,
    *metric.__all__,
    *order.__all__,
    *reduction.__all__,
    *tables.__all__,
]
