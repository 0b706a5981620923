"""From the status block of a run to an exception that names variable, position, value and limit."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from graphloss.errors import GraphlossError, ShapeError
from graphloss.ir import dims
from graphloss.ops.check import range_error, value_error
from graphloss.ops.index import index_error
from graphloss.schedule.kernel import CheckSite
from graphloss.schedule.workspace import NonEmpty


def failed_check(
    sites: Sequence[CheckSite], rows: Sequence[tuple[int, int, int]], env: Mapping[str, int]
) -> GraphlossError:
    """`rows` holds (slot, position, value) of each failed check; the first op's lowest position is reported."""
    slot, position, value = min(rows)
    site = sites[slot]
    if site.expected:
        sizes = {name: dims.evaluate(d, env) for name, d in site.sizes}
        expected, shown = site.expected.format(**sizes), (site.op, site.loc)
        if not site.in_sample:
            return range_error(site.variable, _tensor_index(site, position, env), value, expected, *shown)
        sample, index = _in_sample(site, position, env)
        return range_error(site.variable, index, value, expected, *shown, sample=sample)
    index = _tensor_index(site, position, env)
    if site.interval is not None:
        (number,) = struct.unpack("d", struct.pack("q", value))
        low, high = site.interval.low, site.interval.high
        return value_error(site.variable, index, number, low, high, site.op, site.loc)
    limit = dims.evaluate(site.limit, env)
    return index_error(site.variable, index, value, limit, site.op, site.loc, picks=" = pick(" in site.op)


def _in_sample(site: CheckSite, position: int, env: Mapping[str, int]) -> tuple[tuple[int, int], list[int]]:
    """The sample and the step in it; the tensor's index, [] unless it holds a row of steps for each sample."""
    samples, elements = (dims.evaluate(n, env) for n in site.axes)
    sample, step = divmod(position, elements)
    shape = [dims.evaluate(n, env) for n in site.shape]
    # a column of as many rows as there are samples may hold packed ones
    padded = shape[:1] == [samples] and (bool(site.strides) or shape[1:2] > [1])
    return (sample, step), _unravelled(sample * (elements // samples) + step, shape) if padded else []


def _tensor_index(site: CheckSite, position: int, env: Mapping[str, int]) -> list[int]:
    linear = 0
    for size, stride in reversed(list(zip(site.axes, site.strides, strict=True))):
        n = dims.evaluate(size, env)
        position, i = divmod(position, n)
        linear += i * dims.evaluate(stride, env)
    return _unravelled(linear, [dims.evaluate(s, env) for s in site.shape])


def _unravelled(linear: int, shape: Sequence[int]) -> list[int]:
    index: list[int] = []
    for n in reversed(shape):
        linear, i = divmod(linear, n)
        index.append(i)
    return index[::-1]


def check_nonempty(conditions: Sequence[NonEmpty], env: Mapping[str, int]) -> None:
    """A maximum over no elements is an error, where there is something to compute."""
    for c in conditions:
        if dims.evaluate(c.extent, env) == 0 and dims.evaluate(c.results, env) != 0:
            raise ShapeError(
                f"{c.op} over no elements of {c.variable!r}",
                expected="at least one element",
                got="0",
                op=c.op,
                where=c.loc,
            )
