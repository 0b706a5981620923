"""The losses under the names of MXNet Gluon."""

from graphloss.gluon import loss

__all__ = ["loss"]
