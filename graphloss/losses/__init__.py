"""Each loss once, as a composition of stable ops; the dialects only give it their names, shapes and reductions.

Public here are the losses that the three libraries do not have, as functions in PyTorch's manner: `input` or `logits`,
`target`, options, `reduction`; scalars are 0-d. They take Variables of a program and, under `dygraph.guard()`, eager
arrays.

A file says in `__all__` which of its functions are public, and this one passes them on: a new loss touches one file.
"""

from graphloss.losses import (
    angular_margin,
    boxes,
    contrastive,
    deviance,
    distillation,
    focal,
    large_vocabulary,
    logit_control,
    overlap,
    preference,
    regression,
    robust,
)
from graphloss.losses.angular_margin import *
from graphloss.losses.boxes import *
from graphloss.losses.contrastive import *
from graphloss.losses.deviance import *
from graphloss.losses.distillation import *
from graphloss.losses.focal import *
from graphloss.losses.large_vocabulary import *
from graphloss.losses.logit_control import *
from graphloss.losses.overlap import *
from graphloss.losses.preference import *
from graphloss.losses.regression import *
from graphloss.losses.robust import *

__all__ = [
    *angular_margin.__all__,
    *boxes.__all__,
    *contrastive.__all__,
    *deviance.__all__,
    *distillation.__all__,
    *focal.__all__,
    *large_vocabulary.__all__,
    *logit_control.__all__,
    *overlap.__all__,
    *preference.__all__,
    *regression.__all__,
    *robust.__all__,
]
