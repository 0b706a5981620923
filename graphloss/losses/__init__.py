"""Each loss once, as a composition of stable ops; the dialects only give it their names, shapes and reductions.

Public here are the losses that the three libraries do not have, as functions in PyTorch's manner: `input` or `logits`,
`target`, options, `reduction`; scalars are 0-d. They take Variables of a program and, under `dygraph.guard()`, eager
arrays.
"""

from graphloss.losses.boxes import ciou_loss, diou_loss, giou_loss
from graphloss.losses.contrastive import info_nce_loss, nt_xent_loss, supervised_contrastive_loss
from graphloss.losses.deviance import gamma_deviance_loss, tweedie_deviance_loss
from graphloss.losses.distillation import distillation_loss, jensen_shannon_loss
from graphloss.losses.focal import sigmoid_focal_loss, softmax_focal_loss
from graphloss.losses.large_vocabulary import hierarchical_softmax_loss, nce_loss, sampled_softmax_loss
from graphloss.losses.logit_control import capped_cross_entropy, z_loss
from graphloss.losses.margins import arcface_loss, cosface_loss
from graphloss.losses.overlap import (
    dice_cross_entropy_loss,
    focal_tversky_loss,
    generalized_dice_loss,
    jaccard_loss,
    tversky_loss,
)
from graphloss.losses.preference import dpo_loss
from graphloss.losses.regression import expectile_loss, log_cosh_loss, mape_loss, msle_loss, quantile_loss
from graphloss.losses.robust import generalized_cross_entropy, poly1_cross_entropy

__all__ = [
    "arcface_loss",
    "capped_cross_entropy",
    "ciou_loss",
    "cosface_loss",
    "dice_cross_entropy_loss",
    "diou_loss",
    "distillation_loss",
    "dpo_loss",
    "expectile_loss",
    "focal_tversky_loss",
    "gamma_deviance_loss",
    "generalized_cross_entropy",
    "generalized_dice_loss",
    "giou_loss",
    "hierarchical_softmax_loss",
    "info_nce_loss",
    "jaccard_loss",
    "jensen_shannon_loss",
    "log_cosh_loss",
    "mape_loss",
    "msle_loss",
    "nce_loss",
    "nt_xent_loss",
    "poly1_cross_entropy",
    "quantile_loss",
    "sampled_softmax_loss",
    "sigmoid_focal_loss",
    "softmax_focal_loss",
    "supervised_contrastive_loss",
    "tversky_loss",
    "tweedie_deviance_loss",
    "z_loss",
]
