"""The version of the package, which object caches also ask for."""

__version__ = "0.1.0"
