"""Running a plan by the NumPy interpreter of kernels: the schedule without any generated code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from graphloss.ir import dims
from graphloss.ir.graph import Graph
from graphloss.ops.evaluate import bind
from graphloss.schedule.kernel import Kernel
from graphloss.schedule.plan import Plan
from tests.codegen.kernel_reference import interpret

Array = npt.NDArray[Any]


def run(plan: Plan, graph: Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The results of `plan` for these feeds; memory starts as garbage, so that a read before a write shows."""
    env = bind(graph, feeds)
    arrays: dict[str, Array] = {}
    for b in plan.buffers.values():
        shape = tuple(dims.evaluate(n, env) for n in b.shape)
        if b.role == "input":
            arrays[b.name] = np.ascontiguousarray(feeds[b.name]).reshape(shape) if b.name in feeds else np.empty(shape)
        else:
            arrays[b.name] = np.full(shape, 77, b.dtype)
    for step in plan.steps:
        if isinstance(step, Kernel):
            failed = interpret(step, arrays, env)
            assert not failed, failed
        else:
            outs = step.form.fn(tuple(arrays[b] for b in step.inputs), tuple(arrays[b].shape for b in step.outputs))
            for name, value in zip(step.outputs, outs, strict=True):
                arrays[name][...] = value
    return {name: arrays[buffer] for name, buffer in plan.results.items()}
