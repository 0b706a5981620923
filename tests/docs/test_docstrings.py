"""Runs the example in each docstring of the package."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import graphloss

MODULES = sorted(m.name for m in pkgutil.walk_packages(graphloss.__path__, "graphloss."))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Finder(doctest.DocTestFinder):
    """Also finds the examples of decorated functions, which the plain finder takes for the decorator's."""

    def _from_module(self, module: ModuleType, object: object) -> bool:
        if inspect.isfunction(object) and hasattr(object, "__wrapped__"):
            return object.__module__ == module.__name__
        return bool(super()._from_module(module, object))  # type: ignore[misc]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in Finder().find(module, name):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


def test_examples_of_decorated_functions_are_found() -> None:
    found = Finder().find(importlib.import_module("graphloss.layers.loss"), "graphloss.layers.loss")
    assert any(t.name.endswith(".cross_entropy") and t.examples for t in found)


PUBLIC = ["dygraph", "gluon.loss", "io", "layers", "losses", "metrics", "nn", "nn.functional", "ops", "optimizer"]


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_public_is_documented(name: str) -> None:
    module = importlib.import_module(f"graphloss.{name}")
    assert [n for n in module.__all__ if callable(getattr(module, n)) and not inspect.getdoc(getattr(module, n))] == []
