"""MXNet Gluon's loss classes: called with (pred, label, sample_weight=None), they give one number per sample."""

from graphloss.gluon.loss import (
    base,
    classification,
    likelihood,
    margin,
    metric,
    regression,
    sequences,
)
from graphloss.gluon.loss.base import *
from graphloss.gluon.loss.classification import *
from graphloss.gluon.loss.likelihood import *
from graphloss.gluon.loss.margin import *
from graphloss.gluon.loss.metric import *
from graphloss.gluon.loss.regression import *
from graphloss.gluon.loss.sequences import *

__all__ = [
    *base.__all__,
    *classification.__all__,
    *likelihood.__all__,
    *margin.__all__,
    *metric.__all__,
    *regression.__all__,
    *sequences.__all__,
]
