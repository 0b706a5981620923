"""MXNet's `autograd`: what is computed inside `record()` can be differentiated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphloss.gluon.ndarray import RECORDING

__all__ = ["is_recording", "pause", "record"]


@contextmanager
def record(train_mode: bool = True) -> Iterator[None]:
    """Inside, ops on arrays that have a gradient are remembered, for `backward` of what comes of them.

    Example:
        >>> from graphloss.gluon import autograd, loss, nd
        >>> x = nd.array([1.0, 2.0])
        >>> x.attach_grad()
        >>> with autograd.record():
        ...     l = loss.L2Loss()(x, nd.zeros((2,)))
        >>> l.backward()
        >>> x.grad.asnumpy().tolist()
        [1.0, 2.0]
    """
    with _switched(True):
        yield


@contextmanager
def pause(train_mode: bool = False) -> Iterator[None]:
    """Inside a `record`, stops remembering for a while."""
    with _switched(False):
        yield


def is_recording() -> bool:
    """Whether ops are remembered here."""
    return RECORDING.get()


@contextmanager
def _switched(on: bool) -> Iterator[None]:
    token = RECORDING.set(on)
    try:
        yield
    finally:
        RECORDING.reset(token)
