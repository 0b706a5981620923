"""The losses under the names of MXNet Gluon, and the few arrays, layers and records that its programs need."""

from graphloss.gluon import autograd, loss, nd, nn

__all__ = ["autograd", "loss", "nd", "nn"]
