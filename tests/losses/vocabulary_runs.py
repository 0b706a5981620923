"""Runs a loss that makes its own parameters, as a program and as an eager layer, from given first values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import graphloss as gl

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Run:
    """The loss, and the gradients of its sum by float inputs and by parameters, in the order of their creation."""

    loss: Array
    inputs: dict[str, Array]
    parameters: list[Array]


def first(value: Array | None) -> object:
    """A param_attr or bias_attr that starts at `value`; None is no parameter."""
    return False if value is None else gl.initializer.NumpyArrayInitializer(value)


def program(
    build: Callable[..., Any],
    arrays: Mapping[str, Array],
    free: bool = False,
    threads: int = 1,
    keep: Sequence[str] = (),
) -> Run:
    """`build(**inputs)` gives the loss; `free` leaves the batch to the run; `keep` get no gradient."""
    main, startup = gl.Program(), gl.Program()
    with gl.program_guard(main, startup), gl.unique_name.guard():
        inputs = {
            n: gl.data(n, [None, *a.shape[1:]] if free and a.ndim else a.shape, a.dtype) for n, a in arrays.items()
        }
        by = [n for n, a in arrays.items() if a.dtype.kind == "f" and n not in keep]
        for n in by:
            inputs[n].stop_gradient = False
        loss = build(**inputs)
        weights = [p for p in main.all_parameters() if p.trainable]
        grads = gl.gradients([loss], [*(inputs[n] for n in by), *weights])
    scope = gl.Scope()
    exe = gl.Executor(gl.CPUPlace(), gl.CompileOptions(threads=threads))
    exe.run(startup, scope=scope)
    value, *found = exe.run(main, feed=dict(arrays), fetch_list=[loss, *grads], scope=scope)
    return Run(value, dict(zip(by, found[: len(by)], strict=True)), found[len(by) :])


def eager(make: Callable[[], Any], arrays: Mapping[str, Array], keep: Sequence[str] = ()) -> Run:
    """`make()` gives the layer, called with `arrays` by name."""
    with gl.dygraph.guard():
        layer = make()
        inputs = {n: gl.dygraph.to_variable(a) for n, a in arrays.items()}
        by = [n for n, a in arrays.items() if a.dtype.kind == "f" and n not in keep]
        for n in by:
            inputs[n].stop_gradient = False
        loss = layer(**inputs)
        loss.backward()
        return Run(loss.numpy(), {n: inputs[n].gradient() for n in by}, [p.gradient() for p in layer.parameters()])


def numbers(values: object, dtype: str) -> Array:
    a = np.array(values)
    return a.astype(dtype) if a.dtype.kind == "f" else a
