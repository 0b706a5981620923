"""Running a region of the plan some rows at a time: kernels on a range of rows, host calls on pieces of their operands.

A kernel addresses a buffer by the row's number in the whole batch. Of a local buffer only the rows at hand exist; so
the address it is given is that of a whole buffer whose rows at hand lie there. Partial results of columns are
combined after each range, in their order, so that the result is the same however many rows run at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from graphloss.ir import dims
from graphloss.ir.forms import Cut, Host
from graphloss.runtime.prepare import address
from graphloss.schedule.chunked import Region
from graphloss.schedule.values import HostCall

Array: TypeAlias = npt.NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]
RangeEntry: TypeAlias = Callable[[int, int, int], None]  # table, first row, end row

# Bytes at a time of a product that becomes a sum, or is added to it: what the library that makes the product
# packs of its operands is used often then, and little memory is needed for that and for the product.
FIRST: Final = 16 * 2**20
BLOCK: Final = 8 * 2**20


class RowChunks:
    """A region for the sizes of one run."""

    def __init__(self, region: Region, env: Mapping[str, int], forced: int | None) -> None:
        self.region = region
        rows = dims.evaluate(region.rows, env)
        self.size = region.chunk(env, forced)
        self.ranges = [(a, min(a + self.size, rows)) for a in range(0, max(rows, 1), self.size)]
        self.size = min(self.size, rows)
        self._whole = self.size == rows  # nothing is cut
        self._grain = dims.evaluate(region.grain, env)
        self._shifted: list[tuple[int, int, int, int]] = []  # word, address, stride, rows per stride
        self._folds: list[_Fold] = []

    def shape(self, buffer: str, whole: tuple[int, ...]) -> tuple[int, ...]:
        """What there is of a buffer of the region: the rows at hand, or a result and what goes into it at a time."""
        if buffer in self.region.folds:
            return (1 + -(-self.size // self._grain), *whole[1:])
        return (self.size, *whole[1:])

    def place(self, buffer: str, word: int, array: Array) -> None:
        """Word `word` of the table holds the address of a buffer, of which `array` is what there is."""
        start, stride = address(array), array.strides[0]
        if buffer in self.region.folds:
            self._shifted.append((word, start + stride, stride, self._grain))
            self._folds.append(_Fold(word, start, array[0], list(array[1:]), _COMBINE[self.region.folds[buffer]]))
        else:
            self._shifted.append((word, start, stride, 1))

    def run(
        self,
        steps: Sequence[RangeEntry | tuple[HostCall, Cut]],
        words: Any,
        argument: int,
        arrays: Arrays,
        check: Callable[[], None],
    ) -> None:
        """All steps on each range of rows; `check` raises if one of them reported a bad value."""
        with np.errstate(all="ignore"):  # inf and NaN are results here, as they are in a kernel
            for begin, end in self.ranges:
                for word, start, stride, grain in self._shifted:
                    words[word] = start - begin // grain * stride
                for step in steps:
                    if isinstance(step, tuple):
                        call, cut = step
                        if self._whole:
                            _evaluate(call.form, [arrays[b] for b in call.inputs], [arrays[b] for b in call.outputs])
                        else:
                            self._piece(call, cut, begin, end, arrays)
                    else:
                        step(argument, begin, end)
                        check()
                for fold in self._folds:
                    fold.add(-(-(end - begin) // self._grain), first=begin == 0)
        for fold in self._folds:
            words[fold.word] = fold.start

    def _piece(self, call: HostCall, cut: Cut, begin: int, end: int, arrays: Arrays) -> None:
        def rows(name: str, axis: int | None) -> Array:
            array = arrays[name]
            if axis is None:
                return array
            return array[: end - begin] if name in self.region.local else array[begin:end]

        operands = tuple(rows(n, axis) for n, axis in zip(call.inputs, cut.operands, strict=True))
        output = rows(call.outputs[0], cut.output)
        if cut.output is None:
            _sum(call.form, operands, output, first=begin == 0)
        else:
            _evaluate(call.form, operands, (output,))


@dataclass(frozen=True)
class _Fold:
    """Partial results of a range and what those before it make, whose address `start` is in `word` at the end."""

    word: int
    start: int
    total: Array
    parts: list[Array]

    combine: np.ufunc

    def add(self, n: int, *, first: bool) -> None:
        parts = self.parts[:n]
        if first:
            self.total[...] = parts.pop(0) if parts else 0
        for part in parts:
            self.combine(self.total, part, out=self.total)


_COMBINE: Final[Mapping[str, np.ufunc]] = {"sum": np.add, "max": np.maximum, "min": np.minimum}


def evaluate(form: Host, operands: Sequence[Array], outputs: Sequence[Array]) -> None:
    """The results of a host call, in `outputs`."""
    with np.errstate(all="ignore"):
        _evaluate(form, operands, outputs)


def _evaluate(form: Host, operands: Sequence[Array], outputs: Sequence[Array]) -> None:
    if form.into is not None:
        form.into(tuple(operands), tuple(outputs))
        return
    for out, value in zip(outputs, form.fn(tuple(operands), tuple(o.shape for o in outputs)), strict=True):
        np.copyto(out, value)


def _sum(form: Host, operands: tuple[Array, ...], total: Array, *, first: bool) -> None:
    """Adds what the call gives to `total`, or writes the first of it there: where the call can be cut so, some rows of
    the result after the other. A product of all rows would also take more memory inside the library that makes it."""
    across = next((c for c in form.cuts if c.output == 0), None)
    axes = across.operands if across is not None else (None,) * len(operands)
    whole = len(total)
    row = max(1, total.nbytes // max(whole, 1))
    step = max(1, whole) if across is None else max(16, (FIRST if first else BLOCK) // row // 16 * 16)
    block = total if first else np.empty((min(step, whole), *total.shape[1:]), total.dtype)
    for a in range(0, whole, step):
        b = min(a + step, whole)
        parts = tuple(
            x if axis is None else x[(slice(None),) * axis + (slice(a, b),)]
            for x, axis in zip(operands, axes, strict=True)
        )
        if first:
            _evaluate(form, parts, (total[a:b],))
            continue
        _evaluate(form, parts, (block[: b - a],))
        np.add(total[a:b], block[: b - a], out=total[a:b])
