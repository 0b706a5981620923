"""Places: where a program runs. There is one, the CPU."""

from __future__ import annotations

import os
from dataclasses import dataclass

from graphloss.errors import ArgumentTypeError, AttrError, UnsupportedError


@dataclass(frozen=True, slots=True)
class CPUPlace:
    """The CPU.

    Example:
        >>> CPUPlace() == CPUPlace()
        True
    """


def _no_gpu(name: str) -> UnsupportedError:
    return UnsupportedError(f"{name} asks for a GPU, and kernels are compiled for the CPU", hint="use CPUPlace()")


class CUDAPlace:
    """A GPU; making one raises UnsupportedError, as kernels are compiled for the CPU."""

    def __init__(self, id: int = 0) -> None:
        raise _no_gpu(f"CUDAPlace({id})")


class CUDAPinnedPlace:
    """Memory pinned for a GPU; making one raises UnsupportedError."""

    def __init__(self) -> None:
        raise _no_gpu("CUDAPinnedPlace()")


def is_compiled_with_cuda() -> bool:
    """False."""
    return False


def cpu_places(device_count: int | None = None) -> list[CPUPlace]:
    """`device_count` places; by default as many as the environment variable CPU_NUM says, or one.

    Example:
        >>> len(cpu_places(2))
        2
    """
    if device_count is None:
        text = os.environ.get("CPU_NUM", "1")
        if not text.isdecimal() or int(text) < 1:
            raise AttrError("CPU_NUM is no number of places", "an integer ≥ 1", repr(text))
        device_count = int(text)
    if isinstance(device_count, bool) or not isinstance(device_count, int):
        raise ArgumentTypeError("device_count must be an integer", "int", type(device_count).__name__)
    if device_count < 1:
        raise AttrError("device_count is out of range", "an integer ≥ 1", device_count)
    return [CPUPlace()] * device_count
