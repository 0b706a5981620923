"""Who reads and who writes each element of an array: iterations that ought not to depend on each other do not."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_NOBODY: Final = -1
_SEVERAL: Final = -2


class Owners:
    """Accesses to arrays by iterations of one loop, of which no two may touch an element that one of them writes."""

    def __init__(self) -> None:
        self._writers: dict[str, npt.NDArray[np.int64]] = {}
        self._readers: dict[str, npt.NDArray[np.int64]] = {}

    def conflict(self, name: str, size: int, places: Any, who: Any, write: bool) -> bool:
        """Notes that iterations `who` read or write the elements `places` of an array; whether others are in the way.

        Example:
            >>> owners = Owners()
            >>> owners.conflict("x", 4, np.array([1, 2]), np.array([0, 1]), False)
            False
            >>> owners.conflict("x", 4, np.array([0, 1]), np.array([0, 1]), True)  # 0 has read what 1 writes
            True
        """
        writers = self._writers.setdefault(name, np.full(size, _NOBODY, np.int64))
        readers = self._readers.setdefault(name, np.full(size, _NOBODY, np.int64))
        places, who = np.broadcast_arrays(places, who)
        wrong = (writers[places] != _NOBODY) & (writers[places] != who)
        if write:
            wrong |= (readers[places] != _NOBODY) & (readers[places] != who)
            writers[places] = who
            wrong |= writers[places] != who  # two of them write to one element now
        else:
            before = readers[places]
            readers[places] = np.where((before == _NOBODY) | (before == who), who, _SEVERAL)
            readers[places[readers[places] != who]] = _SEVERAL
        return bool(np.any(wrong))
