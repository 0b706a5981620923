"""The public names of graphloss; nothing else is public."""

from graphloss.version import __version__

__all__ = ["__version__"]
