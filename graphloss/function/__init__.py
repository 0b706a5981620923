"""Losses as functions: `compile` makes of a Python function over Variables a callable on arrays."""

from graphloss.function.function import Derivative, Function, compile

__all__ = ["Derivative", "Function", "compile"]
