"""PyTorch's functional losses and activations, with its names, argument order and 0-d scalars."""

from graphloss.nn.functional import (
    activation,
    binary,
    chain,
    classification,
    likelihood,
    margin,
    metric,
    regression,
    sequences,
)
from graphloss.nn.functional.activation import *
from graphloss.nn.functional.binary import *
from graphloss.nn.functional.chain import *
from graphloss.nn.functional.classification import *
from graphloss.nn.functional.likelihood import *
from graphloss.nn.functional.linear import linear, linear_cross_entropy
from graphloss.nn.functional.margin import *
from graphloss.nn.functional.metric import *
from graphloss.nn.functional.regression import *
from graphloss.nn.functional.sequences import *

# A file that one of its own functions is named after stands with its names: `import *` puts the function in its place.
__all__ = [
    "linear",
    "linear_cross_entropy",
    *activation.__all__,
    *binary.__all__,
    *chain.__all__,
    *classification.__all__,
    *likelihood.__all__,
    *margin.__all__,
    *metric.__all__,
    *regression.__all__,
    *sequences.__all__,
]
