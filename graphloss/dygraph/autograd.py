"""Gradients of eager arrays, by the rules that compiled programs use too."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final

import numpy as np

from graphloss import dtypes
from graphloss.dygraph.apply import EagerMode, recording
from graphloss.dygraph.tape import Cell, Handle, Record
from graphloss.errors import UnsupportedError
from graphloss.ir.tensor import convert, using
from graphloss.passes.backprop import Applied, backprop

_MODE: Final = EagerMode(Handle)


class Path:
    """Everything that `targets` were computed from: one handle for each value, and the ops in the order they ran."""

    def __init__(self, targets: Iterable[Cell], blocked: Iterable[Cell] = ()) -> None:
        self.records: list[Record] = []
        self.applied: list[Applied] = []
        self._handles: dict[Hashable, Handle] = {}
        self._ends: dict[Hashable, Handle] = {}
        self._blocked = {_key(c) for c in blocked}
        self._collect([c.record for c in targets if c.record is not None])

    def _collect(self, stack: list[Record]) -> None:
        seen = {id(r): r for r in stack}
        while stack:
            record = stack.pop()
            if record.freed:
                raise UnsupportedError(
                    "this value's history is gone: a gradient was taken through it before",
                    op=record.op.name,
                    hint="compute the loss again, or pass retain_graph=True the first time",
                )
            for cell, live in zip(record.inputs, record.live, strict=True):
                if live and cell.record is not None and id(cell.record) not in seen:
                    seen[id(cell.record)] = cell.record
                    stack.append(cell.record)
        self.records = sorted(seen.values(), key=lambda r: r.number)
        for record in self.records:
            # an input that no gradient flows to has a handle of its own, even if the same value is live elsewhere
            inputs = tuple(
                self.handle(c) if live and _key(c) not in self._blocked else self._stopped(c)
                for c, live in zip(record.inputs, record.live, strict=True)
            )
            outputs = tuple(self.handle(Cell(a, record, i, record.sinks[i])) for i, a in enumerate(record.outputs))
            self.applied.append(Applied(record.op, inputs, outputs, record.attrs))

    def _stopped(self, cell: Cell) -> Handle:
        key = _key(cell)
        if key not in self._ends:
            self._ends[key] = Handle(cell, True)
        return self._ends[key]

    def handle(self, cell: Cell) -> Handle:
        """The handle of a value."""
        key = _key(cell)
        if key not in self._handles:
            self._handles[key] = Handle(cell, False)
        return self._handles[key]

    def differentiable(self) -> list[Handle]:
        """Every value that a gradient can arrive at."""
        return [h for h in self._handles.values() if dtypes.is_float(h.type.dtype)]

    def free(self) -> None:
        for record in self.records:
            record.free()


def _key(cell: Cell) -> Hashable:
    return id(cell) if cell.record is None else (id(cell.record), cell.index)


def backward(loss: Cell, retain_graph: bool) -> None:
    """Adds the gradient of Σ loss to each leaf, and sets it on each value between."""
    path = Path((loss,))
    wanted = path.differentiable()
    target = path.handle(loss)
    if all(h is not target for h in wanted):
        wanted.append(target)
    with using(_MODE), recording(False):
        found = backprop(path.applied, [(target, ones(target))], wanted, thorough=True)
    for value, grad in zip(wanted, found, strict=True):
        if isinstance(grad, Handle):
            if value.cell.record is not None:
                value.cell.sink.grad = None
            value.cell.sink.add(grad.cell.array)
    if not retain_graph:
        path.free()


def gradients(
    outputs: Sequence[Cell],
    inputs: Sequence[Cell],
    seeds: Sequence[Handle | None],
    blocked: Sequence[Cell],
    create_graph: bool,
) -> tuple[list[Cell | None], Callable[[], None]]:
    """The gradient of Σ seed·output for each input, None where there is none; and a call that forgets the history."""
    path = Path(outputs, blocked)
    targets = [path.handle(c) for c in outputs]
    start = [(t, ones(t) if s is None else s) for t, s in zip(targets, seeds, strict=True)]
    with using(_MODE), recording(create_graph):
        found = backprop(path.applied, start, [path.handle(c) for c in inputs], thorough=True)
        found = [g if g is None else convert(g, c.array.dtype.name) for g, c in zip(found, inputs, strict=True)]
    return [g.cell if isinstance(g, Handle) else None for g in found], path.free


def ones(like: Handle) -> Handle:
    return Handle(Cell(np.ones_like(like.cell.array)), True)
