"""Looking into a compilation: what it did, how exact it is, how it looks."""

from graphloss.inspect.compare import compare
from graphloss.inspect.draw import draw
from graphloss.inspect.explain import explain

__all__ = ["compare", "draw", "explain"]
