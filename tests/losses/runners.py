"""Runs one loss both ways, eager and compiled, on the same arrays: its value and its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import graphloss as gl

Array = npt.NDArray[Any]
# build(**inputs) -> the loss; the inputs are Variables of a program or eager arrays
Build = Callable[..., Any]
# run(build, arrays, names of the inputs to differentiate by) -> value, gradient of its sum by each of these
Runner = Callable[[Build, Mapping[str, Array], Sequence[str]], tuple[Array, list[Array]]]


def eager(build: Build, arrays: Mapping[str, Array], by: Sequence[str] = ()) -> tuple[Array, list[Array]]:
    with gl.dygraph.guard():
        inputs = {name: gl.dygraph.to_variable(a) for name, a in arrays.items()}
        for name in by:
            inputs[name].stop_gradient = False
        loss = build(**inputs)
        loss.backward()
        found = [inputs[name].gradient() for name in by]
        return loss.numpy(), [np.zeros_like(arrays[n]) if g is None else g for n, g in zip(by, found, strict=True)]


def compiled(
    build: Build, arrays: Mapping[str, Array], by: Sequence[str] = (), free: bool = False,
    options: gl.CompileOptions | None = None,
) -> tuple[Array, list[Array]]:  # fmt: skip
    """`free` leaves the first dimension of each input to the run."""
    main = gl.Program()
    with gl.program_guard(main, gl.Program()):
        inputs = {}
        for name, a in arrays.items():
            shape = [None, *a.shape[1:]] if free and a.ndim else a.shape
            inputs[name] = gl.data(name, shape, a.dtype)
            inputs[name].stop_gradient = name not in by
        loss = build(**inputs)
        grads = gl.gradients([loss], [inputs[name] for name in by]) if by else []
    reached = [g for g in grads if g is not None]
    value, *found = gl.Executor(gl.CPUPlace(), options=options).run(
        main, feed=dict(arrays), fetch_list=[loss, *reached]
    )
    given = iter(found)
    return value, [np.zeros_like(arrays[n]) if g is None else next(given) for n, g in zip(by, grads, strict=True)]


def as_written(build: Build, arrays: Mapping[str, Array], by: Sequence[str] = ()) -> tuple[Array, list[Array]]:
    """Compiled without passes: each op, and the gradient of each, as it stands."""
    return compiled(build, arrays, by, options=gl.CompileOptions(passes=False))


RUNNERS: dict[str, Runner] = {"eager": eager, "compiled": compiled}
