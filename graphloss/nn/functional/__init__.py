"""PyTorch's functional losses and activations, with its names, argument order and 0-d scalars."""

from graphloss.nn.activations import (
    log_softmax,
    logsigmoid,
    one_hot,
    relu,
    sigmoid,
    softmax,
    softplus,
    tanh,
)
from graphloss.nn.functional.binary import binary_cross_entropy, binary_cross_entropy_with_logits
from graphloss.nn.functional.chains import crf_viterbi, linear_chain_crf
from graphloss.nn.functional.classification import cross_entropy, nll_loss
from graphloss.nn.functional.linear import linear, linear_cross_entropy
from graphloss.nn.functional.regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss
from graphloss.nn.functional.sequences import ctc_beam_search_decode, ctc_loss
from graphloss.nn.likelihood import gaussian_nll_loss, kl_div, poisson_nll_loss
from graphloss.nn.margin import (
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
)
from graphloss.nn.metric import (
    cosine_embedding_loss,
    cosine_similarity,
    normalize,
    pairwise_distance,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cosine_similarity",
    "crf_viterbi",
    "cross_entropy",
    "ctc_beam_search_decode",
    "ctc_loss",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "linear",
    "linear_chain_crf",
    "linear_cross_entropy",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pairwise_distance",
    "poisson_nll_loss",
    "relu",
    "sigmoid",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softplus",
    "tanh",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]
