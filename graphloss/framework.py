"""Fluid's `framework`: programs and their parts by that path, and the switches of a process."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from graphloss.dygraph.mode import enabled as in_dygraph_mode
from graphloss.errors import ArgumentTypeError, AttrError, UnsupportedError
from graphloss.ir.block import Block
from graphloss.ir.defaults import default_main_program, default_startup_program, name_scope, program_guard
from graphloss.ir.operator import Operator
from graphloss.ir.parameter import Parameter
from graphloss.ir.place import cpu_places, is_compiled_with_cuda
from graphloss.ir.program import Program
from graphloss.ir.variable import Variable

__all__ = [
    "Block",
    "Operator",
    "Parameter",
    "Program",
    "Variable",
    "cpu_places",
    "default_main_program",
    "default_startup_program",
    "device_guard",
    "get_flags",
    "in_dygraph_mode",
    "is_compiled_with_cuda",
    "name_scope",
    "program_guard",
    "require_version",
    "set_flags",
]

FLUID_VERSION: Final = (1, 8, 5)  # whose names and signatures these are
_flags: dict[str, object] = {}


def require_version(min_version: str, max_version: str | None = None) -> None:
    """Passes if Fluid 1.8.5, whose names and signatures graphloss has, lies between two versions.

    Raises:
        UnsupportedError: it does not. ArgumentTypeError, AttrError: a version that is no text such as "1.8.0".

    Example:
        >>> import graphloss as fluid
        >>> fluid.require_version("1.6.0")
    """
    low = _version(min_version, "min_version")
    high = None if max_version is None else _version(max_version, "max_version")
    if low > FLUID_VERSION or (high is not None and high < FLUID_VERSION):
        asked = f"{min_version} or later" if max_version is None else f"{min_version} to {max_version}"
        raise UnsupportedError(
            "the program asks for another version of Fluid", asked, ".".join(map(str, FLUID_VERSION))
        )


def _version(text: object, what: str) -> tuple[int, ...]:
    if not isinstance(text, str):
        raise ArgumentTypeError(f"require_version: {what} is a text", "str", type(text).__name__)
    if re.fullmatch(r"[0-9]+(\.[0-9]+){0,3}", text) is None:
        raise AttrError(f"require_version: {what} is no version", "such as '1.8.0'", repr(text))
    parts = [int(part) for part in text.split(".")]
    return tuple((*parts, 0, 0)[:3])


def set_flags(flags: Mapping[str, object]) -> None:
    """Notes flags of Fluid for `get_flags`; they steer memory and kernels that graphloss does not have.

    Raises:
        ArgumentTypeError: no dict. AttrError: a name that does not begin with FLAGS_.
    """
    if not isinstance(flags, Mapping):
        raise ArgumentTypeError("set_flags takes flags by name", "dict", type(flags).__name__)
    for name in flags:
        if not isinstance(name, str) or not name.startswith("FLAGS_"):
            raise AttrError("set_flags: no name of a flag", "FLAGS_…", repr(name))
    _flags.update(flags)


def get_flags(flags: str | Sequence[str]) -> dict[str, object]:
    """The values of flags that `set_flags` noted.

    Raises:
        AttrError: a flag that was not set.
    """
    names = [flags] if isinstance(flags, str) else flags
    if not isinstance(names, (list, tuple)):
        raise ArgumentTypeError("get_flags takes names of flags", "str or list of str", type(flags).__name__)
    for name in names:
        if name not in _flags:
            raise AttrError(f"the flag {name!r} was not set", hint="set_flags sets it")
    return {name: _flags[name] for name in names}


@contextmanager
def device_guard(device: str | None = None) -> Iterator[None]:
    """Inside, ops are to run on a device, which is "cpu" or None: all do.

    Raises:
        UnsupportedError: "gpu". AttrError: no device.
    """
    if device not in (None, "cpu"):
        if device == "gpu":
            raise UnsupportedError("device_guard asks for a GPU, and kernels are compiled for the CPU")
        raise AttrError("device_guard: no device", "'cpu' or None", repr(device))
    yield
