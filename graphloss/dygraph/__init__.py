"""Eager mode: ops run at once on arrays, by their NumPy references; gradients by a tape through the same rules."""

from graphloss.dygraph import (
    layer,
    linear,
    loss,
    mode,
    varbase,
    vocabulary,
)
from graphloss.dygraph.grad import grad
from graphloss.dygraph.layer import *
from graphloss.dygraph.linear import *
from graphloss.dygraph.loss import *
from graphloss.dygraph.mode import *
from graphloss.dygraph.varbase import *
from graphloss.dygraph.vocabulary import *
from graphloss.io.state import load_dygraph, save_dygraph

# A file that one of its own functions is named after stands with its names: `import *` puts the function in its place.
__all__ = [
    "grad",
    "load_dygraph",
    "save_dygraph",
    *layer.__all__,
    *linear.__all__,
    *loss.__all__,
    *mode.__all__,
    *varbase.__all__,
    *vocabulary.__all__,
]
