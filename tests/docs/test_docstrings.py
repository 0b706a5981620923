"""Runs the example in each docstring of the package."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import graphloss

MODULES = sorted(m.name for m in pkgutil.walk_packages(graphloss.__path__, "graphloss."))


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(module, optionflags=flags, report=True)
    assert result.failed == 0
