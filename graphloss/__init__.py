"""The public names of graphloss; nothing else is public."""

__version__ = "0.1.0"
