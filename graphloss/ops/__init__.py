"""The constructors of all ops; each works on program variables, on eager arrays and on values inside a pass.

A file says in `__all__` which of its constructors are public, and this one passes them on.
"""

from graphloss.ops import (
    activations,
    algebra,
    check,
    constants,
    define,
    deviance,
    documented,
    elementwise,
    index,
    logic,
    order,
    packing,
    random,
    reduce,
    rows,
    samplers,
    sequences,
    shape,
    slices,
    softmax_family,
    spelling,
    stable,
    unary,
)
from graphloss.ops.activations import *
from graphloss.ops.algebra import *
from graphloss.ops.check import *
from graphloss.ops.constants import *
from graphloss.ops.define import *
from graphloss.ops.deviance import *
from graphloss.ops.documented import *
from graphloss.ops.elementwise import *
from graphloss.ops.index import *
from graphloss.ops.literal import literal
from graphloss.ops.logic import *
from graphloss.ops.order import *
from graphloss.ops.packing import *
from graphloss.ops.random import *
from graphloss.ops.reduce import *
from graphloss.ops.rows import *
from graphloss.ops.samplers import *
from graphloss.ops.scatter import index_add, scatter, scatter_add
from graphloss.ops.sequences import *
from graphloss.ops.shape import *
from graphloss.ops.slices import *
from graphloss.ops.softmax_family import *
from graphloss.ops.spelling import *
from graphloss.ops.stable import *
from graphloss.ops.structured.crf import linear_chain_crf
from graphloss.ops.structured.ctc import ctc, ctc_with_logits
from graphloss.ops.structured.ctc_beam import ctc_beam_search
from graphloss.ops.structured.edit_distance import edit_distance
from graphloss.ops.structured.viterbi import crf_viterbi
from graphloss.ops.unary import *

# A file that one of its own functions is named after stands with its names: `import *` puts the function in its place.
__all__ = [
    "crf_viterbi",
    "ctc",
    "ctc_beam_search",
    "ctc_with_logits",
    "edit_distance",
    "index_add",
    "linear_chain_crf",
    "literal",
    "scatter",
    "scatter_add",
    *activations.__all__,
    *algebra.__all__,
    *check.__all__,
    *constants.__all__,
    *define.__all__,
    *deviance.__all__,
    *documented.__all__,
    *elementwise.__all__,
    *index.__all__,
    *logic.__all__,
    *order.__all__,
    *packing.__all__,
    *random.__all__,
    *reduce.__all__,
    *rows.__all__,
    *samplers.__all__,
    *sequences.__all__,
    *shape.__all__,
    *slices.__all__,
    *softmax_family.__all__,
    *spelling.__all__,
    *stable.__all__,
    *unary.__all__,
]
