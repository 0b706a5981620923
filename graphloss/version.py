"""The version of the package, which object caches also ask for."""

from typing import Final

__version__: Final = "0.1.0"
