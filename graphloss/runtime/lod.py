"""LoDTensor: an array of packed rows with the offsets of its sequences, and how runs take and return them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss.errors import ArgumentTypeError, AttrError, FeedError, ShapeError, UnsupportedError, ValueRangeError
from graphloss.ir.program import Program
from graphloss.ir.sequences import levels
from graphloss.ir.variable import Variable
from graphloss.ops.sequences import check_levels

Array = npt.NDArray[Any]


class Stored:
    """What a LoDTensor shows: an array, or None before the first; and offsets, one vector a level."""

    __slots__ = ("lod", "value")

    def __init__(self) -> None:
        self.value: Array | None = None
        self.lod: tuple[Array, ...] = ()


class LoDTensor:
    """Rows of several sequences, one after the other, with the offsets where they begin.

    `np.array(tensor)` reads the rows. Offsets begin with 0, never fall, and end with the number of rows; the offsets of
    an outer level (level 0 is the outermost) count the sequences of the next one.

    Example:
        >>> tensor = LoDTensor()
        >>> tensor.set(np.arange(5.0))
        >>> tensor.set_recursive_sequence_lengths([[2, 3]])
        >>> tensor.lod(), tensor.shape()
        ([[0, 2, 5]], [5])
    """

    __slots__ = ("_stored",)

    def __init__(self, stored: Stored | None = None) -> None:
        self._stored = Stored() if stored is None else stored

    def set(self, array: object, place: object = None) -> None:
        """Stores a copy of `array`; the sequences stay. `place` is there for Fluid's sake."""
        self._stored.value = np.array(array)

    def lod(self) -> list[list[int]]:
        """The offsets, level by level; [] for a plain array."""
        return [level.tolist() for level in self._stored.lod]

    def set_lod(self, lod: Sequence[Sequence[int]]) -> None:
        """Takes offsets.

        Raises:
            ArgumentTypeError: no list of lists of integers.
            ValueRangeError: they do not divide the rows.
        """
        self._divide([_vector(level, "offsets") for level in _listed(lod, "offsets")])

    def recursive_sequence_lengths(self) -> list[list[int]]:
        """The lengths of the sequences, level by level."""
        return [np.diff(level).tolist() for level in self._stored.lod]

    def set_recursive_sequence_lengths(self, recursive_sequence_lengths: Sequence[Sequence[int]]) -> None:
        """Takes lengths in place of offsets.

        Raises:
            ArgumentTypeError: no list of lists of integers.
            ValueRangeError: a length below 0, or lengths that do not sum up to the rows, or next sequences.
        """
        self._divide(offsets_of_lengths(recursive_sequence_lengths))

    def has_valid_recursive_sequence_lengths(self) -> bool:
        """Whether the sequences divide the rows that are there now."""
        try:
            self.checked_lod()
        except ValueRangeError:
            return False
        return True

    def checked_lod(self) -> tuple[Array, ...]:
        """The offsets, which nobody writes to; ValueRangeError if they do not divide the rows that are there now."""
        self._divide(self._stored.lod)
        return self._stored.lod

    def shape(self) -> list[int]:
        return [] if self._stored.value is None else list(self._stored.value.shape)

    @property
    def name(self) -> str:
        """What errors call it: the scope variable that it is the value of."""
        return getattr(self._stored, "name", "tensor")

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if self._stored.value is None:
            raise ArgumentTypeError(f"variable {self.name!r} has no value yet", hint="run the startup program first")
        return np.array(self._stored.value, dtype=dtype)

    def __repr__(self) -> str:
        value = self._stored.value
        shown = "empty" if value is None else f"{value.dtype} {list(value.shape)}"
        return f"LoDTensor({shown}, lod={self.lod()})"

    def _divide(self, lod: Sequence[Array]) -> None:
        check_levels(lod, _rows(self._stored.value), self.name)
        self._stored.lod = tuple(lod)


def _rows(value: Array | None) -> int | None:
    return None if value is None else value.shape[0] if value.ndim else 1


def create_lod_tensor(data: object, recursive_seq_lens: Sequence[Sequence[int]], place: object = None) -> LoDTensor:
    """A LoDTensor of rows and the lengths of their sequences.

    Args:
        data: an array [total, …]; or a list of sequences, each a list of numbers, which becomes [total, 1]; or a
            LoDTensor, of which the rows are taken.
        recursive_seq_lens: the lengths, a list for each level, the outermost first.
        place: there for Fluid's sake.

    Raises:
        ArgumentTypeError: `data` or the lengths are of another kind.
        ValueRangeError: the lengths do not sum up to the number of rows, or a list of sequences has others.

    Example:
        >>> tensor = create_lod_tensor(np.zeros((5, 30)), [[2, 3]])
        >>> tensor.lod(), tensor.recursive_sequence_lengths()
        ([[0, 2, 5]], [[2, 3]])
        >>> create_lod_tensor([[7, 8], [9]], [[2, 1]]).shape()
        [3, 1]
    """
    lod = offsets_of_lengths(recursive_seq_lens)
    if isinstance(data, list):
        data = _flattened(data, lod)
    elif not isinstance(data, (np.ndarray, LoDTensor)):
        raise ArgumentTypeError(
            "create_lod_tensor takes rows", "ndarray, list of lists or LoDTensor", type(data).__name__
        )
    made = LoDTensor()
    made.set(data)
    made._divide(lod)
    return made


def create_random_int_lodtensor(
    recursive_seq_lens: Sequence[Sequence[int]], base_shape: Sequence[int], place: object, low: int, high: int
) -> LoDTensor:
    """A LoDTensor of random int64 in [low, high], both among them; a row has the shape `base_shape`.

    The numbers are those of `np.random`, so that `np.random.seed` repeats them.

    Raises:
        AttrError: low is above high. Also what `create_lod_tensor` raises.
    """
    lod = offsets_of_lengths(recursive_seq_lens)
    for value, name in ((low, "low"), (high, "high")):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise ArgumentTypeError(f"create_random_int_lodtensor: {name} is no integer", "int", type(value).__name__)
    if low > high:
        raise AttrError("create_random_int_lodtensor: low is above high", f"at most {high}", low)
    shape = tuple(int(n) for n in _vector(base_shape, "base_shape"))
    if any(n < 0 for n in shape):
        raise ShapeError("create_random_int_lodtensor: a dimension of base_shape is negative", got=list(shape))
    check_levels(lod, None, "tensor")
    rows = int(lod[-1][-1]) if lod else 0
    numbers = np.random.randint(low, int(high) + 1, (rows, *shape), np.int64)
    return create_lod_tensor(numbers, recursive_seq_lens, place)


def offsets_of_lengths(lengths: object) -> list[Array]:
    """Offsets [S+1] for each level of lengths [S]."""
    found = []
    for level in _listed(lengths, "lengths"):
        vector = _vector(level, "lengths")
        if (vector < 0).any():
            at = int(np.argmax(vector < 0))
            raise ValueRangeError("the length of a sequence is negative", "at least 0", f"{vector[at]}, sequence {at}")
        found.append(_frozen(np.concatenate([np.zeros(1, np.int64), np.cumsum(vector)])))
    return found


def _listed(value: object, what: str) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        raise ArgumentTypeError(f"{what} of sequences are a list of lists", "list of lists", type(value).__name__)
    return value


def _vector(value: object, what: str) -> Array:
    """A list of integers as int64 of its own."""
    items = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if not isinstance(items, (list, tuple)):
        raise ArgumentTypeError(f"{what} of one level are a list", "list of int", type(value).__name__)
    for item in items:
        if isinstance(item, bool) or not isinstance(item, (int, np.integer)):
            raise ArgumentTypeError(f"{what} of sequences are integers", "int", f"{type(item).__name__} {item!r}")
    try:
        return _frozen(np.array(items, np.int64))
    except OverflowError:
        raise ValueRangeError(f"{what} of sequences are too large", "numbers of 64 bits", max(items, key=abs)) from None


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _flattened(data: list[Any], lod: Sequence[Array]) -> Array:
    """A list of sequences as rows [total, 1]; its lengths must be those of the one level."""
    for sequence in data:
        if not isinstance(sequence, (list, tuple)):
            raise ArgumentTypeError("data of sequences is a list of lists", "list", type(sequence).__name__)
    lengths = [len(sequence) for sequence in data]
    if len(lod) != 1 or np.diff(lod[0]).tolist() != lengths:
        raise ValueRangeError(
            "data and recursive_seq_lens do not match", [lengths], [np.diff(level).tolist() for level in lod]
        )
    try:
        rows = np.array([item for sequence in data for item in sequence])
    except ValueError:  # rows of several lengths
        rows = np.array([], object)
    if not lengths or not rows.size:
        rows = rows.astype(np.int64) if rows.dtype != object else rows
    if rows.dtype.kind not in "iufb":
        raise ArgumentTypeError("data of sequences holds something else than numbers", "lists of numbers", repr(data))
    return rows.reshape(*rows.shape, 1)


# -- runs ------------------------------------------------------------------------------------------------------------


def split_feeds(program: Program, feeds: Mapping[str, object]) -> dict[str, object]:
    """`feeds` with each LoDTensor as two: its rows, and its offsets under the names that the program has for them.

    Raises:
        FeedError: a LoDTensor without a value, or with another number of levels than its variable.
        ValueRangeError: offsets that do not divide the rows.
    """
    out: dict[str, object] = {}
    variables = program.global_block().vars
    for name, value in feeds.items():
        if not isinstance(value, LoDTensor):
            out[name] = value
            continue
        stored, var = value._stored, variables.get(name)
        array, lod = stored.value, stored.lod  # read once: another thread may set the tensor meanwhile
        if array is None:
            raise FeedError(f"the LoDTensor fed to {name!r} has no value", "one after set(array, place)", variable=name)
        out[name] = array
        if var is None or not lod:
            continue
        names = levels(var) if var.is_data else ()
        if len(names) != len(lod):
            raise FeedError(
                f"the LoDTensor fed to {name!r} has another depth of sequences than its variable",
                f"lod_level {len(names)}", f"{len(lod)} levels, {value.recursive_sequence_lengths()}",
                hint=f"declare it by data(..., lod_level={len(lod)})", variable=name,
            )  # fmt: skip
        check_levels(lod, _rows(array), name)
        out.update(zip(names, lod, strict=True))
    return out


def _own(program: Program, fetch: Variable | str) -> Variable:
    """The fetched variable; of one of another program, that of its name, as `Program.snapshot` may take it."""
    if isinstance(fetch, str):
        return program.var(fetch)
    own = program.global_block().vars.get(fetch.name)
    return fetch if own is None else own


class Carried:
    """Which fetches carry sequences in a run with these feeds, and what must be fetched besides for their offsets."""

    def __init__(self, program: Program, fetches: Sequence[Variable | str], feeds: Mapping[str, object]) -> None:
        key = ("levels", *fetches)
        known = program.compiled.get(key)
        if not isinstance(known, list):
            known = [levels(_own(program, f)) for f in fetches]
            program.compiled[key] = known
        variables = program.global_block().vars
        self.names: list[tuple[str, ...]] = []
        self.extra: list[str] = []
        for found in known:
            if any(n not in variables or (variables[n].is_data and n not in feeds) for n in found):
                found = ()  # fed as a plain array
            self.names.append(found)
            self.extra += [n for n in found if not variables[n].is_data and n not in self.extra]

    def check_plain(self, program: Program, fetches: Sequence[Variable | str]) -> None:
        """UnsupportedError if a fetch carries sequences, which an array would lose."""
        for fetch, names in zip(fetches, self.names, strict=True):
            if names:
                var = _own(program, fetch)
                raise UnsupportedError(
                    f"the fetch {var.name!r} carries sequences, which an array would lose", "return_numpy=False",
                    f"return_numpy=True, and the offsets {names[-1]!r}", op=var, where=var.location,
                    hint="np.array(fetched) gives the rows of what run(..., return_numpy=False) returns",
                )  # fmt: skip

    def tensors(self, results: Sequence[Array], feeds: Mapping[str, object]) -> list[LoDTensor]:
        """The results as LoDTensors, after those of `extra` are taken from their end."""
        computed = dict(zip(self.extra, results[len(self.names) :], strict=True))
        out = []
        for array, names in zip(results, self.names, strict=False):
            tensor = LoDTensor()
            tensor._stored.value = array
            tensor._divide([_frozen(np.array(computed.get(n, feeds.get(n)), np.int64)) for n in names])
            out.append(tensor)
        return out
